//! Memory for request bodies, shared by all calls: taken as bytes arrive, refused at once when there is none.
//!
//! The first bytes of every body come from a share of their own, so that large uploads, however slow, leave room for
//! small ones; and no tenant gets more than a quarter of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sealpost_core::id::TenantNo;
use sealpost_core::limits::REQUEST_BYTES;

/// The first bytes of a body: all of a common one.
const SMALL_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For the first bytes of bodies.
    small: usize,
    /// For what is beyond them.
    large: usize,
}

/// Of all tenants: sixteen of the largest bodies at once, or many thousand common ones.
const ALL: Limits = Limits { small: 4 * REQUEST_BYTES, large: 12 * REQUEST_BYTES };
/// Of one tenant.
const EACH: Limits = Limits { small: ALL.small / 4, large: ALL.large / 4 };

#[derive(Clone, Copy, Debug, Default)]
struct Used {
    small: usize,
    large: usize,
}

impl Used {
    fn add(&mut self, more: Used) {
        self.small += more.small;
        self.large += more.large;
    }

    fn subtract(&mut self, less: Used) {
        self.small = self.small.saturating_sub(less.small);
        self.large = self.large.saturating_sub(less.large);
    }

    fn fits(&self, more: Used, limits: Limits) -> bool {
        self.small + more.small <= limits.small && self.large + more.large <= limits.large
    }

    fn is_nothing(&self) -> bool {
        self.small == 0 && self.large == 0
    }
}

/// `None`: callers without a tenant.
type Tenant = Option<TenantNo>;

#[derive(Debug, Default)]
struct Books {
    all: Used,
    each: HashMap<Tenant, Used>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct BodyBudget(Arc<Mutex<Books>>);

impl BodyBudget {
    /// For one body, nothing taken yet.
    pub(super) fn room(&self, tenant: Tenant) -> Room {
        Room { budget: self.clone(), tenant, taken: Used::default() }
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one body has taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    budget: BodyBudget,
    tenant: Tenant,
    taken: Used,
}

impl Room {
    /// Room for `bytes` more, or `false` and nothing.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let small = bytes.min(SMALL_BYTES.saturating_sub(self.taken.small + self.taken.large));
        let mut books = self.budget.books();
        let own = books.each.get(&self.tenant).copied().unwrap_or_default();
        // Many small bodies may also use the room of large ones.
        let wanted = [Used { small, large: bytes - small }, Used { small: 0, large: bytes }];
        let fits = |wanted: &Used| books.all.fits(*wanted, ALL) && own.fits(*wanted, EACH);
        let Some(wanted) = wanted.into_iter().find(fits) else { return false };
        books.all.add(wanted);
        books.each.entry(self.tenant).or_default().add(wanted);
        self.taken.add(wanted);
        true
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut books = self.budget.books();
        books.all.subtract(self.taken);
        if let Some(own) = books.each.get_mut(&self.tenant) {
            own.subtract(self.taken);
            if own.is_nothing() {
                books.each.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bodies of this size fit.
    fn fill(budget: &BodyBudget, tenant: i64, bytes: usize) -> Vec<Room> {
        let mut rooms = Vec::new();
        loop {
            let mut room = budget.room(Some(TenantNo(tenant)));
            if !room.take(bytes) {
                return rooms;
            }
            rooms.push(room);
        }
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_a_tenant_for_others() {
        let budget = BodyBudget::default();
        let large = fill(&budget, 1, REQUEST_BYTES);
        assert_eq!(large.len(), 3);
        let small = fill(&budget, 1, 16 * 1024);
        assert!(small.len() > 900, "{}", small.len());
        assert_eq!(fill(&budget, 2, REQUEST_BYTES).len(), 3, "another tenant does not notice");
        let others: Vec<Vec<Room>> = (2..5).map(|tenant| fill(&budget, tenant, REQUEST_BYTES)).collect();
        assert_eq!(others.iter().map(Vec::len).sum::<usize>(), 9);
        assert_eq!(fill(&budget, 5, REQUEST_BYTES).len(), 0, "all together have their limit");
        assert!(fill(&budget, 5, 16 * 1024).len() > 900, "small ones fit still");
        drop((large, small, others));
        assert!(budget.books().all.is_nothing() && budget.books().each.is_empty());
    }

    #[test]
    fn a_body_is_paid_for_piece_by_piece() {
        let budget = BodyBudget::default();
        let mut room = budget.room(None);
        assert!(room.take(0) && budget.books().all.is_nothing());
        assert!(room.take(SMALL_BYTES - 1) && room.take(2));
        assert_eq!((room.taken.small, room.taken.large), (SMALL_BYTES, 1));
        assert!(!room.take(usize::MAX / 4));
        assert_eq!((room.taken.small, room.taken.large), (SMALL_BYTES, 1), "what is refused is not taken");
    }
}
