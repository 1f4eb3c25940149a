//! Istio: istiod on a real API server, with a stock Envoy as its ingress gateway.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use ringfence_core::decide::Reason;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, contour::by_its_envoy, edit, envoy, examples, folder};
use crate::support::{
    http::Ask,
    kubernetes::{Kubernetes, installed},
    network::own_address,
    process::Process,
    wait_for,
};

/// Over gRPC.
pub static GRPC: Door = Door {
    name: "Istio, gRPC",
    serve_flags: &[],
    sends_bodies: &[],
    pin: &[],
    relays: Relays { malformed: 400, undecided: 503, down: 503, body: true, answers: true },
    upstream: Upstream { strips_query_key: true, sorts_query: true, removes_headers: true },
    shows: Shows { body: true, key_header: true, extended_connect: false },
    exceptions: by_its_envoy![],
    start: |setting| Box::pin(start("istio/mesh.yaml", setting)),
};

/// Over HTTP.
pub static HTTP: Door = Door {
    name: "Istio, HTTP",
    serve_flags: &["--http-dialects=envoy", "--http-client-address=header:x-ringfence-client-address"],
    sends_bodies: &[],
    pin: &[("pathPrefix: /auth/envoy/any", "pathPrefix: /auth/envoy/by/contoso/contact-center")],
    relays: Relays { malformed: 400, undecided: 429, down: 503, body: true, answers: false },
    upstream: Upstream { strips_query_key: false, sorts_query: false, removes_headers: true },
    shows: Shows { body: false, key_header: false, extended_connect: false },
    exceptions: by_its_envoy![],
    start: |setting| Box::pin(start("istio/mesh-http.yaml", setting)),
};

/// The ports that istiod and its gateway listen on, at an address of their own. Not 8081: Envoy Gateway takes that one on all addresses.
const XDS: u16 = 15010;
const READY: u16 = 8080;
const GATEWAY: u16 = 8082;

async fn start(mesh: &'static str, setting: Setting<'_>) -> Proxy {
    let [mesh, ringfence, mut callbacks] = examples([mesh, "istio/ringfence.yaml", "istio/callbacks.yaml"], setting.edits);
    let (ip, folder) = (own_address(), folder());
    let server = "- port: {number: 80, name: http, protocol: HTTP}";
    edit(&mut callbacks, server, &format!("- bind: {ip}\n      port: {{number: {GATEWAY}, name: http, protocol: HTTP}}"));

    let mut kubernetes = Kubernetes::start().await;
    kubernetes.apply_definitions(&installed("ISTIO").join("crds.yaml")).await;
    kubernetes.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n").await;
    kubernetes.apply(&ringfence).await;
    kubernetes.apply(&callbacks).await;
    let of = |one: fn(&super::Replica) -> std::net::SocketAddr| setting.replicas.iter().map(one).collect::<Vec<_>>();
    kubernetes.serve("ringfence", "ringfence", "grpc", &of(|replica| replica.grpc)).await;
    kubernetes.serve("ringfence", "ringfence", "http", &of(|replica| replica.http)).await;
    kubernetes.serve("contoso", "contact-center", "http", &[setting.application]).await;

    // What a stock Envoy cannot do: it has no agent that gives it certificates.
    fs::write(folder.path().join("mesh.yaml"), mesh + "\nenableAutoMtls: false\n").unwrap();
    let mut istiod = serve(ip, folder.path(), &kubernetes);
    wait_for("istiod to be ready", async || {
        istiod.must_run();
        tokio::net::TcpStream::connect((ip, READY)).await.ok()?;
        let answer = Ask::new("GET", "/ready").header("Host", "istiod").send((ip, READY).into()).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let bootstrap = folder.path().join("envoy.yaml");
    let text = include_str!("../../fixtures/istio-gateway.yaml");
    fs::write(&bootstrap, text.replace("ISTIOD_ADDRESS", &ip.to_string()).replace("ISTIOD_PORT", &XDS.to_string())).unwrap();
    let gateway = Process::start("envoy", envoy::command().arg("-c").arg(&bootstrap));
    Proxy::accepting((ip, GATEWAY).into(), gateway, vec![Box::new(istiod), Box::new(kubernetes), Box::new(folder)]).await.guarding().await
}

fn serve(ip: Ipv4Addr, folder: &Path, kubernetes: &Kubernetes) -> Process {
    let mut command = Command::new(installed("ISTIO").join("bin/pilot-discovery"));
    // No webhooks, and none of the filters that only Istio's own build of Envoy has.
    command.envs([("POD_NAME", "istiod-0"), ("POD_NAMESPACE", "istio-system"), ("ENABLE_LEADER_ELECTION", "false")]);
    command.envs([("INJECTION_WEBHOOK_CONFIG_NAME", ""), ("VALIDATION_WEBHOOK_CONFIG_NAME", "")]);
    command.envs([("PILOT_ENABLE_METADATA_EXCHANGE", "false"), ("PILOT_ENABLE_ALPN_FILTER", "false")]);
    command.arg("discovery").arg("--kubeconfig").arg(kubernetes.kubeconfig()).arg("--meshConfig").arg(folder.join("mesh.yaml"));
    command.arg(format!("--grpcAddr={ip}:{XDS}")).arg(format!("--httpAddr={ip}:{READY}")).arg(format!("--monitoringAddr={ip}:15014"));
    command.args(["--networksConfig=none", "--secureGRPCAddr=", "--httpsAddr=", "--ctrlz_port=0"]).current_dir(folder);
    Process::start("istiod", &mut command)
}
