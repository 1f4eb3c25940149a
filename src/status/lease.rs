//! Which replica writes: the holder of one Lease (`coordination.k8s.io/v1`), which renews it for as long as it lives.
//!
//! As client-go elects a leader: a Lease is free once nobody has touched it for its duration, measured here and by a clock that never steps.
//! The times that stand in it are for people. Two holders at a time are unlikely, not impossible: whatever they write must bear it. Must not
//! know: what is written.

use std::{future::Future, sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::api::{Api, PostParams};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::clock::Clock;

/// How long a Lease counts after its holder touched it last.
const DURATION: Duration = Duration::from_secs(15);
/// How long a holder that cannot renew it believes in it: less, so that nobody else holds it yet.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// Why a Lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    /// Somebody else was faster.
    #[error("somebody else wrote it first")]
    Conflict,
    /// The API server refuses, or cannot be reached.
    #[error("{0}")]
    Failed(String),
}

impl From<kube::Error> for LeaseError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => Self::Conflict,
            kube::Error::Api(status) => Self::Failed(status.message),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Where the one Lease is kept.
pub(super) trait Keep: Send + Sync + 'static {
    /// It, if it is there.
    fn read(&self) -> impl Future<Output = Result<Option<Lease>, LeaseError>> + Send;
    /// Creates it, or replaces the one of its resourceVersion.
    fn write(&self, lease: &Lease) -> impl Future<Output = Result<Lease, LeaseError>> + Send;
}

/// The API server, and the Lease's name.
#[derive(Debug)]
pub(super) struct Remote {
    api: Api<Lease>,
    name: String,
}

impl Keep for Remote {
    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        Ok(self.api.get_opt(&self.name).await?)
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        let lease = Lease { metadata: ObjectMeta { name: Some(self.name.clone()), ..lease.metadata.clone() }, ..lease.clone() };
        let written = match lease.metadata.resource_version {
            Some(_) => self.api.replace(&self.name, &PostParams::default(), &lease).await,
            None => self.api.create(&PostParams::default(), &lease).await,
        };
        Ok(written?)
    }
}

/// Takes part in the election until it is dropped; then the others wait for the Lease to run out, unless it was released.
#[derive(Debug)]
pub struct Leadership {
    held: watch::Receiver<bool>,
    leave: watch::Sender<bool>,
    task: JoinSet<()>,
}

impl Leadership {
    /// Stands for the Lease `name` of `namespace` as `identity`, which no other replica has, on the current runtime.
    #[must_use]
    pub fn stand(client: kube::Client, namespace: &str, name: &str, identity: String, clock: Clock) -> Self {
        Self::with(Remote { api: Api::namespaced(client, namespace), name: name.to_owned() }, identity, clock)
    }

    fn with(keep: impl Keep, identity: String, clock: Clock) -> Self {
        let (held, leave) = (watch::Sender::new(false), watch::Sender::new(false));
        let leadership = Self { held: held.subscribe(), leave: leave.clone(), task: JoinSet::new() };
        let candidate = Candidate { keep: Arc::new(keep), identity, clock, held, mine: None, renewed: None, seen: None, told: None };
        let mut task = leadership;
        task.task.spawn(candidate.run(leave.subscribe()));
        task
    }

    /// Whether this replica is the holder, from now on.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<bool> {
        self.held.clone()
    }

    /// Lets go of the Lease, so that another replica need not wait for it to run out. Takes as long as one call at most.
    pub async fn release(mut self) {
        self.leave.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }
}

/// Who stands for the Lease.
struct Candidate<K> {
    keep: Arc<K>,
    identity: String,
    clock: Clock,
    held: watch::Sender<bool>,
    /// As this one wrote it last.
    mine: Option<Lease>,
    /// When the last write of it that came through began.
    renewed: Option<Instant>,
    /// Another's, by resourceVersion, and since when it has been so.
    seen: Option<(String, Instant)>,
    /// What was last complained of.
    told: Option<String>,
}

impl<K: Keep> Candidate<K> {
    async fn run(mut self, mut leave: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.turn() => {}
                _ = leave.wait_for(|leave| *leave) => break,
            }
            let pause = self.pause();
            tokio::select! {
                () = sleep(pause) => {}
                _ = leave.wait_for(|leave| *leave) => break,
            }
        }
        let was_held = self.held.send_replace(false);
        if was_held && timeout(CALL, self.release()).await.is_err() {
            tracing::warn!("the Lease could not be released in time; another replica takes it when it has run out");
        }
    }

    /// Tries once, and says what came of it.
    async fn turn(&mut self) {
        let began = Instant::now();
        // A holder knows that it is none any more before anybody else can be.
        let patience = self.renewed.map_or(CALL, |renewed| CALL.min((renewed + RENEW_WITHIN).saturating_duration_since(began)));
        let outcome = timeout(patience, self.attempt()).await.unwrap_or_else(|_| Err(LeaseError::Failed("it took too long".to_owned())));
        match outcome {
            Ok(true) => {
                (self.renewed, self.told) = (Some(began), None);
                self.set(true);
            }
            Ok(false) => self.lose(),
            Err(LeaseError::Conflict) => {
                self.mine = None;
                self.lose_if_late();
            }
            Err(LeaseError::Failed(problem)) => {
                if self.told.as_ref() != Some(&problem) {
                    tracing::warn!(%problem, "the Lease of whoever writes the statuses cannot be read or written");
                    self.told = Some(problem);
                }
                self.mine = None;
                self.lose_if_late();
            }
        }
    }

    fn lose(&mut self) {
        (self.renewed, self.mine) = (None, None);
        self.set(false);
    }

    fn lose_if_late(&mut self) {
        if self.renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW_WITHIN) {
            self.lose();
        }
    }

    fn set(&self, holds: bool) {
        let changed = self.held.send_if_modified(|held| std::mem::replace(held, holds) != holds);
        if changed {
            tracing::info!(identity = self.identity, holds, "who writes the statuses has changed");
        }
    }

    /// Until the next turn: sooner when the Lease is about to be lost.
    fn pause(&self) -> Duration {
        let left = self.renewed.map(|renewed| (renewed + RENEW_WITHIN).saturating_duration_since(Instant::now()));
        left.map_or(LOOK_EVERY, |left| LOOK_EVERY.min(left))
    }

    /// Whether this one holds the Lease now.
    async fn attempt(&mut self) -> Result<bool, LeaseError> {
        let lease = match self.mine.take() {
            Some(mine) => Some(mine),
            None => self.keep.read().await?,
        };
        if lease.as_ref().is_some_and(|lease| !self.may_take(lease)) {
            return Ok(false);
        }
        let wanted = self.claim(lease.unwrap_or_default());
        self.mine = Some(self.keep.write(&wanted).await?);
        self.seen = None;
        Ok(true)
    }

    /// Whether it is this one's, nobody's, or was not touched for as long as it counts.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            Some(_) | None => {
                let now = Instant::now();
                self.seen = Some((version, now));
                now
            }
        };
        let counts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DURATION, Duration::from_secs);
        // Whoever may write Leases may not keep everybody waiting for ever.
        since.elapsed() >= counts.min(4 * DURATION)
    }

    fn claim(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(self.now());
        let spec = lease.spec.take().unwrap_or_default();
        let is_mine = spec.holder_identity.as_deref() == Some(&self.identity);
        let transitions = spec.lease_transitions.unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_mine { spec.acquire_time.clone() } else { Some(now.clone()) },
            lease_transitions: Some(if is_mine { transitions } else { transitions.saturating_add(1) }),
            renew_time: Some(now),
            ..spec
        });
        lease
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.clock.wall_ms()).unwrap_or_default()
    }

    async fn release(&self) {
        let released = async {
            let Some(mut lease) = self.keep.read().await? else { return Ok(()) };
            if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity)) {
                (spec.holder_identity, spec.renew_time) = (Some(String::new()), Some(MicroTime(self.now())));
                self.keep.write(&lease).await?;
            }
            Ok::<(), LeaseError>(())
        };
        if let Err(problem) = released.await {
            tracing::warn!(%problem, "the Lease could not be released; another replica takes it when it has run out");
        }
    }
}

#[cfg(test)]
mod tests;
