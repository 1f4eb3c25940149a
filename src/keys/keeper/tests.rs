#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use futures_util::future::{BoxFuture, join_all};
use prometheus::Registry;
use ringfence_core::decide::{Algorithm, KeySet, VerifyingKey};
use tokio::time::{self, Instant as TokioInstant};

use super::{super::FreshKeys, *};
use crate::keys::FetchFailure;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const URL: &str = "https://issuer.example/keys";

type Answer = (Duration, Result<FreshKeys, FetchFailure>);

/// Answers the n-th fetch (from 0) by a script; remembers when each began.
struct Script {
    answer: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    begun: Mutex<Vec<TokioInstant>>,
}

impl FetchKeys for Script {
    fn fetch_keys(&self, _: Arc<KeySetId>) -> BoxFuture<'static, Result<FreshKeys, FetchFailure>> {
        let number = {
            let mut begun = self.begun.lock().unwrap();
            begun.push(TokioInstant::now());
            begun.len() - 1
        };
        let (delay, result) = (self.answer)(number);
        Box::pin(async move {
            time::sleep(delay).await;
            result
        })
    }
}

fn fresh(kids: &[&str]) -> Result<FreshKeys, FetchFailure> {
    let key = || VerifyingKey::new(&[Algorithm::EdDSA], Ed25519KeyPair::generate().unwrap().public_key().as_ref()).unwrap();
    Ok(FreshKeys { keys: KeySet::new(kids.iter().map(|kid| (Box::from(*kid), key())).collect()), rejected: 0, max_age: Some(HOUR) })
}

fn key_set(issuer: &str) -> Arc<KeySetId> {
    Arc::new(KeySetId::Jwks { issuer: issuer.into(), url: URL.into() })
}

struct Scene {
    keeper: KeyKeeper,
    script: Arc<Script>,
    registry: Registry,
    id: Arc<KeySetId>,
    start: TokioInstant,
}

impl Scene {
    /// A keeper that wants one set, fetched by `answer`; no jitter.
    fn new(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let script = Arc::new(Script { answer: Box::new(answer), begun: Mutex::default() });
        let registry = Registry::new();
        let surroundings =
            Surroundings { wall_clock: Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)), fraction: Arc::new(|| 1.0) };
        let keeper = KeyKeeper::new(Arc::clone(&script) as Arc<dyn FetchKeys>, KeyMetrics::new(&registry).unwrap(), surroundings, Handle::current());
        let id = key_set("https://issuer.example");
        let start = TokioInstant::now();
        keeper.want(&BTreeSet::from([Arc::clone(&id)]));
        Self { keeper, script, registry, id, start }
    }

    fn begun(&self) -> Vec<u64> {
        self.script.begun.lock().unwrap().iter().map(|began| (*began - self.start).as_secs()).collect()
    }

    fn kids(&self) -> Vec<String> {
        let ring = self.keeper.ring();
        let mut kids: Vec<_> = ring.get(&self.id).map(|fetched| fetched.keys.kids().map(str::to_owned).collect()).unwrap_or_default();
        kids.sort();
        kids
    }

    async fn refetch(&self, within: Duration) {
        self.keeper.refetch(&self.id, (TokioInstant::now() + within).into_std()).await;
    }

    /// Waits until this many seconds after the start, and for what is due at that very moment.
    async fn at(&self, second: u64) {
        time::sleep_until(self.start + Duration::from_secs(second)).await;
        time::sleep(Duration::from_millis(1)).await;
    }

    fn metric(&self, name: &str, result: Option<&str>) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().iter().find(|metric| {
            let labels = metric.get_label();
            labels.iter().any(|label| label.value() == URL) && result.is_none_or(|result| labels.iter().any(|label| label.value() == result))
        })?;
        Some(metric.get_counter().get_value() + metric.get_gauge().get_value())
    }
}

#[tokio::test(start_paused = true)]
async fn fetches_at_once_and_says_when_the_fetch_began() {
    let scene = Scene::new(|_| (3 * SECOND, fresh(&["a"])));
    assert!(scene.keeper.ring().get(&scene.id).is_none(), "no keys before the first success");
    scene.keeper.first_attempted().await;
    assert_eq!(scene.start.elapsed(), 3 * SECOND);
    assert_eq!(scene.kids(), ["a"]);
    assert_eq!(scene.keeper.ring().get(&scene.id).unwrap().fetch_began, scene.start.into_std());
    assert_eq!(scene.metric("ringfence_jwks_keys", None), Some(1.0));
    assert_eq!(scene.metric("ringfence_jwks_refreshes_total", Some("ok")), Some(1.0));
    assert_eq!(scene.metric("ringfence_jwks_last_success_timestamp_seconds", None), Some(1_700_000_000.0));
}

#[tokio::test(start_paused = true)]
async fn refreshes_ahead_of_expiry_and_drops_withdrawn_keys() {
    let scene = Scene::new(|number| (Duration::ZERO, fresh(if number == 0 { &["a", "b"] } else { &["b", "c"] })));
    scene.at(3_419).await;
    assert_eq!(scene.kids(), ["a", "b"]);
    scene.at(3_420).await;
    assert_eq!(scene.kids(), ["b", "c"]);
    assert_eq!(scene.begun(), [0, 3_420]);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_keys_serve_through_an_outage_of_a_day() {
    const RECOVERY: u64 = 3_420 + 86_400 + 600;
    let scene = Scene::new(|number| (Duration::ZERO, if number == 0 { fresh(&["a"]) } else { Err(FetchFailure::Timeout) }));
    scene.at(3_420 + 86_399).await;
    assert_eq!(scene.kids(), ["a"]);
    scene.at(3_420 + 86_400).await;
    assert!(scene.keeper.ring().get(&scene.id).is_none());
    assert_eq!(scene.metric("ringfence_jwks_keys", None), Some(0.0));
    scene.at(RECOVERY).await;
    let begun = scene.begun();
    let waits: Vec<_> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits[..10], [3_420, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert!(waits[10..].iter().all(|wait| *wait == 300), "still trying, and not more often: {waits:?}");
    assert!(begun.last().is_some_and(|last| *last > RECOVERY - 301));
}

#[tokio::test(start_paused = true)]
async fn a_success_after_failures_starts_afresh() {
    let scene = Scene::new(|number| (Duration::ZERO, if number == 2 { fresh(&["a"]) } else { Err(FetchFailure::Dns) }));
    scene.at(6).await;
    assert_eq!(scene.kids(), ["a"]);
    scene.at(6 + 3_420 + 2).await;
    assert_eq!(scene.begun(), [0, 2, 6, 3_426, 3_428]);
    scene.at(3_426 + 86_399).await;
    assert_eq!(scene.kids(), ["a"], "the day is counted from the first failure after the success");
}

#[tokio::test(start_paused = true)]
async fn keys_that_expired_come_back() {
    let scene = Scene::new(|number| (Duration::ZERO, if (1..400).contains(&number) { Err(FetchFailure::Connect) } else { fresh(&["a"]) }));
    scene.at(3_420 + 86_400).await;
    assert!(scene.kids().is_empty());
    scene.at(3_420 + 2 * 86_400).await;
    assert_eq!(scene.kids(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_emptied_set_is_a_failure_and_keeps_the_last_good_keys() {
    let scene = Scene::new(|number| (Duration::ZERO, if number == 0 { fresh(&["a"]) } else { Err(FetchFailure::NoUsableKeys) }));
    scene.at(3_420).await;
    assert_eq!(scene.kids(), ["a"]);
    assert_eq!(scene.metric("ringfence_jwks_refreshes_total", Some("no_usable_keys")), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_share_one_fetch_that_begins_after_they_asked() {
    let scene = Scene::new(|number| (SECOND, fresh(if number == 0 { &["a"] } else { &["a", "b"] })));
    scene.at(100).await;
    let asked = TokioInstant::now();
    join_all((0..200).map(|_| scene.refetch(5 * SECOND))).await;
    assert_eq!(asked.elapsed(), SECOND);
    assert_eq!(scene.kids(), ["a", "b"]);
    assert!(scene.keeper.ring().get(&scene.id).unwrap().fetch_began >= asked.into_std());
    assert_eq!(scene.begun().len(), 2);
    assert_eq!(scene.metric("ringfence_jwks_refetch_suppressed_total", None), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn who_asks_during_a_fetch_waits_for_the_next_one() {
    let scene = Scene::new(|_| (4 * SECOND, fresh(&["a"])));
    scene.keeper.first_attempted().await;
    scene.at(10).await;
    let first = scene.refetch(20 * SECOND);
    let second = async {
        scene.at(12).await;
        let asked = TokioInstant::now();
        scene.refetch(20 * SECOND).await;
        (asked, TokioInstant::now())
    };
    let ((), (asked, answered)) = tokio::join!(first, second);
    assert_eq!(scene.begun(), [0, 10, 14]);
    assert_eq!((answered - scene.start).as_secs(), 18);
    assert!(scene.keeper.ring().get(&scene.id).unwrap().fetch_began >= asked.into_std());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_lets_those_who_asked_meanwhile_look_at_once() {
    let scene = Scene::new(|number| (4 * SECOND, fresh(if number == 0 { &["a"] } else { &["a", "b"] })));
    scene.at(10).await;
    let first = scene.refetch(20 * SECOND);
    let second = async {
        scene.at(12).await;
        scene.refetch(20 * SECOND).await;
        scene.start.elapsed().as_secs()
    };
    let ((), answered) = tokio::join!(first, second);
    assert_eq!(answered, 14);
    assert_eq!(scene.kids(), ["a", "b"]);
    scene.at(100).await;
    assert_eq!(scene.begun(), [0, 10], "and nothing more is fetched for them");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_the_deadline() {
    let scene = Scene::new(|number| (if number == 0 { Duration::ZERO } else { 10 * SECOND }, fresh(&["a"])));
    scene.at(10).await;
    let asked = TokioInstant::now();
    scene.refetch(Duration::from_millis(150)).await;
    assert_eq!(asked.elapsed(), Duration::from_millis(150));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_bounded_in_fetches() {
    let scene = Scene::new(|_| (Duration::from_millis(20), fresh(&["a"])));
    scene.at(100).await;
    for _ in 0..60_000 {
        scene.refetch(Duration::ZERO).await;
        time::sleep(Duration::from_millis(1)).await;
    }
    let fetches = scene.begun().len() - 1;
    assert!((3..=9).contains(&fetches), "{fetches} fetches in a minute");
    let suppressed = scene.metric("ringfence_jwks_refetch_suppressed_total", None).unwrap();
    assert!(suppressed > 59_000.0, "{suppressed}");
}

#[tokio::test(start_paused = true)]
async fn without_budget_the_answer_comes_at_once_or_with_the_running_fetch() {
    let scene = Scene::new(|number| (if number == 3 { 4 * SECOND } else { Duration::ZERO }, fresh(&["a"])));
    scene.at(100).await;
    scene.refetch(SECOND).await;
    scene.refetch(SECOND).await;
    let slow = scene.refetch(20 * SECOND);
    let late = async {
        time::sleep(SECOND).await;
        scene.refetch(20 * SECOND).await;
        scene.start.elapsed().as_secs()
    };
    let ((), answered) = tokio::join!(slow, late);
    assert_eq!(answered, 104, "the running fetch was waited for, and no other");
    let asked = TokioInstant::now();
    scene.refetch(SECOND).await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert_eq!(scene.begun().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn at_most_256_wait_for_a_set() {
    let scene = Scene::new(|number| (if number == 0 { Duration::ZERO } else { 5 * SECOND }, fresh(&["a"])));
    scene.at(10).await;
    let waited = join_all((0..300).map(|_| async {
        let asked = TokioInstant::now();
        scene.refetch(8 * SECOND).await;
        asked.elapsed()
    }));
    let waited = waited.await;
    assert_eq!(waited.iter().filter(|waited| **waited == Duration::ZERO).count(), 44);
    assert_eq!(waited.iter().filter(|waited| **waited == 5 * SECOND).count(), 256);
    assert_eq!(scene.metric("ringfence_jwks_refetch_suppressed_total", None), Some(44.0));
    scene.refetch(8 * SECOND).await;
    assert_eq!(scene.begun().len(), 3, "places are given back");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_no_longer_wanted_is_forgotten() {
    let scene = Scene::new(|number| (if number == 0 { Duration::ZERO } else { 5 * SECOND }, fresh(&["a"])));
    scene.at(10).await;
    assert_eq!(scene.kids(), ["a"]);
    let waiting = async {
        scene.refetch(100 * SECOND).await;
        scene.start.elapsed().as_secs()
    };
    let forgetting = async {
        scene.at(12).await;
        scene.keeper.want(&BTreeSet::new());
    };
    let (answered, ()) = tokio::join!(waiting, forgetting);
    assert_eq!(answered, 12, "who waits is not left waiting");
    scene.at(30).await;
    assert!(scene.kids().is_empty(), "a fetch that was running brings nothing back");
    assert_eq!(scene.metric("ringfence_jwks_keys", None), None);
    assert_eq!(scene.metric("ringfence_jwks_refreshes_total", Some("ok")), None);
    scene.refetch(SECOND).await;
    assert_eq!(scene.metric("ringfence_jwks_refetch_suppressed_total", None), None);
    scene.keeper.want(&BTreeSet::from([Arc::clone(&scene.id)]));
    scene.at(40).await;
    assert_eq!(scene.kids(), ["a"], "wanted again, fetched again");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_wanted_again_finds_its_last_good_keys_within_their_bound() {
    let scene = Scene::new(|number| (SECOND, if number == 0 { fresh(&["a"]) } else { Err(FetchFailure::Status(500)) }));
    let wanted = BTreeSet::from([Arc::clone(&scene.id)]);
    scene.at(10).await;
    scene.keeper.want(&BTreeSet::new());
    assert!(scene.kids().is_empty(), "nothing is decided by keys that nobody wants");
    scene.at(3_000).await;
    scene.keeper.want(&wanted);
    assert_eq!(scene.kids(), ["a"]);
    assert_eq!(scene.metric("ringfence_jwks_keys", None), Some(1.0));
    // The fetch that was tried at once failed: from then on the bound counts, however often the set is dropped and wanted again.
    for second in [40_000, 80_000] {
        scene.at(second).await;
        scene.keeper.want(&BTreeSet::new());
        scene.keeper.want(&wanted);
    }
    scene.at(3_000 + 24 * 3_600).await;
    assert_eq!(scene.kids(), ["a"]);
    scene.at(3_002 + 24 * 3_600).await;
    assert!(scene.kids().is_empty());
    assert_eq!(scene.metric("ringfence_jwks_keys", None), Some(0.0));
    // What was kept aside for an hour is gone after it.
    let scene = Scene::new(|number| (SECOND, if number == 0 { fresh(&["a"]) } else { Err(FetchFailure::Status(500)) }));
    scene.at(10).await;
    scene.keeper.want(&BTreeSet::new());
    scene.at(3_610).await;
    scene.keeper.want(&wanted);
    assert!(scene.kids().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_label_that_two_sets_share_stays_until_both_are_gone() {
    let scene = Scene::new(|_| (Duration::ZERO, fresh(&["a"])));
    let other = key_set("https://other.example");
    scene.keeper.want(&BTreeSet::from([Arc::clone(&scene.id), Arc::clone(&other)]));
    scene.keeper.first_attempted().await;
    scene.keeper.want(&BTreeSet::from([Arc::clone(&scene.id)]));
    assert_eq!(scene.metric("ringfence_jwks_keys", None), Some(1.0));
    assert!(scene.keeper.ring().get(&other).is_none());
    assert_eq!(scene.kids(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn wanting_the_same_again_changes_nothing() {
    let scene = Scene::new(|_| (Duration::ZERO, fresh(&["a"])));
    scene.at(10).await;
    scene.keeper.want(&BTreeSet::from([Arc::clone(&scene.id)]));
    assert_eq!(scene.kids(), ["a"]);
    scene.at(20).await;
    assert_eq!(scene.begun(), [0]);
}

#[tokio::test(start_paused = true)]
async fn key_sets_in_config_maps_are_not_fetched() {
    let scene = Scene::new(|_| (Duration::ZERO, fresh(&["a"])));
    let given = KeySetId::ConfigMap { issuer: "i".into(), namespace: "ns".into(), name: "keys".into(), key: "jwks".into() };
    scene.keeper.want(&BTreeSet::from([Arc::new(given.clone())]));
    scene.keeper.first_attempted().await;
    scene.keeper.refetch(&given, (TokioInstant::now() + HOUR).into_std()).await;
    assert!(scene.start.elapsed() < SECOND);
    assert_eq!(scene.begun().len(), 0, "aborted before its first fetch, and the other never fetched");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_failed_fetch() {
    struct Panics(Script);
    impl FetchKeys for Panics {
        fn fetch_keys(&self, id: Arc<KeySetId>) -> BoxFuture<'static, Result<FreshKeys, FetchFailure>> {
            let first = self.0.begun.lock().unwrap().is_empty();
            let fetch = self.0.fetch_keys(id);
            Box::pin(async move { if first { panic!("a fault") } else { fetch.await } })
        }
    }
    let script = Script { answer: Box::new(|_| (Duration::ZERO, fresh(&["a"]))), begun: Mutex::default() };
    let registry = Registry::new();
    let keeper = KeyKeeper::new(Arc::new(Panics(script)), KeyMetrics::new(&registry).unwrap(), Surroundings::system(), Handle::current());
    let id = key_set("https://issuer.example");
    keeper.want(&BTreeSet::from([Arc::clone(&id)]));
    keeper.first_attempted().await;
    assert!(keeper.ring().get(&id).is_none());
    time::sleep(3 * SECOND).await;
    assert!(keeper.ring().get(&id).is_some());
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_every_first_fetch_but_not_for_ever() {
    let scene = Scene::new(|_| (HOUR, fresh(&["a"])));
    scene.keeper.first_attempted().await;
    assert_eq!(scene.start.elapsed(), 10 * SECOND);
    let scene = Scene::new(|_| (2 * SECOND, Err(FetchFailure::Timeout)));
    scene.keeper.first_attempted().await;
    assert_eq!(scene.start.elapsed(), 2 * SECOND, "a failed attempt is an attempt");
}

#[tokio::test(start_paused = true)]
async fn tasks_end_with_their_keeper() {
    let Scene { keeper, script, .. } = Scene::new(|_| (HOUR, fresh(&["a"])));
    time::sleep(SECOND).await;
    drop(keeper);
    time::sleep(SECOND).await;
    assert_eq!(Arc::strong_count(&script), 1);
}

/// The whole way, in real time: discovery, keys, a rotation that nobody announced, a token with the new key.
#[tokio::test]
async fn follows_an_issuer_that_signs_at_once_with_a_new_key() {
    use crate::{
        issuer::{Document, Fault, Issuer, IssuerOptions, Rotation},
        keys::{FetchRules, Fetcher, SystemNames},
    };

    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let rules = FetchRules { allow_private: true, allow_http: true, ..FetchRules::default() };
    let fetcher = Fetcher::new(&rules, Arc::new(SystemNames)).unwrap();
    let keeper = KeyKeeper::new(Arc::new(fetcher), KeyMetrics::new(&Registry::new()).unwrap(), Surroundings::system(), Handle::current());
    let id = Arc::new(KeySetId::Discovery { issuer: issuer.issuer().into(), url: issuer.discovery_url().into() });
    keeper.want(&BTreeSet::from([Arc::clone(&id)]));
    keeper.first_attempted().await;
    let old = issuer.kid();
    assert!(keeper.ring().get(&id).unwrap().keys.get(&old).is_some());

    let new = issuer.rotate(Rotation::Withdraw).unwrap();
    let (arrived, deadline) = (Instant::now(), Instant::now() + 10 * SECOND);
    join_all((0..100).map(|_| keeper.refetch(&id, deadline))).await;
    let ring = keeper.ring();
    let fetched = ring.get(&id).unwrap();
    assert!(fetched.keys.get(&new).is_some() && fetched.keys.get(&old).is_none());
    assert!(fetched.fetch_began > arrived);
    assert_eq!(issuer.requests(Document::Keys), 2);

    issuer.fail(Document::Discovery, Some(Fault::Status(503)));
    keeper.refetch(&id, Instant::now() + 10 * SECOND).await;
    assert!(keeper.ring().get(&id).unwrap().keys.get(&new).is_some(), "the last good keys serve");
    assert_eq!(keeper.ring().get(&id).unwrap().fetch_began, fetched.fetch_began);
}
