//! `sealpost completions SHELL`

use clap::{Args, Command};
use clap_complete::Shell;

use super::client::Failure;
use super::output;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: CompletionsArgs, command: &mut Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "sealpost", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}
