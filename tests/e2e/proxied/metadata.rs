//! What Envoy is told of a decision besides the answer, as its access log shows it.

use ringfence::issuer::{Broken, TokenSpec};
use serde_json::{Value, json};

use crate::support::{
    doors::ENVOY_GRPC,
    http::Ask,
    policies::{AUDIENCE, HOST, KEY},
    stand::Stand,
    wait_for,
    websocket::{Socket, handshake},
};

#[tokio::test]
async fn an_access_log_of_envoy_says_what_was_decided_and_for_whom() {
    let stand = Stand::start(&ENVOY_GRPC).await;
    let callback = |token: &TokenSpec| {
        let token = stand.issuer.mint(token).unwrap();
        Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST).header("Authorization", format!("Bearer {token}"))
    };
    let good = TokenSpec::callback(AUDIENCE);
    assert_eq!(callback(&good).header("X-Ms-Call-Connection-Id", "conn-1").send(stand.proxy.address).await.status, 200);
    assert_eq!(callback(&good.broken(Broken::WrongAudience)).header("X-Ms-Call-Connection-Id", "c").send(stand.proxy.address).await.status, 401);
    assert_eq!(Ask::new("GET", "/elsewhere").header("Host", "fabrikam.com").send(stand.proxy.address).await.status, 403);
    let token = stand.issuer.mint(&TokenSpec::websocket(AUDIENCE)).unwrap();
    let media = handshake(Ask::new("GET", "/media").header("Host", HOST)).header("Authorization", format!("Bearer {token}"));
    let media = media.header("X-Ms-Call-Connection-Id", "conn-2").header("X-Ms-Call-Correlation-Id", "corr-2");
    drop(Socket::open(&media, stand.proxy.address).await.unwrap_or_else(|answer| panic!("refused: {answer:?}")));

    let expected = [
        json!(["allowed", "allowed", "contoso/contact-center", "callbacks", AUDIENCE, "conn-1", null]),
        json!(["denied", "audience_mismatch", "contoso/contact-center", "callbacks", null, null, null]),
        json!(["denied", "no_policy", null, null, null, null, null]),
        json!(["allowed", "allowed", "contoso/contact-center", "media", AUDIENCE, "conn-2", "corr-2"]),
    ];
    let logged = wait_for("a line for each request", async || {
        let lines = stand.proxy.output().lines_from(0);
        let told: Vec<_> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).map(|line: Value| told(&line)).collect();
        (told.len() == expected.len()).then_some(told)
    })
    .await;
    assert_eq!(logged, expected);
}

/// What a line of the log tells of the decision.
fn told(line: &Value) -> Value {
    ["decision", "reason", "policy", "sender", "audience", "call_connection_id", "call_correlation_id"].iter().map(|key| line[key].clone()).collect()
}
