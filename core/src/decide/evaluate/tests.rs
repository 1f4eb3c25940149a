#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{collections::HashMap, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::{super::*, *};

const NOW_MS: i64 = 1_800_000_000_000;
const GOOD_KEY: &str = "0123456789abcdef";

fn id(name: &str) -> SharedId {
    PolicyId::new(PolicyKind::CallbackPolicy, "n", name, name).into()
}

fn policy(name: &str, mode: Mode, senders: Vec<Sender>, forward: Forward) -> Policy {
    let matches = Match { hosts: [HostPattern::Exact("a.example".into())].into(), ..Match::default() };
    Policy { id: id(name), mode, matches, rules: Rules::Senders { senders: senders.into(), forward: Arc::new(forward) } }
}

fn sender(name: &str, checks: Result<SenderChecks, Box<str>>) -> Sender {
    Sender { name: name.into(), paths: Box::default(), methods: MethodRule::Any, checks }
}

fn api_key(query: &str) -> ApiKeyRule {
    let digest = digest::digest(&digest::SHA256, GOOD_KEY.as_bytes());
    let active = ActiveKeys::Digests([digest.as_ref().try_into().unwrap()].into());
    ApiKeyRule { carrier: ApiKeyCarrier::Query(query.into()), active, strip: true }
}

fn sources(network: &str, on_mismatch: OnMismatch) -> SourceRule {
    SourceRule { ranges: [Arc::new(RangeSet::new(&[network.parse().unwrap()]))].into(), on_mismatch }
}

fn token_rule(issuer: &str, audience: &str, is_fetched: bool) -> TokenRule {
    let id = Arc::new(KeySetId::Jwks { issuer: issuer.into(), url: "https://keys".into() });
    let keys = if is_fetched { KeySource::Fetched(id) } else { KeySource::Given(id, Arc::new(KeySet::new(HashMap::new()))) };
    TokenRule {
        issuers: Issuers::one(issuer.into()),
        audiences: Audiences::new([Audience { value: audience.into(), name: None }]),
        keys,
        algorithms: AlgorithmSet::new([Algorithm::RS256]),
        clock_skew_ms: 30_000,
        max_lifetime_ms: Some(300_000),
        require_issued_at: false,
        claims: ClaimRule::Nothing,
        reuse: ReuseMode::Observe,
        reuse_scope: [0; 32],
    }
}

fn token(issuer: &str, audience: &str, expires_in_s: i64) -> String {
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let claims = format!(r#"{{"iss":"{issuer}","aud":"{audience}","exp":{}}}"#, NOW_MS / 1000 + expires_in_s);
    format!("Bearer {}.{}.AAAA", part(r#"{"alg":"RS256","kid":"k"}"#.to_owned()), part(claims))
}

fn ask(set: &PolicySet, target: &str, source: Option<&str>, authorization: Option<&str>) -> Verdict {
    ask_with(set, target, source, authorization, None)
}

/// `event`: a body that claims to be Event Grid's handshake.
fn ask_with(set: &PolicySet, target: &str, source: Option<&str>, authorization: Option<&str>, event: Option<&str>) -> Verdict {
    let mut headers = Headers::new(false);
    if event.is_some() {
        headers.push("aeg-event-type", b"SubscriptionValidation".as_slice());
        headers.push("content-type", b"application/json".as_slice());
    }
    if let Some(authorization) = authorization {
        headers.push("authorization", authorization.as_bytes());
    }
    let body = event.map_or(Body::Absent, |event| Body::Complete(event.as_bytes()));
    decided(set, target, headers, source, body, None)
}

/// A request for `a.example`.
fn raw_request<'a>() -> RawRequest<'a> {
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(b"a.example"),
        target: b"/",
        headers: Headers::new(false),
        source: None,
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    }
}

/// The verdict about a request for `a.example`.
fn decided(set: &PolicySet, target: &str, headers: Headers<'_>, source: Option<&str>, body: Body<'_>, pin: Option<&str>) -> Verdict {
    let raw = RawRequest {
        target: target.as_bytes(),
        headers,
        source: source.map(|source| source.parse().unwrap()),
        body,
        pin: pin.map(Into::into),
        ..raw_request()
    };
    match decide(&Request::new(&raw).unwrap(), set, &KeyRing::default(), Now::settled(NOW_MS), &mut NoTrace) {
        Decided::Final(verdict) => verdict,
        Decided::NeedsKey(wanted) => wanted.otherwise,
        Decided::NeedsReuse(pending) => panic!("no token here is good: {pending:?}"),
        Decided::NeedsTurn(pending) => pending.resolve(true),
    }
}

/// Keeps what is said at each step.
#[derive(Default)]
struct Said(Vec<String>);

impl Trace for Said {
    fn step(&mut self, step: Step<'_>) {
        self.0.push(step.detail.to_string());
    }
}

fn shadow_floor(name: &str, sources: SourceRule) -> Floor {
    Floor { id: id(name), mode: Mode::Shadow, matches: Match { hosts: [HostPattern::Any].into(), ..Match::default() }, sources: Ok(sources) }
}

#[test]
fn of_senders_that_are_good_for_another_spelling_the_first_is_named() {
    let at = |name: &str, path: &str| {
        let checks = SenderChecks { sources: None, api_key: Some(api_key("key")), event_grid: None, token: None };
        Sender { paths: [PathPattern::exact(path)].into(), ..sender(name, Ok(checks)) }
    };
    for paths in [&["/cb/x", "/cb/x"][..], &["/cb/x", "/cb/x", "/cb/x"], &["/other", "/cb/x", "/cb/X", "/cb/x"]] {
        let first = paths.iter().position(|path| *path == "/cb/x").unwrap();
        let senders = paths.iter().enumerate().map(|(number, path)| at(&format!("s{number}"), path)).collect();
        let set =
            PolicySet::new(PolicySetParts { holders: vec![policy("p", Mode::Enforce, senders, Forward::default())], ..PolicySetParts::default() });
        let mut said = Said::default();
        let raw = RawRequest { target: b"/cb/X", ..raw_request() };
        let decided = decide(&Request::new(&raw).unwrap(), &set, &KeyRing::default(), Now::settled(NOW_MS), &mut said);
        assert!(matches!(decided, Decided::Final(Verdict { decision: Decision::Deny(Reason::AmbiguousPath), .. })), "{decided:?}");
        assert_eq!(said.0.last().unwrap(), &format!("sender `s{first}` is good for another spelling of the path"));
    }
}

#[test]
fn a_floor_in_shadow_is_counted_once_and_changes_nothing() {
    let trial = policy(
        "trial",
        Mode::Shadow,
        vec![sender("any", Ok(SenderChecks { sources: None, api_key: Some(api_key("key")), event_grid: None, token: None }))],
        Forward::default(),
    );
    let floors = || vec![shadow_floor("floor", sources("192.0.2.0/24", OnMismatch::Deny))];
    let claimed = PolicySet::new(PolicySetParts { holders: vec![trial], floors: floors(), ..PolicySetParts::default() });
    let open = PolicySet::new(PolicySetParts { floors: floors(), unmatched: Unmatched::Allow, ..PolicySetParts::default() });
    for (target, reason) in
        [("/", Reason::SourceDenied), ("/?key=a&key=b", Reason::SourceDenied), ("//", Reason::AmbiguousPath), ("/a;b#", Reason::AmbiguousPath)]
    {
        for (set, label) in [(&claimed, "shadow_denied"), (&open, "allowed")] {
            let verdict = ask(set, target, Some("198.51.100.1"), None);
            assert_eq!(verdict.label(), label, "{target}");
            assert_eq!(verdict.about.shadow_floors, [(id("floor"), reason)], "{target} {label}");
        }
    }
}

#[test]
fn an_ambiguous_path_costs_the_same_however_many_policies_are_in_shadow() {
    let forward = Forward { headers: [("x-user".into(), "sub".into())].into(), ..Forward::default() };
    let shared = policy("many", Mode::Shadow, vec![sender("any", Err("unsound".into()))], forward);
    let set = PolicySet::new(PolicySetParts { holders: vec![shared; 20_000], ..PolicySetParts::default() });
    let verdict = ask(&set, "//", None, None);
    let Decision::Allow(Allow { mutations, .. }) = verdict.decision else { panic!() };
    assert_eq!(mutations.remove_headers().collect::<Vec<_>>(), ["x-user"]);
}

/// A request for a policy that may be pinned and holds no place, so that nobody claims its host.
fn ask_pinned(mode: Mode, target: &str, authorizations: &[&str]) -> Verdict {
    let no_token = sender("any", Ok(SenderChecks { sources: None, api_key: Some(api_key("key")), event_grid: None, token: None }));
    let parts = PolicySetParts { pinnable: vec![policy("p", mode, vec![no_token], Forward::default())], ..PolicySetParts::default() };
    let mut headers = Headers::new(false);
    authorizations.iter().for_each(|value| headers.push("authorization", value.as_bytes()));
    decided(&PolicySet::new(parts), target, headers, None, Body::Absent, Some("n/p"))
}

/// Whoever asks for it: also where only a pin leads to the policy, and whatever its senders ask for.
#[test]
fn two_authorization_headers_are_refused_for_a_pinned_policy_that_holds_no_place() {
    let good = format!("/?key={GOOD_KEY}");
    for (mode, authorizations, reason) in [
        (Mode::Enforce, &[][..], None),
        (Mode::Enforce, &["Bearer a"], None),
        (Mode::Enforce, &["Bearer a", "Bearer b"], Some(Reason::DuplicateCredential)),
        (Mode::Shadow, &["Bearer a", "Bearer b"], Some(Reason::DuplicateCredential)),
    ] {
        assert_eq!(ask_pinned(mode, &good, authorizations).denied(), reason, "{mode:?} {authorizations:?}");
    }
}

/// The key of a sender that cannot be used is taken out of the upstream request like the others: whoever reads it may not see another one.
#[test]
fn a_key_of_an_unsound_sender_may_not_be_given_twice_either() {
    let key = SenderChecks { sources: None, api_key: Some(api_key("key")), event_grid: None, token: None };
    let senders = vec![sender("sound", Ok(key)), sender("unsound", Err("no".into()))];
    let forward = Forward { strip_query: ["key".into(), "code".into()].into(), ..Forward::default() };
    let holders = vec![policy("p", Mode::Enforce, senders, forward)];
    let set = PolicySet::new(PolicySetParts { holders, ..PolicySetParts::default() });
    for (target, reason) in
        [("", None), ("&code=x", None), ("&code=x&CODE=y", Some(Reason::DuplicateCredential)), ("&code=x&code=x", Some(Reason::DuplicateCredential))]
    {
        assert_eq!(ask(&set, &format!("/?key={GOOD_KEY}{target}"), None, None).denied(), reason, "{target}");
    }
}

/// Senders of every kind that cannot all be sound.
fn any_sender() -> impl Strategy<Value = Sender> {
    let source =
        prop_oneof![Just(None), Just(Some(sources("192.0.2.0/24", OnMismatch::Deny))), Just(Some(sources("192.0.2.0/24", OnMismatch::Observe))),];
    let key = prop_oneof![Just(None), Just(Some(api_key("key"))), Just(Some(api_key("code")))];
    let token = prop_oneof![
        Just(None),
        ("[ab]", "[xy]", any::<bool>()).prop_map(|(issuer, audience, is_fetched)| Some(token_rule(&issuer, &audience, is_fetched)))
    ];
    let event_grid = |handshake| Some(Box::new(EventGridRule { handshake, origins: Box::default(), subscriptions: Box::default() }));
    let event_grid = prop_oneof![
        Just(None),
        Just(event_grid(HandshakeMode::Answer)),
        Just(event_grid(HandshakeMode::Deliver)),
        Just(event_grid(HandshakeMode::PassThrough))
    ];
    let methods = prop_oneof![
        Just(MethodRule::Any),
        Just(MethodRule::OneOf(["PUT".into()].into())),
        Just(MethodRule::OneOf(["POST".into()].into())),
        Just(MethodRule::WebSocketUpgrade)
    ];
    let paths = prop_oneof![Just(vec![]), Just(vec![PathPattern::prefix("/api")]), Just(vec![PathPattern::exact("/API")])];
    (source, key, token, event_grid, any::<bool>(), methods, paths).prop_map(|(sources, api_key, token, event_grid, is_sound, methods, paths)| {
        let checks = if is_sound { Ok(SenderChecks { sources, api_key, event_grid, token }) } else { Err("unsound".into()) };
        Sender { paths: paths.into(), methods, ..sender("", checks) }
    })
}

proptest! {
    #[test]
    fn the_order_of_senders_never_matters(
        senders in proptest::collection::vec(any_sender(), 1..6),
        turns in 0..6_usize,
        path in prop_oneof![Just("/"), Just("/api"), Just("/API"), Just("/api/x")],
        key in prop_oneof![Just(""), Just("?key=0123456789abcdef"), Just("?code=0123456789abcdef"), Just("?key=wrong"), Just("?key=a&KEY=b")],
        source in prop_oneof![Just(None), Just(Some("192.0.2.1")), Just(Some("198.51.100.1"))],
        authorization in prop_oneof![
            Just(None),
            Just(Some("Bearer x".to_owned())),
            ("[abc]", "[xyz]", prop_oneof![Just(-60), Just(60)]).prop_map(|(issuer, audience, expires)| Some(token(&issuer, &audience, expires))),
        ],
        event in prop_oneof![
            Just(None),
            Just(Some(r#"[{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "1"}}]"#)),
            Just(Some(r#"[{"eventType": "Microsoft.Communication.IncomingCall", "data": {}}]"#)),
        ],
    ) {
        let named: Vec<Sender> =
            senders.into_iter().enumerate().map(|(number, one)| Sender { name: number.to_string().into(), ..one }).collect();
        let mut turned = named.clone();
        turned.rotate_left(turns % named.len());
        let mut reversed = turned.clone();
        reversed.reverse();
        let answer = |senders: Vec<Sender>| {
            let parts = PolicySetParts { holders: vec![policy("p", Mode::Enforce, senders, Forward::default())], ..PolicySetParts::default() };
            let verdict = ask_with(&PolicySet::new(parts), &format!("{path}{key}"), source, authorization.as_deref(), event);
            (verdict.label(), verdict.reason_label(), verdict.about.sender, verdict.about.source_mismatch, verdict.about.token)
        };
        let first = answer(named);
        prop_assert_eq!(&answer(turned), &first);
        prop_assert_eq!(&answer(reversed), &first);
    }
}

fn one_of(senders: Vec<Sender>) -> PolicySet {
    PolicySet::new(PolicySetParts { holders: vec![policy("p", Mode::Enforce, senders, Forward::default())], ..PolicySetParts::default() })
}

fn without_token(sources: Option<SourceRule>, api_key: Option<ApiKeyRule>) -> Result<SenderChecks, Box<str>> {
    Ok(SenderChecks { sources, api_key, event_grid: None, token: None })
}

fn with_token(sources: Option<SourceRule>, rule: TokenRule) -> Result<SenderChecks, Box<str>> {
    Ok(SenderChecks { sources, api_key: None, event_grid: None, token: Some(rule) })
}

/// One that got further has less to say about it.
#[test]
fn the_refusal_of_the_sender_whose_issuer_the_token_names_is_told() {
    let elsewhere = || Some(sources("192.0.2.0/24", OnMismatch::Deny));
    let mine = || sender("mine", with_token(elsewhere(), token_rule("mine", "a", false)));
    let other = || sender("other", with_token(None, token_rule("other", "a", false)));
    for senders in [vec![mine(), other()], vec![other(), mine()]] {
        let set = one_of(senders);
        for (issuer, told) in [("mine", ("source_denied", "mine")), ("other", ("key_unknown", "other"))] {
            let verdict = ask(&set, "/", Some("198.51.100.1"), Some(&token(issuer, "a", 60)));
            assert_eq!((verdict.reason_label(), verdict.about.sender.as_deref().unwrap()), told, "{issuer}");
        }
    }
}

#[test]
fn a_sender_that_does_not_take_the_method_is_told_of_last() {
    let reads = Sender { methods: MethodRule::OneOf(["GET".into()].into()), ..sender("reads", without_token(None, None)) };
    let writes = sender("writes", without_token(None, Some(api_key("key"))));
    let verdict = ask(&one_of(vec![reads, writes]), "/", None, None);
    assert_eq!((verdict.reason_label(), verdict.about.sender.as_deref()), ("api_key_missing", Some("writes")));
}

#[test]
fn of_several_that_allow_the_first_by_name_counts() {
    let any = |name| sender(name, without_token(None, Some(api_key("key"))));
    for senders in [vec![any("a"), any("b")], vec![any("b"), any("a")]] {
        let verdict = ask(&one_of(senders), &format!("/?key={GOOD_KEY}"), None, None);
        assert_eq!((verdict.reason_label(), verdict.about.sender.as_deref()), ("allowed", Some("a")));
    }
}

/// What a limit may be counted under, and what the log says: whose token it was, and whether that is certain.
#[test]
fn a_verdict_says_whose_token_it_was_and_whether_it_is_certain() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = VerifyingKey::new(&[Algorithm::EdDSA], pair.public_key().as_ref()).unwrap();
    let id = Arc::new(KeySetId::Jwks { issuer: "i".into(), url: "https://keys".into() });
    let rule = TokenRule {
        keys: KeySource::Given(id, Arc::new(KeySet::new(HashMap::from([("k".into(), key)])))),
        algorithms: AlgorithmSet::new([Algorithm::EdDSA]),
        reuse: ReuseMode::Allow,
        ..token_rule("i", "a", false)
    };
    let set = one_of(vec![sender("s", with_token(None, rule))]);
    let signed = |audience: &str| {
        let claims = format!(r#"{{"iss":"i","aud":"{audience}","exp":{}}}"#, NOW_MS / 1000 + 60);
        let signed = [r#"{"alg":"EdDSA","kid":"k"}"#, &claims].map(|json| URL_SAFE_NO_PAD.encode(json)).join(".");
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())))
    };
    let tampered =
        signed("a").replace(&URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#), &URL_SAFE_NO_PAD.encode(r#"{"kid":"k","alg":"EdDSA"}"#));
    for (authorization, reason, audience, is_certain) in
        [(signed("a"), "allowed", "a", true), (signed("b"), "audience_mismatch", "b", false), (tampered, "signature_invalid", "a", false)]
    {
        let verdict = ask(&set, "/", None, Some(&authorization));
        assert_eq!((verdict.reason_label(), verdict.about.verified), (reason, is_certain));
        assert_eq!(verdict.about.token, Some(TokenFacts::new(Some("i"), Some(audience), Some("k"))), "{reason}");
    }
    assert_eq!(ask(&set, "/", None, None).about.token, None);
}

/// Of another policy or another token it is another one; nothing else counts.
#[test]
fn a_reuse_key_is_the_digest_of_scope_and_token() {
    for length in [32, 48, 64] {
        let (scope, signed): ([u8; 32], Vec<u8>) = ([7; 32], (0..length).collect());
        let expected = digest::digest(&digest::SHA256, &[&scope[..], &signed].concat());
        assert_eq!(reuse_key(&scope, &signed), expected.as_ref(), "{length}");
    }
}

/// Where all that claim the host are in Shadow, what the pinned policy is decides about what is wrong before a policy can be told apart.
#[test]
fn a_pinned_policy_that_enforces_is_not_shadowed_by_those_that_claim_its_host() {
    let asks_for_a_key = |name: &str, mode| {
        let checks = SenderChecks { sources: None, api_key: Some(api_key("key")), event_grid: None, token: None };
        policy(name, mode, vec![sender("any", Ok(checks))], Forward::default())
    };
    for (mode, label) in [(Mode::Enforce, "denied"), (Mode::Shadow, "shadow_denied")] {
        let set = PolicySet::new(PolicySetParts {
            holders: vec![asks_for_a_key("trial", Mode::Shadow)],
            pinnable: vec![asks_for_a_key("pinned", mode)],
            ..PolicySetParts::default()
        });
        for target in [format!("/?key={GOOD_KEY}&key={GOOD_KEY}"), "/a//b".to_owned()] {
            let verdict = decided(&set, &target, Headers::new(false), None, Body::Absent, Some("n/pinned"));
            assert_eq!(verdict.label(), label, "{mode:?} {target}: {verdict:?}");
        }
    }
}
