//! One acceptor per listener: who may connect and how many, and the hand-over to a worker in turn.
//!
//! Must not know: what is asked over a connection.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use ringfence_core::decide::RangeSet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    connection::{Closable, Life, Phase, drive, jittered, reached},
    descriptors::room,
    settings::ConnectionSettings,
    socket::{Accepted, Acceptor},
    tls::Tls,
    workers::{Job, Workers},
};

/// How long to wait after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// What is spoken over a listener's connections.
pub(super) trait Protocol: Send + Sync + 'static {
    /// Starts to serve one connection on this thread.
    fn serve<IO>(self: Arc<Self>, io: IO, life: &Rc<Life>) -> impl Closable
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static;
}

/// What a listener knows about its connections.
#[derive(Debug)]
pub(super) struct Door {
    /// `grpc` or `http`, for logs.
    label: &'static str,
    allow_from: RangeSet,
    tls: Option<Arc<Tls>>,
    max_age: Duration,
    handshake_timeout: Duration,
    room: Arc<Semaphore>,
    turned_away: Occasionally,
}

impl Door {
    pub(super) fn new(label: &'static str, settings: &ConnectionSettings, tls: Option<Arc<Tls>>) -> Self {
        Self {
            label,
            allow_from: RangeSet::new(&settings.allow_from),
            tls,
            max_age: settings.max_age,
            handshake_timeout: settings.handshake_timeout,
            room: Arc::new(Semaphore::new(room(settings.max_connections).min(Semaphore::MAX_PERMITS))),
            turned_away: Occasionally::default(),
        }
    }

    /// The listener's name, for logs.
    pub(super) fn label(&self) -> &'static str {
        self.label
    }

    /// Whether this connection may come in, and its place if so.
    fn admit(&self, peer: Option<IpAddr>) -> Option<OwnedSemaphorePermit> {
        if let Some(peer) = peer.filter(|peer| !self.allow_from.contains(*peer)) {
            if let Some(times) = self.turned_away.now() {
                tracing::warn!(listener = self.label, %peer, times, "refused a connection: the peer is not in `--check-allow-from`");
            }
            return None;
        }
        let place = Arc::clone(&self.room).try_acquire_owned().ok();
        if place.is_none()
            && let Some(times) = self.turned_away.now()
        {
            tracing::warn!(listener = self.label, times, "refused a connection: there are too many");
        }
        place
    }
}

/// Held by everything that must end before the process does.
pub(super) type Presence = mpsc::Sender<Infallible>;

/// Accepts until the process drains, then whoever is already in the queue.
pub(super) async fn accept<P: Protocol>(
    acceptor: Acceptor,
    door: Arc<Door>,
    protocol: Arc<P>,
    workers: Arc<Workers>,
    phases: watch::Receiver<Phase>,
    presence: Presence,
) {
    let deal = |accepted: io::Result<(Accepted, Option<IpAddr>)>| {
        let (stream, peer) = accepted?;
        if let Some(place) = door.admit(peer) {
            workers.deal(job(stream, Arc::clone(&door), Arc::clone(&protocol), phases.clone(), (place, presence.clone())));
        }
        Ok::<(), io::Error>(())
    };
    let mut draining = phases.clone();
    loop {
        select! {
            biased;
            () = reached(&mut draining, Phase::Draining) => break,
            accepted = acceptor.accept() => {
                if let Err(error) = deal(accepted)
                    && !is_the_peers_fault(&error)
                {
                    tracing::error!(listener = door.label, %error, "cannot accept a connection");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }
    while let Some(accepted) = acceptor.accept().now_or_never() {
        if deal(accepted).is_err_and(|error| !is_the_peers_fault(&error)) {
            break;
        }
    }
    // The process may end once nobody is present, and a Unix socket's file is to be gone by then.
    drop(acceptor);
    drop(presence);
}

fn is_the_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected
    )
}

/// One connection, to be served on the thread it is dealt to. `held` is let go when it ends.
fn job<P: Protocol>(
    stream: Accepted,
    door: Arc<Door>,
    protocol: Arc<P>,
    phases: watch::Receiver<Phase>,
    held: (OwnedSemaphorePermit, Presence),
) -> Job {
    Box::new(move || {
        Box::pin(async move {
            let _held = held;
            if let Err(error) = serve(stream, &door, protocol, phases).await {
                tracing::debug!(listener = door.label, %error, "a connection did not come about");
            }
        })
    })
}

async fn serve<P: Protocol>(stream: Accepted, door: &Door, protocol: Arc<P>, phases: watch::Receiver<Phase>) -> io::Result<()> {
    let life = Rc::new(Life::default());
    let max_age = jittered(door.max_age);
    match (stream, &door.tls) {
        (Accepted::Unix(stream), _) => {
            let connection = protocol.serve(tokio::net::UnixStream::from_std(stream)?, &life);
            drive(connection, &life, max_age, phases).await;
        }
        (Accepted::Tcp(stream), None) => {
            let connection = protocol.serve(tokio::net::TcpStream::from_std(stream)?, &life);
            drive(connection, &life, max_age, phases).await;
        }
        (Accepted::Tcp(stream), Some(tls)) => {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let stream = timeout(door.handshake_timeout, tls.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            drive(protocol.serve(stream, &life), &life, max_age, phases).await;
        }
    }
    Ok(())
}

/// Lets something be said once a minute, with how often it happened since.
#[derive(Debug)]
struct Occasionally {
    began: Instant,
    next_second: AtomicU64,
    times: AtomicU64,
}

impl Default for Occasionally {
    fn default() -> Self {
        Self { began: Instant::now(), next_second: AtomicU64::new(0), times: AtomicU64::new(0) }
    }
}

impl Occasionally {
    /// Counts one; how many since it was last said, if it may be said now.
    fn now(&self) -> Option<u64> {
        self.times.fetch_add(1, Ordering::Relaxed);
        let second = self.began.elapsed().as_secs();
        let next = self.next_second.load(Ordering::Relaxed);
        let due = second >= next && self.next_second.compare_exchange(next, second + 60, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        due.then(|| self.times.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn peers_outside_the_ranges_are_turned_away() {
        let door = Door::new("grpc", &ConnectionSettings::default(), None);
        assert!(door.admit(Some("10.1.2.3".parse().unwrap())).is_some());
        assert!(door.admit(Some("203.0.113.1".parse().unwrap())).is_none());
        assert!(door.admit(None).is_some(), "a Unix socket has no address");
    }

    #[test]
    fn one_connection_too_many_is_turned_away_until_another_ends() {
        let door = Door::new("grpc", &ConnectionSettings { max_connections: 1, ..ConnectionSettings::default() }, None);
        let first = door.admit(None);
        assert!(first.is_some());
        assert!(door.admit(None).is_none());
        drop(first);
        assert!(door.admit(None).is_some());
    }

    #[test]
    fn a_flood_is_logged_once_with_its_number() {
        let occasionally = Occasionally::default();
        assert_eq!(occasionally.now(), Some(1));
        assert_eq!((0..100).filter_map(|_| occasionally.now()).count(), 0);
    }
}
