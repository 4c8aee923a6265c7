//! MATTR VII's own calls, exactly as its clients know them.

pub(super) mod analytics;
pub(super) mod domain;
pub(super) mod jwks;
pub(super) mod webhooks;
