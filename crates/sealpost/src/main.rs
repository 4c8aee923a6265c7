//! The `sealpost` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sealpost::cli::main()
}
