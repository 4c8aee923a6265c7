//! Places for pages that update themselves, each of which keeps a connection and is asked for again and again: so many in
//! all, and so many of one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealpost_core::id::TenantNo;

/// The other pages need connections too.
const ALL: usize = 128;
/// Four tenants must come together to keep the others out.
const EACH: usize = ALL / 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<TenantNo, usize>>>);

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    tenant: TenantNo,
}

impl Places {
    /// `None`: there is none left for this tenant, or for anybody.
    pub(super) fn take(&self, tenant: TenantNo) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.get(&tenant).copied().unwrap_or_default();
        if own >= EACH || taken.values().sum::<usize>() >= ALL {
            return None;
        }
        taken.insert(tenant, own + 1);
        Some(Place { places: self.clone(), tenant })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantNo, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_places_for_the_others_and_all_together_have_their_limit() {
        let places = Places::default();
        let fill = |tenant| -> Vec<Place> { std::iter::from_fn(|| places.take(TenantNo(tenant))).collect() };
        let mut all: Vec<Vec<Place>> = (0..6).map(fill).collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [EACH, EACH, EACH, EACH, 0, 0]);
        all[0].pop();
        assert!(places.take(TenantNo(1)).is_none());
        assert!(places.take(TenantNo(5)).is_some());
        drop(all);
        assert!(places.lock().is_empty());
    }
}
