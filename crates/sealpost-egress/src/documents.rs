//! Documents that somebody publishes for everybody: keys, and where the keys are.
//!
//! Whoever holds [`Documents`] can ask for them and do nothing else: a `GET` without credentials and without a body.
//! The rules of deliveries hold here too (vetted addresses, https, no redirect); a document is bounded in size and,
//! to its last byte, in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use tokio::time::timeout;

use crate::error::EgressError;
use crate::request::{Outbound, PoolScope, Reads, Request, Scheme};

/// The largest document that is read. Some hundred keys with their certificates fit.
pub const MAX_DOCUMENT: usize = 256 * 1024;
/// No tenant has this number, so no delivery shares these connections.
pub(crate) const SCOPE: PoolScope = PoolScope(u64::MAX);

/// Where a document is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    pub scheme: Scheme,
    /// A name; as an address it is refused, like a webhook's.
    pub host: Arc<str>,
    pub port: u16,
    pub target: PathAndQuery,
}

/// Why there is no document.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DocumentFault {
    #[error("nothing may be fetched here")]
    NoDoor,
    #[error("`{0}` did not send the whole document in time")]
    Late(Arc<str>),
    #[error("`{host}` answered {status}")]
    Status { host: Arc<str>, status: u16 },
    #[error("`{0}` sent a document that is too large or broke off")]
    Cut(Arc<str>),
    #[error(transparent)]
    Egress(#[from] EgressError),
}

/// Fetches documents. The default has no way out. Cheap to clone.
#[derive(Clone, Default)]
pub struct Documents {
    door: Option<Arc<dyn Outbound>>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("has_door", &self.door.is_some()).finish()
    }
}

impl Documents {
    pub fn over(door: Arc<dyn Outbound>) -> Self {
        Self { door: Some(door) }
    }

    /// The whole JSON document at `place`, within `limit`. Whether it is JSON is for the reader to say.
    pub async fn fetch(&self, place: &Place, limit: Duration) -> Result<Bytes, DocumentFault> {
        let door = self.door.as_ref().ok_or(DocumentFault::NoDoor)?;
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let target = place.target.clone();
        let asked = Request {
            method: Method::GET,
            headers,
            timeout: limit,
            reads: Reads::Whole(MAX_DOCUMENT),
            ..Request::post(SCOPE, place.scheme, Arc::clone(&place.host), place.port, target, Bytes::new())
        };
        whole(door.as_ref(), asked).await
    }
}

/// A whole answer of status 200, within the request's own time.
pub(crate) async fn whole(door: &dyn Outbound, asked: Request) -> Result<Bytes, DocumentFault> {
    let (host, limit) = (Arc::clone(&asked.host), asked.timeout);
    // Egress bounds every step; this bounds them together.
    let Ok(answer) = timeout(limit, door.send(asked)).await else { return Err(DocumentFault::Late(host)) };
    let answer = answer?;
    match answer.status {
        status if status != StatusCode::OK.as_u16() => Err(DocumentFault::Status { host, status }),
        _ if answer.excerpt_cut || answer.excerpt.len() > MAX_DOCUMENT => Err(DocumentFault::Cut(host)),
        _ => Ok(answer.excerpt),
    }
}
