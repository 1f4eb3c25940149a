//! Policies of a real API server: how soon what is applied is enforced, beside few policies and beside 5,000, and what is written while nothing
//! changes.
//!
//! An edit gives a policy another API key. It counts from before it is sent until the new key is taken by the check listener.
//! `benches/run.sh kubernetes` builds and runs it; it stands on what the tests stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark"
)]

#[path = "kit/machine.rs"]
mod machine;
#[allow(dead_code, unused_imports, reason = "the tests' own")]
#[path = "../tests/e2e/support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the kit's own")]
#[path = "kit/table.rs"]
mod table;

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::{StreamExt, stream};
use kube::{
    Client, Config,
    api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use support::{http::Ask, kubernetes::Kubernetes, ringfence::Ringfence, wait_within};
use table::{Bound, Figure, Table};

/// Policies beside which edits are measured first.
const FEW: usize = 10;
const MANY: usize = 5_000;
/// Namespaces they are spread over.
const NAMESPACES: usize = 50;
const EDITS: usize = 200;
const EDITS_AMONG_MANY: usize = 50;
/// Objects that are created at a time.
const AT_A_TIME: usize = 16;
/// How often it is looked whether an edit is enforced.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long nothing is changed, longer than a watch lasts.
const QUIET: Duration = Duration::from_secs(75);
/// Statuses are written when none was for so long.
const STATUSES_END: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(300);
/// The policy that is edited.
const HOST: &str = "edited.n0.example";
/// What the program may read and write.
const RIGHTS: &str = include_str!("../deploy/kustomize/base/rbac.yaml");

fn main() -> ExitCode {
    let watch = machine::Watch::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut table = Table::default();
    table.add(runtime.block_on(measure()));
    table.finish(&watch.finish(), "bench-kubernetes.json")
}

async fn measure() -> Vec<Figure> {
    eprintln!("beside an API server: {FEW} policies");
    let cluster = Cluster::start().await;
    cluster.fill(0..FEW).await;
    let kubeconfig = cluster.kubernetes.kubeconfig_of("ringfence", "ringfence").await;
    let mut ringfence = start(&kubeconfig).await;
    let among_few = cluster.edit(ringfence.address("http"), EDITS).await;
    drop(ringfence);

    eprintln!("beside an API server: {MANY} policies");
    cluster.fill(FEW..MANY).await;
    let began = Instant::now();
    ringfence = start(&kubeconfig).await;
    let ready = began.elapsed();
    let written = cluster.last_status(&ringfence).await - began;
    let among_many = cluster.edit(ringfence.address("http"), EDITS_AMONG_MANY).await;
    cluster.last_status(&ringfence).await;
    let resident = resident(ringfence.process().id());

    eprintln!("nothing changes for {} s", QUIET.as_secs());
    let before = cluster.writes().len();
    sleep(QUIET).await;
    let since = cluster.writes().split_off(before);
    let renewals = since.iter().filter(|write| *write == "update leases/ringfence-status").count();
    let millis = |times: &[Duration], part| percentile(times, part).as_secs_f64() * 1e3;
    vec![
        Figure::new("kubernetes.enforced.median", "applied to enforced, median of 200 edits", millis(&among_few, 0.5), "ms")
            .bound(Bound::AtMost(250.0)),
        Figure::new("kubernetes.enforced.p99", "applied to enforced, p99 of 200 edits", millis(&among_few, 0.99), "ms").bound(Bound::AtMost(1_000.0)),
        Figure::new("kubernetes.many.ready", "start to ready, 5,000 policies", ready.as_secs_f64() * 1e3, "ms"),
        Figure::new("kubernetes.many.statuses", "start to every status written, 5,000 policies", written.as_secs_f64(), "s"),
        Figure::new("kubernetes.many.resident", "resident memory, 5,000 policies", resident, "MiB").bound(Bound::AtMost(150.0)),
        Figure::new("kubernetes.many.enforced.median", "applied to enforced among 5,000, median", millis(&among_many, 0.5), "ms")
            .bound(Bound::AtMost(300.0)),
        Figure::new("kubernetes.many.enforced.worst", "applied to enforced among 5,000, worst of 50", millis(&among_many, 1.0), "ms"),
        Figure::new("kubernetes.quiet.writes", "writes while nothing changes, less the Lease's", (since.len() - renewals) as f64, "")
            .bound(Bound::AtMost(0.0)),
        Figure::new("kubernetes.quiet.renewals", "renewals of the Lease, per minute", renewals as f64 / QUIET.as_secs_f64() * 60.0, ""),
    ]
}

/// The time within which this part of the edits was enforced.
fn percentile(times: &[Duration], part: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// The program as its ServiceAccount, ready.
async fn start(kubeconfig: &Path) -> Ringfence {
    let ringfence = Ringfence::start_on_cluster(kubeconfig, &["--decision-log=off"]).await;
    wait_within(PATIENCE, "ringfence to be ready", async || (ringfence.get("/readyz").await.0 == 200).then_some(())).await;
    ringfence
}

/// Resident memory of a process, in MiB.
fn resident(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
}

/// A real API server with our kinds, and who writes to it.
struct Cluster {
    kubernetes: Kubernetes,
    client: Client,
}

impl Cluster {
    async fn start() -> Self {
        let kubernetes = Kubernetes::start().await;
        kubernetes.define().await;
        let mut namespaces = String::from("{apiVersion: v1, kind: Namespace, metadata: {name: ringfence}}\n---\n");
        for number in 0..NAMESPACES {
            let _ = write!(
                namespaces,
                "{{apiVersion: v1, kind: Namespace, metadata: {{name: n{number}}}}}\n---\napiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\n\
                 metadata: {{name: n{number}}}\nspec: {{hosts: ['*.n{number}.example'], namespaces: [n{number}]}}\n---\n"
            );
        }
        kubernetes.apply(&namespaces).await;
        kubernetes.apply(RIGHTS).await;
        let kubeconfig = Kubeconfig::read_from(kubernetes.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Self { kubernetes, client: Client::try_from(config).unwrap() }
    }

    fn policies(&self, namespace: &str) -> Api<DynamicObject> {
        let (group, version, kind, plural) = ("ringfence.dev", "v1alpha1", "CallbackPolicy", "callbackpolicies");
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Creates the policies of these numbers.
    async fn fill(&self, numbers: std::ops::Range<usize>) {
        let create = async |number: usize| {
            let policy: DynamicObject = serde_json::from_value(policy(number)).unwrap();
            self.policies(&namespace_of(number)).create(&PostParams::default(), &policy).await.unwrap();
        };
        stream::iter(numbers).map(create).buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await;
    }

    /// How long each of so many edits took to be enforced.
    async fn edit(&self, checks: SocketAddr, count: usize) -> Vec<Duration> {
        let policies = self.policies("n0");
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let key = format!("callback-key-{:032x}", fresh());
            let target = format!("/auth/nginx/any/127.0.0.1/POST/{HOST}/?key={key}/.end");
            let ask = Ask::new("GET", &target).header("Host", "ringfence").header("Connection", "close");
            let began = Instant::now();
            let edited = json!({
                "apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": "edited"},
                "spec": {"match": {"hosts": [HOST]}, "senders": [{"name": "any", "type": "NoToken", "apiKey": {"query": "key", "sha256": [sha256(&key)]}}]},
            });
            policies.patch("edited", &PatchParams::apply("bench").force(), &Patch::Apply(&edited)).await.unwrap();
            while ask.clone().send(checks).await.status != 200 {
                assert!(began.elapsed() < PATIENCE, "an edit is not enforced");
                sleep(LOOK_EVERY).await;
            }
            times.push(began.elapsed());
        }
        times
    }

    /// Waits until no status is written any more: when the last one was.
    async fn last_status(&self, ringfence: &Ringfence) -> Instant {
        let mut last = (0.0, Instant::now());
        wait_within(PATIENCE, "the statuses", async || {
            let written = ringfence.metric("ringfence_status_writes_total", &["result=\"written\""]).await;
            if written > last.0 {
                last = (written, Instant::now());
            }
            (written > 0.0 && last.1.elapsed() > STATUSES_END).then_some(last.1)
        })
        .await
    }

    /// What the program has written so far, as the API server notes it: verb, kind and name.
    fn writes(&self) -> Vec<String> {
        let by_us = |event: &&Value| event["user"]["username"] == "system:serviceaccount:ringfence:ringfence";
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line =
            |event: &Value| format!("{} {}/{}", text(&event["verb"]), text(&event["objectRef"]["resource"]), text(&event["objectRef"]["name"]));
        self.kubernetes.audit().iter().filter(by_us).map(line).collect()
    }
}

fn namespace_of(number: usize) -> String {
    format!("n{}", number % NAMESPACES)
}

/// A policy as an application's team writes it.
fn policy(number: usize) -> Value {
    let namespace = namespace_of(number);
    json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": format!("p{number}"), "namespace": namespace},
        "spec": {
            "match": {"hosts": [format!("p{number}.{namespace}.example")], "paths": [{"prefix": "/api/callbacks"}]},
            "senders": [{
                "name": "callbacks", "type": "CallAutomation",
                "callAutomation": {"audiences": [format!("7f0c2c2e-6d1f-4f0a-9b7e-{number:012x}")]},
                "sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"},
                "apiKey": {"query": "key", "sha256": [sha256(&number.to_string())]},
            }],
            "forward": {"headers": [{"name": "x-acs-audience", "claim": "aud"}]},
        },
    })
}

fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that was not used before.
fn fresh() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}
