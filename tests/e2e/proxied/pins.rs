//! A route that names its policy: the operator's word in the proxy's configuration, never the client's.

use super::for_each_proxy;
use crate::support::{
    http::Ask,
    policies::{HOST, KEY},
    proxies::Kind,
    stand::Stand,
};

for_each_proxy!(a_pinned_policy_decides_or_nobody_does);

/// How the example says that a route is pinned.
fn pin(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::EnvoyGrpc | Kind::EnvoyGrpcMap => &[
            ("# typed_per_filter_config:", "typed_per_filter_config:"),
            ("#   envoy.filters.http.ext_authz:", "  envoy.filters.http.ext_authz:"),
            ("#     \"@type\"", "    \"@type\""),
            ("#     check_settings:", "    check_settings:"),
        ],
        Kind::EnvoyHttp => &[("path_prefix: /auth/envoy/any", "path_prefix: /auth/envoy/by/contoso/contact-center")],
        Kind::Nginx => &[("http://ringfence/auth/nginx/any/", "http://ringfence/auth/nginx/by/contoso/contact-center/")],
    }
}

async fn a_pinned_policy_decides_or_nobody_does(kind: Kind) {
    let stand = Stand::start_with(kind, &["--unmatched=allow"], pin(kind)).await;
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
