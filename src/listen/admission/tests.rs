#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::sync::{
    Mutex,
    mpsc::{Receiver, channel},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::time::Instant;

use super::*;
use crate::listen::{Server, ShutdownTimes, testing::expiry_gauge};

/// Answers as its question says.
struct Script(Mutex<Receiver<()>>);

impl Review for Script {
    fn review(&self, body: &[u8]) -> Result<(Vec<u8>, bool), String> {
        match body {
            b"yes" => Ok((b"{\"allowed\": true}".to_vec(), true)),
            b"no" => Ok((b"{\"allowed\": false}".to_vec(), false)),
            b"panic" => panic!("as asked"),
            b"wait" => {
                let _ = self.0.lock().unwrap().recv();
                Ok((Vec::new(), true))
            }
            other => Err(format!("{} bytes of nothing", other.len())),
        }
    }
}

fn made() -> (GivenCertificate, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = cert.pem().into_bytes();
    (GivenCertificate { certificate: certificate.clone(), key: signing_key.serialize_pem().into_bytes() }, certificate)
}

struct Running {
    server: Server,
    registry: Registry,
    port: u16,
    release: std::sync::mpsc::Sender<()>,
}

fn serve(newest: watch::Receiver<Option<GivenCertificate>>) -> Running {
    let (release, wait) = channel();
    let certificate = AdmissionCertificate::Given(newest);
    let listener = AdmissionListener::bind("127.0.0.1:0".parse().unwrap(), certificate, &expiry_gauge()).unwrap();
    let port = listener.address().port();
    let server = Server::start(std::num::NonZeroUsize::MIN).unwrap();
    let registry = Registry::new();
    server.serve_admission(listener, &Arc::new(Script(Mutex::new(wait))), &registry).unwrap();
    Running { server, registry, port, release }
}

impl Running {
    /// A client that trusts this certificate alone.
    fn client(trusted: &[u8]) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(trusted).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap()
    }

    async fn post(&self, client: &reqwest::Client, body: impl Into<reqwest::Body>) -> Result<(u16, String), reqwest::Error> {
        let response = client.post(format!("https://localhost:{}/validate", self.port)).body(body).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Until the certificate that was handed over is shown.
    async fn wait_for(&self, client: &reqwest::Client) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.post(client, "yes").await.is_err() {
            assert!(Instant::now() < deadline, "the certificate is never shown");
        }
    }

    fn counted(&self, result: &str) -> u64 {
        let families = self.registry.gather();
        let metrics = families
            .iter()
            .find(|family| family.name() == "ringfence_admission_reviews_total")
            .map(prometheus::proto::MetricFamily::get_metric)
            .unwrap();
        metrics.iter().filter(|metric| metric.get_label()[0].value() == result).map(|metric| metric.get_counter().get_value() as u64).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_answered_and_counted() {
    let (given, trusted) = made();
    let (_sender, newest) = watch::channel(Some(given));
    let running = serve(newest);
    let client = Running::client(&trusted);
    running.wait_for(&client).await;
    assert_eq!(running.post(&client, "yes").await.unwrap(), (200, "{\"allowed\": true}".to_owned()));
    assert_eq!(running.post(&client, "no").await.unwrap(), (200, "{\"allowed\": false}".to_owned()));
    assert_eq!(running.post(&client, "?").await.unwrap(), (400, "1 bytes of nothing\n".to_owned()));
    let got = client.get(format!("https://localhost:{}/", running.port)).send().await.unwrap();
    assert_eq!((got.status().as_u16(), got.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!((running.counted("refused"), running.counted("unreadable")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_or_too_slow_or_faulty_ends_alone() {
    let (given, trusted) = made();
    let (_sender, newest) = watch::channel(Some(given));
    let running = serve(newest);
    let client = Running::client(&trusted);
    running.wait_for(&client).await;
    let long = running.post(&client, vec![b'x'; MAX_BODY + 1]).await;
    // Whoever goes on sending may meet the end of the connection before it reads the answer.
    assert!(long.is_err() || long.is_ok_and(|(status, _)| status == 413));
    assert_eq!(running.post(&client, "panic").await.unwrap().0, 500);
    let began = Instant::now();
    assert_eq!(running.post(&client, "wait").await.unwrap().0, 503);
    assert!(began.elapsed() < Duration::from_secs(3), "the API server waits no longer");
    running.release.send(()).unwrap();
    assert_eq!(running.post(&client, "yes").await.unwrap().0, 200);
    assert_eq!((running.counted("failed"), running.counted("unreadable")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_certificate_is_shown_and_a_bad_one_is_not() {
    let ((first, trusts_first), (second, trusts_second)) = (made(), made());
    let (sender, newest) = watch::channel(None);
    let running = serve(newest);
    assert!(running.post(&Running::client(&trusts_first), "yes").await.is_err(), "there is none yet");
    sender.send_replace(Some(first.clone()));
    running.wait_for(&Running::client(&trusts_first)).await;
    sender.send_replace(Some(GivenCertificate { key: second.key.clone(), ..first }));
    assert!(running.post(&Running::client(&trusts_first), "yes").await.is_ok());
    sender.send_replace(Some(second));
    running.wait_for(&Running::client(&trusts_second)).await;
    assert!(running.post(&Running::client(&trusts_first), "yes").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_takes_nobody_new() {
    let (given, trusted) = made();
    let (_sender, newest) = watch::channel(Some(given));
    let running = serve(newest);
    let client = Running::client(&trusted);
    running.wait_for(&client).await;
    let Running { server, port, .. } = running;
    server.shutdown(ShutdownTimes { announce: Duration::ZERO, drain: Duration::from_secs(1) }).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}
