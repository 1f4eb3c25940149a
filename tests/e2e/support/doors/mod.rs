//! The front doors: real proxies before the application, configured by the examples under deploy/ with nothing changed but ports.
//!
//! One file for each proxy; what the tests must know about it is data ([`Door`]), so that one driver serves all. A new door is a file, and a line
//! in `with_doors`.

mod caddy;
mod contour;
mod envoy;
mod envoy_gateway;
mod haproxy;
mod istio;
mod nginx;
mod traefik;

use std::{any::Any, fs, future::Future, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, pin::Pin};

use ringfence_core::decide::Reason;
use tempfile::TempDir;
use tokio::net::TcpStream;

pub use self::{
    caddy::CADDY,
    contour::CONTOUR,
    envoy::{GRPC as ENVOY_GRPC, GRPC_MAP as ENVOY_GRPC_MAP, HTTP as ENVOY_HTTP, command as envoy_command, listener as envoy_listener},
    envoy_gateway::ENVOY_GATEWAY,
    haproxy::HAPROXY,
    istio::{GRPC as ISTIO_GRPC, HTTP as ISTIO_HTTP},
    nginx::{INGRESS_NGINX, NGINX},
    traefik::TRAEFIK,
};
use super::{
    http::Ask,
    network::own_address,
    policies::HOST,
    process::{Output, Process},
    wait_for,
};

/// Calls a macro with `[arguments] name => DOOR, ...`: every door, and what its tests are called.
macro_rules! with_doors {
    ($callback:ident $($argument:tt)*) => {
        $callback! {
            [$($argument)*]
            envoy_over_grpc => ENVOY_GRPC,
            envoy_over_grpc_with_joined_headers => ENVOY_GRPC_MAP,
            envoy_over_http => ENVOY_HTTP,
            nginx => NGINX,
            caddy => CADDY,
            haproxy => HAPROXY,
        }
    };
}
pub(crate) use with_doors;

macro_rules! list {
    ([] $($name:ident => $door:ident,)*) => {
        /// Every door.
        pub const ALL: &[&Door] = &[$(&$door),*];
    };
}
with_doors!(list);

/// The doors with a control plane of their own, each of which takes seconds to start: `proxied/control_planes.rs` sends everything through one.
pub const WITH_CONTROL_PLANE: &[&Door] = &[&CONTOUR, &ENVOY_GATEWAY, &ISTIO_GRPC, &ISTIO_HTTP];

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The application answers it.
    Allowed,
    /// The application answers it as a request for this path, which is what Ringfence has judged; the API key is the whole query.
    AllowedAs(&'static str),
    /// The application answers it, and it is counted that it would have been refused.
    Shadowed(Reason),
    /// Ringfence answers it in the application's place, with this body.
    Answered(&'static str),
    /// Ringfence refuses it, or cannot decide.
    Refused(Reason),
    /// The proxy answers with this status and never asks.
    Proxy(u16),
}

/// One kind of proxy and one way of asking, as data.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// What the documentation calls it.
    pub name: &'static str,
    /// What its example tells Ringfence to be started with, besides where its folder is.
    pub serve_flags: &'static [&'static str],
    /// The changes to its example that pin the policy contoso/contact-center.
    pub pin: &'static [(&'static str, &'static str)],
    /// The changes to its example that show Ringfence bodies, where it shows none as it is and could.
    pub sends_bodies: &'static [(&'static str, &'static str)],
    /// What the client gets of an answer.
    pub relays: Relays,
    /// What it does to a request that is allowed.
    pub upstream: Upstream,
    /// What Ringfence gets to see of the request.
    pub shows: Shows,
    /// Cases of the table (by name) that end in another way here, mostly because the proxy itself refuses them.
    pub exceptions: &'static [(&'static str, Outcome)],
    /// Starts it.
    pub start: for<'a> fn(Setting<'a>) -> Starting<'a>,
}

/// What a proxy makes of Ringfence's answers.
#[derive(Clone, Copy, Debug)]
pub struct Relays {
    /// What a 400 becomes.
    pub malformed: u16,
    /// What "cannot decide" becomes.
    pub undecided: u16,
    /// What the client gets when Ringfence is down.
    pub down: u16,
    /// Whether the client gets the problem document.
    pub body: bool,
    /// Whether Ringfence can answer in the application's place with anything but a refusal.
    pub answers: bool,
}

/// What a proxy does to a request that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    /// It takes the API key out of the query.
    pub strips_query_key: bool,
    /// Where it does, it puts the other parameters in order.
    pub sorts_query: bool,
    /// It removes whatever headers the policy tells it to: `Authorization`, a header with an API key.
    pub removes_headers: bool,
}

/// What Ringfence gets to see of a request.
#[derive(Clone, Copy, Debug)]
pub struct Shows {
    /// The body.
    pub body: bool,
    /// A header with an API key.
    pub key_header: bool,
    /// WebSockets over HTTP/2, as a GET with an upgrade.
    pub extended_connect: bool,
}

impl Door {
    /// The same with the changes to its example that show bodies, if there are such.
    pub fn with_bodies(&self) -> Option<Self> {
        let shows = Shows { body: true, ..self.shows };
        (!self.sends_bodies.is_empty()).then_some(Self { shows, ..*self })
    }
}

impl PartialEq for Door {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// What a door stands in.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The replicas it asks.
    pub replicas: &'a [Replica],
    /// The application behind it.
    pub application: SocketAddr,
    /// Changes to the example, each of which must apply.
    pub edits: &'a [(&'a str, &'a str)],
}

/// A proxy that starts.
pub type Starting<'a> = Pin<Box<dyn Future<Output = Proxy> + 'a>>;

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
    /// What must last as long as it: folders, other processes.
    _belongings: Vec<Box<dyn Any + Send + Sync>>,
}

impl Proxy {
    /// The proxy that `process` is, once it accepts connections at `address`.
    async fn accepting(address: SocketAddr, mut process: Process, belongings: Vec<Box<dyn Any + Send + Sync>>) -> Self {
        wait_for("the proxy to accept connections", async || {
            process.must_run();
            TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
        Self { address, process, _belongings: belongings }
    }

    /// The same once its control plane has told it all: Ringfence itself refuses a request without a token.
    async fn guarding(self) -> Self {
        let ask = Ask::new("POST", "/api/callbacks").header("Host", HOST);
        wait_for("the proxy to ask Ringfence", async || {
            let answer = ask.send(self.address).await;
            (answer.header("content-type") == Some("application/problem+json")).then_some(())
        })
        .await;
        self
    }

    /// What it has written so far.
    pub fn output(&self) -> &Output {
        self.process.output()
    }
}

/// An example of deploy/examples with `edits`.
fn example(file: &str, edits: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples").join(file);
    let mut config = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in edits {
        edit(&mut config, from, to);
    }
    config
}

/// The files of an example with `edits`, each of which must apply to one of them.
fn examples<const N: usize>(files: [&str; N], edits: &[(&str, &str)]) -> [String; N] {
    let mut configs = files.map(|file| example(file, &[]));
    for (from, to) in edits {
        let config = configs.iter_mut().find(|config| config.contains(from)).unwrap_or_else(|| panic!("none of {files:?} says `{from}`"));
        edit(config, from, to);
    }
    configs
}

/// Replaces the only `from` in `config`.
fn edit(config: &mut String, from: &str, to: &str) {
    assert_eq!(config.matches(from).count(), 1, "the example should say `{from}` once");
    *config = config.replace(from, to);
}

/// The folder of one proxy. Its workers may be another user and must be able to enter it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Starts a proxy that cannot choose a free port itself: `start` gets one, and `listens` says when it is its own. Another process may take it
/// in between, which the proxy tells by `taken` in its output.
async fn start_on_a_free_port(
    taken: &str,
    start: impl Fn(SocketAddr) -> (Process, TempDir),
    mut listens: impl AsyncFnMut(&Process, SocketAddr, &Path) -> bool,
) -> Proxy {
    for _ in 0..5 {
        // A free port of 127.0.0.1 might be somebody else's by the time that the proxy is there, and answer in its place.
        let address = SocketAddr::from((own_address(), 8080));
        let (mut process, folder) = start(address);
        let started = wait_for("the proxy to listen", async || {
            if process.ended().is_some() {
                assert!(process.output().lines_from(0).iter().any(|line| line.contains(taken)), "the proxy ended");
                return Some(false);
            }
            listens(&process, address, folder.path()).await.then_some(true)
        });
        if started.await {
            return Proxy::accepting(address, process, vec![Box::new(folder)]).await;
        }
    }
    panic!("the proxy found five ports taken");
}
