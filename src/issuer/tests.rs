#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use ringfence_core::decide::{
    Algorithm, AlgorithmSet, Audience, Audiences, Body, ClaimRule, Decided, EntraRule, FetchedKeys, Forward, Headers, HostPattern, Issuers, KeyRing,
    KeySetId, KeySource, Match, MethodRule, Mode, NoTrace, Now, Policy, PolicyId, PolicyKind, PolicySet, PolicySetParts, RawRequest, Reason, Request,
    ReuseMode, Rules, Sender, SenderChecks, TokenRule, Verdict, Wire, decide, parse_guid, read_key_set,
};

use super::*;

const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";

async fn issuer() -> Issuer {
    Issuer::start(IssuerOptions::default()).await.unwrap()
}

async fn get(url: &str) -> Value {
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "public, max-age=3600");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn post(url: &str, body: &str) -> (u16, String) {
    let response = reqwest::Client::new().post(url).body(body.to_owned()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn kids(document: &Value) -> Vec<&str> {
    document["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

/// What `jsonwebtoken`, a verifier of other authors, reads in a token of this issuer.
fn claims(issuer: &Issuer, token: &str) -> Value {
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let keys: JwkSet = serde_json::from_value(issuer.key_set()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[issuer.issuer()]);
    validation.validate_nbf = true;
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap(), &validation).unwrap().claims
}

/// Ringfence's verdict about a webhook with this token, under a policy for this issuer.
fn verdict(issuer: &Issuer, token: &str) -> Verdict {
    verdict_of(issuer, token, Issuers::one(issuer.issuer().into()), (ClaimRule::Nothing, Some(300_000)))
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_what_other_verifiers_take() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let before = kids(&issuer.key_set()).len();
    for algorithm in Algorithm::ALL {
        let token = issuer.mint(&TokenSpec::jwt(AUDIENCE, *algorithm)).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let keys: JwkSet = serde_json::from_value(issuer.key_set()).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm.name().parse().unwrap());
        validation.set_audience(&[AUDIENCE]);
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600, "{algorithm:?}");
        let tampered = issuer.mint(&TokenSpec::jwt(AUDIENCE, *algorithm).broken(Broken::Tampered)).unwrap();
        assert!(jsonwebtoken::decode::<Value>(&tampered, &key, &validation).is_err(), "{algorithm:?}");
    }
    assert_eq!(kids(&issuer.key_set()).len(), before + Algorithm::ALL.len() - 1);
}

/// The same about a delivery of Event Grid.
fn entra_verdict(issuer: &Issuer, token: &str) -> Verdict {
    let (v1, v2, _) = issuer.authority(DEMO_TENANT);
    let issuer_v1: Arc<str> = v1.into();
    let (tenant, applications) = (parse_guid(DEMO_TENANT).unwrap(), [parse_guid(EVENT_GRID).unwrap()].into());
    let rule = EntraRule { tenant, issuer_v1: Arc::clone(&issuer_v1), applications, roles: Box::default() };
    verdict_of(issuer, token, Issuers::either(issuer_v1, v2.into()), (ClaimRule::Entra(Box::new(rule)), Some(90_000_000)))
}

fn verdict_of(issuer: &Issuer, token: &str, issuers: Issuers, (claims, max_lifetime_ms): (ClaimRule, Option<i64>)) -> Verdict {
    let id = Arc::new(KeySetId::Discovery { issuer: issuer.issuer().into(), url: issuer.discovery_url().into() });
    let rule = TokenRule {
        issuers,
        audiences: Audiences::new([Audience { value: AUDIENCE.into(), name: None }]),
        keys: KeySource::Fetched(Arc::clone(&id)),
        algorithms: AlgorithmSet::new([Algorithm::RS256]),
        clock_skew_ms: 30_000,
        max_lifetime_ms,
        require_issued_at: false,
        claims,
        reuse: ReuseMode::Allow,
        reuse_scope: [0; 32],
    };
    let sender = Sender {
        name: "callbacks".into(),
        paths: Box::default(),
        methods: MethodRule::Any,
        checks: Ok(SenderChecks { sources: None, api_key: None, event_grid: None, token: Some(rule) }),
    };
    let policy = Policy {
        id: PolicyId::new(PolicyKind::CallbackPolicy, "ns", "policy", "uid").into(),
        mode: Mode::Enforce,
        matches: Match { hosts: [HostPattern::Exact("host".into())].into(), ..Match::default() },
        rules: Rules::Senders { senders: [sender].into(), forward: Arc::new(Forward::default()) },
    };
    let policies = PolicySet::new(PolicySetParts { holders: vec![policy], ..PolicySetParts::default() });
    let arrived = Instant::now();
    let keys = Arc::new(read_key_set(issuer.key_set().to_string().as_bytes()).unwrap().keys);
    let ring = KeyRing::default().with(&id, Some(FetchedKeys { keys, fetch_began: arrived + Duration::from_secs(1) }));
    let authorization = format!("Bearer {token}");
    let mut headers = Headers::new(false);
    headers.push("authorization", authorization.as_bytes());
    let raw = RawRequest {
        arrived,
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(b"host"),
        target: b"/",
        headers,
        source: None,
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap();
    match decide(&Request::new(&raw).unwrap(), &policies, &ring, Now::settled(now), &mut NoTrace) {
        Decided::Final(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn serves_the_documents_of_the_real_one_under_its_paths() {
    let issuer = issuer().await;
    let discovery = get(&format!("http://{}/calling/.well-known/acsopenidconfiguration", issuer.address())).await;
    assert_eq!(discovery["issuer"], issuer.url());
    assert_eq!(discovery["jwks_uri"], format!("http://{}/calling/keys", issuer.address()));
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["RS256"]));
    let keys = get(&issuer.keys_url()).await;
    assert_eq!(keys, issuer.key_set());
    assert_eq!(kids(&keys), [issuer.kid()]);
    assert_eq!((issuer.requests(Document::Discovery), issuer.requests(Document::Keys)), (1, 1));
}

#[tokio::test]
async fn speaks_for_another_url_and_issuer_when_told_so() {
    let options = IssuerOptions { url: Some("http://issuer.test:9005/".into()), issuer: Some(Names::all("https://iss")), ..IssuerOptions::default() };
    let issuer = Issuer::start(options).await.unwrap();
    let discovery = get(&format!("http://{}{DISCOVERY_PATH}", issuer.address())).await;
    assert_eq!((&discovery["issuer"], &discovery["jwks_uri"]), (&json!("https://iss"), &json!("http://issuer.test:9005/calling/keys")));
    assert_eq!(issuer.discovery_url(), "http://issuer.test:9005/calling/.well-known/acsopenidconfiguration");
}

#[tokio::test]
async fn good_tokens_are_good_to_other_verifiers() {
    let issuer = issuer().await;
    let callback = claims(&issuer, &issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    assert_eq!(callback["exp"].as_u64().unwrap() - callback["iat"].as_u64().unwrap(), 300);
    let websocket = claims(&issuer, &issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap());
    assert_eq!(websocket["exp"].as_u64().unwrap() - websocket["iat"].as_u64().unwrap(), 86_400);
    let spec =
        TokenSpec { lifetime_seconds: Some(60), claims: serde_json::Map::from_iter([("x".into(), json!([1]))]), ..TokenSpec::callback(AUDIENCE) };
    let other = claims(&issuer, &issuer.mint(&spec).unwrap());
    assert_eq!(other["exp"].as_u64().unwrap() - other["nbf"].as_u64().unwrap(), 60);
    assert_eq!(other["x"], json!([1]));
    assert_ne!(callback["jti"], other["jti"]);
}

#[tokio::test]
async fn every_broken_token_is_refused_for_its_reason() {
    let issuer = issuer().await;
    assert_eq!(verdict(&issuer, &issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()).denied(), None);
    assert_eq!(verdict(&issuer, &issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap()).denied(), Some(Reason::LifetimeExceeded));
    for broken in Broken::ALL {
        assert_eq!(Broken::from_name(broken.name()), Some(*broken));
        let callback = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(*broken));
        if broken.breaks_entra() {
            assert!(callback.unwrap_err().to_string().contains("only a token of kind `event-grid`"), "{broken}");
        } else {
            let token = callback.unwrap();
            assert_eq!(verdict(&issuer, &token).denied(), Some(broken.reason()), "{broken}: {token}");
        }
    }
    let names: BTreeSet<_> = Broken::ALL.iter().map(|broken| broken.name()).collect();
    assert_eq!(names.len(), Broken::ALL.len());
}

#[tokio::test]
async fn entras_tokens_are_good_in_both_versions_and_broken_in_every_way() {
    let issuer = issuer().await;
    let keys = get(&issuer.authority(DEMO_TENANT).2).await;
    assert_eq!(keys, issuer.key_set());
    for version in [EntraVersion::V1, EntraVersion::V2] {
        let spec = TokenSpec { entra: Some(EntraSpec { version, ..EntraSpec::default() }), ..TokenSpec::event_grid(AUDIENCE) };
        let token = issuer.mint(&spec).unwrap();
        assert_eq!(entra_verdict(&issuer, &token).denied(), None, "{token}");
        assert_eq!(verdict(&issuer, &token).denied(), Some(Reason::IssuerMismatch));
        for broken in Broken::ALL {
            let token = issuer.mint(&spec.clone().broken(*broken)).unwrap();
            assert_eq!(entra_verdict(&issuer, &token).denied(), Some(broken.reason()), "{broken}: {token}");
        }
    }
    assert_eq!(entra_verdict(&issuer, &issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap()).denied(), Some(Reason::IssuerMismatch));
    let (status, text) = post(&format!("{}/mint", issuer.url()), r#"{"audience":"a","broken":"user-token"}"#).await;
    assert_eq!((status, text.contains("event-grid")), (400, true));
    assert_eq!(post(&format!("{}/x/y/discovery/v2.0/keys", issuer.url()), "").await.0, 404);
}

#[tokio::test]
async fn mints_many_different_tokens() {
    let issuer = issuer().await;
    for count in [0, 1, 5] {
        let tokens = issuer.mint_many(&TokenSpec::callback(AUDIENCE), count).unwrap();
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), count);
        assert!(tokens.iter().all(|token| verdict(&issuer, token).denied().is_none()));
    }
}

#[tokio::test]
async fn rotates_in_every_way() {
    let issuer = issuer().await;
    let first = issuer.kid();
    let second = issuer.rotate(Rotation::Publish).unwrap();
    assert_eq!(issuer.kid(), first, "published, and not yet signing");
    assert_eq!(kids(&issuer.key_set()), [&first, &second]);
    assert_eq!(issuer.rotate(Rotation::Sign).unwrap(), second);
    assert_eq!(issuer.kid(), second);
    let third = issuer.rotate(Rotation::Sign).unwrap();
    assert_eq!(issuer.kid(), third, "nothing was published before: signs at once with a new one");
    assert_eq!(kids(&issuer.key_set()), [&first, &second, &third]);
    let fourth = issuer.rotate(Rotation::Withdraw).unwrap();
    assert_eq!(kids(&issuer.key_set()), [&fourth]);
    assert_eq!(HashMap::from([(first, 1), (second, 1), (third, 1), (fourth, 1)]).len(), 4);
}

#[tokio::test]
async fn is_driven_over_http() {
    let issuer = issuer().await;
    let url = issuer.url();
    let (status, token) = post(&format!("{url}/mint"), &json!({"audience": AUDIENCE}).to_string()).await;
    assert_eq!((status, verdict(&issuer, &token).denied()), (200, None));
    let spec = TokenSpec::callback(AUDIENCE).broken(Broken::Expired);
    let (status, token) = post(&format!("{url}/mint"), &serde_json::to_string(&spec).unwrap()).await;
    assert_eq!((status, verdict(&issuer, &token).denied()), (200, Some(Reason::TokenExpired)));
    let (status, kid) = post(&format!("{url}/rotate?how=publish"), "").await;
    assert_eq!((status, kids(&issuer.key_set())[1]), (200, kid.as_str()));
    let (status, kid) = post(&format!("{url}/rotate"), "").await;
    assert_eq!((status, issuer.kid()), (200, kid));

    assert_eq!(post(&format!("{url}/mint"), "{}").await.0, 400);
    assert_eq!(post(&format!("{url}/mint"), r#"{"audience": "a", "broken": "so-so"}"#).await.0, 400);
    assert_eq!(post(&format!("{url}/mint"), &" ".repeat(70_000)).await.0, 413);
    assert_eq!(post(&format!("{url}/rotate?how=well"), "").await.0, 400);
    assert_eq!(post(&issuer.keys_url(), "").await.0, 405);
    assert_eq!(post(&format!("{url}/.well-known/openid-configuration"), "").await.0, 404);
}

#[tokio::test]
async fn says_so_when_the_port_is_taken() {
    let issuer = issuer().await;
    let error = Issuer::start(IssuerOptions { listen: issuer.address(), ..IssuerOptions::default() }).await.unwrap_err();
    assert!(matches!(error, IssuerError::Listen(address, _) if address == issuer.address()));
    assert!(error.to_string().contains(&issuer.address().to_string()));
}

#[tokio::test]
async fn stops_when_it_is_dropped() {
    let issuer = issuer().await;
    let url = issuer.keys_url();
    get(&url).await;
    drop(issuer);
    let stopped = async {
        while reqwest::get(&url).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stopped).await.unwrap();
}
