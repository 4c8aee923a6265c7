//! Whose clients a path is for: it decides how a credential may be shown and what a refusal looks like.

use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::truvera;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Face {
    /// MATTR's own calls and all that speak in their manner.
    Mattr,
    /// `/webhooks` and everything below it.
    Truvera,
}

impl Face {
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix(truvera::WEBHOOKS) {
            Some(below) if below.is_empty() || below.starts_with('/') => Face::Truvera,
            _ => Face::Mattr,
        }
    }

    pub(super) fn refuse(self, problem: Problem) -> Response {
        match self {
            Face::Mattr => problem.into_response(),
            Face::Truvera => truvera::refusal::response(&problem),
        }
    }

    /// What a path answers that is no route.
    pub(super) fn no_route(path: &str) -> Response {
        let face = Face::of(path);
        // Truvera documents 405 for an id that is left empty.
        let empty = face == Face::Truvera && path.strip_prefix(truvera::WEBHOOKS) == Some("/");
        face.refuse(if empty {
            Problem::MethodNotAllowed { allow: String::new() }
        } else {
            Problem::not_found()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_its_root_is_truveras() {
        for (path, face) in [
            ("/webhooks", Face::Truvera),
            ("/webhooks/", Face::Truvera),
            ("/webhooks/17/x", Face::Truvera),
            ("/webhooks2", Face::Mattr),
            ("/v1/webhooks", Face::Mattr),
            ("/", Face::Mattr),
        ] {
            assert_eq!(Face::of(path), face, "{path}");
        }
    }
}
