//! What somebody tries who may write policies beside yours, or who may name an issuer: each refused or harmless, through each front door, and
//! nothing of it open where Envoy lets failures by (`failure_mode_allow`). What a client alone can try stands in the table (`cases`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use ringfence::issuer::{Broken, Document, Fault, Issuer, IssuerOptions, Names, Rotation, TokenSpec};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    doors::{Door, ENVOY_GRPC, Proxy, Setting},
    http::Ask,
    policies::AUDIENCE,
    ringfence::Ringfence,
    traffic::Traffic,
    upstream::Upstream,
    wait_for, wait_within,
};

/// The host of tenant A.
const HOST_A: &str = "callbacks.contoso.com";
/// The host of tenant B, who attacks.
const HOST_B: &str = "hooks.fabrikam.com";

/// Tenant A with a policy, an issuer and a grant for its host; tenant B with a grant for its own, and whatever it writes.
struct Scene {
    proxy: Proxy,
    ringfence: Ringfence,
    application: Upstream,
    genuine: Issuer,
}

impl Scene {
    async fn start(door: &Door, genuine: Issuer, hostile: &[String], flags: &[&str], edits: &[(&str, &str)]) -> Self {
        let own = policy("contoso", "contact-center", HOST_A, "/api/callbacks", &sender(genuine.issuer(), &genuine.discovery_url()));
        let documents = [&[grant("contoso", HOST_A), grant("fabrikam", HOST_B), own][..], hostile].concat();
        let application = Upstream::start().await;
        let ringfence = Ringfence::start(&documents.join("\n---\n"), &[door.serve_flags, &["--host-ownership=granted"], flags].concat()).await;
        let proxy = (door.start)(Setting { replicas: &[ringfence.replica()], application: application.address, edits }).await;
        Self { proxy, ringfence, application, genuine }
    }

    /// What becomes of a webhook with this token; `None` = without one.
    async fn status(&self, host: &str, path: &str, token: Option<&str>) -> u16 {
        webhook(host, path, token).send(self.proxy.address).await.status
    }

    fn genuine_token(&self) -> String {
        self.genuine.mint(&TokenSpec::callback(AUDIENCE)).unwrap()
    }

    /// A's genuine webhook is let by, and one without a token is not.
    async fn tenant_a_is_served(&self) {
        let served = async || (self.status(HOST_A, "/api/callbacks", Some(&self.genuine_token())).await == 200).then_some(());
        wait_for("tenant A's webhook", served).await;
        assert_eq!(self.status(HOST_A, "/api/callbacks", None).await, 401);
    }

    async fn count(&self, reason: &str) -> f64 {
        self.ringfence.metric("ringfence_checks_total", &[&format!("reason=\"{reason}\"")]).await
    }
}

fn webhook(host: &str, path: &str, token: Option<&str>) -> Ask {
    let ask = Ask::new("POST", path).header("Host", host);
    match token {
        Some(token) => ask.header("Authorization", format!("Bearer {token}")),
        None => ask,
    }
}

fn grant(namespace: &str, host: &str) -> String {
    format!(
        "{{apiVersion: ringfence.dev/v1alpha1, kind: HostGrant, metadata: {{name: {namespace}}}, spec: {{hosts: [{host}], namespaces: [{namespace}]}}}}"
    )
}

/// A policy of `namespace` for `path` of `host` with one sender.
fn policy(namespace: &str, name: &str, host: &str, path: &str, sender: &Value) -> String {
    policy_of(namespace, name, &json!({"match": {"hosts": [host], "paths": [{"exact": path}]}, "senders": [sender]}))
}

fn policy_of(namespace: &str, name: &str, spec: &Value) -> String {
    json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
        .to_string()
}

fn sender(issuer: &str, discovery: &str) -> Value {
    json!({"name": "callbacks", "type": "CallAutomation", "callAutomation": {"audiences": [AUDIENCE], "issuer": issuer, "openIdConfiguration": discovery}})
}

async fn issuer() -> Issuer {
    Issuer::start(IssuerOptions::default()).await.unwrap()
}

/// An issuer with keys of its own that calls itself like `genuine`.
async fn impostor(genuine: &Issuer) -> Issuer {
    Issuer::start(IssuerOptions { issuer: Some(Names::all(genuine.issuer())), ..IssuerOptions::default() }).await.unwrap()
}

for_each_door!(a_tenant_cannot_speak_for_the_host_of_another);

async fn a_tenant_cannot_speak_for_the_host_of_another(door: &Door) {
    let genuine = issuer().await;
    let impostor = impostor(&genuine).await;
    let own_keys = sender(genuine.issuer(), &impostor.discovery_url());
    let shadow = json!({"mode": "Shadow", "match": {"hosts": [HOST_A], "paths": [{"exact": "/api/callbacks"}]}, "senders": [own_keys]});
    let broken = json!({"match": {"hosts": [HOST_A], "paths": [{"exact": "/api/callbacks"}]}, "senders": [{"name": "x", "type": "Nothing"}]});
    let hostile = [
        policy("fabrikam", "own-keys", HOST_B, "/api/callbacks", &own_keys),
        policy("fabrikam", "captures", HOST_A, "/api/callbacks", &own_keys),
        policy_of("fabrikam", "a-shadow", &shadow),
        policy_of("fabrikam", "broken", &broken),
        policy_of("fabrikam", "unreadable", &json!({"match": {"hosts": [HOST_A], "path": 7}, "senders": null})),
    ];
    let scene = Scene::start(door, genuine, &hostile, &["--unmatched=allow"], &[]).await;
    scene.tenant_a_is_served().await;
    let forged = impostor.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    // B's keys are good for B's host, which shows that they were fetched; they lend A nothing, although issuer and audience are A's.
    wait_for("B's policy", async || (scene.status(HOST_B, "/api/callbacks", Some(&forged)).await == 200).then_some(())).await;
    let refused = scene.status(HOST_A, "/api/callbacks", Some(&forged)).await;
    assert!(matches!(refused, 401 | 503) || refused == door.relays.undecided, "a token of B's own keys: {refused}");
    let genuine = scene.genuine_token();
    let refused = scene.status(HOST_B, "/api/callbacks", Some(&genuine)).await;
    assert!(matches!(refused, 401 | 503) || refused == door.relays.undecided, "A's keys lend B nothing either: {refused}");
    // What B wrote for A's host has no place there: nothing is let by in Shadow, nothing answers 503 for it.
    assert_eq!(scene.status(HOST_A, "/api/other", None).await, 403);
    assert_eq!(scene.count("policy_invalid").await, 0.0);
    let seen: Vec<_> = scene.application.seen().iter().map(|seen| seen.values("host").concat()).collect();
    assert!(
        seen.iter().all(|host| host.starts_with(HOST_B) || host.starts_with(HOST_A))
            && seen.iter().filter(|host| host.starts_with(HOST_A)).count() == 1
    );
}

#[tokio::test]
async fn key_sets_inside_the_network_are_never_asked_for() {
    let genuine = issuer().await;
    let inside = Upstream::start().await;
    let address = inside.address;
    let urls = [
        "http://169.254.169.254/metadata/instance".to_owned(),
        "https://[::ffff:10.0.0.1]/keys".to_owned(),
        "http://168.63.129.16/keys".to_owned(),
        format!("http://{address}/keys"),
        // A name, which resolves to where the URL before leads.
        format!("http://localhost:{}/keys", address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/keys", address.port()),
    ];
    // A's keys come from a ConfigMap here, as nothing private may be fetched.
    let keys = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys", "namespace": "contoso"}, "data": {"jwks": genuine.key_set().to_string()}});
    let with_keys = json!({"name": "callbacks", "type": "CallAutomation", "callAutomation": {
        "audiences": [AUDIENCE], "issuer": genuine.issuer(), "jwks": {"configMapRef": {"name": "keys", "key": "jwks"}}}});
    let mut hostile = vec![keys.to_string(), policy("contoso", "closed", HOST_A, "/closed", &with_keys)];
    for (number, url) in urls.iter().enumerate() {
        hostile.push(policy("fabrikam", &format!("inside-{number}"), HOST_B, &format!("/{number}"), &sender("https://issuer.fabrikam.com", url)));
    }
    let allow_failures = [("failure_mode_allow: false", "failure_mode_allow: true")];
    let scene = Scene::start(&ENVOY_GRPC, genuine, &hostile, &["--allow-private-issuers=false"], &allow_failures).await;
    assert_eq!(scene.status(HOST_A, "/closed", Some(&scene.genuine_token())).await, 200);
    let foreign = Issuer::start(IssuerOptions { issuer: Some(Names::all("https://issuer.fabrikam.com")), ..IssuerOptions::default() }).await.unwrap();
    let token = foreign.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    for (number, url) in urls.iter().enumerate() {
        assert_eq!(scene.status(HOST_B, &format!("/{number}"), Some(&token)).await, 503, "{url}");
    }
    let blocked = scene.ringfence.metric("ringfence_jwks_refreshes_total", &["result=\"blocked_address\""]).await;
    assert!(blocked >= urls.len() as f64, "{blocked}");
    assert!(inside.seen().is_empty(), "somebody came: {:?}", inside.seen());
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let (genuine, hostile, inside) = (issuer().await, issuer().await, Upstream::start().await);
    for document in [Document::Discovery, Document::Keys] {
        hostile.fail(document, Some(Fault::Redirect(format!("http://{}/keys", inside.address))));
    }
    let policies = [policy("fabrikam", "redirects", HOST_B, "/x", &sender(hostile.issuer(), &hostile.discovery_url()))];
    let scene = Scene::start(&ENVOY_GRPC, genuine, &policies, &[], &[("failure_mode_allow: false", "failure_mode_allow: true")]).await;
    scene.tenant_a_is_served().await;
    let token = hostile.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    assert_eq!(scene.status(HOST_B, "/x", Some(&token)).await, 503);
    assert!(inside.seen().is_empty(), "somebody came: {:?}", inside.seen());
}

/// One of each: however an issuer of B's answers, A's requests are answered, and rightly.
#[tokio::test]
async fn an_issuer_that_floods_slows_or_never_ends_leaves_the_others_alone() {
    // A key of 8,192 bits, and 10,000 of them.
    let modulus = format!("w{}", "A".repeat(1365));
    let big = |number: usize| json!({"kty": "RSA", "kid": number.to_string(), "alg": "RS256", "n": modulus, "e": "AQAB"});
    let small = |number: usize| json!({"kty": "oct", "kid": number.to_string(), "k": "AA"});
    let faults = [
        Fault::Body(json!({"keys": (0..40).map(big).collect::<Vec<_>>()}).to_string()),
        Fault::Body(json!({"keys": (0..10_000).map(small).collect::<Vec<_>>()}).to_string()),
        Fault::Endless { announced: None },
        Fault::Endless { announced: Some(1 << 40) },
        Fault::Trickle,
        Fault::Slow(Duration::from_secs(3600)),
        Fault::Down,
    ];
    let mut policies = Vec::new();
    let mut issuers = Vec::new();
    for (number, fault) in faults.into_iter().enumerate() {
        let hostile = issuer().await;
        hostile.fail(Document::Keys, Some(fault));
        policies.push(policy(
            "fabrikam",
            &format!("hostile-{number}"),
            HOST_B,
            &format!("/{number}"),
            &sender(hostile.issuer(), &hostile.discovery_url()),
        ));
        issuers.push(hostile);
    }
    let scene = Scene::start(&ENVOY_GRPC, issuer().await, &policies, &[], &[("failure_mode_allow: false", "failure_mode_allow: true")]).await;
    let genuine = scene.genuine_token();
    let tokens: Vec<_> = issuers.iter().map(|hostile| hostile.mint(&TokenSpec::callback(AUDIENCE)).unwrap()).collect();
    let traffic = Traffic::start(scene.proxy.address, move |number| match number % 4 {
        0 => (webhook(HOST_A, "/api/callbacks", Some(&genuine)), 200),
        1 => (webhook(HOST_A, "/api/callbacks", None), 401),
        _ => (webhook(HOST_B, &format!("/{}", number % tokens.len()), Some(&tokens[number % tokens.len()])), 503),
    });
    traffic.flow(200).await;
    traffic.stop().await;
    assert!(scene.ringfence.metric("process_resident_memory_bytes", &[]).await < 200e6);
}

#[tokio::test]
async fn of_a_hundred_copies_at_once_one_is_let_by() {
    let genuine = issuer().await;
    let mut once = sender(genuine.issuer(), &genuine.discovery_url());
    once["callAutomation"]["tokenReuse"] = "Deny".into();
    let policies = [policy("contoso", "once", HOST_A, "/once", &once)];
    // All at once, on however busy a machine: nobody is to be told to come again.
    let patient = [("timeout: 0.5s", "timeout: 20s")];
    let scene = Arc::new(Scene::start(&ENVOY_GRPC, genuine, &policies, &[], &patient).await);
    let token = scene.genuine_token();
    let statuses = join_all((0..100).map(|_| {
        let (scene, token) = (Arc::clone(&scene), token.clone());
        async move { scene.status(HOST_A, "/once", Some(&token)).await }
    }));
    let statuses = statuses.await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 99, "{statuses:?}");
    assert_eq!((scene.count("token_reused").await, scene.application.seen().len()), (99.0, 1));
}

#[tokio::test]
async fn random_keys_during_a_rotation_lose_no_genuine_event() {
    let scene = Arc::new(Scene::start(&ENVOY_GRPC, issuer().await, &[], &[], &[]).await);
    scene.tenant_a_is_served().await;
    let (began, before) = (Instant::now(), scene.genuine.requests(Document::Keys));
    let over = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for _ in 0..4 {
        let (scene, over) = (Arc::clone(&scene), Arc::clone(&over));
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let strange = scene.genuine.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
                let status = scene.status(HOST_A, "/api/callbacks", Some(&strange)).await;
                assert!(matches!(status, 401 | 503), "{status}");
            }
        });
    }
    wait_for("the flood to use up the budget", async || (scene.count("key_pending").await > 0.0).then_some(())).await;
    // The issuer signs with a key that nobody could have fetched before, at the worst of times.
    scene.genuine.rotate(Rotation::Sign).unwrap();
    let mut statuses = Vec::new();
    wait_within(Duration::from_secs(60), "the new key to be known", async || {
        let status = scene.status(HOST_A, "/api/callbacks", Some(&scene.genuine_token())).await;
        statuses.push(status);
        (status == 200).then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "a genuine event was refused: {statuses:?}");
    // Three at once, and then one in ten seconds.
    let fetched = scene.genuine.requests(Document::Keys) - before;
    let allowed = 4 + usize::try_from(began.elapsed().as_secs() / 10).unwrap();
    assert!(fetched <= allowed, "{fetched} fetches, and not {allowed} at most");
}
