#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use rcgen::{CertifiedIssuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::issuer::{Document, Fault, Issuer, IssuerOptions};

const LIMIT: usize = 256 * 1024;

/// Names as a test wants them; counts how often it was asked.
#[derive(Default)]
struct Names {
    addresses: HashMap<&'static str, Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(addresses: &[(&'static str, &[&str])]) -> Arc<Self> {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        let addresses = addresses.iter().map(|(name, addresses)| (*name, parse(addresses))).collect();
        Arc::new(Self { addresses, asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Lookup for Names {
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let addresses = self.addresses.get(host).cloned().ok_or_else(|| io::Error::other("no such name"));
        Box::pin(async { addresses })
    }
}

/// Rules under which a test's own server can be reached.
fn lax() -> FetchRules {
    FetchRules { allow_private: true, allow_http: true, ..FetchRules::default() }
}

fn fetcher(rules: &FetchRules) -> Fetcher {
    Fetcher::new(rules, Arc::new(SystemNames)).unwrap()
}

/// A server that answers one request per connection with `answer`, over TLS where there is an acceptor, and hands over what it was asked.
async fn serve_raw(tls: Option<TlsAcceptor>, answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
        impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for S {}
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream: Box<dyn Stream> = match &tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => continue,
                },
            };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = asked.send(String::from_utf8(head).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, requests)
}

const JSON_ANSWER: &str = "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\n{}";

#[test]
fn judges_urls_before_anything_is_asked() {
    let names = Names::new(&[]);
    let strict = Fetcher::new(&FetchRules::default(), Arc::clone(&names) as Arc<dyn Lookup>).unwrap();
    let cases = [
        ("http://issuer.example/keys", FetchFailure::Insecure),
        ("ftp://issuer.example/keys", FetchFailure::BadUrl),
        ("file:///etc/passwd", FetchFailure::BadUrl),
        ("data:application/json,{}", FetchFailure::BadUrl),
        ("issuer.example/keys", FetchFailure::BadUrl),
        ("https://", FetchFailure::BadUrl),
        ("", FetchFailure::BadUrl),
        ("https://user@issuer.example/keys", FetchFailure::BadUrl),
        ("https://user:password@issuer.example/keys", FetchFailure::BadUrl),
        ("https://10.0.0.1/keys", FetchFailure::BlockedAddress),
        ("https://127.0.0.1:8443/keys", FetchFailure::BlockedAddress),
        ("https://127.1/keys", FetchFailure::BlockedAddress),
        ("https://0x7f000001/keys", FetchFailure::BlockedAddress),
        ("https://2130706433/keys", FetchFailure::BlockedAddress),
        ("https://0177.0.0.1./keys", FetchFailure::BlockedAddress),
        ("https://169.254.169.254/metadata/instance", FetchFailure::BlockedAddress),
        ("https://168.63.129.16/machine", FetchFailure::BlockedAddress),
        ("https://[::1]/keys", FetchFailure::BlockedAddress),
        ("https://[::ffff:10.0.0.1]/keys", FetchFailure::BlockedAddress),
        ("https://[::ffff:1.1.1.1]/keys", FetchFailure::BlockedAddress),
        ("https://[64:ff9b::a9fe:a9fe]/keys", FetchFailure::BlockedAddress),
        ("https://[fd00::1]/keys", FetchFailure::BlockedAddress),
    ];
    for (url, expected) in cases {
        assert_eq!(strict.vet(url).unwrap_err(), expected, "{url}");
    }
    assert!(strict.vet("https://issuer.example/keys").is_ok());
    assert!(strict.vet("https://1.1.1.1/keys").is_ok());
    assert_eq!(names.asked(), 0);
}

#[test]
fn only_allowed_origins_are_fetched_from() {
    let origins = ["https://issuer.example", "https://login.example:8443/"].map(Box::from).to_vec();
    let fetcher = fetcher(&FetchRules { origins: Some(origins), ..FetchRules::default() });
    for url in ["https://issuer.example/keys", "https://ISSUER.example:443/other?x", "https://login.example:8443/"] {
        assert!(fetcher.vet(url).is_ok(), "{url}");
    }
    for url in [
        "https://issuer.example:8443/",
        "https://login.example/",
        "https://issuer.example.evil.example/",
        "https://evil.example/https://issuer.example",
    ] {
        assert_eq!(fetcher.vet(url).unwrap_err(), FetchFailure::BlockedOrigin, "{url}");
    }
}

#[test]
fn rules_that_cannot_be_followed_are_refused() {
    let build = |rules: FetchRules| Fetcher::new(&rules, Arc::new(SystemNames)).unwrap_err().to_string();
    for origin in
        ["issuer.example", "https://issuer.example/path", "https://issuer.example?q", "https://u@issuer.example", "ftp://issuer.example", "*"]
    {
        let error = build(FetchRules { origins: Some(vec![origin.into()]), ..FetchRules::default() });
        assert!(error.contains(&format!("`{origin}` is not an origin")), "{error}");
    }
    for roots in ["nonsense", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let error = build(FetchRules { extra_roots: roots.into(), ..FetchRules::default() });
        assert!(error.contains("--issuer-ca"), "{error}");
    }
}

#[tokio::test]
async fn every_address_of_a_name_must_be_global() {
    let names = Names::new(&[
        ("private.example", &["10.0.0.1"]),
        ("metadata.example", &["169.254.169.254"]),
        ("mapped.example", &["::ffff:10.0.0.1"]),
        ("nat64.example", &["64:ff9b::10.0.0.1"]),
        ("half.example", &["1.1.1.1", "127.0.0.1"]),
        ("empty.example", &[]),
        ("localhost", &["127.0.0.1", "::1"]),
    ]);
    let strict = Fetcher::new(&FetchRules::default(), Arc::clone(&names) as Arc<dyn Lookup>).unwrap();
    for name in ["private", "metadata", "mapped", "nat64", "half"] {
        let url = format!("https://{name}.example/keys");
        assert_eq!(strict.get(&url, LIMIT).await, Err(FetchFailure::BlockedAddress), "{url}");
    }
    assert_eq!(strict.get("https://localhost:9005/keys", LIMIT).await, Err(FetchFailure::BlockedAddress));
    assert_eq!(strict.get("https://empty.example/keys", LIMIT).await, Err(FetchFailure::Dns));
    assert_eq!(strict.get("https://nowhere.example/keys", LIMIT).await, Err(FetchFailure::Dns));
}

#[tokio::test]
async fn a_name_is_resolved_once_per_fetch_and_no_connection_is_kept() {
    let names = Names::new(&[("issuer.example", &["127.0.0.1"])]);
    let (port, mut requests) = serve_raw(None, JSON_ANSWER).await;
    let fetcher = Fetcher::new(&lax(), Arc::clone(&names) as Arc<dyn Lookup>).unwrap();
    for fetches in 1..=2 {
        let fetched = fetcher.get(&format!("http://issuer.example:{port}/keys"), LIMIT).await.unwrap();
        assert_eq!((fetched.body.as_slice(), fetched.max_age), (b"{}".as_slice(), Some(Duration::from_secs(60))));
        assert_eq!(names.asked(), fetches);
        let request = requests.recv().await.unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /keys http/1.1\r\n"), "{request}");
        for header in ["cookie", "referer", "accept-encoding", "authorization"] {
            assert!(!request.contains(header), "{request}");
        }
    }
}

#[tokio::test]
async fn the_proxy_is_the_operators_and_literals_are_judged_all_the_same() {
    let names = Names::new(&[("proxy.example", &["127.0.0.1"])]);
    let (port, mut requests) = serve_raw(None, JSON_ANSWER).await;
    let proxy = Some(format!("http://proxy.example:{port}").parse().unwrap());
    let rules = FetchRules { proxy, allow_private: false, ..lax() };
    let fetcher = Fetcher::new(&rules, Arc::clone(&names) as Arc<dyn Lookup>).unwrap();
    assert!(fetcher.get("http://issuer.example/keys", LIMIT).await.is_ok());
    assert!(requests.recv().await.unwrap().starts_with("GET http://issuer.example/keys HTTP/1.1\r\n"));
    assert!(fetcher.get("https://issuer.example/keys", LIMIT).await.is_err());
    assert!(requests.recv().await.unwrap().starts_with("CONNECT issuer.example:443 HTTP/1.1\r\n"));
    assert_eq!(fetcher.get("http://10.0.0.1/keys", LIMIT).await, Err(FetchFailure::BlockedAddress));
    assert_eq!(names.asked(), 2);
}

#[tokio::test]
async fn names_what_a_server_does_wrong() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let fetcher = fetcher(&lax());
    let cases = [
        (Fault::Down, FetchFailure::Broken),
        (Fault::Status(500), FetchFailure::Status(500)),
        (Fault::Status(404), FetchFailure::Status(404)),
        (Fault::Status(204), FetchFailure::Status(204)),
        (Fault::Redirect("http://169.254.169.254/metadata".into()), FetchFailure::Redirect),
        (Fault::Redirect(issuer.discovery_url()), FetchFailure::Redirect),
        (Fault::Endless { announced: Some(1 << 30) }, FetchFailure::TooLarge),
        (Fault::Endless { announced: None }, FetchFailure::TooLarge),
        (Fault::Body(" ".repeat(LIMIT + 1)), FetchFailure::TooLarge),
    ];
    for (fault, expected) in cases {
        issuer.fail(Document::Keys, Some(fault.clone()));
        assert_eq!(fetcher.get(&issuer.keys_url(), LIMIT).await, Err(expected), "{fault:?}");
    }
    assert_eq!(issuer.requests(Document::Discovery), 0, "no redirect was followed");
    issuer.fail(Document::Keys, Some(Fault::Body(" ".repeat(LIMIT))));
    assert_eq!(fetcher.get(&issuer.keys_url(), LIMIT).await.unwrap().body.len(), LIMIT);
}

#[tokio::test]
async fn a_fetch_ends_with_its_time() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let time_limit = Duration::from_millis(300);
    let fetcher = fetcher(&FetchRules { time_limit, ..lax() });
    for fault in [Fault::Slow(Duration::from_secs(3600)), Fault::Trickle] {
        issuer.fail(Document::Keys, Some(fault.clone()));
        let began = Instant::now();
        assert_eq!(fetcher.get(&issuer.keys_url(), LIMIT).await, Err(FetchFailure::Timeout), "{fault:?}");
        assert!(began.elapsed() >= time_limit, "{fault:?}");
    }
}

#[tokio::test]
async fn names_what_is_wrong_with_a_connection() {
    let fetcher = fetcher(&lax());
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(fetcher.get(&format!("http://127.0.0.1:{port}/"), LIMIT).await, Err(FetchFailure::Connect));
    let (port, _requests) = serve_raw(None, "SSH-2.0-OpenSSH\r\n").await;
    assert_eq!(fetcher.get(&format!("http://127.0.0.1:{port}/"), LIMIT).await, Err(FetchFailure::Broken));
    let (port, _requests) = serve_raw(None, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}").await;
    assert_eq!(fetcher.get(&format!("http://127.0.0.1:{port}/"), LIMIT).await, Err(FetchFailure::Broken));
}

#[tokio::test]
async fn trusts_the_systems_authorities_and_the_operators() {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["issuer.example".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    let (port, _requests) = serve_raw(Some(TlsAcceptor::from(Arc::new(server))), JSON_ANSWER).await;
    let names = Names::new(&[("issuer.example", &["127.0.0.1"]), ("other.example", &["127.0.0.1"])]);
    let build = |extra_roots: &str| {
        let rules = FetchRules { allow_http: false, extra_roots: extra_roots.into(), ..lax() };
        Fetcher::new(&rules, Arc::clone(&names) as Arc<dyn Lookup>).unwrap()
    };
    let own = build(&ca.pem());
    assert_eq!(own.get(&format!("https://issuer.example:{port}/"), LIMIT).await.unwrap().body, b"{}");
    assert_eq!(own.get(&format!("https://other.example:{port}/"), LIMIT).await, Err(FetchFailure::Tls), "a certificate for another name");
    assert_eq!(build("").get(&format!("https://issuer.example:{port}/"), LIMIT).await, Err(FetchFailure::Tls), "an unknown authority");
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let plain = issuer.address().port();
    assert_eq!(own.get(&format!("https://issuer.example:{plain}/"), LIMIT).await, Err(FetchFailure::Tls), "no TLS at all");
}

#[test]
fn reads_how_long_an_answer_may_be_kept() {
    let read = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CACHE_CONTROL, value.parse().unwrap());
        }
        read_max_age(&headers).map(|max_age| max_age.as_secs())
    };
    assert_eq!(read(&[]), None);
    assert_eq!(read(&["public"]), None);
    assert_eq!(read(&["public, Max-Age=86400"]), Some(86_400));
    assert_eq!(read(&["max-age=\"60\""]), Some(60));
    assert_eq!(read(&["max-age=60", "max-age=30"]), Some(30));
    assert_eq!(read(&["max-age=60, no-store"]), Some(0));
    assert_eq!(read(&["No-Cache"]), Some(0));
    assert_eq!(read(&["max-age=soon"]), None);
    assert_eq!(read(&["max-age=-1"]), None);
    assert_eq!(read(&["s-maxage=60"]), None);
}

#[test]
fn neither_documents_nor_passwords_are_shown() {
    let rules = FetchRules { proxy: Some("http://user:secret@proxy.example:3128".parse().unwrap()), ..FetchRules::default() };
    let shown = format!("{rules:?} {:?}", fetcher(&rules));
    assert!(shown.contains("proxy.example") && !shown.contains("secret"), "{shown}");
    let fetched = Fetched { body: b"secret".to_vec(), max_age: None };
    assert!(!format!("{fetched:?}").contains("secret"));
    assert!(format!("{fetched:?}").contains("bytes: 6"));
}
