//! The program under test as a process of its own, on ports that it finds free itself.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{http::Ask, process::Process, wait_for};

/// What every `serve` is started with. Tests add to it.
const FLAGS: &[&str] = &[
    "--grpc-listen=127.0.0.1:0",
    "--http-listen=127.0.0.1:0",
    "--http-dialects=nginx,envoy",
    "--metrics-listen=127.0.0.1:0",
    "--insecure-http-issuers",
    "--allow-private-issuers",
    "--log-format=json",
    "--decision-log=all",
];

/// A running `ringfence serve`.
pub struct Ringfence {
    process: Process,
    folder: TempDir,
    addresses: HashMap<String, String>,
}

impl Ringfence {
    /// Starts it with `policies` as its folder's only file, and waits until it is ready.
    pub async fn start(policies: &str, flags: &[&str]) -> Self {
        let mut ringfence = Self::launch(policies, flags);
        ringfence.read_addresses(&["grpc", "http", "metrics"]).await;
        ringfence.wait_until_ready().await;
        ringfence
    }

    /// Starts it with the policies of an API server, as the client that `kubeconfig` says, and waits until it listens.
    pub async fn start_on_cluster(kubeconfig: &Path, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let mut ringfence = Self::serve(folder, &[&["--kubernetes", &kubeconfig], flags].concat());
        ringfence.read_addresses(&["grpc", "http", "metrics"]).await;
        ringfence
    }

    /// Starts it and does not wait. A later flag replaces an earlier one of the same name.
    pub fn launch(policies: &str, flags: &[&str]) -> Self {
        Self::launch_by(&[], policies, flags)
    }

    /// The same by another program, which these words start and which becomes the program under test.
    pub fn launch_by(words: &[&str], policies: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("policies.yaml"), policies).unwrap();
        let config = format!("--config={}", folder.path().display());
        Self::serve_by(words, folder, &[&[config.as_str()], flags].concat())
    }

    fn serve(folder: TempDir, flags: &[&str]) -> Self {
        Self::serve_by(&[], folder, flags)
    }

    fn serve_by(words: &[&str], folder: TempDir, flags: &[&str]) -> Self {
        let name = |flag: &str| flag.split('=').next().unwrap().to_owned();
        let all = [FLAGS, flags].concat();
        let last = all.iter().enumerate().filter(|(at, flag)| !all[at + 1..].iter().any(|later| name(later) == name(flag)));
        let mut command = words.split_first().map_or_else(program, |(first, rest)| {
            let mut command = Command::new(first);
            unset_settings(&mut command);
            command.env("NO_COLOR", "1").args(rest).arg(env!("CARGO_BIN_EXE_ringfence"));
            command
        });
        command.arg("serve").args(last.map(|(_, flag)| flag));
        Self { process: Process::start("ringfence", &mut command), folder, addresses: HashMap::new() }
    }

    /// Waits for the addresses of these listeners in the log.
    pub async fn read_addresses(&mut self, listeners: &[&str]) {
        for listener in listeners {
            let what = format!("the address of {listener}");
            let address = self.process.wait_for_line(&what, |line| {
                let event: Value = serde_json::from_str(line).ok()?;
                let is_it = event["message"] == "listening" && event["listener"] == **listener;
                is_it.then(|| event["address"].as_str().map(str::to_owned))?
            });
            self.addresses.insert((*listener).to_owned(), address.await);
        }
    }

    /// Where a listener listens over TCP.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].parse().unwrap()
    }

    /// Where it listens, for a proxy.
    #[cfg(feature = "real-proxies")]
    pub fn replica(&self) -> super::doors::Replica {
        super::doors::Replica { grpc: self.address("grpc"), http: self.address("http"), metrics: self.address("metrics") }
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&self) {
        wait_for("ringfence to be ready", async || (self.get("/readyz").await.0 == 200).then_some(())).await;
    }

    /// Asks the metrics listener.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = Ask::new("GET", path).header("Host", "ringfence").send(self.address("metrics")).await;
        (answer.status, answer.text())
    }

    /// The sum of a metric's series that carry all of `labels`, written as `name="value"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (status, metrics) = self.get("/metrics").await;
        assert_eq!(status, 200);
        let series = metrics.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric's sum is at least `least`.
    pub async fn wait_for_metric(&self, name: &str, labels: &[&str], least: f64) {
        wait_for(&format!("{name}{labels:?} to be {least}"), async || (self.metric(name, labels).await >= least).then_some(())).await;
    }

    /// Its folder of policies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to read its folder again (SIGHUP).
    pub fn hang_up(&self) {
        self.process.signal("HUP");
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The decisions it has logged so far.
    pub fn decisions(&self) -> Vec<Value> {
        let events = self.process.output().lines_from(0).into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events.filter(|event| event["decision"].is_string()).collect()
    }

    /// Everything it has written so far.
    pub fn output(&self) -> String {
        self.process.output().lines_from(0).join("\n")
    }
}

/// The program, deaf to the environment of whoever runs the tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    unset_settings(&mut command);
    command.env("NO_COLOR", "1");
    command
}

/// Keeps the settings of whoever runs the tests from `command`.
pub fn unset_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RINGFENCE_")) {
        command.env_remove(name);
    }
}

/// Runs the program to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program().args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}
