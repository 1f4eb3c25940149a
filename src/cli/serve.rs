//! `ringfence serve`: the service, from its settings to its end.

mod admission;
mod follow;
mod offices;
mod server;
#[cfg(test)]
mod tests;

pub use server::{RunningServer, Server, StartError};

use std::io;

use anyhow::Context;
use clap::ArgMatches;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use super::Outcome;
use crate::{
    listen::raise_descriptor_limit,
    settings::Settings,
    telemetry::{init_tracing, log_panics},
};

/// Threads beside those that answer checks: for keys, configuration, health and metrics.
const HOUSEKEEPING_THREADS: usize = 2;

/// Runs the service until it is told to leave.
///
/// # Errors
/// Settings that cannot be used, a folder that cannot be read, an address that cannot be listened on.
pub fn run(matches: &ArgMatches) -> anyhow::Result<Outcome> {
    let settings = Settings::read(matches, std::env::vars_os())?;
    if let Err(error) = init_tracing(settings.log.log_format, &settings.log.log_level) {
        anyhow::bail!("`--log-level`: {error}");
    }
    log_panics();
    raise_descriptor_limit();
    let runtime = runtime().context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(settings));
    // A name that does not resolve may block a thread for long; nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

/// What everything but the checks runs on.
///
/// # Errors
/// The system's, when it gives no thread.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(HOUSEKEEPING_THREADS).thread_name("housekeeping").enable_all().build()
}

async fn serve(settings: Settings) -> anyhow::Result<Outcome> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let server = Server::start(settings).await?;
    while let Asked::Reload = signals.next().await {
        server.reload().await;
    }
    tracing::info!("leaving");
    tokio::select! {
        () = server.shutdown() => tracing::info!("left in order"),
        () = signals.leave() => tracing::warn!("asked again to leave: gone at once"),
    }
    Ok(Outcome::Yes)
}

/// What the process is asked for from outside.
enum Asked {
    Reload,
    Leave,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hang_up: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::Leave,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    async fn leave(&mut self) {
        while let Asked::Reload = self.next().await {}
    }
}
