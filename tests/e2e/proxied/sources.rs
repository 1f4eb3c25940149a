//! Where the client's address comes from.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::support::{
    doors::{CADDY, Door, ENVOY_GRPC, ENVOY_HTTP, HAPROXY, NGINX},
    http::Ask,
    policies::{HOST, KEY},
    stand::Stand,
};

#[tokio::test]
async fn without_an_address_a_source_cannot_be_judged() {
    let stand = Stand::start_with(&ENVOY_HTTP, &["--http-client-address=dialect"], &[]).await;
    let ask =
        Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST).header("Authorization", format!("Bearer {}", stand.token()));
    let answer = ask.send(stand.proxy.address).await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (429, true), "{answer:?}");
    assert_eq!(stand.ringfence.metric("ringfence_checks_total", &["reason=\"source_unknown\""]).await, 1.0);
    assert!(stand.application.seen().is_empty());
}

/// Binds an address and does not listen there, so that no server of another test, which might answer 200, takes the place of one that is gone.
fn keep_free(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    // Connections of the one that is gone may still be waiting to end.
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.set_reuseaddr(false).unwrap();
    socket
}

/// Stops Ringfence, and sees that nothing passes.
pub async fn nothing_passes_without_ringfence(door: &Door, stand: Stand) {
    let (seen, replica) = (stand.application.seen().len(), stand.ringfence.replica());
    drop(stand.ringfence);
    let _places = [replica.grpc, replica.http].map(keep_free);
    let ask = Ask::new("POST", "/watched").header("Host", HOST);
    assert_eq!(ask.send(stand.proxy.address).await.status, door.relays.down);
    assert_eq!(stand.application.seen().len(), seen);
}

/// What the examples say: without an answer from Ringfence nothing passes, and the client is asked to come again.
mod a_ringfence_that_is_down_lets_nothing_by {
    use super::*;
    use crate::support::{doors::Setting, upstream::Upstream};

    for_each_door!(nothing_passes);

    async fn nothing_passes(door: &Door) {
        nothing_passes_without_ringfence(door, Stand::start(door).await).await;
    }

    #[tokio::test]
    async fn envoy_with_something_else_in_its_place() {
        // It answers 200 to everything over HTTP, but it does not speak gRPC.
        let (stranger, application) = (Upstream::start().await, Upstream::start().await);
        let replica = crate::support::doors::Replica { grpc: stranger.address, http: stranger.address, metrics: stranger.address };
        let proxy = (ENVOY_GRPC.start)(Setting { replicas: &[replica], application: application.address, edits: &[] }).await;
        assert_eq!(Ask::new("POST", "/watched").header("Host", HOST).send(proxy.address).await.status, 503);
        assert!(application.seen().is_empty());
    }
}

/// What docs/client-address.md says for one load balancer that appends to `X-Forwarded-For`: the last address that it did not make up itself.
mod behind_a_load_balancer {
    use super::*;
    use crate::support::wait_for;

    /// The header as the load balancer hands it on: what its client made up, and its client.
    const FORWARDED: &str = "192.0.2.1, 52.112.0.9";

    async fn finds_the_client(door: &Door, flags: &[&str], edits: &[(&str, &str)]) {
        let stand = Stand::start_with(door, flags, edits).await;
        let ask = Ask::new("POST", "/api/callbacks").header("Host", HOST).header("X-Forwarded-For", FORWARDED);
        assert_eq!(ask.send(stand.proxy.address).await.status, 403);
        let decision = wait_for("the decision", async || stand.ringfence.decisions().pop()).await;
        assert_eq!((&decision["source"], &decision["reason"]), (&"52.112.0.9".into(), &"source_denied".into()), "{decision}");
    }

    /// Envoy names the loopback peer by another address of the machine, so any is trusted.
    #[tokio::test]
    async fn envoy_over_grpc() {
        finds_the_client(&ENVOY_GRPC, &["--grpc-client-address=xff:1", "--trusted-proxies=0.0.0.0/0,::/0"], &[]).await;
    }

    #[tokio::test]
    async fn envoy_over_http() {
        let hops = ("use_remote_address: true", "use_remote_address: true\n                xff_num_trusted_hops: 1");
        finds_the_client(&ENVOY_HTTP, &[], &[hops]).await;
    }

    #[tokio::test]
    async fn nginx() {
        finds_the_client(&NGINX, &["--http-client-address=xff:0", "--trusted-proxies=127.0.0.0/8"], &[]).await;
    }

    #[tokio::test]
    async fn haproxy() {
        finds_the_client(&HAPROXY, &["--http-client-address=xff:0", "--trusted-proxies=127.0.0.0/8"], &[]).await;
    }

    /// Caddy appends its peer to what a trusted one sent, as Envoy does.
    #[tokio::test]
    async fn caddy() {
        let trusts = ("method GET", "method GET\n\t\t\ttrusted_proxies 127.0.0.0/8");
        finds_the_client(&CADDY, &["--http-client-address=xff:1", "--trusted-proxies=127.0.0.0/8"], &[trusts]).await;
    }
}

/// What docs/client-address.md says of Azure Front Door: anybody can have one, and only yours is let in. The lines are those of the page.
#[tokio::test]
async fn another_front_door_of_azure_is_not_yours() {
    const OWN: &str = "11111111-2222-3333-4444-555555555555";
    let page = include_str!("../../../docs/client-address.md");
    let line = |start: &str| page.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap();
    let header = line("- {name: x-azure-fdid").trim_start_matches("- ");
    let envoy = ("match: {prefix: /}", format!("match: {{prefix: /, headers: [{header}]}}"));
    let nginx = ("listen 8080;", format!("listen 8080;\n        {}", line("if ($http_x_azure_fdid")));
    for (door, (from, to)) in [(&ENVOY_GRPC, envoy), (&NGINX, nginx)] {
        let stand = Stand::start_with(door, &[], &[(from, &to)]).await;
        let ask = || {
            let ask = Ask::new("POST", &format!("/api/callbacks?key={KEY}")).header("Host", HOST);
            ask.header("Authorization", format!("Bearer {}", stand.token()))
        };
        let others = ["99999999-2222-3333-4444-555555555555", "", format!("{OWN}0").as_str()].map(|id| ask().header("X-Azure-FDID", id));
        for ask in others.into_iter().chain([ask()]) {
            assert_eq!(ask.send(stand.proxy.address).await.status, 404, "{}: {ask:?}", door.name);
        }
        assert!(stand.application.seen().is_empty() && stand.ringfence.decisions().is_empty(), "{}", door.name);
        assert_eq!(ask().header("X-Azure-FDID", OWN).send(stand.proxy.address).await.status, 200, "{}", door.name);
    }
}

/// Caddy hands on the host that a trusted proxy's client names, and routes by another one: nobody may choose a policy that way.
#[tokio::test]
async fn a_forwarded_host_does_not_choose_the_policy_at_caddy() {
    let trusts = ("method GET", "method GET\n\t\t\ttrusted_proxies 127.0.0.0/8");
    let stand = Stand::start_with(&CADDY, &[], &[trusts]).await;
    let ask = Ask::new("POST", "/api/callbacks").header("Host", HOST).header("X-Forwarded-Host", "fabrikam.com");
    assert_eq!(ask.send(stand.proxy.address).await.status, 400);
    assert_eq!(stand.ringfence.metric("ringfence_checks_total", &["reason=\"ambiguous_host\""]).await, 1.0);
    assert!(stand.application.seen().is_empty());
}

/// With `failure_mode_allow` Envoy lets by what it takes for a fault of the authorizer. "Cannot decide" must not look like one.
#[tokio::test]
async fn what_is_not_decided_does_not_fail_open_where_envoy_would() {
    for door in [&ENVOY_GRPC, &ENVOY_HTTP] {
        let stand = Stand::start_with(door, &[], &[("failure_mode_allow: false", "failure_mode_allow: true")]).await;
        for target in ["/dark", "/unsound"] {
            let ask = Ask::new("POST", target).header("Host", HOST).header("Authorization", format!("Bearer {}", stand.token()));
            assert_eq!(ask.send(stand.proxy.address).await.status, door.relays.undecided, "{}: {target}", door.name);
        }
        assert!(stand.application.seen().is_empty(), "{}", door.name);
    }
}
