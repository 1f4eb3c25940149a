//! A real API server: etcd and kube-apiserver as processes of their own, with RBAC on, and kubectl to speak to it.
//!
//! No kubelet and no controllers: what they would do (endpoints of Services, for one) the tests do. `support/node` adds all of it.

use std::{
    env, fs,
    io::{Seek, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rcgen::KeyPair;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{
    network::{Relay, own_address},
    process::Process,
    wait_for,
};

/// Who may do everything.
const ADMIN_TOKEN: &str = "admin-token";

/// Every write to an object of ours or a Lease is noted, with who asked and what came of it.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete]
    resources: [{group: ringfence.dev}, {group: coordination.k8s.io}, {group: admissionregistration.k8s.io}]
  - level: None
";

/// What an API server has whose cluster has nodes and controllers.
pub struct WithNodes {
    /// Where it listens, which pods must reach.
    pub address: Ipv4Addr,
    /// PEM file of who signs the certificates of kubelet's clients.
    pub authority: PathBuf,
    /// Its own certificate as one of them (PEM file).
    pub certificate: PathBuf,
    /// The key of that (PEM file).
    pub key: PathBuf,
    /// Further users: token, name, group.
    pub users: &'static [[&'static str; 3]],
}

/// A running API server.
pub struct Kubernetes {
    address: SocketAddr,
    nodes: Option<WithNodes>,
    /// `None` while it is stopped.
    api_server: Option<Process>,
    /// Likewise.
    etcd: Option<Process>,
    relays: Vec<Relay>,
    folder: TempDir,
}

impl Kubernetes {
    /// Starts it and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_at(own_address(), None).await
    }

    /// The same for a cluster with nodes: every admission plugin that is on by default, kubelets as clients and as servers.
    pub async fn start_with_nodes(nodes: WithNodes) -> Self {
        Self::start_at(nodes.address, Some(nodes)).await
    }

    async fn start_at(ip: Ipv4Addr, nodes: Option<WithNodes>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let etcd = start_etcd(ip, &path);
        wait_for("etcd to listen", async || TcpStream::connect((ip, 2379)).await.ok().map(drop)).await;
        fs::write(path.join("audit-policy.yaml"), AUDIT_POLICY).unwrap();
        let api_server = start_api_server(ip, &path, nodes.as_ref());
        let mut kubernetes = Self { address: (ip, 6443).into(), nodes, api_server: Some(api_server), etcd: Some(etcd), relays: Vec::new(), folder };
        kubernetes.write_kubeconfig("admin", ADMIN_TOKEN);
        kubernetes.wait_until_ready().await;
        kubernetes
    }

    async fn wait_until_ready(&mut self) {
        wait_for("the API server to listen", async || {
            self.api_server.as_mut().unwrap().must_run();
            TcpStream::connect(self.address).await.ok().map(drop)
        })
        .await;
        wait_for("the API server to be ready", async || {
            self.api_server.as_mut().unwrap().must_run();
            self.kubectl(&["get", "--raw", "/readyz"], "").await.ok().map(drop)
        })
        .await;
    }

    /// Kills the API server. What it stored stays in etcd.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts it again, with the same certificates and keys, and waits until it is ready.
    pub async fn start_api_server_again(&mut self) {
        let IpAddr::V4(ip) = self.address.ip() else { panic!("it was started on IPv4") };
        self.api_server = Some(start_api_server(ip, self.folder.path(), self.nodes.as_ref()));
        self.wait_until_ready().await;
    }

    /// Kills etcd. What it stored stays on its disk.
    pub fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts it again.
    pub fn start_etcd_again(&mut self) {
        let IpAddr::V4(ip) = self.address.ip() else { panic!("it was started on IPv4") };
        self.etcd = Some(start_etcd(ip, self.folder.path()));
    }

    /// Where the API server listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The configuration of a client that is this ServiceAccount, as its pods would be.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace], "").await.unwrap();
        self.write_kubeconfig(account, token.trim())
    }

    /// The configuration of a client that may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// The private key that signs tokens of ServiceAccounts, and the certificate that its clients trust (PEM files).
    pub fn service_account_key_and_authority(&self) -> [PathBuf; 2] {
        ["service-accounts.pem", "certificates/apiserver.crt"].map(|file| self.folder.path().join(file))
    }

    /// The configuration of a client that shows `token`: of a ServiceAccount, from `kubectl create token`.
    pub fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let file = self.folder.path().join(format!("{name}.kubeconfig"));
        let authority = self.folder.path().join("certificates/apiserver.crt");
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n\
             users: [{{name: test, user: {{token: {token}}}}}]\nclusters:\n  - name: test\n    cluster:\n      server: https://{}\n      \
             tls-server-name: kubernetes.default.svc\n      certificate-authority: {}\n",
            self.address,
            authority.display()
        );
        fs::write(&file, config).unwrap();
        file
    }

    /// Runs kubectl as the one who may do everything, with `input`: what it says, or what it complains about.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut command = Command::new(program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments).stdin(Stdio::from(file));
        // Apart, since the issuer and the application live in the test's own thread.
        let output = tokio::task::spawn_blocking(move || command.env("HOME", "/nonexistent").output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The writes to objects of ours, Leases and webhook configurations that the API server has noted so far, in their order
    /// (<https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>).
    pub fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The configuration of a client that is this ServiceAccount, which is made for it.
    pub async fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        self.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n\
             {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {name}, namespace: {namespace}}}}}\n"
        ))
        .await;
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace], "").await.unwrap();
        self.write_kubeconfig(name, token.trim())
    }

    /// Applies these documents, strictly.
    pub async fn apply(&self, yaml: &str) {
        let applied = self.kubectl(&["apply", "--server-side", "--validate=strict", "-f", "-"], yaml).await;
        applied.unwrap_or_else(|problem| panic!("{problem}\n{yaml}"));
    }

    /// Installs our kinds, as the program prints them, and waits until they are served.
    pub async fn define(&self) {
        let printed = Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("crds").output().unwrap();
        self.define_as(&String::from_utf8(printed.stdout).unwrap()).await;
    }

    /// Installs our kinds so that they take anything: for what our own definitions refuse, and the program must refuse without them.
    pub async fn define_open(&self) {
        self.define_as(include_str!("../fixtures/open-definitions.yaml")).await;
    }

    /// Applies CustomResourceDefinitions of somebody else and waits until they are served.
    pub async fn apply_definitions(&self, file: &Path) {
        let yaml = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.define_as(&yaml).await;
    }

    async fn define_as(&self, definitions: &str) {
        self.apply(definitions).await;
        let established = ["wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all"];
        self.kubectl(&established, "").await.unwrap();
    }

    /// Says that the Service's port of this name is served by `targets`, as a controller would of pods.
    pub async fn serve(&mut self, namespace: &str, service: &str, port: &str, targets: &[SocketAddr]) {
        // Endpoints may not lie on the loopback interface, and what the tests start listens nowhere else.
        let host = host_address();
        for (number, target) in targets.iter().enumerate() {
            let relay = Relay::start((host, 0).into(), *target).await;
            self.apply(&format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
                 metadata: {{name: {service}-{port}-{number}, namespace: {namespace}, labels: {{kubernetes.io/service-name: {service}}}}}\n\
                 ports: [{{name: {port}, port: {}}}]\nendpoints: [{{addresses: [\"{host}\"], conditions: {{ready: true}}}}]\n",
                relay.address.port()
            ))
            .await;
            self.relays.push(relay);
        }
    }
}

fn start_etcd(ip: Ipv4Addr, folder: &Path) -> Process {
    let (clients, peers) = (format!("http://{ip}:2379"), format!("http://{ip}:2380"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.join("etcd")).args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("default={peers}"), "--logger", "zap", "--log-level", "error"]);
    Process::start("etcd", &mut command)
}

fn start_api_server(ip: Ipv4Addr, folder: &Path, nodes: Option<&WithNodes>) -> Process {
    let (key, public_key, tokens) = (folder.join("service-accounts.pem"), folder.join("service-accounts.pub"), folder.join("tokens.csv"));
    if !key.exists() {
        let pair = KeyPair::generate().unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::write(&public_key, pair.public_key_pem()).unwrap();
    }
    let users = nodes.iter().flat_map(|nodes| nodes.users).map(|[token, user, group]| format!("{token},{user},{user},{group}\n"));
    fs::write(&tokens, format!("{ADMIN_TOKEN},admin,admin,system:masters\n") + &users.collect::<String>()).unwrap();
    let mut command = Command::new(program("kube-apiserver"));
    command.arg(format!("--etcd-servers=http://{ip}:2379")).arg(format!("--bind-address={ip}")).arg("--secure-port=6443");
    command.arg("--cert-dir").arg(folder.join("certificates")).arg("--token-auth-file").arg(&tokens);
    command.arg("--service-account-key-file").arg(&public_key).arg("--service-account-signing-key-file").arg(&key);
    command.args(["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16"]);
    command.arg("--audit-policy-file").arg(folder.join("audit-policy.yaml")).arg("--audit-log-path").arg(folder.join("audit.log"));
    match nodes {
        Some(nodes) => {
            command.args(["--authorization-mode=Node,RBAC", "--allow-privileged", "--kubelet-preferred-address-types=InternalIP"]);
            command.arg("--client-ca-file").arg(&nodes.authority);
            command.arg("--kubelet-client-certificate").arg(&nodes.certificate).arg("--kubelet-client-key").arg(&nodes.key);
        }
        // Nobody makes the ServiceAccounts that pods would need, and nobody translates the addresses of Services: they are reached at their endpoints.
        None => {
            command.args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--enable-aggregator-routing=true"]);
        }
    }
    Process::start("kube-apiserver", &mut command)
}

/// An address of this machine that is not its loopback interface's.
fn host_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing: it only chooses the interface.
    let chosen = socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr());
    match chosen.map(|address| address.ip()) {
        Ok(IpAddr::V4(ip)) if !ip.is_loopback() => ip,
        other => panic!("this machine needs an IPv4 address besides 127.0.0.1, and a default route: {other:?}"),
    }
}

/// A program of Kubernetes that tests/run.sh installed.
pub fn program(name: &str) -> PathBuf {
    installed("KUBERNETES").join("bin").join(name)
}

/// The folder of what tests/run.sh installed under this name.
pub fn installed(name: &str) -> PathBuf {
    let variable = format!("RINGFENCE_TEST_{name}");
    env::var_os(&variable)
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("{variable} names what tests/run.sh installs below ~/.cache/ringfence-tests, and sets"))
}
