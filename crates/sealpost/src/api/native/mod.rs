//! Sealpost's own calls, for publishers and operators, all below `/v1/webhooks`. They take webhooks of both dialects.

pub(super) mod audit;
pub(super) mod deliveries;
pub(super) mod erasures;
pub(super) mod event_types;
pub(super) mod events;
pub(super) mod portal_links;
pub(super) mod publish;
pub(super) mod secrets;
pub(super) mod settings;
pub(super) mod tokens;
