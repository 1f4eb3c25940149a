//! How long a connection lives and how it ends: asked to go when it is old or the process leaves, and cut only when it does not.
//!
//! Must not know: what is asked over it.

use std::{
    cell::Cell,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::server::graceful::GracefulConnection;
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// How a process ends, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Everything is served.
    Serving,
    /// Everything is served, and whoever asks is told to go elsewhere.
    Leaving,
    /// Nobody new is accepted; who is here finishes.
    Draining,
    /// Over.
    Closed,
}

/// Waits for `phase` or a later one.
pub(super) async fn reached(phases: &mut watch::Receiver<Phase>, phase: Phase) {
    // An error says that the server is gone: that is Closed.
    let _ = phases.wait_for(|now| *now >= phase).await;
}

/// How long a connection is served at least, so that one that comes as the process leaves can still ask.
const MIN_AGE: Duration = Duration::from_secs(1);
/// How long an HTTP/1 connection that is too old may wait for one more request, whose answer then says `connection: close`.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long requests in flight may take after the peer of an old connection was told to open another.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// What a connection and the requests on it tell each other.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The connection is to end: HTTP/1 answers say so.
    pub(super) closing: Cell<bool>,
    /// It speaks HTTP/1, which has no way to say "no more" on its own.
    pub(super) http1: Cell<bool>,
}

/// A connection that can be asked to end. It is served for as long as it is polled.
pub(super) trait Closable: Future {
    /// Asks it to end: what is under way is answered, and the peer is told to ask elsewhere from now on.
    fn close(self: Pin<&mut Self>);
}

/// A connection that hyper serves.
impl<C: GracefulConnection> Closable for C {
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves `connection` until it ends, for about `max_age`.
pub(super) async fn drive<C: Closable>(connection: C, life: &Rc<Life>, max_age: Duration, mut phases: watch::Receiver<Phase>) {
    let mut connection = pin!(connection);
    select! {
        biased;
        _ = connection.as_mut() => return,
        () = end_of(life, max_age, phases.clone()) => {}
    }
    connection.as_mut().close();
    select! {
        biased;
        _ = connection => {}
        () = sleep(LAST_ANSWER) => {}
        () = reached(&mut phases, Phase::Closed) => {}
    }
}

/// Waits until the connection should be asked to end.
async fn end_of(life: &Rc<Life>, max_age: Duration, mut phases: watch::Receiver<Phase>) {
    let accepted = Instant::now();
    let mut leaving = phases.clone();
    select! {
        () = sleep(max_age) => {
            life.closing.set(true);
            if life.http1.get() {
                select! {
                    () = sleep(LAST_REQUEST) => {}
                    () = reached(&mut phases, Phase::Draining) => {}
                }
            }
        }
        () = reached(&mut leaving, Phase::Leaving) => {
            life.closing.set(true);
            reached(&mut phases, Phase::Draining).await;
            sleep_until(accepted + MIN_AGE).await;
        }
    }
}

/// `age`, give or take a fifth, evenly spread over connections: by the golden ratio, from a start that differs per process.
pub(super) fn jittered(age: Duration) -> Duration {
    static TURN: OnceLock<AtomicU64> = OnceLock::new();
    let turn = TURN.get_or_init(|| AtomicU64::new(RandomState::new().hash_one(0)));
    let point = turn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) >> 32;
    let unit = u32::try_from(point).map_or(0.5, |point| f64::from(point) / f64::from(u32::MAX));
    age.mul_f64(0.8 + 0.4 * unit)
}

/// Runs what hyper wants to run beside a connection on the connection's own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct SameThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for SameThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn ages_differ_by_a_fifth_at_most_and_spread_over_it() {
        let age = Duration::from_secs(300);
        let ages: Vec<_> = (0..100).map(|_| jittered(age)).collect();
        assert!(ages.iter().all(|one| (Duration::from_secs(240)..=Duration::from_secs(360)).contains(one)), "{ages:?}");
        assert!(ages.iter().any(|one| *one < Duration::from_secs(250)), "{ages:?}");
        assert!(ages.iter().any(|one| *one > Duration::from_secs(350)), "{ages:?}");
    }

    const LONG: Duration = Duration::from_secs(300);

    #[tokio::test]
    async fn an_old_connection_ends_and_http1_may_ask_once_more() {
        let (phase, phases) = watch::channel(Phase::Serving);
        let life = Rc::new(Life::default());
        end_of(&life, Duration::from_millis(10), phases.clone()).await;
        assert!(life.closing.get());

        let life = Rc::new(Life::default());
        life.http1.set(true);
        let mut end = pin!(end_of(&life, Duration::from_millis(10), phases.clone()));
        select! { biased; () = &mut end => panic!("no time for one more request"), () = sleep(Duration::from_millis(100)) => {} }
        assert!(life.closing.get(), "answers must say close by now");
        phase.send_replace(Phase::Draining);
        end.await;
    }

    #[tokio::test]
    async fn a_connection_that_comes_while_draining_may_still_ask() {
        let (_phase, phases) = watch::channel(Phase::Draining);
        let began = Instant::now();
        end_of(&Rc::default(), LONG, phases).await;
        assert!(began.elapsed() >= MIN_AGE);
    }

    #[tokio::test]
    async fn leaving_says_close_and_draining_ends() {
        let (phase, phases) = watch::channel(Phase::Leaving);
        let life = Rc::new(Life::default());
        let mut end = pin!(end_of(&life, LONG, phases));
        select! { biased; () = &mut end => panic!("leaving is not yet the end"), () = sleep(MIN_AGE) => {} }
        assert!(life.closing.get());
        phase.send_replace(Phase::Draining);
        end.await;
    }

    #[tokio::test]
    async fn a_server_that_is_gone_ends_its_connections() {
        let (phase, phases) = watch::channel(Phase::Serving);
        drop(phase);
        end_of(&Rc::default(), LONG, phases).await;
    }
}
