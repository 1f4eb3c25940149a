//! Keys that come and go while requests do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ringfence::issuer::{Broken, Document, Fault, Rotation, TokenSpec};

use crate::support::{
    doors::{Door, ENVOY_GRPC},
    http::Ask,
    policies::{AUDIENCE, HOST, KEY},
    stand::Stand,
    traffic::{Traffic, repeat},
    wait_for,
};

for_each_door!(rotation_under_traffic_gives_no_wrong_answer);

fn webhook(token: &str) -> Ask {
    Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST).header("Authorization", format!("Bearer {token}"))
}

async fn rotation_under_traffic_gives_no_wrong_answer(door: &Door) {
    let stand = Stand::start(door).await;
    let old = stand.token();
    let issuer = Arc::new(stand.issuer);
    let (good, bad) = (TokenSpec::callback(AUDIENCE), TokenSpec::callback(AUDIENCE).broken(Broken::ForeignKey));
    let minting = Arc::clone(&issuer);
    let traffic = Traffic::start(stand.proxy.address, move |number| {
        let (spec, expected) = if number % 3 == 2 { (&bad, 401) } else { (&good, 200) };
        (webhook(&minting.mint(spec).unwrap()), expected)
    });
    // As ACS does it, the new key being published first; and then as nobody should: it signs before anyone could fetch it.
    issuer.rotate(Rotation::Publish).unwrap();
    traffic.flow(50).await;
    issuer.rotate(Rotation::Sign).unwrap();
    let mut rotated = Instant::now();
    repeat(&traffic, 2, async |done| {
        // Refetches are paid from a budget: three at once, and then one in ten seconds.
        if done == 0 || rotated.elapsed() > Duration::from_secs(11) {
            issuer.rotate(Rotation::Sign).unwrap();
            rotated = Instant::now();
        }
        traffic.flow(100).await;
    })
    .await;
    traffic.stop().await;
    // What is withdrawn is refused once the keys were fetched again, which the next new key brings about.
    issuer.rotate(Rotation::Withdraw).unwrap();
    let fresh = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    wait_for("the newest key to be known", async || (webhook(&fresh).send(stand.proxy.address).await.status == 200).then_some(())).await;
    let answer = webhook(&old).send(stand.proxy.address).await;
    assert!(matches!(answer.status, 401 | 429 | 503), "a withdrawn key must not be believed: {answer:?}");
}

#[tokio::test]
async fn random_keys_exhaust_the_budget_and_then_nothing_is_decided() {
    let stand = Stand::start(&ENVOY_GRPC).await;
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let token = stand.issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
        statuses.push(webhook(&token).send(stand.proxy.address).await.status);
        assert_eq!(webhook(&stand.token()).send(stand.proxy.address).await.status, 200, "genuine tokens must not suffer");
    }
    assert_eq!(statuses.first(), Some(&401), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&503), "{statuses:?}");
    assert!(stand.ringfence.metric("ringfence_checks_total", &["reason=\"key_pending\""]).await >= 1.0);
    assert!(stand.ringfence.metric("ringfence_jwks_refetch_suppressed_total", &[]).await >= 1.0);
}

#[tokio::test]
async fn an_outage_of_the_issuer_is_not_noticed() {
    let stand = Stand::start(&ENVOY_GRPC).await;
    for document in [Document::Discovery, Document::Keys] {
        stand.issuer.fail(document, Some(Fault::Down));
    }
    assert_eq!(webhook(&stand.token()).send(stand.proxy.address).await.status, 200);
    // And what would need the issuer is not decided, rather than refused.
    let token = stand.issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
    assert_eq!(webhook(&token).send(stand.proxy.address).await.status, 503);
}
