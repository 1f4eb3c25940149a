//! What is counted about key sets. A key set that is no longer wanted leaves no series behind.

use std::time::SystemTime;

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::FetchFailure;

/// The `result` label of a good fetch.
const OK: &str = "ok";

/// The metrics of all key sets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyMetrics {
    keys: IntGaugeVec,
    refreshes: IntCounterVec,
    last_success: GaugeVec,
    suppressed: IntCounterVec,
}

impl KeyMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When one of them is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            keys: IntGaugeVec::new(Opts::new("ringfence_jwks_keys", "Usable keys of a key set that are in force."), &["key_set"])?,
            refreshes: IntCounterVec::new(
                Opts::new("ringfence_jwks_refreshes_total", "Fetches of a key set, by what came of them."),
                &["key_set", "result"],
            )?,
            last_success: GaugeVec::new(
                Opts::new("ringfence_jwks_last_success_timestamp_seconds", "When the last good fetch of a key set began, as Unix time."),
                &["key_set"],
            )?,
            suppressed: IntCounterVec::new(
                Opts::new(
                    "ringfence_jwks_refetch_suppressed_total",
                    "Requests with an unknown key that did not lead to a fetch: none was left in the budget.",
                ),
                &["key_set"],
            )?,
        };
        registry.register(Box::new(metrics.keys.clone()))?;
        registry.register(Box::new(metrics.refreshes.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.suppressed.clone()))?;
        Ok(metrics)
    }

    /// A key set is wanted: what is counted of it starts at zero.
    pub(super) fn appear(&self, key_set: &str) {
        self.keys.with_label_values(&[key_set]).set(0);
        self.refreshes.with_label_values(&[key_set, OK]);
        self.suppressed.with_label_values(&[key_set]);
    }

    /// A fetch brought these keys.
    pub(super) fn succeed(&self, key_set: &str, keys: usize, began: SystemTime) {
        self.keys.with_label_values(&[key_set]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.refreshes.with_label_values(&[key_set, OK]).inc();
        let seconds = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.last_success.with_label_values(&[key_set]).set(seconds);
    }

    /// A fetch brought nothing.
    pub(super) fn fail(&self, key_set: &str, failure: FetchFailure) {
        self.refreshes.with_label_values(&[key_set, failure.label()]).inc();
    }

    /// The last good keys are in force again, without a fetch.
    pub(super) fn restore(&self, key_set: &str, keys: usize) {
        self.keys.with_label_values(&[key_set]).set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// The last good keys are too old.
    pub(super) fn expire(&self, key_set: &str) {
        self.keys.with_label_values(&[key_set]).set(0);
    }

    /// A request had to do without a fetch.
    pub(super) fn suppress(&self, key_set: &str) {
        self.suppressed.with_label_values(&[key_set]).inc();
    }

    /// A key set is no longer wanted.
    pub(super) fn vanish(&self, key_set: &str) {
        // A series that never came to be is nothing to remove.
        let _ = self.keys.remove_label_values(&[key_set]);
        let _ = self.last_success.remove_label_values(&[key_set]);
        let _ = self.suppressed.remove_label_values(&[key_set]);
        for result in FetchFailure::LABELS.iter().chain(&[OK]) {
            let _ = self.refreshes.remove_label_values(&[key_set, result]);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_set_that_vanishes_leaves_no_series() {
        let registry = Registry::new();
        let metrics = KeyMetrics::new(&registry).unwrap();
        for key_set in ["https://a", "https://b"] {
            metrics.appear(key_set);
            metrics.succeed(key_set, 2, SystemTime::now());
            metrics.fail(key_set, FetchFailure::Status(500));
            metrics.suppress(key_set);
        }
        metrics.vanish("https://a");
        let families = registry.gather();
        assert_eq!(families.len(), 4);
        let series: Vec<_> = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric).collect();
        assert_eq!(series.len(), 5);
        assert!(series.iter().all(|metric| metric.get_label().iter().any(|label| label.value() == "https://b")));
    }
}
