//! The `sealpost` program; everything is in the library.

use std::process::ExitCode;

/// A delivery is some hundred small allocations that end on another thread than they began on, which the system's
/// allocator pays for with locks and consolidation. docs/performance.md says what others cost.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    sealpost::cli::main()
}
