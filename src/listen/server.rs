//! Starting, serving and leaving in order.
//!
//! Leaving: health says NOT_SERVING and HTTP/1 answers say `connection: close`, everything is still served; then nobody new is accepted, every
//! connection is asked to end (GOAWAY), and what is in flight finishes; then it is over. `/metrics` and `/livez` answer to the last.

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use prometheus::Registry;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::ready::Readiness;

use super::{
    AdmissionListener, Decide, GrpcListener, HttpListener, ListenError, MetricsListener, Review,
    accept::{Door, Presence, Protocol, accept},
    connection::Phase,
    socket::{Acceptor, Socket},
    tls::Tls,
    workers::Workers,
};

/// How long the steps of leaving take.
#[derive(Clone, Copy, Debug)]
pub struct ShutdownTimes {
    /// How long everything is still served while the word spreads.
    pub announce: Duration,
    /// How long requests in flight may take after that.
    pub drain: Duration,
}

impl Default for ShutdownTimes {
    fn default() -> Self {
        Self { announce: Duration::from_secs(5), drain: Duration::from_secs(10) }
    }
}

/// Everything that is served. To be used inside a tokio runtime, which accepts and does the work beside the checks.
///
/// Dropping it ends everything at once.
#[derive(Debug)]
pub struct Server {
    workers: Arc<Workers>,
    phase: watch::Sender<Phase>,
    presence: Presence,
    gone: mpsc::Receiver<Infallible>,
}

impl Server {
    /// Starts the threads that answer checks; one per core is best.
    ///
    /// # Errors
    /// [`ListenError::Workers`].
    pub fn start(workers: NonZeroUsize) -> Result<Self, ListenError> {
        let (presence, gone) = mpsc::channel(1);
        let workers = Arc::new(Workers::start(workers).map_err(ListenError::Workers)?);
        Ok(Self { workers, phase: watch::Sender::new(Phase::Serving), presence, gone })
    }

    /// Serves gRPC checks and `grpc.health.v1`, which says what `readiness` says.
    ///
    /// # Errors
    /// [`ListenError::Bind`] if the socket cannot be registered with the runtime.
    pub fn serve_grpc<D: Decide>(&self, listener: GrpcListener, decide: &Arc<D>, readiness: &Readiness) -> Result<(), ListenError> {
        let (socket, door, tls, protocol) = listener.open(Arc::clone(decide), readiness, self.phase.subscribe());
        self.serve(socket, door, tls, protocol)
    }

    /// Serves HTTP checks.
    ///
    /// # Errors
    /// [`ListenError::Bind`] if the socket cannot be registered with the runtime.
    pub fn serve_http<D: Decide>(&self, listener: HttpListener, decide: &Arc<D>) -> Result<(), ListenError> {
        let (socket, door, tls, protocol) = listener.open(Arc::clone(decide));
        self.serve(socket, door, tls, protocol)
    }

    /// Serves health and metrics until the very end.
    ///
    /// # Errors
    /// [`ListenError::Bind`] if the socket cannot be registered with the runtime.
    pub fn serve_metrics(&self, listener: MetricsListener, registry: Registry, readiness: Readiness) -> Result<(), ListenError> {
        listener.serve(registry, readiness, self.phase.subscribe())
    }

    /// Serves reviews of objects until connections are drained.
    ///
    /// # Errors
    /// [`ListenError::Bind`] if the socket cannot be registered with the runtime.
    pub fn serve_admission<R: Review>(&self, listener: AdmissionListener, review: &Arc<R>, registry: &Registry) -> Result<(), ListenError> {
        listener.serve(Arc::clone(review), registry, self.phase.subscribe())
    }

    fn serve<P: Protocol>(&self, socket: Socket, door: Door, tls: Option<Arc<Tls>>, protocol: P) -> Result<(), ListenError> {
        let label = door.label();
        let acceptor = Acceptor::new(socket)?;
        if let Some(tls) = tls {
            tokio::spawn(tls.keep_fresh(label, self.phase.subscribe()));
        }
        let (workers, phases, presence) = (Arc::clone(&self.workers), self.phase.subscribe(), self.presence.clone());
        tokio::spawn(accept(acceptor, Arc::new(door), Arc::new(protocol), workers, phases, presence));
        Ok(())
    }

    /// Leaves in order: announces, drains, closes. No request in flight fails that ends within `times`.
    pub async fn shutdown(self, times: ShutdownTimes) {
        let Self { workers, phase, presence, mut gone } = self;
        phase.send_replace(Phase::Leaving);
        sleep(times.announce).await;
        phase.send_replace(Phase::Draining);
        drop(presence);
        if timeout(times.drain, gone.recv()).await.is_err() {
            tracing::warn!("connections are still open after the drain; they are closed now");
        }
        phase.send_replace(Phase::Closed);
        // Ends the threads; joining them blocks for as long as a job that never yields.
        let _ = tokio::task::spawn_blocking(move || drop(workers)).await;
    }
}

#[cfg(test)]
mod tests;
