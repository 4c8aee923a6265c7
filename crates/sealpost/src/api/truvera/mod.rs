//! Truvera's own calls, as its clients know them.

pub(super) mod refusal;
pub(super) mod webhooks;

/// The root of this face.
pub(super) const WEBHOOKS: &str = "/webhooks";
