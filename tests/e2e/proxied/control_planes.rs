//! Doors with a control plane of their own: Contour, Envoy Gateway, Istio. One start for everything, as it takes seconds.

use crate::support::{
    doors::{CONTOUR, Door, ENVOY_GATEWAY, ISTIO_GRPC, ISTIO_HTTP, WITH_CONTROL_PLANE},
    http::Ask,
    policies::{HOST, KEY},
    stand::Stand,
    wait_for,
};

use super::{
    bytes::not_quite_http_through,
    sources::nothing_passes_without_ringfence,
    table::{another_hosts_target_through, check_logs, is_refused_where_unmatched_is_allowed, play_through},
    websockets::{frames_go_both_ways_through, refused_upgrades_end_at},
};

#[tokio::test]
async fn contour() {
    everything_through(&CONTOUR).await;
}

#[tokio::test]
async fn envoy_gateway() {
    everything_through(&ENVOY_GATEWAY).await;
}

#[tokio::test]
async fn istio_over_grpc() {
    everything_through(&ISTIO_GRPC).await;
}

#[tokio::test]
async fn istio_over_http() {
    everything_through(&ISTIO_HTTP).await;
}

async fn everything_through(door: &Door) {
    let stand = Stand::start(door).await;
    // The table counts lines, so those of the start must be there.
    wait_for("the log to tell all", async || {
        let checks = stand.ringfence.metric("ringfence_checks_total", &[]).await;
        (stand.ringfence.decisions().len() as f64 >= checks).then_some(())
    })
    .await;
    play_through(door, &stand, |_| true).await;
    refused_upgrades_end_at(&stand).await;
    frames_go_both_ways_through(&stand).await;
    not_quite_http_through(door, &stand).await;
    check_logs(door, &stand);
    // Over gRPC the proxy's own log tells what was decided.
    let told = stand.proxy.output().lines_from(0).iter().any(|line| line.contains("\"policy\":\"contoso/contact-center\""));
    assert_eq!(told, door.serve_flags.is_empty(), "{}", door.name);
    nothing_passes_without_ringfence(door, stand).await;
}

/// Everything let by that could be: what no policy claims, and what the Envoy behind takes for a failure.
#[tokio::test]
async fn neither_unmatched_allow_nor_fail_open_lets_anything_by_behind_a_control_plane() {
    const FAIL_OPEN: (&str, &str) = ("failOpen: false", "failOpen: true");
    // However busy the machine, no check may come late.
    let (contour, gateway) = (("{response: 500ms}", "{response: 20s}"), ("timeout: 500ms", "timeout: 20s"));
    let istio = ("timeout: 0.5s", "timeout: 20s");
    for (door, patience) in [(&CONTOUR, contour), (&ENVOY_GATEWAY, gateway), (&ISTIO_GRPC, istio), (&ISTIO_HTTP, istio)] {
        let stand = Stand::start_with(door, &["--unmatched=allow"], &[FAIL_OPEN, patience]).await;
        play_through(door, &stand, |case| is_refused_where_unmatched_is_allowed(door, case)).await;
        another_hosts_target_through(door, &stand).await;
    }
}

/// With the line of each example that sends bodies.
#[tokio::test]
async fn event_grids_handshake_is_answered_from_the_body() {
    let doors: Vec<Door> = WITH_CONTROL_PLANE.iter().filter_map(|door| door.with_bodies()).collect();
    assert_eq!(doors.len(), 2);
    for door in doors {
        let stand = Stand::start_with(&door, &[], door.sends_bodies).await;
        play_through(&door, &stand, |case| case.needs_body).await;
    }
}

/// A request that a route's own policy refuses, and another one would let by.
#[tokio::test]
async fn a_pinned_policy_decides_or_nobody_does() {
    for door in [&CONTOUR, &ENVOY_GATEWAY] {
        let stand = Stand::start_with(door, &["--unmatched=allow"], door.pin).await;
        let seen = stand.application.seen().len();
        let ask = |target: &str| {
            let ask = Ask::new("POST", target).header("Host", HOST).header("Authorization", format!("Bearer {}", stand.token()));
            ask.header("ringfence.policy", "contoso/watched")
        };
        assert_eq!(ask(&format!("/api/callbacks?key={KEY}")).send(stand.proxy.address).await.status, 200, "{}", door.name);
        assert_eq!(ask(&format!("/watched?key={KEY}")).send(stand.proxy.address).await.status, 403, "{}", door.name);
        let mismatches = stand.ringfence.metric("ringfence_checks_total", &["reason=\"pin_mismatch\""]).await;
        assert_eq!((mismatches, stand.application.seen().len() - seen), (1.0, 1), "{}", door.name);
    }
}

/// What docs/istio.md warns of: Istio compares the path before anybody else has read it, and the application may read it in another way.
#[tokio::test]
async fn a_rule_of_istio_that_names_paths_can_be_walked_around() {
    const HOSTS: &str = "hosts: [\"callbacks.contoso.com\", \"callbacks.contoso.com:*\"]";
    let paths = (HOSTS, "paths: [\"/api/*\"]");
    let normalized = ("accessLogEncoding: JSON", "accessLogEncoding: JSON\npathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}");
    for (edits, around) in [(vec![paths], 200), (vec![paths, normalized], 401)] {
        let stand = Stand::start_with(&ISTIO_GRPC, &[], &edits).await;
        let checks = async || stand.ringfence.metric("ringfence_checks_total", &[]).await;
        let before = checks().await;
        let status = async |path: &str| Ask::new("POST", path).header("Host", HOST).send(stand.proxy.address).await.status;
        assert_eq!(status("/api/callbacks").await, 401, "{edits:?}");
        for path in ["//api/callbacks", "/x%2f..%2fapi/callbacks"] {
            assert_eq!(status(path).await, around, "{path}: {edits:?}");
        }
        let asked = if around == 200 { 1.0 } else { 3.0 };
        assert_eq!(checks().await - before, asked, "{edits:?}");
    }
}
