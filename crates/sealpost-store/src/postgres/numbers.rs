//! Numbers of events and deliveries, taken from the database in blocks: a request's numbers are in a row, no number is
//! ever given twice, and asking costs nothing nearly always. What is left of a block when a process ends is lost.
//!
//! A block is taken outside of the transaction that needs it: a sequence that moved in one that never ended moves back when
//! the server is lost, and would give the block to another node as well.

use std::sync::{Arc, Mutex, PoisonError};

use super::fault::Fault;
use super::pool::{Columns as _, Pool};

/// More than one request ever needs in a row; the numbers last for 2^48 blocks.
pub(super) const BLOCK: i64 = 1 << 15;

#[derive(Debug, Default)]
pub(crate) struct Numbers {
    events: Mutex<Block>,
    deliveries: Mutex<Block>,
}

#[derive(Debug, Default)]
struct Block {
    next: i64,
    end: i64,
}

impl Block {
    fn take(&mut self, count: i64) -> Option<i64> {
        let first = self.next;
        (self.end - first >= count).then(|| {
            self.next += count;
            first
        })
    }
}

impl Numbers {
    pub(crate) async fn events(&self, pool: &Arc<Pool>, count: usize) -> Result<i64, Fault> {
        take(&self.events, pool, "SELECT nextval('event_block')", count).await
    }

    pub(crate) async fn deliveries(&self, pool: &Arc<Pool>, count: usize) -> Result<i64, Fault> {
        take(&self.deliveries, pool, "SELECT nextval('delivery_block')", count).await
    }
}

/// The first of `count` numbers in a row.
async fn take(block: &Mutex<Block>, pool: &Arc<Pool>, next: &str, count: usize) -> Result<i64, Fault> {
    let count = count as i64;
    if count > BLOCK {
        return Err(crate::StoreError::Refused("too many rows in one request".into()).into());
    }
    let held = |block: &Mutex<Block>| block.lock().unwrap_or_else(PoisonError::into_inner).take(count);
    if let Some(first) = held(block) {
        return Ok(first);
    }
    let number: i64 = pool.get().await?.one(next, &[]).await?.col(0)?;
    let mut block = block.lock().unwrap_or_else(PoisonError::into_inner);
    *block = Block { next: number * BLOCK, end: (number + 1) * BLOCK };
    block.take(count).ok_or(Fault::Again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_request_are_in_a_row_and_never_given_twice() {
        let mut block = Block { next: 10, end: 20 };
        assert_eq!(
            (block.take(4), block.take(7), block.take(6), block.take(1)),
            (Some(10), None, Some(14), None)
        );
    }
}
