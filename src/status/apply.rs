//! Writes reports into the statuses of their objects: server-side apply, one write for each change, by the holder of the Lease alone.
//!
//! What stands there already is read in one list per kind when the Lease is got, and now and then; after that, what was written is known, and
//! nothing is asked or written while nothing changes. An API server that is away costs patience and nothing else. Must not know: checks.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use ringfence_core::{
    api::{API_VERSION, GROUP, Kind, ObjectKey},
    compile::Report,
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    live::{Live, Plan},
    metrics::{StatusMetrics, WriteResult},
};
use crate::{clock::Clock, source::Published};

/// Whose fields the conditions are (`metadata.managedFields`).
const FIELD_MANAGER: &str = "ringfence-status";
/// Statuses that are written at a time, and how long there is between the beginnings of two.
const AT_A_TIME: usize = 4;
const PACE: Duration = Duration::from_millis(20);
/// Attempts at one status before it waits for the next round.
const ATTEMPTS: usize = 4;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How long a round that did not succeed waits for the next one: at first, and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// How often everything is read again, in case somebody else wrote.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What statuses are written with.
pub struct WriterParts {
    /// The API server.
    pub client: Client,
    /// The namespaces whose policies are watched; empty = all.
    pub namespaces: Vec<String>,
    /// For the times of transitions.
    pub clock: Clock,
    /// What is counted.
    pub metrics: StatusMetrics,
}

/// Writes statuses for as long as it is run.
pub struct Writer {
    parts: WriterParts,
    known: Mutex<HashMap<ObjectKey, Live>>,
    pace: tokio::sync::Mutex<Interval>,
}

/// Why a status was not written.
#[derive(Debug)]
struct Unwritten {
    result: WriteResult,
    problem: String,
}

impl From<kube::Error> for Unwritten {
    fn from(error: kube::Error) -> Self {
        let result = match &error {
            kube::Error::Api(status) if status.is_conflict() => WriteResult::Conflict,
            kube::Error::Api(status) if status.is_not_found() => WriteResult::Gone,
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => WriteResult::Refused,
            _ => WriteResult::Failed,
        };
        let problem = match error {
            kube::Error::Api(status) => status.message,
            other => other.to_string(),
        };
        Self { result, problem }
    }
}

impl Writer {
    /// A writer that knows nothing yet.
    #[must_use]
    pub fn new(parts: WriterParts) -> Arc<Self> {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Arc::new(Self { parts, known: Mutex::default(), pace: tokio::sync::Mutex::new(pace) })
    }

    /// Writes what is published, whenever this replica is the holder, until either ends.
    pub async fn run(self: Arc<Self>, mut changes: watch::Receiver<Published>, mut held: watch::Receiver<bool>) {
        loop {
            if held.wait_for(|held| *held).await.is_err() {
                return;
            }
            let _leads = self.parts.metrics.leads();
            let mut lost = held.clone();
            tokio::select! {
                () = self.write_published(&mut changes) => return,
                lost = lost.wait_for(|held| !*held) => if lost.is_err() { return },
            }
        }
    }

    /// Keeps the statuses up to date, until there is nobody who publishes.
    async fn write_published(self: &Arc<Self>, changes: &mut watch::Receiver<Published>) {
        loop {
            self.look().await;
            let look_again = Instant::now() + LOOK_AGAIN;
            let mut back_off = BACK_OFF.0;
            while Instant::now() < look_again {
                let published = changes.borrow_and_update().clone();
                // Before the first compile nothing is known of any object.
                let is_done = published.taken_count == 0 || self.write_all(&published.reports).await;
                let pause = if is_done { look_again.saturating_duration_since(Instant::now()) } else { back_off };
                back_off = if is_done { BACK_OFF.0 } else { (2 * back_off).min(BACK_OFF.1) };
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sleep(pause) => {}
                }
            }
        }
    }

    /// Reads what stands in all statuses. What cannot be listed is read one by one, when there is something to write.
    async fn look(&self) {
        let mut found = HashMap::new();
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_ours()) {
            for api in self.lists(kind) {
                if let Err(Unwritten { problem, .. }) = self.list(kind, &api, &mut found).await {
                    tracing::warn!(%kind, %problem, "the statuses cannot be listed");
                }
            }
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    async fn list(&self, kind: Kind, api: &Api<DynamicObject>, found: &mut HashMap<ObjectKey, Live>) -> Result<(), Unwritten> {
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = call(api.list(&params)).await?;
            for object in &page.items {
                let (namespace, name) = (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default());
                let key = ObjectKey { kind: kind.name().into(), namespace: namespace.into(), name: name.into() };
                found.insert(key, Live::from(object));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// Writes what there is to write. Says whether nothing is left.
    async fn write_all(self: &Arc<Self>, reports: &[Report]) -> bool {
        let mut writes = JoinSet::new();
        let (mut left, mut told) = (0_usize, None);
        let mut take_note = |written: Result<Result<(), String>, JoinError>| {
            if let Err(problem) = written.unwrap_or_else(|fault| Err(fault.to_string())) {
                left += 1;
                told.get_or_insert(problem);
            }
        };
        for report in self.due(reports) {
            if writes.len() >= AT_A_TIME
                && let Some(written) = writes.join_next().await
            {
                take_note(written);
            }
            let writer = Arc::clone(self);
            writes.spawn(async move { writer.write(&report).await });
        }
        while let Some(written) = writes.join_next().await {
            take_note(written);
        }
        if let Some(problem) = told {
            tracing::warn!(%problem, left, "not all statuses could be written; it is tried again");
        }
        left == 0
    }

    /// The reports that may have to be written.
    fn due(&self, reports: &[Report]) -> Vec<Report> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > reports.len() {
            let there: HashSet<&ObjectKey> = reports.iter().map(|report| &report.object).collect();
            known.retain(|key, _| there.contains(key));
        }
        reports.iter().filter(|report| known.get(&report.object).is_none_or(|live| self.is_due(live, report))).cloned().collect()
    }

    /// Whether `report` may have to be written, as far as is known.
    fn is_due(&self, live: &Live, report: &Report) -> bool {
        // Of an object that was changed or replaced since it was read, nothing is known.
        *live.uid != *report.uid || live.generation < report.generation || matches!(live.plan(report, self.now()), Plan::Write(_))
    }

    /// Sees to it that the status of one object says what its report says.
    async fn write(&self, report: &Report) -> Result<(), String> {
        let api = self.api(report);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&report.object).cloned();
        let mut known = known.filter(|live| *live.uid == *report.uid && live.generation == report.generation);
        for _ in 0..ATTEMPTS {
            self.pace.lock().await.tick().await;
            match self.attempt(&api, report, known.take()).await {
                Ok(live) => {
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(report.object.clone(), live);
                    return Ok(());
                }
                Err(Unwritten { result, problem }) => {
                    self.parts.metrics.wrote(result);
                    match result {
                        WriteResult::Conflict => {}
                        // Its report will be gone with the next change.
                        WriteResult::Gone => return Ok(()),
                        WriteResult::Written | WriteResult::Refused | WriteResult::Failed => return Err(format!("{}: {problem}", report.object)),
                    }
                }
            }
        }
        Err(format!("{}: it is changed again and again", report.object))
    }

    /// One attempt; the object as it is then.
    async fn attempt(&self, api: &Api<DynamicObject>, report: &Report, known: Option<Live>) -> Result<Live, Unwritten> {
        let name = &*report.object.name;
        let live = match known {
            Some(live) => live,
            None => Live::from(&call(api.get(name)).await?),
        };
        match live.plan(report, self.now()) {
            Plan::Unchanged | Plan::Behind => Ok(live),
            Plan::Write(body) => {
                let params = PatchParams::apply(FIELD_MANAGER).force();
                let written = call(api.patch_status(name, &params, &Patch::Apply(&body))).await?;
                self.parts.metrics.wrote(WriteResult::Written);
                Ok(Live::from(&written))
            }
        }
    }

    /// Where the object of `report` is.
    fn api(&self, report: &Report) -> Api<DynamicObject> {
        let (client, resource) = (self.parts.client.clone(), resource(&report.object.kind));
        match &*report.object.namespace {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        }
    }

    /// Where all objects of `kind` that are watched are.
    fn lists(&self, kind: Kind) -> Vec<Api<DynamicObject>> {
        let WriterParts { client, namespaces, .. } = &self.parts;
        let resource = resource(kind.name());
        if kind.is_namespaced() && !namespaces.is_empty() {
            namespaces.iter().map(|namespace| Api::namespaced_with(client.clone(), namespace, &resource)).collect()
        } else {
            vec![Api::all_with(client.clone(), &resource)]
        }
    }

    fn now(&self) -> Timestamp {
        // As precise as the API keeps it.
        Timestamp::from_second(self.parts.clock.wall_ms().div_euclid(1_000)).unwrap_or_default()
    }
}

/// One of our kinds, as the API server calls it.
fn resource(kind: &str) -> ApiResource {
    let version = API_VERSION.split('/').nth(1).unwrap_or_default();
    // Plurals as in the definitions.
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{}ies", stem.to_ascii_lowercase()),
        None => format!("{}s", kind.to_ascii_lowercase()),
    };
    ApiResource { group: GROUP.to_owned(), version: version.to_owned(), api_version: API_VERSION.to_owned(), kind: kind.to_owned(), plural }
}

/// The answer to one call, within a time.
async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Unwritten> {
    match timeout(CALL, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Unwritten { result: WriteResult::Failed, problem: "the API server took too long".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_called_as_the_definitions_have_it() {
        let plurals = Kind::ALL.iter().filter(|kind| kind.is_ours()).map(|kind| resource(kind.name()).plural).collect::<Vec<_>>();
        assert_eq!(plurals, ["callbackpolicies", "clustercallbackpolicies", "hostgrants", "sourcerangesets"]);
    }
}
