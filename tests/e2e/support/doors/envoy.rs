//! Envoy, over gRPC and over HTTP.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use super::{Door, Outcome, Proxy, Relays, Replica, Setting, Shows, Upstream, edit, example, folder};
use crate::support::{http::Ask, process::Process, wait_for};

/// Over gRPC, as in the example: repeated headers apart, raw bytes.
pub static GRPC: Door = Door {
    name: "Envoy, gRPC",
    serve_flags: &[],
    sends_bodies: &[],
    pin: &[
        ("# typed_per_filter_config:", "typed_per_filter_config:"),
        ("#   envoy.filters.http.ext_authz:", "  envoy.filters.http.ext_authz:"),
        ("#     \"@type\"", "    \"@type\""),
        ("#     check_settings:", "    check_settings:"),
    ],
    relays: Relays { malformed: 400, undecided: 503, down: 503, body: true, answers: true },
    upstream: Upstream { strips_query_key: true, sorts_query: true, removes_headers: true },
    shows: Shows { body: true, key_header: true, extended_connect: true },
    exceptions: BY_ENVOY,
    start: |setting| Box::pin(start(example("envoy-grpc/envoy.yaml", setting.edits), setting, grpc_endpoint)),
};

/// Over gRPC without `encode_raw_headers`, as Istio does it.
pub static GRPC_MAP: Door = Door {
    name: "Envoy, gRPC, joined headers",
    start: |setting| {
        let mut config = example("envoy-grpc/envoy.yaml", setting.edits);
        edit(&mut config, "encode_raw_headers: true", "encode_raw_headers: false");
        Box::pin(start(config, setting, grpc_endpoint))
    },
    ..GRPC
};

/// Its `http_service`.
pub static HTTP: Door = Door {
    name: "Envoy, HTTP",
    serve_flags: &["--http-dialects=envoy", "--http-client-address=header:x-ringfence-client-address"],
    sends_bodies: &[],
    pin: &[("path_prefix: /auth/envoy/any", "path_prefix: /auth/envoy/by/contoso/contact-center")],
    relays: Relays { malformed: 400, undecided: 429, down: 503, body: true, answers: false },
    upstream: Upstream { strips_query_key: true, sorts_query: false, removes_headers: true },
    shows: Shows { body: false, key_header: false, extended_connect: false },
    exceptions: BY_ENVOY,
    start: |setting| Box::pin(start(example("envoy-http/envoy.yaml", setting.edits), setting, http_endpoint)),
};

/// What Envoy refuses by itself.
const BY_ENVOY: &[(&str, Outcome)] = &[
    ("a fragment that hides the end", Outcome::Proxy(400)),
    // Envoy knows its methods.
    ("a method of 40 letters", Outcome::Proxy(400)),
];

fn grpc_endpoint(endpoint: &str, replica: &Replica) -> String {
    let own = endpoint.replace("address: 127.0.0.1", &format!("address: {}", replica.grpc.ip()));
    own.replace("port_value: 9001", &format!("port_value: {}", replica.grpc.port()))
}

fn http_endpoint(endpoint: &str, replica: &Replica) -> String {
    let own = endpoint.replace("port_value: 9002", &format!("port_value: {}", replica.http.port()));
    own.replace("port_value: 9003", &format!("port_value: {}", replica.metrics.port()))
}

async fn start(mut config: String, setting: Setting<'_>, endpoint_of: fn(&str, &Replica) -> String) -> Proxy {
    edit(&mut config, "port_value: 9901", "port_value: 0");
    edit(&mut config, "port_value: 8080", "port_value: 0");
    edit(&mut config, "port_value: 3000", &format!("port_value: {}", setting.application.port()));
    repeat_endpoint(&mut config, |endpoint| setting.replicas.iter().map(|replica| endpoint_of(endpoint, replica)).collect());
    let folder = folder();
    let (file, admin) = (folder.path().join("envoy.yaml"), folder.path().join("admin"));
    fs::write(&file, config).unwrap();
    let mut command = command();
    command.arg("-c").arg(&file).arg("--admin-address-path").arg(&admin);
    let mut process = Process::start("envoy", &mut command);
    let address = listener(&mut process, &admin).await;
    Proxy::accepting(address, process, vec![Box::new(folder)]).await
}

/// Where an Envoy listens that found its port itself, and wrote its administration's address to the file `admin`.
pub async fn listener(process: &mut Process, admin: &Path) -> SocketAddr {
    wait_for("Envoy's listener", async || {
        process.must_run();
        let admin = fs::read_to_string(admin).ok()?.parse().ok()?;
        let answer = Ask::new("GET", "/listeners?format=json").header("Host", "admin").send(admin).await;
        let listeners: Value = serde_json::from_slice(&answer.body).ok()?;
        let port = listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"].as_u64()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap())))
    })
    .await
}

/// The Envoy that tests/run.sh installed, with what lets several run side by side.
pub fn command() -> Command {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let envoy = env::var_os("RINGFENCE_TEST_ENVOY").map(PathBuf::from);
    let mut command = Command::new(envoy.expect("RINGFENCE_TEST_ENVOY names Envoy's binary: tests/run.sh installs it and sets it"));
    // Base ids are shared by all Envoys of a machine.
    let base_id = std::process::id() % 20_000_000 * 100 + STARTED.fetch_add(1, Ordering::Relaxed) % 100;
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "--base-id", &base_id.to_string()]);
    command.args(["--file-flush-interval-msec", "100"]);
    command
}

/// Replaces Ringfence's endpoint, from its `- endpoint:` to the next cluster, by what `of` makes of it.
fn repeat_endpoint(config: &mut String, of: impl Fn(&str) -> String) {
    let cluster = config.find("cluster_name: ringfence\n        endpoints:").expect("the cluster `ringfence`");
    let from = cluster + config[cluster..].find("              - endpoint:").unwrap();
    let to = from + config[from..].find("\n    - name:").unwrap() + 1;
    config.replace_range(from..to, &of(&config[from..to]));
}
