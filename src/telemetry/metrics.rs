//! What is counted, under the names and labels that the documentation promises. Labels are bounded: never anything from the wire.

mod series;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, PullingGauge, Registry, TextEncoder,
    core::Collector,
};
use ringfence_core::{
    compile::{FindingReason, Report, Severity},
    decide::{AllowReason, Decision, Floor, Mode, Policy, PolicyId, PolicySet, Reason, Rules, Verdict, Wire},
};

pub use prometheus::Error as MetricsError;
use series::Series;

/// Upper bounds of the duration's buckets, in seconds: a check that needs no fetch takes tens of microseconds.
const BUCKETS: &[f64] = &[0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// The low 48 bits: what a floating-point number, which every metric is, holds exactly.
const HASH_MASK: u64 = 0xffff_ffff_ffff;

/// How a change of configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// It is in force.
    Applied,
    /// It cannot be read; the one before it stays in force.
    Refused,
}

impl ReloadResult {
    /// The `result` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    series: Series,
    durations: PerWire<PerDecision<Histogram>>,
    in_flight: Arc<AtomicUsize>,
    shed: IntCounterVec,
    floors: IntCounterVec,
    policies: IntGaugeVec,
    reloads: IntCounterVec,
    config_hash: IntGauge,
    source_ranges: IntGaugeVec,
    watched: IntGaugeVec,
    log_suppressed: IntCounterVec,
    /// Those of `log_suppressed` that were counted, by reason: a flood of refusals resolves no labels.
    suppressed_refusals: Box<[OnceLock<IntCounter>]>,
    certificate_expiry: IntGaugeVec,
}

impl Metrics {
    /// Registers the metrics in a registry of their own, to which other rooms add theirs.
    ///
    /// # Errors
    /// Never in practice: when a name is not a metric's name, or taken.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let durations = register(
            &registry,
            HistogramVec::new(
                HistogramOpts::new("ringfence_check_duration_seconds", "Time from a check's arrival to its verdict.").buckets(BUCKETS.to_vec()),
                &["listener", "decision"],
            ),
        )?;
        register_process(&registry)?;
        Ok(Self {
            series: Series::new(&registry)?,
            durations: PerWire::new(|wire| PerDecision::new(|decision| durations.with_label_values(&[wire.label(), decision]))),
            in_flight: register_in_flight(&registry)?,
            shed: counters(&registry, "ringfence_checks_shed_total", "Checks that were not decided for want of processor time.", &["cause"])?,
            floors: counters(
                &registry,
                "ringfence_floor_shadow_denied_total",
                "Requests that a floor in Shadow would have refused.",
                &["policy", "reason"],
            )?,
            policies: gauges(&registry, "ringfence_policies", "Policies, by what became of them.", &["state"])?,
            reloads: counters(
                &registry,
                "ringfence_config_reloads_total",
                "Changes of configuration, by their source and how they ended.",
                &["source", "result"],
            )?,
            config_hash: register(
                &registry,
                IntGauge::new("ringfence_config_hash", "Low 48 bits of the hash of the configuration in force, equal on equal replicas."),
            )?,
            source_ranges: gauges(&registry, "ringfence_source_ranges", "Address ranges in a set.", &["set"])?,
            watched: gauges(
                &registry,
                "ringfence_watch_last_event_timestamp_seconds",
                "When the API server last answered a list or began a watch of this kind, as Unix time.",
                &["kind"],
            )?,
            certificate_expiry: gauges(
                &registry,
                "ringfence_certificate_expiry_timestamp_seconds",
                "When a listener's certificate expires, as Unix time.",
                &["listener"],
            )?,
            log_suppressed: counters(
                &registry,
                "ringfence_log_suppressed_total",
                "Decisions that were not logged: too many of their kind in one second, or the log could not keep up.",
                &["reason"],
            )?,
            suppressed_refusals: Reason::ALL.iter().map(|_| OnceLock::new()).collect(),
            registry,
        })
    }

    /// Where other rooms register their metrics.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The API server has answered a list or a watch of this kind, at `wall_ms` (milliseconds since the Unix epoch).
    pub fn watch_answered(&self, kind: &str, wall_ms: i64) {
        self.watched.with_label_values(&[kind]).set(wall_ms / 1_000);
    }

    /// How many checks are being decided: whoever decides them counts here.
    #[must_use]
    pub fn in_flight(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.in_flight)
    }

    /// Everything, in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// When a metric is inconsistent, which the registration rules out.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Counts one verdict that took `latency`, at `wall_ms` (milliseconds since the Unix epoch).
    pub fn count(&self, verdict: &Verdict, wire: Wire, latency: Duration, wall_ms: i64) {
        self.durations.of(wire).of(verdict).observe(latency.as_secs_f64());
        self.series.count(verdict, wire, wall_ms);
        for (floor, reason) in &verdict.about.shadow_floors {
            self.floors.with_label_values(&[self.series.label(floor), reason.code()]).inc();
        }
    }

    /// When each listener's certificate expires; the one label is `listener`.
    #[must_use]
    pub const fn certificate_expiry(&self) -> &IntGaugeVec {
        &self.certificate_expiry
    }

    /// Counts a check that was not decided, as there was too much to do.
    pub fn shed(&self, cause: &str) {
        self.shed.with_label_values(&[cause]).inc();
    }

    /// Counts a token of this policy that could not be remembered.
    pub fn token_unremembered(&self, policy: &PolicyId) {
        self.series.count_unremembered(policy);
    }

    /// Counts a line that the decision log left out.
    pub fn log_suppressed(&self, verdict: &Verdict) {
        let resolve = || self.log_suppressed.with_label_values(&[verdict.reason_label()]);
        match verdict.denied().and_then(|reason| self.suppressed_refusals.get(reason as usize)) {
            Some(counter) => counter.get_or_init(resolve).inc(),
            None => resolve().inc(),
        }
    }

    /// Shows what is in force from now on, and forgets what was counted for policies and senders that are gone.
    pub fn configured(&self, policies: &PolicySet, reports: &[Report]) {
        self.series.configured(policies);
        self.config_hash.set(i64::try_from(policies.parts().config_hash & HASH_MASK).unwrap_or_default());
        for (state, count) in count_states(policies, reports) {
            self.policies.with_label_values(&[state]).set(count);
        }
    }

    /// Shows how many ranges each set has from now on.
    pub fn source_ranges<'s>(&self, sets: impl IntoIterator<Item = (&'s str, usize)>) {
        self.source_ranges.reset();
        for (set, count) in sets {
            self.source_ranges.with_label_values(&[set]).set(as_gauge(count));
        }
    }

    /// Counts a change of configuration.
    pub fn reloaded(&self, source: &str, result: ReloadResult) {
        self.reloads.with_label_values(&[source, result.label()]).inc();
    }
}

/// What became of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Enforced,
    Shadow,
    /// Some of its senders are unsound.
    Degraded,
    /// All of it is.
    Invalid,
    Conflicted,
    NotGranted,
}

impl State {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Enforced, "enforced"),
        (Self::Shadow, "shadow"),
        (Self::Degraded, "degraded"),
        (Self::Invalid, "invalid"),
        (Self::Conflicted, "conflicted"),
        (Self::NotGranted, "not_granted"),
    ];

    fn of_policy(policy: &Policy) -> Self {
        let Rules::Senders { senders, .. } = &policy.rules else { return Self::Invalid };
        match senders.iter().filter(|sender| sender.checks.is_err()).count() {
            0 => Self::of_mode(policy.mode),
            unsound if unsound < senders.len() => Self::Degraded,
            _ => Self::Invalid,
        }
    }

    fn of_floor(floor: &Floor) -> Self {
        if floor.sources.is_ok() { Self::of_mode(floor.mode) } else { Self::Invalid }
    }

    const fn of_mode(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforced,
            Mode::Shadow => Self::Shadow,
        }
    }
}

/// How many policies are in each state; every state is named, so that a count that falls to nothing is shown as 0.
fn count_states(policies: &PolicySet, reports: &[Report]) -> [(&'static str, i64); 6] {
    let parts = policies.parts();
    let is_not_granted = |report: &&Report| {
        report.findings.iter().any(|finding| finding.severity == Severity::Error && finding.reason == FindingReason::HostNotGranted)
    };
    // A policy that lost some of its places is there more than once.
    let mut seen: HashSet<&str> = parts.pinnable.iter().map(|policy| &*policy.id.label).collect();
    let once = parts.holders.iter().chain(&parts.fallbacks).filter(|policy| seen.insert(&policy.id.label));
    let in_force = once.map(State::of_policy);
    let states: Vec<_> = in_force
        .chain(parts.floors.iter().map(State::of_floor))
        .chain(parts.unreadable.iter().map(|_| State::Invalid))
        .chain(parts.pinnable.iter().map(|_| State::Conflicted))
        .chain(reports.iter().filter(is_not_granted).map(|_| State::NotGranted))
        .collect();
    State::ALL.map(|(state, label)| (label, as_gauge(states.iter().filter(|other| **other == state).count())))
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> prometheus::Result<C> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// What is known of the process and its build.
fn register_process(registry: &Registry) -> prometheus::Result<()> {
    let build = gauges(registry, "ringfence_build_info", "Always 1; its labels say which build this is.", &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(())
}

/// The number that bounds the checks in flight is the number that is shown.
fn register_in_flight(registry: &Registry) -> prometheus::Result<Arc<AtomicUsize>> {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let shown = Arc::clone(&in_flight);
    #[allow(clippy::cast_precision_loss, reason = "the number is bounded far below 2^52")]
    let read = Box::new(move || shown.load(Ordering::Relaxed) as f64);
    register(registry, PullingGauge::new("ringfence_checks_in_flight", "Checks that are being decided.", read))?;
    Ok(in_flight)
}

/// One value for each wire.
#[derive(Debug)]
struct PerWire<T> {
    grpc: T,
    nginx: T,
    ingress_nginx: T,
    traefik: T,
    caddy: T,
    haproxy: T,
    envoy: T,
}

impl<T> PerWire<T> {
    fn new(value: impl Fn(Wire) -> T) -> Self {
        Self {
            grpc: value(Wire::Grpc),
            nginx: value(Wire::Nginx),
            ingress_nginx: value(Wire::IngressNginx),
            traefik: value(Wire::Traefik),
            caddy: value(Wire::Caddy),
            haproxy: value(Wire::Haproxy),
            envoy: value(Wire::Envoy),
        }
    }

    const fn of(&self, wire: Wire) -> &T {
        match wire {
            Wire::Grpc => &self.grpc,
            Wire::Nginx => &self.nginx,
            Wire::IngressNginx => &self.ingress_nginx,
            Wire::Traefik => &self.traefik,
            Wire::Caddy => &self.caddy,
            Wire::Haproxy => &self.haproxy,
            Wire::Envoy => &self.envoy,
        }
    }
}

/// One value for each value of the `decision` label.
#[derive(Debug)]
struct PerDecision<T> {
    allowed: T,
    denied: T,
    shadow_denied: T,
    handshake: T,
}

impl<T> PerDecision<T> {
    fn new(value: impl Fn(&'static str) -> T) -> Self {
        Self { allowed: value("allowed"), denied: value("denied"), shadow_denied: value("shadow_denied"), handshake: value("handshake") }
    }

    fn of(&self, verdict: &Verdict) -> &T {
        match &verdict.decision {
            Decision::Allow(allow) => match allow.reason {
                AllowReason::Allowed | AllowReason::Unmatched => &self.allowed,
                AllowReason::Shadowed(_) => &self.shadow_denied,
            },
            Decision::Deny(_) => &self.denied,
            Decision::Answer(_) => &self.handshake,
        }
    }
}
