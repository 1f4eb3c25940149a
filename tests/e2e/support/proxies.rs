//! A real Envoy or nginx in front of the application, configured by the examples under deploy/ with nothing changed but ports.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{
    http::Ask,
    process::{Output, Process},
    wait_for,
};

/// Which proxy, and how it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Envoy over gRPC, as in the example: repeated headers apart, raw bytes.
    EnvoyGrpc,
    /// Envoy over gRPC without `encode_raw_headers`, as Istio does it.
    EnvoyGrpcMap,
    /// Envoy's `http_service`.
    EnvoyHttp,
    /// nginx `auth_request`.
    Nginx,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::EnvoyGrpc, Self::EnvoyGrpcMap, Self::EnvoyHttp, Self::Nginx];

    fn example(self) -> &'static str {
        match self {
            Self::EnvoyGrpc | Self::EnvoyGrpcMap => "envoy-grpc/envoy.yaml",
            Self::EnvoyHttp => "envoy-http/envoy.yaml",
            Self::Nginx => "nginx/nginx.conf",
        }
    }
}

/// Where one Ringfence listens.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// gRPC checks.
    pub grpc: SocketAddr,
    /// HTTP checks.
    pub http: SocketAddr,
    /// Health and metrics.
    pub metrics: SocketAddr,
}

/// A running proxy.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Proxy {
    /// Starts one in front of `application`, asking `replicas`. `edits` are changes to the example, each of which must apply.
    pub async fn start(kind: Kind, replicas: &[Replica], application: SocketAddr, edits: &[(&str, &str)]) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(kind.example());
        let mut config = fs::read_to_string(&example).unwrap();
        if kind == Kind::EnvoyGrpcMap {
            edit(&mut config, "encode_raw_headers: true", "encode_raw_headers: false");
        }
        for (from, to) in edits {
            edit(&mut config, from, to);
        }
        match kind {
            Kind::Nginx => start_nginx(config, replicas, application).await,
            _ => start_envoy(kind, config, replicas, application).await,
        }
    }
}

impl Proxy {
    /// What it has written so far.
    pub fn output(&self) -> &Output {
        self.process.output()
    }
}

/// Replaces the only `from` in `config`.
fn edit(config: &mut String, from: &str, to: &str) {
    assert_eq!(config.matches(from).count(), 1, "the example should say `{from}` once");
    *config = config.replace(from, to);
}

/// The folder of one proxy. nginx's workers are another user and must be able to enter it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

async fn start_envoy(kind: Kind, mut config: String, replicas: &[Replica], application: SocketAddr) -> Proxy {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    edit(&mut config, "port_value: 9901", "port_value: 0");
    edit(&mut config, "port_value: 8080", "port_value: 0");
    edit(&mut config, "port_value: 3000", &format!("port_value: {}", application.port()));
    repeat_endpoint(&mut config, |endpoint| {
        let of = |replica: &Replica| match kind {
            Kind::EnvoyHttp => {
                let own = endpoint.replace("port_value: 9002", &format!("port_value: {}", replica.http.port()));
                own.replace("port_value: 9003", &format!("port_value: {}", replica.metrics.port()))
            }
            _ => endpoint.replace("port_value: 9001", &format!("port_value: {}", replica.grpc.port())),
        };
        replicas.iter().map(of).collect()
    });
    let folder = folder();
    let (file, admin) = (folder.path().join("envoy.yaml"), folder.path().join("admin"));
    fs::write(&file, config).unwrap();
    // Base ids are shared by all Envoys of a machine.
    let base_id = std::process::id() % 20_000_000 * 100 + STARTED.fetch_add(1, Ordering::Relaxed) % 100;
    let mut command = Command::new(envoy());
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
    command.args(["--base-id", &base_id.to_string()]).arg("--admin-address-path").arg(&admin);
    let mut process = Process::start("envoy", &mut command);
    let address = wait_for("Envoy's listener", async || {
        process.must_run();
        let admin = fs::read_to_string(&admin).ok()?.parse().ok()?;
        let answer = Ask::new("GET", "/listeners?format=json").header("Host", "admin").send(admin).await;
        let listeners: Value = serde_json::from_slice(&answer.body).ok()?;
        let port = listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"].as_u64()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap())))
    })
    .await;
    accepts(address, &mut process).await;
    Proxy { address, process, _folder: folder }
}

/// Replaces Ringfence's endpoint, from its `- endpoint:` to the next cluster, by what `of` makes of it.
fn repeat_endpoint(config: &mut String, of: impl Fn(&str) -> String) {
    let cluster = config.find("cluster_name: ringfence\n        endpoints:").expect("the cluster `ringfence`");
    let from = cluster + config[cluster..].find("              - endpoint:").unwrap();
    let to = from + config[from..].find("\n    - name:").unwrap() + 1;
    config.replace_range(from..to, &of(&config[from..to]));
}

/// The Envoy that tests/run.sh installed.
fn envoy() -> PathBuf {
    env::var_os("RINGFENCE_TEST_ENVOY").map(PathBuf::from).expect("RINGFENCE_TEST_ENVOY names Envoy's binary: tests/run.sh installs it and sets it")
}

async fn start_nginx(mut config: String, replicas: &[Replica], application: SocketAddr) -> Proxy {
    let server = "server 127.0.0.1:9002 max_fails=1 fail_timeout=5s;";
    let servers = replicas.iter().map(|replica| server.replace("127.0.0.1:9002", &replica.http.to_string())).collect::<Vec<_>>();
    edit(&mut config, server, &servers.join("\n        "));
    edit(&mut config, "server 127.0.0.1:3000;", &format!("server {application};"));
    // nginx cannot choose a port itself, and another process may take the one that was free.
    for _ in 0..5 {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut config = config.clone();
        edit(&mut config, "listen 8080;", &format!("listen {address};"));
        let folder = folder();
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut process = Process::start("nginx", Command::new("nginx").arg("-p").arg(folder.path()).arg("-c").arg(&file)).with_children();
        let started = wait_for("nginx to listen", async || {
            if process.ended().is_some() {
                let taken = process.output().lines_from(0).iter().any(|line| line.contains("Address already in use"));
                assert!(taken, "nginx ended");
                return Some(false);
            }
            // Written once the port is its own.
            folder.path().join("nginx.pid").exists().then_some(true)
        });
        if started.await {
            accepts(address, &mut process).await;
            return Proxy { address, process, _folder: folder };
        }
    }
    panic!("nginx found five ports taken");
}

async fn accepts(address: SocketAddr, process: &mut Process) {
    wait_for("the proxy to accept connections", async || {
        process.must_run();
        TcpStream::connect(address).await.ok().map(drop)
    })
    .await;
}
