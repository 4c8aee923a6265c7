//! What Sealpost decides, without doing any of it.
//!
//! Ids, events, webhooks, settings, the state machine of a delivery, retry, health, minimisation and the bodies
//! receivers get. Nothing here reads a clock, draws chance, opens a socket or touches a database: time and
//! chance are arguments, so every rule is a test of text in, text out.

pub mod analytics;
pub mod audit;
pub mod delivery;
pub mod dialect;
pub mod domain;
pub mod envelope;
pub mod event;
pub mod event_type;
pub mod health;
pub mod id;
pub mod json;
pub mod key_ring;
pub mod lane;
pub mod limits;
pub mod minimise;
pub mod openid;
pub mod outcome;
pub mod payload;
pub mod publish;
pub mod quota;
pub mod retry;
pub mod role;
pub mod secret;
pub mod settings;
pub mod target_url;
pub mod tenant;
pub mod time;
pub mod webhook;
