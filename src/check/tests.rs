#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{collections::HashMap, sync::Mutex};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::decide::{
    Algorithm, AlgorithmSet, Audience, Audiences, Body, ClaimRule, EventGridRule, FetchedKeys, HandshakeMode, Headers, HostPattern, Issuers, KeySet,
    KeySource, Match, MethodRule, Mode, Policy, PolicyId, PolicyKind, PolicySetParts, ReuseMode, Rules, Sender, SenderChecks, TokenRule,
    VerifyingKey,
};

use super::*;
use crate::{
    clock::ManualClock,
    reuse::{Limits, MemoryStore},
    telemetry::{DecisionLog, Metrics},
};

const NOW: i64 = 1_790_000_000_000;
const HOST: &str = "callbacks.contoso.com";

/// An issuer with one key, `k1`.
struct Issuer {
    id: Arc<KeySetId>,
    pair: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id: Arc::new(KeySetId::Jwks { issuer: "iss".into(), url: "https://iss/keys".into() }), pair }
    }

    fn token(&self) -> String {
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let expires = NOW / 1_000 + 240;
        let signed = format!(
            "{}.{}",
            part(r#"{"alg":"ES256","kid":"k1"}"#.to_owned()),
            part(format!(r#"{{"iss":"iss","aud":"me","exp":{expires},"iat":{}}}"#, expires - 300))
        );
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Its keys, fetched now.
    fn ring(&self, kid: &str) -> KeyRing {
        let key = VerifyingKey::new(&[Algorithm::ES256], self.pair.public_key().as_ref()).unwrap();
        let keys = Arc::new(KeySet::new(HashMap::from([(kid.into(), key)])));
        KeyRing::new(HashMap::from([(Arc::clone(&self.id), FetchedKeys { keys, fetch_began: Instant::now() })]))
    }

    fn policies(&self, reuse: ReuseMode) -> PolicySet {
        policies_of(vec![self.sender("callbacks", ("me", reuse), None)])
    }

    fn sender(&self, name: &str, (audience, reuse): (&str, ReuseMode), handshake: Option<HandshakeMode>) -> Sender {
        let rule = TokenRule {
            issuers: Issuers::one("iss".into()),
            audiences: Audiences::new([Audience { value: audience.into(), name: None }]),
            keys: KeySource::Fetched(Arc::clone(&self.id)),
            algorithms: AlgorithmSet::new([Algorithm::ES256]),
            clock_skew_ms: 30_000,
            max_lifetime_ms: Some(300_000),
            require_issued_at: false,
            claims: ClaimRule::Nothing,
            reuse,
            reuse_scope: [7; 32],
        };
        let event_grid = |handshake| Box::new(EventGridRule { handshake, origins: ["eventgrid.azure.net".into()].into(), subscriptions: [].into() });
        Sender {
            name: name.into(),
            paths: Box::default(),
            methods: MethodRule::OneOf(["POST".into()].into()),
            checks: Ok(SenderChecks { sources: None, api_key: None, event_grid: handshake.map(event_grid), token: Some(rule) }),
        }
    }
}

fn policies_of(senders: Vec<Sender>) -> PolicySet {
    let policy = Policy {
        id: PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "center", "uid-1").into(),
        mode: Mode::Enforce,
        matches: Match { hosts: [HostPattern::Exact(HOST.into())].into(), ..Match::default() },
        rules: Rules::Senders { senders: senders.into(), forward: Arc::default() },
    };
    PolicySet::new(PolicySetParts { holders: vec![policy], ..PolicySetParts::default() })
}

/// Keys that change when a refetch is asked for.
struct ScriptedKeys {
    ring: ArcSwap<KeyRing>,
    after_refetch: Mutex<Option<KeyRing>>,
    refetches: Mutex<Vec<Instant>>,
    /// What is there after the keys were read once.
    meanwhile: Mutex<Option<KeyRing>>,
    /// The policies that are in force after the keys were read once.
    turned: Mutex<Option<(Arc<ArcSwap<PolicySet>>, PolicySet)>>,
    faulty: bool,
    /// A refetch takes all the time it is given.
    slow: bool,
}

impl ScriptedKeys {
    fn new(ring: KeyRing, after_refetch: Option<KeyRing>) -> Arc<Self> {
        Arc::new(Self::quick(ring, after_refetch))
    }

    fn quick(ring: KeyRing, after_refetch: Option<KeyRing>) -> Self {
        Self {
            ring: ArcSwap::from_pointee(ring),
            after_refetch: Mutex::new(after_refetch),
            refetches: Mutex::default(),
            meanwhile: Mutex::default(),
            turned: Mutex::default(),
            faulty: false,
            slow: false,
        }
    }

    fn refetches(&self) -> Vec<Instant> {
        self.refetches.lock().unwrap().clone()
    }
}

impl Keys for ScriptedKeys {
    fn ring(&self) -> Arc<KeyRing> {
        assert!(!self.faulty, "a fault on the way");
        let ring = self.ring.load_full();
        if let Some(newer) = self.meanwhile.lock().unwrap().take() {
            self.ring.store(Arc::new(newer));
        }
        if let Some((policies, newer)) = self.turned.lock().unwrap().take() {
            policies.store(Arc::new(newer));
        }
        ring
    }

    fn refetch<'k>(&'k self, _: &'k Arc<KeySetId>, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + 'k>> {
        self.refetches.lock().unwrap().push(deadline);
        if let Some(ring) = self.after_refetch.lock().unwrap().take() {
            self.ring.store(Arc::new(ring));
        }
        Box::pin(async move {
            if self.slow && deadline > Instant::now() {
                tokio::time::sleep_until(deadline.into()).await;
            }
        })
    }
}

struct World {
    checker: Checker,
    metrics: Arc<Metrics>,
    hand: ManualClock,
}

fn world(policies: PolicySet, keys: Arc<ScriptedKeys>, max_in_flight: usize) -> World {
    world_with(policies, keys, max_in_flight, MemoryStore::default())
}

fn world_with(policies: PolicySet, keys: Arc<ScriptedKeys>, max_in_flight: usize, store: MemoryStore) -> World {
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.configured(&policies, &[]);
    let (clock, hand) = Clock::manual(NOW);
    let telemetry = Telemetry::new(Arc::clone(&metrics), DecisionLog::off());
    let checker = Checker::new(CheckerParts {
        policies: Arc::new(ArcSwap::from_pointee(policies)),
        keys,
        reuse: Arc::new(ReuseStore::Memory(store)),
        clock,
        telemetry,
        max_in_flight,
    });
    World { checker, metrics, hand }
}

impl World {
    /// The value of the series whose line starts with `series`.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics.render().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    fn checks(&self, policy: &str, sender: &str, decision: &str, reason: &str) -> Option<f64> {
        self.metric(&format!(
            r#"ringfence_checks_total{{decision="{decision}",listener="grpc",policy="{policy}",reason="{reason}",sender="{sender}"}}"#
        ))
    }
}

fn raw<'a>(host: &'a str, token: &'a str) -> RawRequest<'a> {
    let mut headers = Headers::new(false);
    headers.push("authorization", format!("Bearer {token}").leak().as_bytes());
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(host.as_bytes()),
        target: b"/api/callbacks",
        headers,
        source: None,
        body: Body::Absent,
        pin: None,
        id: None,
        http2: false,
    }
}

#[tokio::test]
async fn a_good_request_is_allowed_and_counted_once() {
    let issuer = Issuer::new();
    let keys = ScriptedKeys::new(issuer.ring("k1"), None);
    let world = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    let verdict = world.checker.check(&raw(HOST, &issuer.token()), None).await;
    assert_eq!((verdict.label(), verdict.reason_label()), ("allowed", "allowed"));
    assert_eq!(world.checks("contoso/center", "callbacks", "allowed", "allowed"), Some(1.0));
    assert_eq!(world.metric(r#"ringfence_sender_last_allowed_timestamp_seconds{policy="contoso/center",sender="callbacks"}"#), Some(1_790_000_000.0));
    assert_eq!(world.metric(r#"ringfence_check_duration_seconds_count{decision="allowed",listener="grpc"}"#), Some(1.0));
    assert_eq!(world.metric("ringfence_checks_in_flight"), Some(0.0));
    assert!(keys.refetches().is_empty());
}

/// Event Grid's question, with a token that nobody has looked at.
fn handshake(token: &str) -> RawRequest<'_> {
    let mut raw = raw(HOST, token);
    raw.headers.push("aeg-event-type", b"SubscriptionValidation".as_slice());
    raw.headers.push("content-type", b"application/json".as_slice());
    let body = br#"[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "1"}}]"#;
    RawRequest { body: Body::Complete(body), ..raw }
}

#[tokio::test]
async fn an_answer_too_many_is_no_answer() {
    let issuer = Issuer::new();
    let policies = || policies_of(vec![issuer.sender("events", ("me", ReuseMode::Deny), Some(HandshakeMode::Answer))]);
    let asked = async |checker: &Checker| {
        let mut reasons = Vec::new();
        for _ in 0..100 {
            let verdict = checker.check(&handshake("x"), None).await;
            reasons.push((verdict.label(), verdict.reason_label()));
        }
        reasons
    };
    let keys = || ScriptedKeys::new(KeyRing::default(), None);
    let bounded = world(policies(), keys(), 8);
    let answers = asked(&bounded.checker).await;
    let given = answers.iter().filter(|answer| **answer == ("handshake", "allowed")).count();
    assert!((10..100).contains(&given), "{given}");
    assert!(answers.iter().all(|answer| matches!(answer, ("handshake", "allowed") | ("denied", "overloaded"))), "{answers:?}");
    #[allow(clippy::cast_precision_loss, reason = "at most 100")]
    let given = given as f64;
    assert_eq!(bounded.checks("contoso/center", "events", "handshake", "allowed"), Some(given));
    assert_eq!(bounded.checks("contoso/center", "events", "denied", "overloaded"), Some(100.0 - given));
    // No delivery was allowed.
    let last_allowed = bounded.metric(r#"ringfence_sender_last_allowed_timestamp_seconds{policy="contoso/center",sender="events"}"#);
    assert!(last_allowed.is_none_or(|time| time == 0.0), "{last_allowed:?}");
    let unbounded = world(policies(), keys(), 8).checker.answering_without_bound();
    assert!(asked(&unbounded).await.iter().all(|answer| *answer == ("handshake", "allowed")));
}

#[tokio::test]
async fn a_handshake_spends_no_token() {
    let issuer = Issuer::new();
    // The second sender reads the token, so that it is there when the first one's pass is weighed.
    let senders = vec![
        issuer.sender("events", ("me", ReuseMode::Deny), Some(HandshakeMode::PassThrough)),
        issuer.sender("others", ("somebody else", ReuseMode::Deny), None),
    ];
    let world = world(policies_of(senders), ScriptedKeys::new(issuer.ring("k1"), None), 8);
    let token = issuer.token();
    for _ in 0..2 {
        let verdict = world.checker.check(&handshake(&token), None).await;
        assert_eq!((verdict.label(), verdict.about.sender.as_deref(), verdict.about.verified), ("allowed", Some("events"), false));
    }
    // The token is as good as it was.
    assert_eq!(world.checker.check(&raw(HOST, &token), None).await.label(), "allowed");
    assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), Some(Reason::TokenReused));
}

#[tokio::test]
async fn what_is_no_request_or_has_no_policy_is_refused_and_counted() {
    let issuer = Issuer::new();
    let world = world(issuer.policies(ReuseMode::Allow), ScriptedKeys::new(KeyRing::default(), None), 8);
    assert_eq!(world.checker.check(&raw("a,b", ""), None).await.denied(), Some(Reason::AmbiguousHost));
    assert_eq!(world.checker.check(&raw("elsewhere.example", ""), None).await.denied(), Some(Reason::NoPolicy));
    assert_eq!(world.checker.refuse(Wire::Grpc, Instant::now(), Reason::MalformedRequest).denied(), Some(Reason::MalformedRequest));
    for reason in ["ambiguous_host", "no_policy", "malformed_request"] {
        assert_eq!(world.checks("", "", "denied", reason), Some(1.0), "{reason}");
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_cannot_decide() {
    let issuer = Issuer::new();
    let world = world(issuer.policies(ReuseMode::Allow), ScriptedKeys::new(issuer.ring("k1"), None), 8);
    let verdict = world.checker.check(&raw(HOST, &issuer.token()), Some(Instant::now())).await;
    assert_eq!(verdict.denied(), Some(Reason::DeadlineExceeded));
}

#[tokio::test]
async fn more_than_the_bound_is_overloaded_and_a_place_is_given_back() {
    let issuer = Issuer::new();
    let none = world(issuer.policies(ReuseMode::Allow), ScriptedKeys::new(issuer.ring("k1"), None), 0);
    assert_eq!(none.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), Some(Reason::Overloaded));
    assert_eq!(none.metric("ringfence_checks_in_flight"), Some(0.0));
    let one = world(issuer.policies(ReuseMode::Allow), ScriptedKeys::new(issuer.ring("k1"), None), 1);
    for _ in 0..3 {
        assert_eq!(one.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), None);
    }
}

#[tokio::test]
async fn a_fault_is_internal_and_the_next_check_is_none_the_worse() {
    let issuer = Issuer::new();
    let keys = Arc::new(ScriptedKeys { faulty: true, ..ScriptedKeys::quick(KeyRing::default(), None) });
    let world = world(issuer.policies(ReuseMode::Allow), keys, 1);
    for _ in 0..2 {
        assert_eq!(world.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), Some(Reason::Internal));
    }
    assert_eq!(world.checks("", "", "denied", "internal"), Some(2.0));
    assert_eq!(world.metric("ringfence_checks_in_flight"), Some(0.0));
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once_and_then_allowed() {
    let issuer = Issuer::new();
    let keys = ScriptedKeys::new(issuer.ring("k0"), Some(issuer.ring("k1")));
    let world = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    let asked = Instant::now();
    assert_eq!(world.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), None);
    let refetches = keys.refetches();
    assert_eq!(refetches.len(), 1);
    assert!(refetches[0] >= asked + REFETCH_BOUND && refetches[0] <= Instant::now() + REFETCH_BOUND);
    assert_eq!(world.checks("contoso/center", "callbacks", "allowed", "allowed"), Some(1.0));
}

#[tokio::test]
async fn keys_that_came_meanwhile_cost_no_fetch() {
    let issuer = Issuer::new();
    let keys = ScriptedKeys::new(issuer.ring("k0"), None);
    *keys.meanwhile.lock().unwrap() = Some(issuer.ring("k1"));
    let world = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    assert_eq!(world.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), None);
    assert!(keys.refetches().is_empty());
}

#[tokio::test]
async fn policies_and_keys_that_turn_while_a_check_runs_are_both_read_again() {
    let (old, new) =
        (Issuer::new(), Issuer { id: Arc::new(KeySetId::Jwks { issuer: "iss".into(), url: "https://new/keys".into() }), ..Issuer::new() });
    // The old policies were read, and then their keys were no longer kept.
    let keys = ScriptedKeys::new(new.ring("k1"), None);
    let turning = world(old.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    *keys.turned.lock().unwrap() = Some((Arc::clone(&turning.checker.policies), new.policies(ReuseMode::Allow)));
    assert_eq!(turning.checker.check(&raw(HOST, &new.token()), None).await.denied(), None);
    // The first keys of all came just now.
    let keys = ScriptedKeys::new(KeyRing::default(), None);
    *keys.meanwhile.lock().unwrap() = Some(new.ring("k1"));
    let begun = world(new.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    assert_eq!(begun.checker.check(&raw(HOST, &new.token()), None).await.denied(), None);
    assert!(keys.refetches().is_empty());
}

#[tokio::test]
async fn a_key_that_stays_unknown_is_asked_for_once() {
    let issuer = Issuer::new();
    let keys = ScriptedKeys::new(issuer.ring("k0"), None);
    let pending = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    assert_eq!(pending.checker.check(&raw(HOST, &issuer.token()), None).await.denied(), Some(Reason::KeyPending));
    assert_eq!(keys.refetches().len(), 1);

    let (ring, token) = (issuer.ring("k0"), issuer.token());
    let request = raw(HOST, &token);
    // Fetched after the request came.
    let keys = ScriptedKeys::new(ring, Some(issuer.ring("k2")));
    let unknown = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    assert_eq!(unknown.checker.check(&request, None).await.denied(), Some(Reason::KeyUnknown));
    assert_eq!(keys.refetches().len(), 1);
}

#[tokio::test]
async fn a_flood_that_waits_for_a_slow_issuer_leaves_room_for_the_others() {
    let issuer = Issuer::new();
    let keys = Arc::new(ScriptedKeys { slow: true, ..ScriptedKeys::quick(issuer.ring("k0"), None) });
    let world = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    let token = issuer.token();
    let request = raw(HOST, &token);
    let mut flood: Vec<_> = (0..8).map(|_| Box::pin(world.checker.check(&request, None))).collect();
    let waiting = flood.iter_mut().filter_map(|check| check.now_or_never().is_none().then_some(())).count();
    assert_eq!(waiting, 2, "a quarter of all");
    assert_eq!(keys.refetches().len(), 8, "each asks for a fetch");
    assert_eq!(world.checker.check(&raw("elsewhere.example", ""), None).await.denied(), Some(Reason::NoPolicy));
    drop(flood);
    assert_eq!(world.metric("ringfence_checks_in_flight"), Some(0.0));
    assert_eq!(world.checker.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_refetch_leaves_the_caller_time_for_the_answer() {
    let issuer = Issuer::new();
    let keys = ScriptedKeys::new(issuer.ring("k0"), Some(issuer.ring("k1")));
    let world = world(issuer.policies(ReuseMode::Allow), Arc::clone(&keys), 8);
    let token = issuer.token();
    let soon = Instant::now() + ANSWER_MARGIN;
    assert_eq!(world.checker.check(&raw(HOST, &token), Some(soon)).await.denied(), Some(Reason::KeyPending));
    assert!(keys.refetches().is_empty());
    let later = Instant::now() + Duration::from_millis(100);
    assert_eq!(world.checker.check(&raw(HOST, &token), Some(later)).await.denied(), None);
    assert_eq!(keys.refetches(), [later - ANSWER_MARGIN]);
}

#[tokio::test]
async fn reuse_is_counted_or_refused() {
    let issuer = Issuer::new();
    let reused = r#"ringfence_token_reuse_total{policy="contoso/center",sender="callbacks"}"#;
    let token = issuer.token();
    for (mode, second) in [(ReuseMode::Observe, None), (ReuseMode::Deny, Some(Reason::TokenReused))] {
        let world = world(issuer.policies(mode), ScriptedKeys::new(issuer.ring("k1"), None), 8);
        assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), None);
        assert_eq!(world.metric(reused), None);
        assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), second);
        assert_eq!(world.metric(reused), Some(1.0));
    }
}

#[tokio::test]
async fn a_full_store_is_counted_and_lets_nothing_by_where_reuse_is_denied() {
    let issuer = Issuer::new();
    let token = issuer.token();
    for (mode, expected) in [(ReuseMode::Observe, None), (ReuseMode::Deny, Some(Reason::Overloaded))] {
        let full = MemoryStore::new(Limits { total: 0, per_policy: 0, per_namespace: 0 });
        let world = world_with(issuer.policies(mode), ScriptedKeys::new(issuer.ring("k1"), None), 8, full);
        assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), expected);
        assert_eq!(world.metric(r#"ringfence_token_reuse_unremembered_total{policy="contoso/center"}"#), Some(1.0));
    }
}

#[tokio::test]
async fn the_time_is_the_clock_s() {
    let issuer = Issuer::new();
    let world = world(issuer.policies(ReuseMode::Allow), ScriptedKeys::new(issuer.ring("k1"), None), 8);
    world.hand.advance(600_000);
    let token = issuer.token();
    assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), Some(Reason::TokenExpired));
    world.hand.advance(-600_000);
    assert_eq!(world.checker.check(&raw(HOST, &token), None).await.denied(), Some(Reason::ClockUnsettled));
}
