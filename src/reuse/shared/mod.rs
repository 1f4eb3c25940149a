//! Seen tokens in a Redis or Valkey that all replicas share.
//!
//! One question per token: `SET key id NX PX lifetime`, which one of all replicas wins, and `GET key` behind it in the same packet, which says
//! whose it was. That is one round trip in every version of either server. Whatever is no clear answer in time is [`ReuseAnswer::Unknown`].
//!
//! One connection carries everything; while there is none, every question is answered at once.
//!
//! | file | what it knows |
//! |---|---|
//! | `address` | the URL, and how to show it |
//! | `connect` | TCP, TLS, the login, and whether the store is fit to be asked |
//! | `keeper` | when to connect again |
//! | `question` | what is sent, and what the answer means |
//! | `metrics` | what is counted |

mod address;
mod connect;
mod keeper;
mod metrics;
mod question;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use ringfence_core::decide::{ReuseAnswer, ReuseClaim};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    task::AbortHandle,
    time::timeout_at,
};

use self::{connect::Connector, keeper::Keeper, question::Question};

pub use self::{address::StoreAddress, connect::StoreError, metrics::SharedStoreMetrics};

/// The longest that the store is waited for.
const BUDGET: Duration = Duration::from_millis(20);

/// A shared store, as an operator chooses it.
#[derive(Clone, Debug)]
pub struct SharedStoreSettings {
    /// Where it is.
    pub address: StoreAddress,
    /// PEM certificates that are trusted beside the system's.
    pub extra_roots: Vec<u8>,
    /// Tokens that may be asked about at a time: others are not held up by a slow store.
    pub most_asked: usize,
}

/// What a shared store needs from around it.
pub struct SharedStoreSurroundings {
    /// What is counted.
    pub metrics: SharedStoreMetrics,
    /// A random fraction from 0 to 1, so that replicas do not connect all at once.
    pub fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Where the connection lives, whoever asks.
    pub runtime: Handle,
}

/// Remembers claims in a Redis or Valkey. The connection ends with it.
pub struct SharedStore {
    link: Arc<Link>,
    asked: Semaphore,
    metrics: SharedStoreMetrics,
    tried: watch::Receiver<bool>,
    keeper: AbortHandle,
}

/// What whoever asks shares with the keeper.
struct Link {
    /// `None` while there is nobody to ask.
    connection: ArcSwapOption<MultiplexedConnection>,
    /// Something was wrong with an answer.
    doubt: Notify,
}

/// What came of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Never seen before, or the same check again.
    First,
    Reused,
    /// No answer within the time.
    TimedOut,
    /// There is no connection, or it broke.
    Disconnected,
    /// As many as may be asked about at a time are.
    Busy,
    /// The store answered with an error.
    Refused,
    /// An answer that says neither yes nor no.
    Unclear,
}

impl Outcome {
    const ALL: [Self; 7] = [Self::First, Self::Reused, Self::TimedOut, Self::Disconnected, Self::Busy, Self::Refused, Self::Unclear];

    /// The `result` label.
    const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Reused => "reused",
            Self::TimedOut => "timed_out",
            Self::Disconnected => "disconnected",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Unclear => "unclear",
        }
    }

    // FAIL-CLOSED: only_a_clear_answer_is_one
    const fn answer(self) -> ReuseAnswer {
        match self {
            Self::First => ReuseAnswer::First,
            Self::Reused => ReuseAnswer::Reused,
            Self::TimedOut | Self::Disconnected | Self::Busy | Self::Refused | Self::Unclear => ReuseAnswer::Unknown,
        }
    }

    /// Whether the connection should be looked at.
    const fn is_doubtful(self) -> bool {
        match self {
            Self::TimedOut | Self::Disconnected | Self::Refused => true,
            Self::First | Self::Reused | Self::Busy | Self::Unclear => false,
        }
    }
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore").field("is_connected", &self.link.connection.load().is_some()).finish_non_exhaustive()
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl SharedStore {
    /// A store under `settings`, which is connected to from now on, for as long as this lives.
    ///
    /// # Errors
    /// [`StoreError`]: the certificates cannot be read, or the host has no name that a certificate could carry.
    pub fn start(settings: &SharedStoreSettings, surroundings: SharedStoreSurroundings) -> Result<Self, StoreError> {
        let SharedStoreSurroundings { metrics, fraction, runtime } = surroundings;
        let connector = Connector::new(&settings.address, &settings.extra_roots, settings.most_asked)?;
        let link = Arc::new(Link { connection: ArcSwapOption::empty(), doubt: Notify::new() });
        let (attempted, tried) = watch::channel(false);
        let keeper = Keeper { connector, link: Arc::clone(&link), metrics: metrics.clone(), fraction, attempted };
        let keeper = runtime.spawn(keeper.keep()).abort_handle();
        Ok(Self { link, asked: Semaphore::new(settings.most_asked.min(Semaphore::MAX_PERMITS)), metrics, tried, keeper })
    }

    /// Waits until the first attempt to connect has ended, whichever way.
    pub async fn first_attempted(&self) {
        // If the keeper is gone, nothing is left to wait for.
        let _ = self.tried.clone().wait_for(|tried| *tried).await;
    }

    /// Whether asking would be in vain: then the answer is here at once, and counted.
    pub(super) fn answer_at_once(&self) -> Option<ReuseAnswer> {
        if self.link.connection.load().is_some() {
            return None;
        }
        self.metrics.count(Outcome::Disconnected, None);
        Some(Outcome::Disconnected.answer())
    }

    /// Remembers `claim` at the effective time `now_ms`, in all replicas at once; waits until `deadline`, and [`BUDGET`], at the latest.
    pub(super) async fn commit(&self, claim: &ReuseClaim, now_ms: i64, deadline: Option<Instant>) -> ReuseAnswer {
        let began = Instant::now();
        let until = deadline.map_or(began + BUDGET, |deadline| deadline.min(began + BUDGET));
        let outcome = self.ask(&Question::new(claim, now_ms), until).await;
        if outcome.is_doubtful() {
            self.link.doubt.notify_one();
        }
        self.metrics.count(outcome, Some(began.elapsed()).filter(|_| outcome != Outcome::Busy));
        outcome.answer()
    }

    async fn ask(&self, question: &Question, until: Instant) -> Outcome {
        let Some(connection) = self.link.connection.load_full() else { return Outcome::Disconnected };
        let Ok(_place) = self.asked.try_acquire() else { return Outcome::Busy };
        let mut connection = MultiplexedConnection::clone(&connection);
        timeout_at(until.into(), question.ask(&mut connection)).await.unwrap_or(Outcome::TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_is_one() {
        for outcome in Outcome::ALL {
            let is_clear = matches!(outcome, Outcome::First | Outcome::Reused);
            assert_eq!(outcome.answer() == ReuseAnswer::Unknown, !is_clear, "{outcome:?}");
        }
    }
}
