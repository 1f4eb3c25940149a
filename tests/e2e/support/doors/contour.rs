//! Contour: on a real API server, with the Envoy that it configures.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use ringfence_core::decide::Reason;
use tokio::net::TcpStream;

use super::{Door, Outcome, Proxy, Relays, Setting, Shows, Upstream, envoy, examples, folder};
use crate::support::{
    kubernetes::{Kubernetes, installed},
    network::own_address,
    process::Process,
    wait_for,
};

/// What an Envoy makes of requests that knows its hosts and resolves `.` and `..` itself, as control planes set it up: Ringfence judges, and the
/// application gets, the path as it then is. And what else becomes of some.
macro_rules! by_its_envoy {
    ($($more:expr),*) => {
        &[
            $($more,)*
            ("a fragment that hides the end", Outcome::Proxy(400)),
            ("a method of 40 letters", Outcome::Proxy(400)),
            ("the path /%61pi/callbacks", Outcome::AllowedAs("/api/callbacks")),
            ("the path /..;/api/callbacks", Outcome::AllowedAs("/api/callbacks")),
            ("the path /x/../api/callbacks", Outcome::AllowedAs("/api/callbacks")),
            ("the path /./api/callbacks", Outcome::AllowedAs("/api/callbacks")),
            ("the path /api\\callbacks", Outcome::AllowedAs("/api/callbacks")),
            ("the path /api/callbacks/..", Outcome::Refused(Reason::NoPolicy)),
            ("the path /api/callbacks/%2e%2e/x", Outcome::Refused(Reason::NoPolicy)),
            ("the path /api/callbacks%00", Outcome::Proxy(400)),
            ("another host", Outcome::Proxy(404)),
            ("a host with a trailing dot", Outcome::Proxy(404)),
            ("a host with a trailing dot, without a token", Outcome::Proxy(404)),
            ("two hosts", Outcome::Proxy(404)),
            ("a host with a user", Outcome::Proxy(404)),
            ("a host with an empty label", Outcome::Proxy(404)),
            ("a list of hosts", Outcome::Proxy(404)),
            ("a key in a header", Outcome::Proxy(404)),
            ("a target that names another host", Outcome::Proxy(404)),
            ("spoofed identity headers under a floor", Outcome::Proxy(404)),
            ("a floor that Shadow does not lift", Outcome::Proxy(404)),
        ]
    };
}
pub(super) use by_its_envoy;

/// Contour.
pub static CONTOUR: Door = Door {
    name: "Contour",
    serve_flags: &[],
    sends_bodies: &[("# withRequestBody:", "withRequestBody:")],
    pin: &[("# authPolicy: {context:", "authPolicy: {context:")],
    relays: Relays { malformed: 400, undecided: 503, down: 403, body: true, answers: true },
    upstream: Upstream { strips_query_key: true, sorts_query: true, removes_headers: true },
    shows: Shows { body: false, key_header: true, extended_connect: false },
    exceptions: by_its_envoy![],
    start: |setting| Box::pin(start(setting)),
};

/// The ports that Contour and its Envoy listen on, at an address of their own.
const XDS: u16 = 8001;
const HTTP: u16 = 8080;

async fn start(setting: Setting<'_>) -> Proxy {
    let files = ["contour/contour.yaml", "contour/ringfence.yaml", "contour/callbacks.yaml"];
    let [config, ringfence, callbacks] = examples(files, setting.edits);
    let mut kubernetes = Kubernetes::start().await;
    kubernetes.apply_definitions(&installed("CONTOUR").join("crds.yaml")).await;
    kubernetes.apply(&ringfence).await;
    kubernetes.apply(&callbacks).await;
    let replicas: Vec<_> = setting.replicas.iter().map(|replica| replica.grpc).collect();
    kubernetes.serve("ringfence", "ringfence", "grpc", &replicas).await;
    kubernetes.serve("contoso", "contact-center", "http", &[setting.application]).await;

    let (ip, folder) = (own_address(), folder());
    // Its Envoys' administration listens on the same port everywhere, if at all.
    fs::write(folder.path().join("contour.yaml"), config + "\nnetwork: {admin-port: 0}\n").unwrap();
    let mut contour = serve(ip, folder.path(), &kubernetes);
    wait_for("Contour to listen", async || {
        contour.must_run();
        TcpStream::connect((ip, XDS)).await.ok().map(drop)
    })
    .await;
    let bootstrap = folder.path().join("envoy.json");
    write_bootstrap(ip, folder.path(), &bootstrap);
    let mut command = envoy::command();
    command.arg("-c").arg(&bootstrap).args(["--service-node", "envoy", "--service-cluster", "envoy"]);
    let envoy = Process::start("envoy", &mut command);
    Proxy::accepting((ip, HTTP).into(), envoy, vec![Box::new(contour), Box::new(kubernetes), Box::new(folder)]).await.guarding().await
}

fn serve(ip: Ipv4Addr, folder: &Path, kubernetes: &Kubernetes) -> Process {
    let mut command = Command::new(installed("CONTOUR").join("bin/contour"));
    command.arg("serve").arg("--kubeconfig").arg(kubernetes.kubeconfig()).arg("--config-path").arg(folder.join("contour.yaml"));
    command.args(["--insecure", "--disable-leader-election"]);
    let ports = [("xds", XDS), ("http", 8000), ("debug-http", 6060), ("health", 8003), ("stats", 8002), ("envoy-service-http", HTTP)];
    for (name, port) in ports.into_iter().chain([("envoy-service-https", 8443)]) {
        command.arg(format!("--{name}-address={ip}")).arg(format!("--{name}-port={port}"));
    }
    Process::start("contour", &mut command)
}

/// The file that tells an Envoy where Contour is.
fn write_bootstrap(ip: Ipv4Addr, folder: &Path, file: &Path) {
    let mut command = Command::new(installed("CONTOUR").join("bin/contour"));
    command.arg("bootstrap").arg(format!("--xds-address={ip}")).arg(format!("--xds-port={XDS}"));
    command.arg("--admin-address").arg(folder.join("admin.sock")).arg(file);
    let written = command.output().unwrap();
    assert!(written.status.success(), "{written:?}");
}
