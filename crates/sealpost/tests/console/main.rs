//! The console over a real store: every page for every role, sessions, forms, what may be seen, and what must not run.

mod analytics;
#[allow(dead_code, reason = "the console needs less of the test bed than the API does")]
#[path = "../api/support.rs"]
mod api;
mod forms;
mod hostile;
mod live;
mod openid;
mod payloads;
mod portal;
#[allow(dead_code, reason = "the console needs less of the provider than the API does")]
#[path = "../api/provider.rs"]
mod provider;
mod sessions;
mod support;
mod table;
