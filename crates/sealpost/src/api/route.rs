//! What a route is: one row of the table in [`super::routes`], from which router, role check and document are made.

use std::pin::Pin;

use axum::response::Response;
use axum::routing::MethodFilter;
use sealpost_core::analytics::Operation;
use sealpost_core::role::{Permission, Role, Roles};

use super::call::Call;
use super::problem::Problem;

pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    pub(super) const fn filter(self) -> MethodFilter {
        match self {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        }
    }

    /// What an `Allow` header says of it: whoever answers `GET` answers `HEAD`.
    pub(super) const fn allows(self) -> &'static [&'static str] {
        match self {
            Method::Get => &["GET", "HEAD"],
            Method::Post => &["POST"],
            Method::Put => &["PUT"],
            Method::Patch => &["PATCH"],
            Method::Delete => &["DELETE"],
        }
    }

    /// As OpenAPI spells it.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Post => "post",
            Method::Put => "put",
            Method::Patch => "patch",
            Method::Delete => "delete",
        }
    }
}

/// A query parameter; one that a route does not list is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: ParamKind,
    pub(super) about: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ParamKind {
    Limit,
    /// Of Truvera's lists, whose pages are smaller and counted.
    ShortLimit,
    Offset,
    Text,
    Time,
    Uuid,
    /// Several values, separated by commas or repeated.
    List,
    OneOf(&'static [&'static str]),
}

/// The body a route reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes {
    Nothing,
    /// `application/json` of this schema.
    Json(&'static str),
    /// The same, or nothing at all.
    Optional(&'static str),
    /// Events in any of the four forms.
    Events,
    /// A token request, as a form or as JSON; its refusals have OAuth's shape.
    Token,
}

/// What a route answers when all is well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gives {
    pub(super) status: u16,
    /// `None`: an empty body.
    pub(super) schema: Option<&'static str>,
    pub(super) about: &'static str,
}

pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Permission,
    /// Roles that have the permission and still may not make this call.
    pub(super) refuses: &'static [Role],
    /// Operation id.
    pub(super) operation: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Param],
    pub(super) takes: Takes,
    pub(super) gives: &'static [Gives],
    /// Refusals besides those that follow from the rest of the row.
    pub(super) fails: &'static [u16],
    /// What its analytic events are called, if it has any.
    pub(super) records: Option<Operation>,
    pub(super) handler: Handler,
}

impl Route {
    pub(super) const fn new(
        method: Method,
        path: &'static str,
        needs: Permission,
        operation: &'static str,
        summary: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            method,
            path,
            needs,
            refuses: &[],
            operation,
            summary,
            query: &[],
            takes: Takes::Nothing,
            gives: &[],
            fails: &[],
            records: None,
            handler,
        }
    }

    pub(super) const fn refuses(self, refuses: &'static [Role]) -> Self {
        Self { refuses, ..self }
    }

    pub(super) const fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    pub(super) const fn takes(self, takes: Takes) -> Self {
        Self { takes, ..self }
    }

    pub(super) const fn gives(self, gives: &'static [Gives]) -> Self {
        Self { gives, ..self }
    }

    pub(super) const fn fails(self, fails: &'static [u16]) -> Self {
        Self { fails, ..self }
    }

    pub(super) const fn records(self, operation: Operation) -> Self {
        Self { records: Some(operation), ..self }
    }

    /// One of the roles is enough.
    pub(super) fn may(&self, roles: Roles) -> bool {
        self.roles().any(|role| roles.has(role))
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        self.needs.roles().iter().copied().filter(|role| !self.refuses.contains(role))
    }

    /// Names of the path's parameters, in order.
    pub(super) fn path_params(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}
