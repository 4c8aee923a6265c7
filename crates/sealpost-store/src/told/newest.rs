//! The newest rows of all that pass by: as many as a page has, and one to know whether there are more.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Found;

pub(crate) struct Newest {
    wanted: usize,
    /// The oldest is on top.
    kept: BinaryHeap<OldestFirst>,
}

#[derive(PartialEq)]
struct OldestFirst(Found);

impl Eq for OldestFirst {}

impl Ord for OldestFirst {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.0.at, other.0.id).cmp(&(self.0.at, self.0.id))
    }
}

impl PartialOrd for OldestFirst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Newest {
    pub(crate) fn of(wanted: usize) -> Self {
        Self { wanted, kept: BinaryHeap::new() }
    }

    fn is_full(&self) -> bool {
        self.kept.len() > self.wanted
    }

    /// Whether something that happened then may still be among them.
    pub(crate) fn takes(&self, at: i64) -> bool {
        !self.is_full() || self.kept.peek().is_none_or(|oldest| at >= oldest.0.at)
    }

    pub(crate) fn put(&mut self, found: Found) {
        self.kept.push(OldestFirst(found));
        if self.kept.len() > self.wanted + 1 {
            self.kept.pop();
        }
    }

    /// Newest first, and whether there are more.
    pub(crate) fn into_sorted(self) -> (Vec<Found>, bool) {
        let more = self.is_full();
        let mut found: Vec<Found> =
            self.kept.into_sorted_vec().into_iter().map(|OldestFirst(found)| found).collect();
        found.truncate(self.wanted);
        (found, more)
    }
}

#[cfg(test)]
mod tests {
    use sealpost_core::analytics::{AnalyticType, RequestId, Step};
    use sealpost_core::id::AnalyticId;

    use super::super::Row;
    use super::*;

    fn found(at: i64, id: u8) -> Found {
        Found {
            at,
            id: AnalyticId::from_bytes([id; 16]),
            kind: AnalyticType::Delivery(Step::Retry),
            request: RequestId::from_bytes([0; 16]),
            row: Row::Event { seq: 0 },
        }
    }

    #[test]
    fn the_newest_are_kept_whatever_order_they_come_in() {
        let mut newest = Newest::of(2);
        for (at, id) in [(5, 1), (9, 1), (5, 3), (1, 1), (5, 2)] {
            newest.put(found(at, id));
        }
        assert!(newest.takes(5) && !newest.takes(4));
        let (kept, more) = newest.into_sorted();
        assert_eq!((kept, more), (vec![found(9, 1), found(5, 3)], true));

        let mut few = Newest::of(2);
        few.put(found(1, 1));
        assert!(few.takes(0));
        assert_eq!(few.into_sorted(), (vec![found(1, 1)], false));
    }
}
