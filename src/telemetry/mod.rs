//! What is told about the checks: metrics for machines, a decision log for people, and the log of the process itself.
//!
//! Each verdict comes here exactly once, from [`crate::check`]. Must not know how a verdict came about beyond what it says of itself.

mod decision_log;
mod metrics;
mod text;
mod tracing;

pub use self::{
    decision_log::{DecisionLog, DecisionLogOptions, LogPath, LogPathError, Logged, LoggedDecisions, LoggedDecisionsError, Subject},
    metrics::{Metrics, MetricsError, ReloadResult},
    text::{LogFormat, LogFormatError},
    tracing::{init_tracing, log_panics},
};

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use ringfence_core::decide::{PolicySet, Verdict};

/// Metrics and decision log of one process (of one server, where tests run several). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: Arc<DecisionLog>,
    /// When the hint at a hidden client was last given, in milliseconds since the Unix epoch.
    hinted_ms: Arc<AtomicI64>,
}

/// How often the process's log may hint at a hidden client, in milliseconds.
const HINT_EVERY_MS: i64 = 600_000;

impl Telemetry {
    /// These two together.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, log: DecisionLog) -> Self {
        Self { metrics, log: Arc::new(log), hinted_ms: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Counts and logs one verdict, at the wall time `wall_ms` (milliseconds since the Unix epoch). Never waits. Returns when the check ended.
    pub fn record(&self, verdict: &Verdict, subject: &Subject<'_>, policies: &PolicySet, wall_ms: i64) -> Instant {
        let finished = Instant::now();
        self.metrics.count(verdict, subject.wire, finished.saturating_duration_since(subject.arrived), wall_ms);
        match self.log.offer(verdict, subject, policies, finished, wall_ms) {
            Logged::Queued | Logged::Unwanted => {}
            Logged::Suppressed => self.metrics.log_suppressed(verdict),
        }
        if let Some(address) = verdict.about.hidden_client {
            self.hint_at_hidden_client(address, verdict, wall_ms);
        }
        finished
    }

    /// Also what is allowed under `onMismatch: Observe`, and so seldom logged, deserves the hint.
    fn hint_at_hidden_client(&self, address: IpAddr, verdict: &Verdict, wall_ms: i64) {
        let last = self.hinted_ms.load(Ordering::Relaxed);
        let due = wall_ms.saturating_sub(last) >= HINT_EVERY_MS;
        if due && self.hinted_ms.compare_exchange(last, wall_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let policy = verdict.about.policy.as_ref().map(|policy| policy.label.as_ref()).unwrap_or_default();
            ::tracing::warn!(
                %address,
                policy,
                "a private address was measured against public ranges: a load balancer may hide the client; see --grpc-client-address and --http-client-address"
            );
        }
    }

    /// Writes what is still queued and ends the decision log. Waits for the writer; later verdicts are counted only.
    pub fn close(&self) {
        self.log.close();
    }
}
