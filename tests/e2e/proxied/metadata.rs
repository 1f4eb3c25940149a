//! What Envoy is told of a decision besides the answer, as its access log shows it.

use ringfence::issuer::{Broken, TokenSpec};
use serde_json::{Value, json};

use crate::support::{
    doors::ENVOY_GRPC,
    http::Ask,
    policies::{AUDIENCE, HOST, KEY, SECOND_AUDIENCE},
    stand::Stand,
    wait_for,
    websocket::{Socket, handshake},
};

#[tokio::test]
async fn an_access_log_of_envoy_says_what_was_decided_and_for_whom() {
    let stand = Stand::start_with(&ENVOY_GRPC, &["--grpc-metadata=all"], &[]).await;
    let callback = |token: &TokenSpec| {
        let token = stand.issuer.mint(token).unwrap();
        Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST).header("Authorization", format!("Bearer {token}"))
    };
    let good = TokenSpec::callback(AUDIENCE);
    assert_eq!(callback(&good).header("X-Ms-Call-Connection-Id", "c").send(stand.proxy.address).await.status, 200);
    assert_eq!(callback(&good.broken(Broken::WrongAudience)).header("X-Ms-Call-Connection-Id", "c").send(stand.proxy.address).await.status, 401);
    assert_eq!(Ask::new("GET", "/elsewhere").header("Host", "fabrikam.com").send(stand.proxy.address).await.status, 403);
    let token = stand.issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap();
    let media = handshake(Ask::new("GET", "/media").header("Host", HOST)).header("Authorization", format!("Bearer {token}"));
    let media = media.header("X-Ms-Call-Connection-Id", "conn-2").header("X-Ms-Call-Correlation-Id", "corr-2");
    drop(Socket::open(&media, stand.proxy.address).await.unwrap_or_else(|answer| panic!("refused: {answer:?}")));

    let expected = [
        json!(["allowed", "allowed", "contoso/contact-center", "callbacks", AUDIENCE, null, null]),
        json!(["denied", "audience_mismatch", "contoso/contact-center", "callbacks", null, null, null]),
        json!(["denied", "no_policy", null, null, null, null, null]),
        json!(["allowed", "allowed", "contoso/contact-center", "media", AUDIENCE, "conn-2", "corr-2"]),
    ];
    assert_eq!(logged(&stand, expected.len()).await, expected);
}

#[tokio::test]
async fn unless_asked_for_envoy_is_told_of_refusals_alone() {
    let stand = Stand::start(&ENVOY_GRPC).await;
    for (spec, status) in [(TokenSpec::callback(AUDIENCE), 200), (TokenSpec::callback(AUDIENCE).broken(Broken::WrongAudience), 401)] {
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
        let ask = ask.header("Authorization", format!("Bearer {}", stand.issuer.mint(&spec).unwrap()));
        assert_eq!(ask.send(stand.proxy.address).await.status, status);
    }
    let expected = [
        json!([null, null, null, null, null, null, null]),
        json!(["denied", "audience_mismatch", "contoso/contact-center", "callbacks", null, null, null]),
    ];
    assert_eq!(logged(&stand, expected.len()).await, expected);
}

/// What the access log tells, once it has this many lines.
async fn logged(stand: &Stand, count: usize) -> Vec<Value> {
    wait_for("a line for each request", async || {
        let lines = stand.proxy.output().lines_from(0);
        let told: Vec<_> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).map(|line: Value| told(&line)).collect();
        (told.len() == count).then_some(told)
    })
    .await
}

/// What a line of the log tells of the decision.
fn told(line: &Value) -> Value {
    ["decision", "reason", "policy", "sender", "audience", "call_connection_id", "call_correlation_id"].iter().map(|key| line[key].clone()).collect()
}

/// The last filter of the example.
const ROUTER: &str = "                  - name: envoy.filters.http.router\n";

/// The example's limit before it, of two requests for each audience.
fn limited() -> String {
    let filter = include_str!("../../../deploy/examples/envoy-grpc/rate-limit.yaml");
    let narrow =
        filter.replace("max_tokens: 100, tokens_per_fill: 100, fill_interval: 1s", "max_tokens: 2, tokens_per_fill: 2, fill_interval: 3600s");
    assert_ne!(narrow, filter);
    let indented: String = narrow.lines().map(|line| format!("                  {line}\n")).collect();
    indented + ROUTER
}

#[tokio::test]
async fn an_audience_that_goes_wild_takes_nothing_from_another() {
    let stand = Stand::start_with(&ENVOY_GRPC, &["--grpc-metadata=all"], &[(ROUTER, &limited())]).await;
    let status = async |spec: &TokenSpec| {
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
        ask.header("Authorization", format!("Bearer {}", stand.issuer.mint(spec).unwrap())).send(stand.proxy.address).await.status
    };
    let (wild, other) = (TokenSpec::callback(AUDIENCE), TokenSpec::callback(SECOND_AUDIENCE));
    let stranger = wild.clone().broken(Broken::Tampered);
    let mut statuses = Vec::new();
    for spec in [&stranger, &stranger, &stranger, &wild, &wild, &wild, &other] {
        statuses.push(status(spec).await);
    }
    assert_eq!(statuses, [401, 401, 401, 200, 200, 429, 200]);
}

/// Without the setting that names audiences the limit is there, and narrower.
#[tokio::test]
async fn audiences_that_are_not_named_share_one_limit() {
    let stand = Stand::start_with(&ENVOY_GRPC, &[], &[(ROUTER, &limited())]).await;
    let mut statuses = Vec::new();
    for audience in [AUDIENCE, SECOND_AUDIENCE, AUDIENCE] {
        let token = stand.issuer.mint(&TokenSpec::callback(audience)).unwrap();
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
        statuses.push(ask.header("Authorization", format!("Bearer {token}")).send(stand.proxy.address).await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
}
