//! Traffic that goes on while something happens, every answer of which is judged.

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{http::Ask, wait_for};

/// Requests at a time.
const CLIENTS: usize = 4;

/// One request and the status that is the only right one.
pub type Exchange = (Ask, u16);

/// Running traffic.
pub struct Traffic {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    wrong: Arc<Mutex<Vec<String>>>,
    started: Instant,
}

impl Traffic {
    /// Sends what `next` makes of the requests' numbers to `to`, over a new connection each, until it is told to stop.
    pub fn start(to: SocketAddr, next: impl Fn(usize) -> Exchange + Send + Sync + 'static) -> Self {
        let (next, number) = (Arc::new(next), Arc::new(AtomicUsize::new(0)));
        let mut traffic =
            Self { clients: JoinSet::new(), stop: Arc::default(), answered: Arc::default(), wrong: Arc::default(), started: Instant::now() };
        for _ in 0..CLIENTS {
            let (next, number) = (Arc::clone(&next), Arc::clone(&number));
            let (stop, answered, wrong) = (Arc::clone(&traffic.stop), Arc::clone(&traffic.answered), Arc::clone(&traffic.wrong));
            traffic.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (ask, expected) = next(number.fetch_add(1, Ordering::Relaxed));
                    let answer = ask.send(to).await;
                    if answer.status != expected {
                        let surprise =
                            format!("{} and not {expected} to {} {}: {:?} {}", answer.status, ask.method, ask.target, answer.headers, answer.text());
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(surprise);
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        traffic
    }

    /// Waits for `count` further answers.
    pub async fn flow(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        wait_for(&format!("{count} answers"), async || (self.answered.load(Ordering::Relaxed) >= until).then_some(())).await;
    }

    /// Whether there has been enough of it: a few seconds, minutes with `tests/run.sh --long`.
    pub fn is_enough(&self) -> bool {
        let seconds = env::var("RINGFENCE_TEST_TRAFFIC_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
        self.started.elapsed() >= Duration::from_secs(seconds)
    }

    /// Stops it: how many answers there were. Fails when there was a single wrong one.
    pub async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let Self { clients, answered, wrong, .. } = self;
        clients.join_all().await;
        let wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = answered.load(Ordering::Relaxed);
        assert!(
            wrong.is_empty(),
            "{} of {answered} answers were wrong:\n{}",
            wrong.len(),
            wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
        );
        answered
    }
}

/// Does `step` again and again while `traffic` flows, until there has been enough of it, but at least `times`.
pub async fn repeat(traffic: &Traffic, times: usize, mut step: impl AsyncFnMut(usize)) {
    let mut done = 0;
    while done < times || !traffic.is_enough() {
        step(done).await;
        done += 1;
    }
}
