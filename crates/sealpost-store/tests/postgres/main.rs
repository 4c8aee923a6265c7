//! The store of several nodes: the statements every store passes, and what is true of more than one process.
//!
//! Needs a server: `server.sh` beside this file starts one.

#[path = "../conformance/mod.rs"]
mod conformance;

mod backend;
mod bell;
mod commits;
mod conforms;
mod copy;
mod keys;
mod nodes;
mod proxy;
mod schema;
