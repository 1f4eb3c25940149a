//! A whole cluster with one node: every process that a real one has (kubelet, containerd, kube-proxy, the controllers, the scheduler, DNS), below
//! one temporary folder and in name spaces of their own ([`spaces`]). The test's own thread is moved into the node's network, so that whatever it
//! asks, serves or starts lies there too.

mod certificates;
mod cgroups;
mod components;
mod containers;
mod spaces;

use std::{net::Ipv4Addr, path::Path, process::Command};

use tempfile::TempDir;

use self::{certificates::KubeletClient, containers::Containers};
pub use self::{cgroups::Cgroups, spaces::Spaces};
use super::{
    kubernetes::{Kubernetes, WithNodes},
    process::Process,
    wait_for,
};

/// The node's address, on which the API server and DNS listen.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The node's name.
pub const NAME: &str = "node";
/// The addresses of pods.
const PODS: &str = "10.244.0.0/24";
/// The Service of DNS.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Who the components are for the API server: token, name, group. Rights come with the names.
const USERS: &[[&str; 3]] = &[
    ["controllers-token", "system:kube-controller-manager", "components"],
    ["scheduler-token", "system:kube-scheduler", "components"],
    ["proxy-token", "system:kube-proxy", "components"],
    ["kubelet-token", "system:node:node", "system:nodes"],
    ["dns-token", "system:dns", "system:masters"],
];

/// A running cluster. What is asked last ends first.
pub struct Node {
    /// Its API server.
    pub kubernetes: Kubernetes,
    containers: Containers,
    _components: Vec<Process>,
    spaces: Spaces,
    _cgroups: Cgroups,
    folder: TempDir,
}

impl Node {
    /// Starts it and waits until pods can run on it. The calling thread, which must drive the test's runtime alone, is in the node's network from
    /// now until this is dropped.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("ringfence-node-").tempdir().unwrap();
        let cgroups = Cgroups::make();
        let spaces = Spaces::enter(ADDRESS, folder.path());
        let KubeletClient { authority, certificate, key } = KubeletClient::make(folder.path());
        let nodes = WithNodes { address: ADDRESS, authority: authority.clone(), certificate, key, users: USERS };
        let kubernetes = Kubernetes::start_with_nodes(nodes).await;
        let containers = Containers::start(&spaces, folder.path()).await;
        let place = components::Place { spaces: &spaces, kubernetes: &kubernetes, folder: folder.path() };
        let mut components = vec![place.controllers(), place.scheduler(), place.kubelet(&cgroups.root(), &authority), place.proxy()];
        components.push(place.dns().await);
        let node = Self { kubernetes, containers, _components: components, spaces, _cgroups: cgroups, folder };
        node.wait_until_ready().await;
        node
    }

    async fn wait_until_ready(&self) {
        let condition = format!("nodes/{NAME}");
        let is_ready = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        wait_for("the node to be ready", async || {
            let said = self.kubernetes.kubectl(&["get", &condition, "--output", is_ready], "").await.ok()?;
            (said == "True").then_some(())
        })
        .await;
        wait_for("the default ServiceAccount", async || self.kubernetes.kubectl(&["get", "serviceaccount", "default"], "").await.ok().map(drop))
            .await;
    }

    /// Everything of it is below.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an image that was built (an OCI archive) known as `name`.
    pub async fn import(&self, name: &str, archive: &Path) {
        self.containers.import(&self.spaces, name, archive).await;
    }

    /// Builds an image from files that are there already, below `context`, and makes it known as `name`.
    pub async fn build(&self, name: &str, dockerfile: &str, context: &Path) {
        self.containers.build(&self.spaces, name, dockerfile, context).await;
    }
}

/// Runs a command to its end apart from the test's thread, which goes on serving.
pub async fn run(mut command: Command) -> Result<String, String> {
    let what = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{what}: {}{}", text(&output.stdout), text(&output.stderr))) }
}
