//! The built program as people and scripts use it: real processes, a real store, real sockets on this machine.

mod cli {
    mod demo;
    mod offline;
    mod receiving;
    mod serving;
    mod support;
}
