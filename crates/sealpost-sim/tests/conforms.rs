//! The store of the simulation is a store.

#[path = "../../sealpost-store/tests/conformance/mod.rs"]
mod conformance;

use std::sync::Arc;

use sealpost_sim::memory::{Calm, Disk};
use sealpost_store::Store;

struct Memory(Disk);

impl conformance::Backend for Memory {
    fn new() -> Self {
        Self(Disk::default())
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.open(Arc::new(Calm), None))
    }
}

conformance::conformance!(Memory);
