//! Health, metrics and the decision log of the running program.

use std::net::TcpListener;

use ringfence::issuer::{Document, Fault, Issuer, IssuerOptions, TokenSpec};
use tokio::net::TcpStream;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    wait_for,
};

#[tokio::test]
async fn every_check_is_counted_once_and_logged_once() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    let mut client = Client::over(TcpStream::connect(ringfence.address("grpc")).await.unwrap()).await.unwrap();
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let target = format!("/api/callbacks?key={KEY}");
    let good = check_request(peer("127.0.0.1"), "POST", HOST, &target, &[("authorization", &authorization)]);
    let bad = check_request(peer("127.0.0.2"), "POST", HOST, &target, &[("authorization", &authorization)]);
    for _ in 0..5 {
        assert_eq!((status(&client.check(&good).await), status(&client.check(&bad).await)), (200, 403));
    }
    let counted = async |labels: &[&str]| ringfence.metric("ringfence_checks_total", labels).await;
    let policy = "policy=\"contoso/contact-center\"";
    assert_eq!(counted(&[policy, "sender=\"callbacks\"", "decision=\"allowed\"", "reason=\"allowed\"", "listener=\"grpc\""]).await, 5.0);
    assert_eq!(counted(&[policy, "decision=\"denied\"", "reason=\"source_denied\""]).await, 5.0);
    assert_eq!(counted(&[]).await, 10.0);
    assert_eq!(ringfence.metric("ringfence_check_duration_seconds_count", &[]).await, 10.0);
    assert_eq!(ringfence.metric("ringfence_token_reuse_total", &[policy]).await, 4.0);
    assert!(ringfence.metric("ringfence_sender_last_allowed_timestamp_seconds", &[policy]).await > 1e9);
    assert_eq!(ringfence.metric("ringfence_checks_in_flight", &[]).await, 0.0);
    wait_for("ten decisions in the log", async || (ringfence.decisions().len() == 10).then_some(())).await;
    let decision = ringfence.decisions().pop().unwrap();
    for (field, value) in
        [("policy", "contoso/contact-center"), ("host", HOST), ("method", "POST"), ("path", "/api/callbacks"), ("source", "127.0.0.2")]
    {
        assert_eq!(decision[field], value, "{field}: {decision}");
    }
    assert_eq!(decision["verified"], false, "{decision}");
}

#[tokio::test]
async fn unready_until_the_keys_were_asked_for() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    issuer.fail(Document::Discovery, Some(Fault::Trickle));
    let mut ringfence = Ringfence::launch(&policies(&issuer), &[]);
    ringfence.read_addresses(&["metrics"]).await;
    assert_eq!(ringfence.get("/livez").await.0, 200);
    let (code, report) = ringfence.get("/readyz?verbose").await;
    assert_eq!(code, 503, "{report}");
    assert!(report.contains("keys"), "it should say what is missing: {report}");
    // An issuer that never answers does not keep the others' requests away for ever.
    ringfence.wait_until_ready().await;
}

#[tokio::test]
async fn the_metrics_listener_answers_nothing_else() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    assert_eq!(ringfence.get("/").await.0, 404);
    assert_eq!(ringfence.get("/auth/nginx/any").await.0, 404);
    assert!(TcpListener::bind(ringfence.address("metrics")).is_err());
}

/// Debian's promtool, which tests/run.sh installs.
#[cfg(feature = "real-proxies")]
#[tokio::test]
async fn promtool_finds_nothing_to_say() {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
    let mut client = Client::over(TcpStream::connect(ringfence.address("grpc")).await.unwrap()).await.unwrap();
    client.check(&check_request(peer("127.0.0.1"), "POST", HOST, "/watched", &[])).await;
    let (_, metrics) = ringfence.get("/metrics").await;
    let mut promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    for name in [
        "ringfence_checks_total",
        "ringfence_policies",
        "ringfence_jwks_keys",
        "ringfence_config_hash",
        "ringfence_build_info",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
}
