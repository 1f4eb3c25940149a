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

use super::{
    http::{Answer, Ask},
    wait_for,
};

/// Requests at a time.
const CLIENTS: usize = 4;

/// The statuses that are right for a request.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// This one only.
    Only(u16),
    /// Either of them.
    Either(u16, u16),
}

impl Right {
    fn is(self, status: u16) -> bool {
        match self {
            Self::Only(right) => status == right,
            Self::Either(one, other) => status == one || status == other,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that the application got.
    pub allowed: usize,
    /// Answers of the class 4xx.
    pub refused: usize,
    /// Answers that nothing was decided: 503.
    pub undecided: usize,
    /// What was answered wrongly, and to what.
    pub wrong: Vec<String>,
}

impl Tally {
    /// All answers.
    pub const fn answers(&self) -> usize {
        self.allowed + self.refused + self.undecided
    }

    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.allowed += other.allowed;
        self.refused += other.refused;
        self.undecided += other.undecided;
        self.wrong.extend(other.wrong);
        self
    }

    fn count(&mut self, status: u16) {
        match status {
            503 => self.undecided += 1,
            400..=499 => self.refused += 1,
            _ => self.allowed += 1,
        }
    }
}

/// Running traffic.
pub struct Traffic {
    clients: JoinSet<()>,
    shared: Arc<Shared>,
    started: Instant,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// While it is set, 503 is right for every request, too.
    may_be_undecided: AtomicBool,
    answered: AtomicUsize,
    tally: Mutex<Tally>,
}

impl Shared {
    fn judge(&self, ask: &Ask, answer: &Answer, right: Right, may_be_undecided: bool) {
        let is_right = right.is(answer.status) || (answer.status == 503 && may_be_undecided);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(answer.status);
        if !is_right {
            let Answer { status, headers, .. } = answer;
            tally.wrong.push(format!("{status} and not {right:?} to {} {}: {headers:?} {}", ask.method, ask.target, answer.text()));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Sends what `next` makes of the requests' numbers to `to`, over a new connection each, until it is told to stop.
    pub fn start(to: SocketAddr, next: impl Fn(usize) -> (Ask, u16) + Send + Sync + 'static) -> Self {
        Self::start_judged(to, move |number| {
            let (ask, status) = next(number);
            (ask, Right::Only(status))
        })
    }

    /// The same where more than one status may be right.
    pub fn start_judged(to: SocketAddr, next: impl Fn(usize) -> (Ask, Right) + Send + Sync + 'static) -> Self {
        let (next, number) = (Arc::new(next), Arc::new(AtomicUsize::new(0)));
        let mut traffic = Self { clients: JoinSet::new(), shared: Arc::default(), started: Instant::now() };
        for _ in 0..CLIENTS {
            let (next, number, shared) = (Arc::clone(&next), Arc::clone(&number), Arc::clone(&traffic.shared));
            traffic.clients.spawn(async move {
                while !shared.stop.load(Ordering::Relaxed) {
                    let (ask, right) = next(number.fetch_add(1, Ordering::Relaxed));
                    let before = shared.may_be_undecided.load(Ordering::Relaxed);
                    let answer = ask.send(to).await;
                    shared.judge(&ask, &answer, right, before || shared.may_be_undecided.load(Ordering::Relaxed));
                }
            });
        }
        traffic
    }

    /// From now on 503 is right for every request, or is not. Counts for every request that is under way meanwhile.
    pub fn may_be_undecided(&self, may: bool) {
        self.shared.may_be_undecided.store(may, Ordering::Relaxed);
    }

    /// Waits for `count` further answers.
    pub async fn flow(&self, count: usize) {
        let until = self.shared.answered.load(Ordering::Relaxed) + count;
        wait_for(&format!("{count} answers"), async || (self.shared.answered.load(Ordering::Relaxed) >= until).then_some(())).await;
    }

    /// Whether there has been enough of it: a few seconds, minutes with `tests/run.sh --long`.
    pub fn is_enough(&self) -> bool {
        let seconds = env::var("RINGFENCE_TEST_TRAFFIC_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
        self.started.elapsed() >= Duration::from_secs(seconds)
    }

    /// Stops it: how many answers there were. Fails when there was a single wrong one.
    pub async fn stop(self) -> usize {
        let tally = self.finish().await;
        let wrong = &tally.wrong;
        let answers = tally.answers();
        assert!(
            wrong.is_empty(),
            "{} of {answers} answers were wrong:\n{}",
            wrong.len(),
            wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
        );
        answers
    }

    /// Stops it, and says what came of it.
    pub async fn finish(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
