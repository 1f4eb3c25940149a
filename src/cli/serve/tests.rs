#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ringfence_core::decide::{Body, Headers, RawRequest, Wire};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{
    issuer::{Issuer, IssuerOptions, TokenSpec},
    listen::ListenAddress,
};

/// A server on free ports that serves `dir` and fetches nothing from the outside.
async fn start(dir: &Path, more: &[&str]) -> Result<RunningServer, StartError> {
    let config = format!("--config={}", dir.display());
    let fixed = [
        config.as_str(),
        "--grpc-listen=127.0.0.1:0",
        "--http-listen=127.0.0.1:0",
        "--http-dialects=nginx",
        "--metrics-listen=127.0.0.1:0",
        "--issuer-origins=https://issuer.invalid",
        "--decision-log=off",
        "--threads=1",
        "--shutdown-delay=0s",
    ];
    let replaced = |flag: &&&str| more.iter().any(|other| other.split('=').next() == flag.split('=').next());
    let flags = fixed.iter().filter(|flag| !replaced(flag)).chain(more).map(ToString::to_string);
    Server::start(Settings::from_flags(flags).unwrap()).await
}

/// Status and body of a GET.
async fn get(address: &str, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nhost: ringfence\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

async fn metric(server: &RunningServer, series: &str) -> Option<f64> {
    let (status, text) = get(&server.metrics_addr().to_string(), "/metrics").await;
    assert_eq!(status, 200);
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Waits until `series` has `value`.
async fn until(server: &RunningServer, series: &str, value: f64) {
    let reached = async { while metric(server, series).await != Some(value) {} };
    tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap_or_else(|_| panic!("{series} did not become {value}"));
}

const APPLIED: &str = r#"ringfence_config_reloads_total{result="applied",source="files"}"#;
const REFUSED: &str = r#"ringfence_config_reloads_total{result="refused",source="files"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_is_ready_counts_and_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &[]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.ready()).await.unwrap();
    let metrics_addr = server.metrics_addr().to_string();
    let (status, report) = get(&metrics_addr, "/readyz?verbose").await;
    assert_eq!(status, 200, "{report}");
    for condition in ["configuration", "keys", "clock", "listeners"] {
        assert!(report.contains(&format!("[+] {condition}: ok")), "{report}");
    }
    let http = server.http_addr().unwrap().to_string();
    let (status, _) = get(&http, "/auth/nginx/any/192.0.2.1/POST/callbacks.contoso.com/api/callbacks/.end").await;
    assert_eq!(status, 403);
    assert_eq!(
        metric(&server, r#"ringfence_checks_total{decision="denied",listener="nginx",policy="",reason="no_policy",sender=""}"#).await,
        Some(1.0)
    );
    assert_eq!(metric(&server, APPLIED).await, Some(1.0));
    server.shutdown().await;
    assert!(TcpStream::connect(&http).await.is_err());
    assert!(TcpStream::connect(&metrics_addr).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_taken_and_one_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &[]).await.unwrap();
    fs::write(dir.path().join("grant.yaml"), GRANT).unwrap();
    until(&server, APPLIED, 2.0).await;
    fs::write(dir.path().join("broken.yaml"), "a: [").unwrap();
    until(&server, REFUSED, 1.0).await;
    assert_eq!(metric(&server, APPLIED).await, Some(2.0));
    assert!(server.configuration().current().refused[0].to_string().contains("broken.yaml"));
    // Whoever reloads sees what came of it when it returns, and the folder is followed afterwards.
    fs::remove_file(dir.path().join("broken.yaml")).unwrap();
    server.reload().await;
    assert!(server.configuration().current().refused.is_empty());
    let taken = server.configuration().current().taken_count;
    fs::write(dir.path().join("grant.yaml"), GRANT.replace("contoso", "fabrikam")).unwrap();
    let mut changes = server.configuration().subscribe();
    let followed = changes.wait_for(|published| published.taken_count > taken);
    assert!(tokio::time::timeout(Duration::from_secs(10), followed).await.unwrap().is_ok());
}

const GRANT: &str =
    "apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: contoso}\nspec: {hosts: [callbacks.contoso.com], namespaces: [contoso]}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_let_it_start_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let missing = start(&dir.path().join("nothing"), &[]).await.unwrap_err().to_string();
    assert!(missing.starts_with("the configuration cannot be read:\n  ") && missing.contains("nothing"), "{missing}");

    fs::write(dir.path().join("broken.yaml"), "a: [").unwrap();
    let broken = start(dir.path(), &[]).await.unwrap_err().to_string();
    assert!(broken.contains("broken.yaml:"), "{broken}");
    fs::remove_file(dir.path().join("broken.yaml")).unwrap();

    let first = start(dir.path(), &[]).await.unwrap();
    let ListenAddress::Tcp(taken) = first.grpc_addr() else { panic!("not TCP") };
    let config = format!("--config={}", dir.path().display());
    let flags = [config, format!("--grpc-listen={taken}"), "--metrics-listen=127.0.0.1:0".to_owned()];
    let in_use = Server::start(Settings::from_flags(flags).unwrap()).await.unwrap_err().to_string();
    assert!(in_use.contains(&taken.to_string()), "{in_use}");

    let nothing =
        Server::start(Settings::from_flags(["--grpc-listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]).unwrap()).await.unwrap_err().to_string();
    assert!(nothing.contains("--config DIR"), "{nothing}");
}

/// A policy for Call Automation whose keys `issuer` has.
fn policy(issuer: &Issuer) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: center, namespace: contoso}}\nspec:\n  match: {{hosts: [{HOST}]}}\n  \
         senders:\n    - name: callbacks\n      type: CallAutomation\n      callAutomation:\n        audiences: [{AUDIENCE}]\n        issuer: {}\n        \
         openIdConfiguration: {}\n      sources: {{cidrs: [192.0.2.0/24], onMismatch: Deny}}\n",
        issuer.issuer(),
        issuer.discovery_url()
    )
}

const HOST: &str = "callbacks.contoso.com";
const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";

async fn check(server: &RunningServer, issuer: &Issuer) -> &'static str {
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let mut headers = Headers::new(false);
    headers.push("authorization", authorization.as_bytes());
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(HOST.as_bytes()),
        target: b"/api",
        headers,
        source: Some([192, 0, 2, 1].into()),
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    };
    server.checker().check(&raw, None).await.reason_label()
}

/// What a server needs to fetch from an issuer on this machine.
const LOCAL: [&str; 2] = ["--insecure-http-issuers", "--allow-private-issuers"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_policies_wait_for_the_keys_of_their_issuers() {
    let (first, second) = (Issuer::start(IssuerOptions::default()).await.unwrap(), Issuer::start(IssuerOptions::default()).await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("policy.yaml"), policy(&first)).unwrap();
    let origins = format!("--issuer-origins={},{}", first.url(), second.url());
    let server = start(dir.path(), &[&LOCAL[..], &[&origins]].concat()).await.unwrap();
    server.ready().await;
    assert_eq!((check(&server, &first).await, check(&server, &second).await), ("allowed", "issuer_mismatch"));
    fs::write(dir.path().join("policy.yaml"), policy(&second)).unwrap();
    // Whichever policy answers, it has its keys.
    let turned = async {
        while check(&server, &second).await != "allowed" {
            assert!(["allowed", "issuer_mismatch"].contains(&check(&server, &first).await));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), turned).await.unwrap();
    assert_eq!(check(&server, &first).await, "issuer_mismatch");
    assert_eq!(
        metric(
            &server,
            r#"ringfence_checks_total{decision="denied",listener="grpc",policy="contoso/center",reason="keys_unavailable",sender="callbacks"}"#
        )
        .await,
        None
    );
}
