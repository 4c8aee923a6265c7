//! Pages: newest first, continued after a key.

use sealpost_core::time::Timestamp;

/// The last row a caller has seen; the next page begins after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After<Id> {
    pub at: Timestamp,
    pub id: Id,
}

#[derive(Clone, Debug)]
pub struct PageRequest<Id> {
    pub limit: u32,
    pub after: Option<After<Id>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub rows: Vec<T>,
    /// Whether at least one further row exists.
    pub more: bool,
}
