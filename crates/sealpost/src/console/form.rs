//! The fields of a query or of a form that was sent.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Limited};
use sealpost_core::limits::SMALL_REQUEST_BYTES;

use super::reply::Refused;

/// A form arrives within this.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);
const FORM: &str = "application/x-www-form-urlencoded";

/// Without a way to print it: some fields are keys.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The body of a form.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Refused> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM) {
            return Err(Refused::Bad("A form of this console was expected.".into()));
        }
        let body = Limited::new(body, SMALL_REQUEST_BYTES).collect();
        match tokio::time::timeout(ARRIVES_WITHIN, body).await {
            Ok(Ok(body)) => Ok(Self::parse(&body.to_bytes())),
            _ => Err(Refused::Bad("The form is too large, or did not arrive whole.".into())),
        }
    }

    /// The first field of this name, without outer white space; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// The field, if somebody wrote something into it.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A box that was ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }
}

/// `path?a=b&c=d` of what is not empty.
pub(super) fn link(path: &str, query: &[(&str, &str)]) -> String {
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        written.append_pair(name, value);
    }
    let query = written.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
