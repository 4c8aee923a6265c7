//! `sealpost openapi`: the document that a server gives at `/openapi.json`.

use super::client::Failure;
use super::output;
use crate::api;

pub(super) fn run() -> Result<(), Failure> {
    output::json(&api::openapi::document())
}
