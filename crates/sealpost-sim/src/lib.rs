//! A deterministic simulation of the delivery engine: the real `app` and `engine` over a store in memory, receivers with
//! moods, a clock that jumps and dice that repeat. A seed gives the same run every time, bit by bit.
//!
//! [`run::run`] lets processes live one after the other on one [`memory::Disk`] and kills them wherever they are;
//! [`judge`] compares what callers heard and what receivers got with what is stored.

pub mod clock;
pub mod coverage;
pub mod dice;
pub mod judge;
pub mod ledger;
pub mod life;
pub mod memory;
pub mod power_loss;
pub mod probe;
pub mod receivers;
pub mod run;
pub mod weather;
pub mod workload;
pub mod world;
