//! Logs: to standard error, for people on a terminal and as JSON lines elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call changes nothing: the first one in the process wins.
pub fn init(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _already_started = if std::io::stderr().is_terminal() {
        builder.with_ansi(true).with_target(false).try_init()
    } else {
        builder.with_ansi(false).json().flatten_event(true).with_current_span(false).try_init()
    };
}
