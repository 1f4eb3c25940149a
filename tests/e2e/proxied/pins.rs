//! A route that names its policy: the operator's word in the proxy's configuration, never the client's.

use crate::support::{
    doors::Door,
    http::Ask,
    policies::{HOST, KEY},
    stand::Stand,
};

for_each_door!(a_pinned_policy_decides_or_nobody_does);

async fn a_pinned_policy_decides_or_nobody_does(door: &Door) {
    let stand = Stand::start_with(door, &["--unmatched=allow"], door.pin).await;
    let ask = |target: &str, host: &str| {
        let ask = Ask::new("POST", target).header("Host", host).header("Authorization", format!("Bearer {}", stand.token()));
        ask.header("ringfence.policy", "contoso/watched").header("X-Ringfence-Policy", "contoso/watched")
    };
    let key = format!("?key={KEY}");
    assert_eq!(ask(&format!("/api/callbacks{key}"), HOST).send(stand.proxy.address).await.status, 200);
    // Another policy would let these by, and `--unmatched allow` the last one.
    for ask in [ask(&format!("/watched{key}"), HOST), ask("/once", HOST), ask("/anything", "fabrikam.com")] {
        assert_eq!(ask.send(stand.proxy.address).await.status, 403, "{ask:?}");
    }
    let reasons = stand.ringfence.metric("ringfence_checks_total", &["reason=\"pin_mismatch\""]).await;
    assert_eq!((reasons, stand.application.seen().len()), (3.0, 1));
}
