//! A code of an OpenID provider, exchanged for tokens (RFC 6749, 4.1.3).
//!
//! Whoever holds [`CodeExchange`] can send one kind of thing: a form with a client's credentials, whose answer is read whole.
//! The rules of documents hold here too. A request's headers and body are never printed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::documents::{DocumentFault, MAX_DOCUMENT, Place, SCOPE, whole};
use crate::request::{Outbound, Reads, Request};

/// Exchanges codes. The default has no way out. Cheap to clone.
#[derive(Clone, Default)]
pub struct CodeExchange {
    door: Option<Arc<dyn Outbound>>,
}

impl fmt::Debug for CodeExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeExchange").field("has_door", &self.door.is_some()).finish()
    }
}

impl CodeExchange {
    pub fn over(door: Arc<dyn Outbound>) -> Self {
        Self { door: Some(door) }
    }

    /// The whole JSON answer to a form at `place`, within `limit`.
    pub async fn send(
        &self,
        place: &Place,
        mut credentials: HeaderValue,
        form: String,
        limit: Duration,
    ) -> Result<Bytes, DocumentFault> {
        let door = self.door.as_ref().ok_or(DocumentFault::NoDoor)?;
        credentials.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (AUTHORIZATION, credentials),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
        ]);
        let (host, target) = (Arc::clone(&place.host), place.target.clone());
        let asked = Request {
            headers,
            timeout: limit,
            reads: Reads::Whole(MAX_DOCUMENT),
            ..Request::post(SCOPE, place.scheme, host, place.port, target, Bytes::from(form))
        };
        whole(door.as_ref(), asked).await
    }
}
