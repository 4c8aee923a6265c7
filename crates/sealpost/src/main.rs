//! The `sealpost` program; everything is in the library.

use std::process::ExitCode;

/// A delivery is some hundred small allocations that end on another thread than they began on, which the system's
/// allocator pays for with locks and consolidation. docs/performance.md says what others cost.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    leave_no_dump();
    sealpost::cli::main()
}

/// Memory holds keys and payloads in the clear: a crash must not write it to a file, and no other process of this user
/// may read it.
fn leave_no_dump() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // Lowering one's own limit is always allowed, and without it everything else still holds.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Where cores go to a program instead of a file, the limit is not asked.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
