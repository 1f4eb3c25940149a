//! A name that leads to another address than before (DNS rebinding): in a network and with a table of hosts of the test's own, where addresses
//! can be public ones.

use std::{fs, path::Path, process::Command};

use ringfence::issuer::{Issuer, IssuerOptions, Names, TokenSpec};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST},
    process::Process,
    ringfence::unset_settings,
    wait_for,
};

/// The issuer, by name.
const ISSUER: &str = "http://issuer.example";
/// Where it is: a public address, which exists in this network alone.
const PUBLIC: &str = "20.36.0.1";
/// Where the name leads later: somebody's inner network.
const PRIVATE: &str = "10.66.0.1";

/// A network with nothing in it but its loopback interface, which has both addresses.
struct Network {
    holder: Process,
    folder: TempDir,
}

impl Network {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        write_hosts(&hosts, PUBLIC);
        let script = format!(
            "ip link set lo up && ip address add {PUBLIC}/32 dev lo && ip address add {PRIVATE}/32 dev lo && \
             mount --bind {} /etc/hosts && echo it is there && exec sleep infinity",
            hosts.display()
        );
        let mut command = Command::new("unshare");
        command.args(Self::spaces()).args(["--net", "--mount", "sh", "-c", &script]);
        let mut holder = Process::start("the network", command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
        holder.wait_for_line("its set-up", |line| (line == "it is there").then_some(())).await;
        Self { holder, folder }
    }

    /// Who is not root is so in a space of users of its own.
    fn spaces() -> &'static [&'static str] {
        if geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] }
    }

    /// A command inside it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.holder.id().to_string()).args(["--net", "--mount"]);
        if !geteuid().is_root() {
            command.arg("--user");
        }
        command.arg(program);
        unset_settings(&mut command);
        command
    }

    fn ringfence(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(name, self.command(env!("CARGO_BIN_EXE_ringfence")).args(arguments))
    }

    /// From now on the issuer's name leads here.
    fn lead_to(&self, address: &str) {
        write_hosts(&self.folder.path().join("hosts"), address);
    }
}

/// In place: what is mounted is this very file.
fn write_hosts(file: &Path, address: &str) {
    fs::write(file, format!("127.0.0.1 localhost\n{address} issuer.example\n")).unwrap();
}

fn policy(name: &str, path: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: {name}, namespace: contoso}}
spec:
  match: {{hosts: [{HOST}], paths: [{{prefix: {path}}}]}}
  senders:
    - name: callbacks
      type: CallAutomation
      callAutomation:
        audiences: [{AUDIENCE}]
        issuer: {ISSUER}
        openIdConfiguration: {ISSUER}/calling/.well-known/acsopenidconfiguration
"
    )
}

#[tokio::test]
async fn a_name_that_leads_inside_later_is_not_followed() {
    let network = Network::start().await;
    let mut issuer = network.ringfence("issuer", &["issuer", &format!("--listen={PUBLIC}:80"), &format!("--url={ISSUER}"), "--output=json"]);
    issuer.wait_for_line("its key", |line| line.contains("kid").then_some(())).await;
    // Whoever is inside, and counts who comes.
    let inside = "import socket\ns = socket.create_server(('10.66.0.1', 80))\nprint('waits', flush=True)\nwhile True:\n    s.accept()\n    print('somebody came', flush=True)";
    let mut inside = Process::start("inside", network.command("python3").args(["-c", inside]));
    inside.wait_for_line("its socket", |line| (line == "waits").then_some(())).await;

    let config = network.folder.path().join("policies");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("policy.yaml"), policy("contact-center", "/api/callbacks")).unwrap();
    let socket = network.folder.path().join("check.sock");
    let (config, listen) = (format!("--config={}", config.display()), format!("--grpc-listen=unix:{}", socket.display()));
    let mut ringfence = network.ringfence("ringfence", &["serve", &config, &listen, "--insecure-http-issuers", "--decision-log=all"]);
    wait_for("ringfence to listen", async || UnixStream::connect(&socket).await.ok()).await;
    let mut client = Client::over(UnixStream::connect(&socket).await.unwrap()).await.unwrap();
    client.wait_until_taken(&check_request(peer("127.0.0.1"), "POST", HOST, "/", &[])).await;
    let mut ask = async |token: &str| {
        let request = check_request(peer("127.0.0.1"), "POST", HOST, "/api/callbacks", &[("authorization", &format!("Bearer {token}"))]);
        status(&client.check(&request).await)
    };
    let genuine = network.command(env!("CARGO_BIN_EXE_ringfence")).args(["token", "callback", "--issuer", ISSUER, "--audience", AUDIENCE]).output();
    let genuine = genuine.unwrap();
    assert!(genuine.status.success(), "{}", String::from_utf8_lossy(&genuine.stderr));
    let genuine = String::from_utf8(genuine.stdout).unwrap().trim().to_owned();
    wait_for("its keys", async || (ask(&genuine).await == 200).then_some(())).await;

    network.lead_to(PRIVATE);
    let options = IssuerOptions { issuer: Some(Names::all(ISSUER)), ..IssuerOptions::default() };
    let forged = Issuer::start(options).await.unwrap().mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    // A key that nobody knows has the keys fetched again: they cannot be, so nothing is decided about that key, and all goes on as before.
    assert_eq!(ask(&forged).await, 503);
    let blocked = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["key_set"].as_str()?.starts_with(ISSUER) && event["result"] == "blocked_address").then(|| event["kept"].clone())
    };
    assert_eq!(ringfence.wait_for_line("what became of the fetch", blocked).await, 1);
    assert_eq!((ask(&genuine).await, ask(&forged).await), (200, 503));
    assert_eq!(inside.output().lines_from(0), ["waits"], "nobody may come inside");

    // And back: the next fetch finds the issuer, and knows that the key is none of its own.
    network.lead_to(PUBLIC);
    wait_for("the name to lead to the issuer again", async || (ask(&forged).await == 401).then_some(())).await;
    assert_eq!(ask(&genuine).await, 200);
    assert_eq!(inside.output().lines_from(0), ["waits"]);
}
