//! The image, run by runc with a read-only root and no rights at all: without a cluster, that comes later.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use ringfence::issuer::{Issuer, IssuerOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::run;
use crate::support::{process::Process, wait_for};

/// What is promised, unpacked.
const MOST_BYTES: u64 = 30_000_000;
/// Where the roots are in it.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The image that tests/run.sh built.
fn archive() -> PathBuf {
    env::var_os("RINGFENCE_TEST_IMAGE").map(PathBuf::from).expect("RINGFENCE_TEST_IMAGE names what deploy/build-image.sh built: tests/run.sh sets it")
}

/// The image, unpacked for a container runtime.
struct Bundle {
    folder: TempDir,
    /// What the image says of itself (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
    image: Value,
}

impl Bundle {
    fn unpack() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--insecure-policy"]).arg(format!("oci-archive:{}", archive().display()));
        run(copy.arg(format!("oci:{}:image", layout.display())), "").unwrap();
        let mut unpack = Command::new("umoci");
        unpack.arg("unpack").arg("--image").arg(format!("{}:image", layout.display())).arg(folder.path().join("bundle"));
        run(&mut unpack, "").unwrap();
        let blob = |descriptor: &Value| -> Value {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            read_json(&layout.join("blobs/sha256").join(digest))
        };
        let manifest = blob(&read_json(&layout.join("index.json"))["manifests"][0]);
        Self { image: blob(&manifest["config"]), folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("bundle/rootfs")
    }

    /// A container of it that does not run yet: as a pod with every restriction would be. `mounts`: from here to there, read-only.
    fn container(&self, arguments: &[&str], mounts: &[(&Path, &str)], has_own_network: bool) -> Container {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = read_json(&self.folder.path().join("bundle/config.json"));
        spec["root"] = json!({"path": self.root(), "readonly": true});
        spec["process"]["terminal"] = json!(false);
        spec["process"]["noNewPrivileges"] = json!(true);
        spec["process"]["capabilities"] = json!({});
        let mut all = spec["process"]["args"].as_array().unwrap().clone();
        // The image's own command is `serve`.
        assert_eq!(all, ["/ringfence", "serve"]);
        if arguments.first() != Some(&"serve") {
            all.pop();
        }
        all.extend(arguments.iter().filter(|argument| **argument != "serve").map(|argument| json!(argument)));
        spec["process"]["args"] = json!(all);
        for (from, to) in mounts {
            let mount = json!({"source": from, "destination": to, "type": "bind", "options": ["bind", "ro"]});
            spec["mounts"].as_array_mut().unwrap().push(mount);
        }
        if !has_own_network {
            spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "network");
        }
        fs::write(folder.path().join("config.json"), spec.to_string()).unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        Container { folder, name: format!("ringfence-test-{name}") }
    }
}

fn read_json(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

struct Container {
    folder: TempDir,
    name: String,
}

impl Container {
    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.path().join("state")).args(arguments);
        command
    }

    fn run(&self) -> Command {
        let mut command = self.runc(&["run", "--bundle"]);
        command.arg(self.folder.path()).arg(&self.name);
        command
    }

    /// The process id of the program in it, once it runs.
    async fn program(&self) -> u64 {
        wait_for("the container to run", async || {
            let state: Value = serde_json::from_str(&run(&mut self.runc(&["state", &self.name]), "").ok()?).unwrap();
            (state["status"] == "running").then(|| state["pid"].as_u64().unwrap())
        })
        .await
    }
}

#[test]
fn the_image_holds_three_files_and_is_small() {
    let bundle = Bundle::unpack();
    let mut files = Vec::new();
    let mut folders = vec![bundle.root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    let mut names: Vec<_> = files.iter().map(|file| format!("/{}", file.strip_prefix(bundle.root()).unwrap().display())).collect();
    names.sort();
    assert_eq!(names, ["/LICENSE", ROOTS, "/ringfence"]);
    let packed = fs::metadata(archive()).unwrap().len();
    assert!(bytes < MOST_BYTES && packed < MOST_BYTES, "{bytes} bytes, {packed} packed");
    let roots = fs::read_to_string(bundle.root().join(ROOTS.trim_start_matches('/'))).unwrap();
    assert!(roots.matches("BEGIN CERTIFICATE").count() > 50, "the roots that the web trusts");
}

#[test]
fn the_image_says_what_it_is_and_who_runs_it() {
    let Bundle { image, folder: _folder } = Bundle::unpack();
    let config = &image["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&json!(["/ringfence"]), &json!(["serve"])));
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));
    assert_eq!(labels["org.opencontainers.image.source"], env!("CARGO_PKG_REPOSITORY"));
}

#[tokio::test]
async fn it_serves_with_a_read_only_root_and_without_any_right() {
    let bundle = Bundle::unpack();
    let policies = tempfile::tempdir().unwrap();
    fs::write(policies.path().join("policies.yaml"), include_str!("../../cases/selection/policies.yaml")).unwrap();
    make_readable(policies.path());
    let container = bundle.container(&["serve", "--config=/policies", "--http-dialects=nginx"], &[(policies.path(), "/policies")], true);
    let mut process = Process::start("ringfence in a container", &mut container.run()).with_children();
    process.wait_for_line("the gRPC listener", |line| line.contains("\"listener\":\"grpc\"").then_some(())).await;
    let program = container.program().await;

    let status = fs::read_to_string(format!("/proc/{program}/status")).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(line("Uid:").as_deref(), Some("65532 65532 65532 65532"));
    assert_eq!(line("CapEff:").as_deref(), Some("0000000000000000"));
    assert_eq!(line("NoNewPrivs:").as_deref(), Some("1"));
    // The pod's network reaches it: 0.0.0.0, ports 9001 to 9003.
    let sockets = fs::read_to_string(format!("/proc/{program}/net/tcp")).unwrap();
    for port in ["2329", "232A", "232B"] {
        assert!(sockets.contains(&format!(" 00000000:{port} ")), "{port}: {sockets}");
    }
    wait_for("it to be ready", async || {
        let mut asked = Command::new("nsenter");
        asked.args(["--net", "--target", &program.to_string(), "curl", "--silent", "--fail", "http://127.0.0.1:9003/readyz"]);
        run(&mut asked, "").ok()
    })
    .await;
    let said = process.output().lines_from(0).join("\n");
    assert!(!said.contains("no certificates of authorities"), "{said}");
    process.terminate();
    assert!(process.wait_for_end(std::time::Duration::from_secs(30)).await.success());
}

/// What a ConfigMap's files look like to somebody else.
fn make_readable(folder: &Path) {
    let mut command = Command::new("chmod");
    run(command.args(["--recursive", "a+rX"]).arg(folder), "").unwrap();
}

/// Serves `keys` over TLS, under a certificate that is returned, too, and that nobody trusts who is not told to.
async fn serve_over_tls(keys: String) -> (SocketAddr, String, JoinHandle<()>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let server = server.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4_096];
            if stream.read(&mut request).await.is_err() {
                continue;
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{keys}", keys.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (address, certificate.pem(), serving)
}

#[tokio::test]
async fn it_trusts_the_roots_that_are_in_it_and_no_others() {
    let bundle = Bundle::unpack();
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let (address, authority, serving) = serve_over_tls(issuer.key_set().to_string()).await;
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, authority).unwrap();
    make_readable(folder.path());
    let url = format!("https://{address}/keys");
    let ask = async |mounts: &[(&Path, &str)]| {
        let container = bundle.container(&["keys", &url, "--allow-private-issuers"], mounts, false);
        tokio::task::spawn_blocking(move || run(&mut container.run(), "")).await.unwrap()
    };
    let trusted = ask(&[(&roots, ROOTS)]).await.unwrap();
    assert!(trusted.contains("RS256"), "{trusted}");
    let refused = ask(&[]).await.unwrap_err();
    assert!(refused.contains("tls: "), "{refused}");
    serving.abort();
}
