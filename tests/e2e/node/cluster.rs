//! The cluster as the tests see it: its node, the page's commands, the pods of Ringfence, and the way in.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use serde_json::Value;

use super::images;
use crate::{
    docs::cluster::Manual,
    support::{
        http::{Answer, Ask},
        kubernetes::{installed, program},
        node::{ADDRESS, Node, run},
        traffic::Traffic,
        wait_within,
    },
};

pub const HOST: &str = "callbacks.contoso.com";
pub const REPLICAS: usize = 3;
/// How long pods may take to come or go.
pub const ROLLOUT: Duration = Duration::from_secs(120);

/// A cluster.
pub struct Cluster {
    pub node: Node,
    pub manual: Manual,
}

/// A pod of Ringfence.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub ready: bool,
    pub restarts: u64,
    pub edition: Option<String>,
}

impl Cluster {
    /// Starts one that has nothing but the images that pods run.
    pub async fn start() -> Self {
        let node = Node::start().await;
        images::load(&node).await;
        let programs = [program("kubectl"), installed("HELM").join("bin/helm")];
        let variables = [("KUBECONFIG", node.kubernetes.kubeconfig().display().to_string()), ("HOME", node.folder().display().to_string())];
        Self { manual: Manual::open("docs/kubernetes.md", &programs, &variables), node }
    }

    /// Runs kubectl, which must succeed: what it says.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.node.kubernetes.kubectl(arguments, "").await.unwrap_or_else(|problem| panic!("kubectl {}: {problem}", arguments.join(" ")))
    }

    /// Runs helm in the repository, which must succeed.
    pub async fn helm(&self, arguments: &[&str]) {
        let mut command = Command::new(installed("HELM").join("bin/helm"));
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.env("KUBECONFIG", self.node.kubernetes.kubeconfig()).env("HOME", self.node.folder());
        run(command).await.unwrap();
    }

    /// Ringfence's pods, those that are leaving included.
    pub async fn pods(&self) -> Vec<Pod> {
        let all =
            self.kubectl(&["get", "pods", "--namespace", "ringfence", "--selector", "app.kubernetes.io/name=ringfence", "--output", "json"]).await;
        let all: Value = serde_json::from_str(&all).unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let pod = |pod: &Value| Pod {
            name: text(&pod["metadata"]["name"]).unwrap(),
            uid: text(&pod["metadata"]["uid"]).unwrap(),
            ready: pod["status"]["containerStatuses"][0]["ready"] == true && pod["metadata"]["deletionTimestamp"].is_null(),
            restarts: pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default(),
            edition: text(&pod["metadata"]["annotations"]["edition"]),
        };
        all["items"].as_array().unwrap().iter().map(pod).collect()
    }

    /// Waits until there are as many pods as there should be, all of them ready and as `is` wants them.
    pub async fn wait_for_pods(&self, what: &str, is: impl Fn(&[Pod]) -> bool) {
        wait_within(ROLLOUT, what, async || {
            let pods = self.pods().await;
            (pods.len() == REPLICAS && pods.iter().all(|pod| pod.ready) && is(&pods)).then_some(())
        })
        .await;
    }

    /// The gateway's Service.
    pub async fn gateway(&self) -> SocketAddr {
        let get = ["get", "service", "callbacks", "--namespace", "gateways", "--output", "jsonpath={.spec.clusterIP}"];
        SocketAddr::new(self.kubectl(&get).await.parse().unwrap(), 80)
    }

    /// A good token, from the imitation of ACS.
    pub async fn token(&self) -> String {
        let token = self.kubectl(&["exec", "deployment/acs", "--namespace", "acs", "--", "/ringfence", "token", "callback"]).await;
        token.trim().to_owned()
    }

    /// Callbacks through the gateway that go on, half of them good.
    pub async fn traffic(&self) -> Traffic {
        let token = self.token().await;
        Traffic::start(self.gateway().await, move |number| {
            let target = format!("/api/callbacks/{number}");
            match number % 4 {
                0 | 2 => (callback(HOST, &target, Some(&token)), 200),
                1 => (callback(HOST, &target, None), 401),
                _ => (callback(HOST, &format!("/other/{number}"), Some(&token)), 403),
            }
        })
    }

    /// Asks the gateway once.
    pub async fn ask(&self, target: &str, token: Option<&str>) -> Answer {
        callback(HOST, target, token).send(self.gateway().await).await
    }
}

/// A callback from the node itself.
pub fn callback(host: &str, target: &str, token: Option<&str>) -> Ask {
    let ask = Ask::new("POST", target).from(ADDRESS).header("Host", host);
    match token {
        Some(token) => ask.header("Authorization", format!("Bearer {token}")),
        None => ask,
    }
}

/// The process of the container of `pod` that runs the program `name`, as it is called outside of the node.
pub fn process_of(pod: &str, name: &str) -> Option<u32> {
    let ours = |process: &Path| {
        let read = |file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        read("comm").trim() == name && read("cgroup").contains(&format!("pod{pod}"))
    };
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.find(|process| ours(process))?.file_name()?.to_str()?.parse().ok()
}
