//! A real nginx with the lines that ingress-nginx' template writes: always pinned, and what a client sends in place of its headers counts for
//! nothing.

use ringfence::issuer::{Broken, TokenSpec};

use crate::support::{
    doors::INGRESS_NGINX,
    http::Ask,
    policies::{AUDIENCE, HOST, KEY},
    stand::Stand,
    upstream::Seen,
};

#[tokio::test]
async fn the_pinned_policy_decides() {
    let stand = Stand::start(&INGRESS_NGINX).await;
    let target = format!("/api/callbacks/1?key={KEY}");
    let with = |target: &str, spec: &TokenSpec| {
        Ask::new("POST", target).header("Host", HOST).header("Authorization", format!("Bearer {}", stand.issuer.mint(spec).unwrap()))
    };
    let good = TokenSpec::callback(AUDIENCE);
    let answer = with(&target, &good).header("X-Acs-Audience", "evil").header("X_Acs_Audience", "evil").send(stand.proxy.address).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(Seen::from_report(&answer.body).values("x-acs-audience"), [AUDIENCE]);
    for (status, ask) in [
        (401, with(&target, &good.clone().broken(Broken::WrongAudience))),
        (401, with("/api/callbacks", &good)),
        (403, with(&target, &good).from([127, 0, 0, 2]).header("X-Real-IP", "127.0.0.1").header("X-Forwarded-For", "127.0.0.1")),
        (403, with("/api//callbacks", &good)),
        // Another policy would let these by.
        (403, with(&format!("/watched?key={KEY}"), &good)),
        (403, Ask::new("POST", "/").header("Host", "floor.contoso.com")),
    ] {
        assert_eq!(ask.send(stand.proxy.address).await.status, status, "{ask:?}");
    }
    assert_eq!(stand.application.seen().len(), 1);
}

#[tokio::test]
async fn what_the_client_says_of_its_request_counts_for_nothing() {
    let stand = Stand::start(&INGRESS_NGINX).await;
    let lies = [
        ("X-Original-URL", format!("http://{HOST}/api/callbacks?key={KEY}")),
        ("X-Original-URI", "/api/callbacks".to_owned()),
        ("X-Original-Method", "POST".to_owned()),
        ("X-Forwarded-Uri", "/api/callbacks".to_owned()),
        ("X-Real-IP", "127.0.0.1".to_owned()),
    ];
    for (target, host) in [("/admin", HOST), ("/api/callbacks", "fabrikam.com"), ("http://fabrikam.com/admin", HOST)] {
        let ask = Ask::new("GET", target).header("Host", host).header("Authorization", format!("Bearer {}", stand.token()));
        let ask = lies.iter().fold(ask, |ask, (name, value)| ask.header(name, value.as_str()));
        assert_eq!(ask.send(stand.proxy.address).await.status, 403, "{target} {host}");
    }
    assert!(stand.application.seen().is_empty());
}

/// The template relays nothing but 401 and 403: "cannot decide" reaches the client as 500, and nothing passes.
#[tokio::test]
async fn without_an_answer_nothing_passes() {
    let stand = Stand::start(&INGRESS_NGINX).await;
    drop(stand.ringfence);
    let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
    assert_eq!(ask.send(stand.proxy.address).await.status, INGRESS_NGINX.relays.down);
    assert!(stand.application.seen().is_empty());
}
