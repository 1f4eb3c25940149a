//! The log of the process itself, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

use super::LogFormat;

/// Sends the process's log to standard error from now on. `level`: `error` to `trace`, or a filter as `info,ringfence::keys=debug`.
///
/// # Errors
/// When `level` is neither, or a log was set up before.
pub fn init_tracing(format: LogFormat, level: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()?,
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).finish().try_init()?,
    }
    Ok(())
}

/// Writes panics to the log from now on: where, and never what, since a panic's message may quote a request.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault inside ringfence; please report it with this place");
    }));
}
