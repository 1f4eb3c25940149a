//! Listeners other than plain TCP.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{
    certificates::{Authority, write_identity},
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    wait_for,
};

/// Asks about a good webhook and about one without a token.
async fn ask(client: &mut Client, issuer: &Issuer) -> (i32, i32) {
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let target = format!("/api/callbacks?key={KEY}");
    let good = check_request(peer("127.0.0.1"), "POST", HOST, &target, &[("authorization", &authorization)]);
    let bad = check_request(peer("127.0.0.1"), "POST", HOST, &target, &[]);
    (status(&client.check(&good).await), status(&client.check(&bad).await))
}

#[tokio::test]
async fn a_unix_socket() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("check.sock");
    let mut ringfence = Ringfence::launch(&policies(&issuer), &[&format!("--grpc-listen=unix:{}", path.display())]);
    ringfence.read_addresses(&["metrics"]).await;
    ringfence.wait_until_ready().await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0, "not for everybody");
    let mut client = Client::over(UnixStream::connect(&path).await.unwrap()).await.unwrap();
    assert_eq!(ask(&mut client, &issuer).await, (200, 401));
    ringfence.process().terminate();
    ringfence.process().wait_for_end(std::time::Duration::from_secs(30)).await;
    assert!(!path.exists(), "the socket goes with its process");
}

/// A TLS connection that trusts `authority` and shows `identity`.
async fn connect(ringfence: &Ringfence, authority: &Authority, identity: Option<&(String, String)>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(ringfence.address("grpc")).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("ringfence".try_into().unwrap(), stream).await
}

#[tokio::test]
async fn mutual_tls() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let (authority, strangers) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let [certificate, key] = write_identity(folder.path(), &authority.issue("ringfence"));
    let client_ca = format!("--tls-client-ca={}", ca.display());
    let ringfence = Ringfence::start(&policies(&issuer), &[&certificate, &key, &client_ca]).await;

    let gateway = authority.issue("gateway");
    let mut client = Client::over(connect(&ringfence, &authority, Some(&gateway)).await.unwrap()).await.unwrap();
    assert_eq!(ask(&mut client, &issuer).await, (200, 401));
    for identity in [None, Some(&strangers.issue("gateway"))] {
        // TLS 1.3 lets a client believe that all is well until it reads.
        let answered = match connect(&ringfence, &authority, identity).await {
            Err(_) => false,
            Ok(stream) => match Client::over(stream).await {
                Err(_) => false,
                Ok(mut client) => client.send(Vec::new(), 0).await.is_ok(),
            },
        };
        assert!(!answered, "a client with {identity:?} must not be served");
    }
    let expiry = ringfence.metric("ringfence_certificate_expiry_timestamp_seconds", &["listener=\"grpc\""]).await;
    assert!(expiry > 1e9, "{expiry}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let flags = write_identity(folder.path(), &authority.issue("ringfence"));
    let ringfence = Ringfence::start(&policies(&issuer), &flags.each_ref().map(String::as_str)).await;
    let served = async || {
        let stream = connect(&ringfence, &authority, None).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = served().await;
    // Nonsense is no reason to stop serving.
    fs::write(folder.path().join("tls.pem"), "nonsense").unwrap();
    assert_eq!(served().await, first);
    write_identity(folder.path(), &authority.issue("ringfence"));
    wait_for("the renewed certificate", async || (served().await != first).then_some(())).await;
}
