//! Style, script and sign of the console: in the binary, served under a name that changes with the content, so that a
//! browser may keep them for ever.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::reply::{Refused, Reply};
use super::visit::Visit;

pub(super) struct Asset {
    kind: &'static str,
    bytes: &'static [u8],
    name: String,
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css; charset=utf-8", include_bytes!("assets/console.css"))
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_bytes!("assets/console.js"))
});
pub(super) static SIGN: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("seal", "svg", "image/svg+xml", include_bytes!("assets/seal.svg")));

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let mut name = format!("{stem}-");
        for byte in digest(&SHA256, bytes).as_ref().iter().take(8) {
            let _ = write!(name, "{byte:02x}");
        }
        let _ = write!(name, ".{extension}");
        Self { kind, bytes, name }
    }

    pub(super) fn path(&self) -> String {
        format!("/console/assets/{}", self.name)
    }

    fn response(&self) -> Response {
        let keep = HeaderValue::from_static("public, max-age=31536000, immutable");
        ([(CONTENT_TYPE, HeaderValue::from_static(self.kind)), (CACHE_CONTROL, keep)], self.bytes)
            .into_response()
    }
}

/// `GET /console/assets/{name}`
pub(super) async fn asset(visit: Visit) -> Result<Reply, Refused> {
    let wanted = visit.param("name");
    let found = [&*STYLE, &*SCRIPT, &*SIGN].into_iter().find(|asset| asset.name == wanted);
    found.map(|asset| Reply::Raw(asset.response())).ok_or(Refused::NotFound)
}
