//! `/v1/webhooks/jwks`: the keys that receivers verify with. Public; the host names the tenant.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::api::call::Call;
use crate::api::problem::Problem;

pub(in crate::api) async fn get(call: Call) -> Result<Response, Problem> {
    let tenant = call.host.tenant(call.app()).await?;
    let document = call.app().jwks(tenant).await?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, document).into_response())
}
