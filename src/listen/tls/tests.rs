//! Tests with certificates made on the spot, over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::listen::{
    GrpcListener, GrpcListenerSettings, Server,
    testing::{GrpcClient, Script, check_request, eventually, expiry_gauge, grpc_settings, serve_grpc, server, tcp},
};

const RELOAD: Duration = Duration::from_millis(10);
/// 2035-01-01 and 2036-01-01, in seconds since the Unix epoch.
const EXPIRES: [i64; 2] = [2_051_222_400, 2_082_758_400];

/// An authority and the files it has issued.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            Self { folder: tempfile::tempdir().unwrap(), issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// A certificate and its key, PEM.
    fn issue(&self, names: Vec<SanType>, expires: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(expires, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Puts a new server certificate in place.
    fn install(&self, expires: i32) {
        let (certificate, key) = self.issue(vec![dns("ringfence.example")], expires);
        self.write("tls.crt", &certificate);
        self.write("tls.key", &key);
    }

    fn settings(&self) -> TlsSettings {
        let path = |name| self.folder.path().join(name);
        TlsSettings { certificate: path("tls.crt"), key: path("tls.key"), client_ca: None, client_names: vec![], reload_every: RELOAD }
    }

    fn mutual(&self, names: &[&str]) -> TlsSettings {
        let client_names = names.iter().map(|name| (*name).to_owned()).collect();
        TlsSettings { client_ca: Some(self.folder.path().join("ca.pem")), client_names, ..self.settings() }
    }

    /// A connection that trusts this authority, and shows a certificate if there is one.
    async fn connect(&self, address: SocketAddr, own: Option<(String, String)>) -> io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("ringfence.example").unwrap(), stream).await?;
        // In TLS 1.3 the server judges the client after the client's handshake is over: its SETTINGS, or the end, say how.
        let mut first = [0; 1];
        stream.read_exact(&mut first).await?;
        Ok(stream)
    }

    /// A connection that can ask: nothing has been read from it yet.
    async fn client(&self, address: SocketAddr) -> GrpcClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("ringfence.example").unwrap(), stream).await.unwrap();
        GrpcClient::over(stream).await.unwrap()
    }

    fn serve(&self, tls: TlsSettings) -> (Server, SocketAddr) {
        serve_grpc(with_tls(tls), &Script::allowing())
    }
}

fn with_tls(tls: TlsSettings) -> GrpcListenerSettings {
    GrpcListenerSettings { connections: ConnectionSettings { tls: Some(tls), ..ConnectionSettings::default() }, ..grpc_settings() }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

#[tokio::test]
async fn checks_are_answered_over_tls() {
    let authority = Authority::new();
    authority.install(2035);
    let (_server, address) = authority.serve(authority.settings());
    assert_eq!(authority.client(address).await.check(&check_request("a.example", "/")).await.status.unwrap().code, 0);
    let plain = GrpcClient::over(TcpStream::connect(address).await.unwrap()).await.unwrap();
    assert!(plain.call("/", &[], bytes::Bytes::new()).await.is_err(), "nothing is served in plain text");
}

/// The certificate that a new connection is shown.
async fn shown(authority: &Authority, address: SocketAddr) -> CertificateDer<'static> {
    let stream = authority.connect(address, None).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().first().unwrap().clone()
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let authority = Authority::new();
    authority.install(2035);
    let gauge = expiry_gauge();
    let listener = GrpcListener::bind(with_tls(authority.settings()), &gauge).unwrap();
    let (address, server) = (tcp(&listener.address()), server());
    let expires = || gauge.with_label_values(&["grpc"]).get();
    server.serve_grpc(listener, &Script::allowing(), &crate::ready::Readiness::default()).unwrap();
    assert_eq!(expires(), EXPIRES[0]);
    let first = shown(&authority, address).await;
    let asking = authority.client(address).await;

    authority.install(2036);
    eventually("the new certificate is shown", async || shown(&authority, address).await != first).await;
    assert_eq!(expires(), EXPIRES[1]);
    assert_eq!(asking.check(&check_request("a.example", "/")).await.status.unwrap().code, 0, "who is connected stays so");

    let second = shown(&authority, address).await;
    let (another, _) = authority.issue(vec![dns("ringfence.example")], 2035);
    for bad in ["", "no certificate", another.as_str()] {
        authority.write("tls.crt", bad);
        let tls = Tls::of(&with_tls(authority.settings()).connections, &[b"h2"], &expiry_gauge(), "grpc");
        assert!(tls.is_err(), "{bad}");
        for _ in 0..3 {
            assert_eq!(shown(&authority, address).await, second);
            sleep(RELOAD).await;
        }
    }
    assert_eq!(expires(), EXPIRES[1]);
    fs::remove_file(authority.folder.path().join("tls.crt")).unwrap();
    assert_eq!(shown(&authority, address).await, second);

    authority.install(2035);
    eventually("a good one is taken up again", async || expires() == EXPIRES[0]).await;
    assert_ne!(shown(&authority, address).await, second);
}

#[test]
fn a_bad_certificate_is_tried_once_and_reported_once() {
    let authority = Authority::new();
    authority.install(2035);
    let tls = Tls::load(authority.settings(), &[b"h2"], expiry_gauge().with_label_values(&["grpc"])).unwrap();
    assert!(!tls.reload().unwrap());
    authority.write("tls.crt", "no certificate");
    assert!(tls.reload().is_err());
    assert!(!tls.reload().unwrap(), "the same content is not tried again");
    authority.install(2036);
    assert!(tls.reload().unwrap());
}

#[tokio::test]
async fn only_clients_with_a_certificate_of_the_authority_come_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.install(2035);
    let (_server, address) = authority.serve(authority.mutual(&[]));
    assert!(authority.connect(address, Some(authority.issue(vec![dns("any.example")], 2035))).await.is_ok());
    assert!(authority.connect(address, None).await.is_err());
    assert!(authority.connect(address, Some(stranger.issue(vec![dns("any.example")], 2035))).await.is_err());
    assert!(authority.connect(address, Some(authority.issue(vec![dns("any.example")], 2020))).await.is_err(), "expired");
}

#[tokio::test]
async fn a_client_certificate_without_an_allowed_name_is_refused() {
    let authority = Authority::new();
    authority.install(2035);
    let (_server, address) = authority.serve(authority.mutual(&["gateway.example", "spiffe://cluster.local/ns/gateway/sa/envoy"]));
    for (names, allowed) in [
        (vec![dns("gateway.example")], true),
        (vec![dns("GATEWAY.example")], true),
        (vec![dns("other.example"), uri("spiffe://cluster.local/ns/gateway/sa/envoy")], true),
        (vec![dns("other.example")], false),
        (vec![dns("gateway.example.evil.example")], false),
        (vec![uri("spiffe://cluster.local/ns/gateway/sa/ENVOY")], false),
        (vec![uri("gateway.example:x")], false),
        (vec![], false),
    ] {
        let own = authority.issue(names.clone(), 2035);
        assert_eq!(authority.connect(address, Some(own)).await.is_ok(), allowed, "{names:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let authority = Authority::new();
    authority.install(2035);
    let mut settings = with_tls(authority.settings());
    settings.connections.handshake_timeout = Duration::from_millis(20);
    let (_server, address) = serve_grpc(settings, &Script::allowing());
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(matches!(silent.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[test]
fn unusable_files_are_clear_errors_at_the_start() {
    let authority = Authority::new();
    authority.install(2035);
    let path = |name: &str| authority.folder.path().join(name);
    let error = |tls: TlsSettings| GrpcListener::bind(with_tls(tls), &expiry_gauge()).unwrap_err().to_string();
    let good = authority.settings();
    authority.write("empty.pem", "");
    authority.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    for (tls, file, problem) in [
        (TlsSettings { certificate: path("missing.crt"), ..good.clone() }, "missing.crt", "No such file"),
        (TlsSettings { certificate: path("empty.pem"), ..good.clone() }, "empty.pem", "it holds no certificate in PEM form"),
        (TlsSettings { certificate: path("tls.key"), ..good.clone() }, "tls.key", "it holds no certificate in PEM form"),
        (TlsSettings { key: path("missing.key"), ..good.clone() }, "missing.key", "No such file"),
        (TlsSettings { key: path("tls.crt"), ..good.clone() }, "tls.crt", "it holds no private key in PEM form"),
        (TlsSettings { key: path("other.key"), ..good.clone() }, "tls.crt", "it does not belong to the private key"),
        (TlsSettings { client_ca: Some(path("empty.pem")), ..good.clone() }, "empty.pem", "it holds no certificate in PEM form"),
        (TlsSettings { client_names: vec!["a".to_owned()], ..good }, "tls.crt", "client names are given without"),
    ] {
        let error = error(tls);
        assert!(error.starts_with(&format!("cannot use `{}`: ", path(file).display())) && error.contains(problem), "{error}");
    }
}
