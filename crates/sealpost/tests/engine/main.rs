//! The engine over the real store, with scripted receivers and a clock that is moved by hand.

mod faults;
mod isolation;
mod parked;
mod service;
mod story;
mod truvera;
mod upkeep;
mod wire;
