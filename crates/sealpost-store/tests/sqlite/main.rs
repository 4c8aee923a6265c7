//! The embedded store: the statements every store passes, and what is true of its files.

#[path = "../conformance/mod.rs"]
mod conformance;

mod backend;
mod backup;
mod canary;
mod conforms;
