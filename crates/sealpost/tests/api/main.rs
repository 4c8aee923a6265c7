//! The whole router over a real store: every call, every refusal, with status and body.
//!
//! Every answer of every test is held against the OpenAPI document: its status must be listed for the call, its body
//! must have exactly the members of the schema.

mod analytics;
mod audit;
mod bodies;
mod deliveries;
mod domain;
mod event_types;
mod events;
mod key_age;
mod limits;
mod management;
#[path = "../../../sealpost-egress/tests/egress/name_server.rs"]
mod name_server;
mod oauth;
mod openid;
mod operations;
#[allow(dead_code, reason = "nobody signs in here")]
mod provider;
mod publish;
mod settings;
mod support;
mod table;
mod tenants;
mod truvera;
mod webhooks;
