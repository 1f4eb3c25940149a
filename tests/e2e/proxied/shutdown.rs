//! A replica that stops while requests come. There are two of them, as one alone cannot hand its requests to anyone.
//!
//! It says so before it stops: Envoy's health checks see it and ask the other one, and what was on its way is tried again once. nginx has no
//! active health checks: it notices when a connection is refused, and asks the next server.

use std::time::Duration;

use ringfence::issuer::{Broken, Issuer, IssuerOptions, TokenSpec};

use crate::support::{
    doors::{Door, Setting},
    http::Ask,
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    traffic::Traffic,
    upstream::Upstream,
    wait_for,
};

for_each_door!(a_replica_that_stops_fails_no_request);

async fn a_replica_that_stops_fails_no_request(door: &Door) {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let application = Upstream::start().await;
    let start = async || Ringfence::start(&policies(&issuer), door.serve_flags).await;
    let (mut leaving, staying) = (start().await, start().await);
    let proxy = (door.start)(Setting { replicas: &[leaving.replica(), staying.replica()], application: application.address, edits: &[] }).await;
    let good = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let bad = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::Tampered)).unwrap();
    let traffic = Traffic::start(proxy.address, move |number| {
        let (token, expected) = if number % 3 == 2 { (&bad, 401) } else { (&good, 200) };
        let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
        (ask.header("Authorization", format!("Bearer {token}")), expected)
    });
    wait_for("both replicas to be asked", async || (!leaving.decisions().is_empty() && !staying.decisions().is_empty()).then_some(())).await;
    leaving.process().terminate();
    wait_for("it to be unready", async || (leaving.get("/readyz").await.0 == 503).then_some(())).await;
    let status = leaving.process().wait_for_end(Duration::from_secs(30)).await;
    assert!(status.success(), "it should end properly: {status}");
    traffic.flow(100).await;
    traffic.stop().await;
}
