//! The async shell around `decide`: one snapshot of policies and one of keys, at most one bounded refetch of a key set, the reuse store, and
//! one place that counts and logs each verdict.
//!
//! Must not know which proxy asked or how it is answered, nor how keys are fetched.

mod load;
#[cfg(test)]
mod tests;
mod turns;

pub use load::{Shed, rests, works};

use std::{
    fmt,
    future::Future,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt;
use ringfence_core::decide::{
    self, Decided, KeyRing, KeySetId, NoTrace, Now, PendingAllow, PendingAnswer, PolicySet, RawRequest, Reason, Request, ReuseAnswer, Verdict,
    WantedKey, Wire,
};

use self::turns::Turns;
use crate::{
    clock::Clock,
    keys::KeyKeeper,
    reuse::ReuseStore,
    telemetry::{Subject, Telemetry},
};

/// Longest wait for one refetch of a key set.
const REFETCH_BOUND: Duration = Duration::from_millis(150);
/// What is left of the caller's time after a refetch, to decide and to answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(25);
/// What is left of it after the reuse store was asked, to answer.
const SPEND_MARGIN: Duration = Duration::from_millis(3);

/// Where the keys of issuers come from.
pub trait Keys: Send + Sync {
    /// The keys as they are now.
    fn ring(&self) -> Arc<KeyRing>;

    /// Asks for a fetch of `id` that begins now, and waits for it until `deadline` at the latest. What came of it is seen in [`Self::ring`].
    fn refetch<'k>(&'k self, id: &'k Arc<KeySetId>, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + 'k>>;
}

impl Keys for KeyKeeper {
    fn ring(&self) -> Arc<KeyRing> {
        self.ring()
    }

    fn refetch<'k>(&'k self, id: &'k Arc<KeySetId>, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + 'k>> {
        Box::pin(self.refetch(id, deadline))
    }
}

/// How far a check has come without waiting.
#[derive(Debug)]
pub enum Begun<A> {
    /// To its end.
    Decided(Verdict),
    /// Something has to be waited for first.
    Awaits(A),
}

impl Begun<Awaited> {
    /// Whether its sender has shown something good.
    fn is_trusted(&self) -> bool {
        match self {
            Self::Decided(verdict) => verdict.denied().is_none(),
            Self::Awaits(awaited) => matches!(awaited.wanted, Wanted::Reuse(..)),
        }
    }
}

/// What a check waits for; it keeps its place among those in flight meanwhile.
#[derive(Debug)]
pub struct Awaited {
    wanted: Wanted,
    place: Place<Arc<AtomicUsize>>,
}

/// Who has to be asked.
#[derive(Debug)]
enum Wanted {
    /// An issuer, for a key that may change the verdict.
    Key(Box<WantedKey>),
    /// The shared reuse store, about a claim of this effective time (milliseconds since the Unix epoch).
    Reuse(Box<PendingAllow>, i64),
}

/// What a [`Checker`] is made of.
pub struct CheckerParts {
    /// The policies in force.
    pub policies: Arc<ArcSwap<PolicySet>>,
    /// The issuers' keys.
    pub keys: Arc<dyn Keys>,
    /// Tokens that were seen before.
    pub reuse: Arc<ReuseStore>,
    /// The time.
    pub clock: Clock,
    /// Where verdicts are counted and logged.
    pub telemetry: Telemetry,
    /// Most checks at a time; one more is `overloaded`.
    pub max_in_flight: usize,
}

/// Answers checks. Shared by all listeners.
pub struct Checker {
    policies: Arc<ArcSwap<PolicySet>>,
    keys: Arc<dyn Keys>,
    reuse: Arc<ReuseStore>,
    clock: Clock,
    telemetry: Telemetry,
    in_flight: Arc<AtomicUsize>,
    max_in_flight: usize,
    /// Checks that wait for keys.
    waiting: AtomicUsize,
    /// Answers at the edge.
    turns: Turns,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("in_flight", &self.in_flight).field("max_in_flight", &self.max_in_flight).finish_non_exhaustive()
    }
}

impl Checker {
    /// A checker of these parts.
    #[must_use]
    pub fn new(parts: CheckerParts) -> Self {
        let CheckerParts { policies, keys, reuse, clock, telemetry, max_in_flight } = parts;
        let in_flight = telemetry.metrics().in_flight();
        Self { policies, keys, reuse, clock, telemetry, in_flight, max_in_flight, waiting: AtomicUsize::new(0), turns: Turns::default() }
    }

    /// The same, answering at the edge as often as it is asked: where nobody floods.
    #[must_use]
    pub fn answering_without_bound(self) -> Self {
        Self { turns: Turns::without_bound(), ..self }
    }

    /// Decides one request, within `deadline` if the caller set one. Never fails: every fault is a denial that is "cannot decide".
    ///
    /// A future that is dropped before it ends has answered nobody, and is not counted.
    pub async fn check(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Verdict {
        match self.begin(raw, deadline) {
            Begun::Decided(verdict) => verdict,
            Begun::Awaits(awaited) => Box::pin(self.finish(raw, deadline, awaited)).await,
        }
    }

    /// The same as far as it goes without waiting, which is nearly always to the end; else [`Self::finish`] goes on.
    #[must_use]
    pub fn begin(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Begun<Awaited> {
        let began = Instant::now();
        let snapshot = self.snapshot(began);
        let (verdict, finished) = match self.begin_at(raw, deadline, &snapshot, began) {
            Ok(verdict) => {
                let finished = self.record(&verdict, &Subject { wire: raw.wire, arrived: raw.arrived, raw: Some(raw) }, &snapshot);
                (Begun::Decided(verdict), finished)
            }
            Err(awaited) => (Begun::Awaits(awaited), Instant::now()),
        };
        load::charge(raw.source, finished.saturating_duration_since(began), verdict.is_trusted(), finished);
        verdict
    }

    fn begin_at(&self, raw: &RawRequest<'_>, deadline: Option<Instant>, snapshot: &Snapshot, now: Instant) -> Result<Verdict, Awaited> {
        let Some(place) = Place::take(&*self.in_flight, self.max_in_flight) else { return Ok(self.shed(Shed::InFlight)) };
        if has_passed(deadline, now) {
            return Ok(Verdict::deny(Reason::DeadlineExceeded));
        }
        if let Some(shed) = load::judge(raw.source, raw.arrived, deadline, now) {
            return Ok(self.shed(shed));
        }
        // FAIL-CLOSED: a fault while deciding is no answer of its own.
        match catch_unwind(AssertUnwindSafe(|| self.decide_now(raw, snapshot))) {
            Ok(Ok(verdict)) => Ok(verdict),
            Ok(Err(wanted)) => Err(Awaited { wanted, place: place.kept(&self.in_flight) }),
            Err(_) => Ok(Verdict::deny(Reason::Internal)),
        }
    }

    fn shed(&self, why: Shed) -> Verdict {
        self.telemetry.metrics().shed(why.label());
        Verdict::deny(Reason::Overloaded)
    }

    /// Decides a request that [`Self::begin`] could not decide without `awaited`.
    pub async fn finish(&self, raw: &RawRequest<'_>, deadline: Option<Instant>, awaited: Awaited) -> Verdict {
        let Awaited { wanted, place } = awaited;
        // FAIL-CLOSED: a fault while deciding is no answer of its own.
        let deciding = AssertUnwindSafe(self.answer_with(raw, wanted, deadline)).catch_unwind();
        let verdict = deciding.await.unwrap_or_else(|_| Verdict::deny(Reason::Internal));
        drop(place);
        self.record(&verdict, &Subject { wire: raw.wire, arrived: raw.arrived, raw: Some(raw) }, &self.snapshot(Instant::now()));
        verdict
    }

    /// Counts and logs a request that never became a [`RawRequest`]: `reason` says why.
    #[must_use]
    pub fn refuse(&self, wire: Wire, arrived: Instant, reason: Reason) -> Verdict {
        let verdict = Verdict::deny(reason);
        self.record(&verdict, &Subject { wire, arrived, raw: None }, &self.snapshot(Instant::now()));
        verdict
    }

    fn snapshot(&self, monotonic: Instant) -> Snapshot {
        Snapshot { policies: self.policies.load(), now: self.clock.now_by(monotonic) }
    }

    /// When that was done.
    fn record(&self, verdict: &Verdict, subject: &Subject<'_>, snapshot: &Snapshot) -> Instant {
        self.telemetry.record(verdict, subject, &snapshot.policies, snapshot.now.wall_ms)
    }

    /// The verdict, or who has to be asked for it.
    fn decide_now(&self, raw: &RawRequest<'_>, snapshot: &Snapshot) -> Result<Verdict, Wanted> {
        let request = match Request::new(raw) {
            Ok(request) => request,
            Err(reason) => return Ok(Verdict::deny(reason)),
        };
        let ring = self.keys.ring();
        let mut decided = decide(&request, snapshot, &ring);
        if lacks_keys(&decided) {
            // Keys that came while this was decided may be the wanted ones, and cost no fetch. Policies that came since may want others: keys
            // are there before the policies that want them, and until after those that did, so that both are read in this order.
            let newer = self.snapshot(Instant::now());
            let newer_ring = self.keys.ring();
            if !Arc::ptr_eq(&ring, &newer_ring) || !Arc::ptr_eq(&snapshot.policies, &newer.policies) {
                decided = decide(&request, &newer, &newer_ring);
            }
        }
        match decided {
            Decided::Final(verdict) => Ok(verdict),
            Decided::NeedsReuse(pending) => {
                let now_ms = snapshot.now.effective_ms;
                match self.reuse.commit_at_once(pending.claim(), now_ms) {
                    Some(answer) => Ok(self.resolve(pending, answer)),
                    None => Err(Wanted::Reuse(Box::new(pending), now_ms)),
                }
            }
            Decided::NeedsTurn(pending) => Ok(self.take_turn(pending)),
            Decided::NeedsKey(wanted) => Err(Wanted::Key(Box::new(wanted))),
        }
    }

    async fn answer_with(&self, raw: &RawRequest<'_>, wanted: Wanted, deadline: Option<Instant>) -> Verdict {
        match wanted {
            Wanted::Key(wanted) => self.answer_with_key(raw, *wanted, deadline).await,
            Wanted::Reuse(pending, now_ms) => self.commit(*pending, now_ms, deadline).await,
        }
    }

    /// Waits for one refetch and decides once more. A slow issuer must not fill all places with those who wait for it: beyond a quarter of them
    /// the fetch is asked for and not waited for.
    async fn answer_with_key(&self, raw: &RawRequest<'_>, wanted: WantedKey, deadline: Option<Instant>) -> Verdict {
        let longest = Instant::now() + REFETCH_BOUND;
        let until = deadline.map_or(longest, |deadline| deadline.checked_sub(ANSWER_MARGIN).map_or(longest, |until| until.min(longest)));
        if until <= Instant::now() {
            return wanted.otherwise;
        }
        let waiting = Place::take(&self.waiting, (self.max_in_flight / 4).max(1));
        self.keys.refetch(&wanted.key_set, if waiting.is_some() { until } else { Instant::now() }).await;
        drop(waiting);
        let request = match Request::new(raw) {
            Ok(request) => request,
            Err(reason) => return Verdict::deny(reason),
        };
        let snapshot = self.snapshot(Instant::now());
        match decide(&request, &snapshot, &self.keys.ring()) {
            Decided::Final(verdict) => verdict,
            Decided::NeedsReuse(pending) => self.commit(pending, snapshot.now.effective_ms, deadline).await,
            Decided::NeedsTurn(pending) => self.take_turn(pending),
            Decided::NeedsKey(wanted) => wanted.otherwise,
        }
    }

    /// Waits for the reuse store, no longer than the caller does.
    async fn commit(&self, pending: PendingAllow, now_ms: i64, deadline: Option<Instant>) -> Verdict {
        let until = deadline.map(|deadline| deadline.checked_sub(SPEND_MARGIN).unwrap_or(deadline));
        let answer = self.reuse.commit(pending.claim(), now_ms, until).await;
        self.resolve(pending, answer)
    }

    fn resolve(&self, pending: PendingAllow, answer: ReuseAnswer) -> Verdict {
        match answer {
            ReuseAnswer::Full | ReuseAnswer::Unknown => self.telemetry.metrics().token_unremembered(&pending.claim().policy),
            ReuseAnswer::First | ReuseAnswer::Reused => {}
        }
        pending.resolve(answer)
    }

    fn take_turn(&self, pending: PendingAnswer) -> Verdict {
        let has_turn = self.turns.take(pending.policy(), Instant::now());
        pending.resolve(has_turn)
    }
}

/// What one decision is taken by: one reading of the clock serves to decide, to remember the token, and to count.
struct Snapshot {
    policies: Guard<Arc<PolicySet>>,
    now: Now,
}

fn decide(request: &Request<'_>, snapshot: &Snapshot, ring: &KeyRing) -> Decided {
    decide::decide(request, &snapshot.policies, ring, snapshot.now, &mut NoTrace)
}

/// Whether other keys might make another verdict.
fn lacks_keys(decided: &Decided) -> bool {
    match decided {
        Decided::NeedsKey(_) => true,
        Decided::Final(verdict) => verdict.denied() == Some(Reason::KeysUnavailable),
        Decided::NeedsReuse(_) | Decided::NeedsTurn(_) => false,
    }
}

fn has_passed(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

/// One of the checks that may be decided at a time; given back when dropped.
#[derive(Debug)]
struct Place<C: Deref<Target = AtomicUsize>>(C);

impl<C: Deref<Target = AtomicUsize>> Place<C> {
    fn take(in_flight: C, most: usize) -> Option<Self> {
        // The place that is one too many is given back at once, by being dropped.
        let place = Self(in_flight);
        (place.0.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }

    /// The same place, for longer than a borrow of where it was taken.
    fn kept(self, in_flight: &Arc<AtomicUsize>) -> Place<Arc<AtomicUsize>> {
        std::mem::forget(self);
        Place(Arc::clone(in_flight))
    }
}

impl<C: Deref<Target = AtomicUsize>> Drop for Place<C> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
