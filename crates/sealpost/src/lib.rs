//! The service: one binary made of an API, a console, an engine and a command line around the verbs in [`app`].
//!
//! Arrows point one way: `cli` may use everything, `api`, `console` and `engine` use `app` and never each other, `app` uses the
//! store and the pure crates. ARCHITECTURE.md is the map.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod engine;
pub mod peer;
pub mod serve;
pub mod telemetry;
