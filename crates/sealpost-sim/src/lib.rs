//! A deterministic simulation of the delivery engine. So far: the store it runs on.

pub mod memory;
