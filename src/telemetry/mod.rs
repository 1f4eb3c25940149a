//! What is told about the checks: metrics for machines, a decision log for people, and the log of the process itself.
//!
//! Each verdict comes here exactly once, from [`crate::check`]. Must not know how a verdict came about beyond what it says of itself.

mod decision_log;
mod metrics;
mod text;
mod tracing;

pub use self::{
    decision_log::{DecisionLog, DecisionLogOptions, LogPath, LogPathError, Logged, LoggedDecisions, LoggedDecisionsError, Subject},
    metrics::{Metrics, ReloadResult},
    text::{LogFormat, LogFormatError},
    tracing::{init_tracing, log_panics},
};

use std::{sync::Arc, time::Instant};

use ringfence_core::decide::{PolicySet, Verdict};

/// Metrics and decision log of one process (of one server, where tests run several). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: Arc<Metrics>,
    log: Arc<DecisionLog>,
}

impl Telemetry {
    /// These two together.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, log: DecisionLog) -> Self {
        Self { metrics, log: Arc::new(log) }
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Counts and logs one verdict, at the wall time `wall_ms` (milliseconds since the Unix epoch). Never waits.
    pub fn record(&self, verdict: &Verdict, subject: &Subject<'_>, policies: &PolicySet, wall_ms: i64) {
        let finished = Instant::now();
        self.metrics.count(verdict, subject.wire, finished.saturating_duration_since(subject.arrived), wall_ms);
        match self.log.offer(verdict, subject, policies, finished, wall_ms) {
            Logged::Queued | Logged::Unwanted => {}
            Logged::Suppressed => self.metrics.log_suppressed(verdict.reason_label()),
        }
    }

    /// Writes what is still queued and ends the decision log. Waits for the writer; later verdicts are counted only.
    pub fn close(&self) {
        self.log.close();
    }
}
