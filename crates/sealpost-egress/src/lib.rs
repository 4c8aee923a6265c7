//! The one door out of Sealpost.
//!
//! Every connection whose target a tenant can influence is opened here and nowhere else. This crate is
//! the only one that links an HTTP client, TLS and a resolver. Promises: only public addresses are dialled
//! (or those the operator allowed), each one vetted after resolution and once more before connecting; no
//! redirect is followed, no proxy and no environment is consulted; an attempt ends at its deadline; one
//! attempt hands request bytes to at most one connection; tenants never share a connection.
//!
//! What an answer means (delivered, retry, give up) is decided elsewhere.

mod address;
mod api_client;
mod client;
mod code_exchange;
mod config;
mod connect;
mod documents;
mod error;
mod gate;
mod http1;
mod http2;
mod pool;
mod request;
mod resolve;
mod scripted;
mod txt;
mod valve;
mod wire;

pub use address::{AddressRule, Verdict};
pub use api_client::{ApiAnswer, ApiClient, ApiTarget, MAX_API_BODY};
pub use client::{Egress, MAX_EXCERPT};
pub use code_exchange::CodeExchange;
pub use config::{ConfigError, EgressConfig};
pub use connect::TrustError;
pub use documents::{DocumentFault, Documents, MAX_DOCUMENT, Place};
pub use error::{ConnectFault, DnsFault, EgressError, Phase, ProtocolFault, RefusedAddress, Sent, TlsFault};
pub use gate::{Gate, GateGuard, OpenGate};
pub use request::{Answer, Outbound, PoolScope, Reads, Request, Scheme};
pub use scripted::{Recorded, Reply, Scripted};
pub use txt::TxtLookup;
