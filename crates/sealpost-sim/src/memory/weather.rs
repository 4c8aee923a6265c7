//! What may happen to a call besides its work.

use std::fmt::Debug;

use async_trait::async_trait;
use sealpost_store::StoreError;

/// What a call is about, as far as a simulation tells calls apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verb {
    Accept,
    Claim,
    Unclaim,
    Settle,
    Cancel,
    Erase,
    Change,
    Read,
    Sweep,
    Record,
}

#[async_trait]
pub trait Weather: Send + Sync + Debug {
    /// An error, and the call does nothing.
    async fn before(&self, verb: Verb) -> Result<(), StoreError>;
    /// An error, and the call is done without its caller learning it.
    async fn after(&self, verb: Verb) -> Result<(), StoreError>;
    /// The process is dead: nothing it leaves behind acts any more.
    fn is_over(&self) -> bool;
}

/// Nothing happens.
#[derive(Debug)]
pub struct Calm;

#[async_trait]
impl Weather for Calm {
    async fn before(&self, _: Verb) -> Result<(), StoreError> {
        Ok(())
    }

    async fn after(&self, _: Verb) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_over(&self) -> bool {
        false
    }
}
