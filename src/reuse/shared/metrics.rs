//! What is counted about a shared store.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::Outcome;

/// Upper bounds of the duration's buckets, in seconds, up to the budget and a little beyond.
const BUCKETS: &[f64] = &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.05];

/// The metrics of a shared store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedStoreMetrics {
    connected: IntGauge,
    durations: Histogram,
    outcomes: [IntCounter; Outcome::ALL.len()],
}

impl SharedStoreMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When one of them is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let connected = IntGauge::new("ringfence_reuse_store_connected", "Whether the shared store of used tokens is connected: 1 or 0.")?;
        let durations = HistogramOpts::new("ringfence_reuse_store_duration_seconds", "Time that the shared store of used tokens took to answer.");
        let durations = Histogram::with_opts(durations.buckets(BUCKETS.to_vec()))?;
        let commits = IntCounterVec::new(
            Opts::new("ringfence_reuse_store_commits_total", "Tokens that the shared store was to remember, by what came of it."),
            &["result"],
        )?;
        registry.register(Box::new(connected.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(commits.clone()))?;
        Ok(Self { connected, durations, outcomes: Outcome::ALL.map(|outcome| commits.with_label_values(&[outcome.label()])) })
    }

    /// Whether there is a connection from now on.
    pub(super) fn connected(&self, connected: bool) {
        self.connected.set(connected.into());
    }

    /// One commit ended, after `asked` if the store was asked.
    pub(super) fn count(&self, outcome: Outcome, asked: Option<Duration>) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.inc();
        }
        if let Some(asked) = asked {
            self.durations.observe(asked.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_own_label() {
        let registry = Registry::new();
        let metrics = SharedStoreMetrics::new(&registry).unwrap();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| metrics.count(outcome, None));
        }
        let families = registry.gather();
        let commits = families.iter().find(|family| family.name() == "ringfence_reuse_store_commits_total").unwrap();
        for (times, outcome) in Outcome::ALL.into_iter().enumerate() {
            let series = commits.get_metric().iter().find(|metric| metric.get_label().iter().any(|label| label.value() == outcome.label()));
            assert_eq!(series.unwrap().get_counter().get_value(), times as f64, "{outcome:?}");
        }
    }
}
