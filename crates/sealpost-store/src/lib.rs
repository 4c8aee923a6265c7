//! The store: the only crate that links a database driver.
//!
//! It speaks the domain in five roles; every verb is one atomic step that is on stable storage when it answers.
//! A backend never reads a clock: it is told the time. What may not be readable at rest (payloads, secrets,
//! response excerpts) is sealed before it reaches a backend, by [`vault`].

pub mod audit;
pub mod copy;
pub mod error;
pub mod history;
pub mod inbox;
mod off_thread;
pub mod page;
pub mod postgres;
pub mod queue;
pub mod registry;
mod rows;
pub mod sqlite;
mod told;
pub mod upkeep;
pub mod vault;

pub use error::StoreError;
pub use history::History;
pub use inbox::Inbox;
pub use queue::Queue;
pub use registry::Registry;
pub use upkeep::Upkeep;

/// A whole store. Implemented for whatever plays all five roles.
pub trait Store: Registry + Inbox + Queue + History + Upkeep + std::fmt::Debug {}

impl<T: Registry + Inbox + Queue + History + Upkeep + std::fmt::Debug> Store for T {}
