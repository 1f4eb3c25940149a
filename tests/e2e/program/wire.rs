//! What no proper proxy sends. Whatever it is, the answer is an explicit denial.

use std::{collections::HashMap, time::Duration};

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue, Pipe, address},
    service::auth::v3::CheckRequest,
};
use prost::Message;
use ringfence::issuer::{Broken, Document, Fault, Issuer, IssuerOptions, TokenSpec};
use tokio::net::TcpStream;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    http::Ask,
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
};

struct Line {
    issuer: Issuer,
    ringfence: Ringfence,
    client: Client,
}

impl Line {
    async fn open() -> Self {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let ringfence = Ringfence::start(&policies(&issuer), &[]).await;
        let client = Client::over(TcpStream::connect(ringfence.address("grpc")).await.unwrap()).await.unwrap();
        Self { issuer, ringfence, client }
    }

    /// A request that is allowed.
    fn good(&self) -> CheckRequest {
        let authorization = format!("Bearer {}", self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
        check_request(peer("127.0.0.1"), "POST", HOST, &format!("/api/callbacks?key={KEY}"), &[("authorization", &authorization)])
    }

    async fn reason(&self, code: &str) -> f64 {
        self.ringfence.metric("ringfence_checks_total", &["listener=\"grpc\"", &format!("reason=\"{code}\"")]).await
    }
}

#[tokio::test]
async fn requests_that_say_too_little() {
    let mut line = Line::open().await;
    assert_eq!(status(&line.client.check(&line.good()).await), 200);
    assert_eq!(status(&line.client.check(&CheckRequest::default()).await), 400);
    let mut nameless = line.good();
    nameless.attributes.as_mut().unwrap().request = None;
    assert_eq!(status(&line.client.check(&nameless).await), 400);
    let mut hostless = line.good();
    hostless.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap().host.clear();
    assert_eq!(status(&line.client.check(&hostless).await), 400);
    let mut sourceless = line.good();
    sourceless.attributes.as_mut().unwrap().source = None;
    assert_eq!(status(&line.client.check(&sourceless).await), 503);
    assert_eq!(line.reason("source_unknown").await, 1.0);
}

#[tokio::test]
async fn a_peer_that_is_a_pipe_has_no_address() {
    let mut line = Line::open().await;
    let mut piped = line.good();
    let source = piped.attributes.as_mut().unwrap().source.as_mut().unwrap();
    source.address.as_mut().unwrap().address = Some(address::Address::Pipe(Pipe { path: "/run/envoy.sock".to_owned(), mode: 0 }));
    assert_eq!(status(&line.client.check(&piped).await), 503);
    assert_eq!(line.reason("source_unknown").await, 1.0);
}

#[tokio::test]
async fn headers_that_are_no_text() {
    let mut line = Line::open().await;
    let raw = |authorization: &[u8]| {
        let mut request = line.good();
        let http = request.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap();
        http.headers = HashMap::new();
        let header = |key: &str, raw: &[u8]| HeaderValue { key: key.to_owned(), raw_value: raw.to_vec(), ..Default::default() };
        http.header_map = Some(HeaderMap { headers: vec![header("authorization", authorization), header("x-junk", b"\xff\xfe\x00")] });
        request
    };
    let token = line.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
    let (good, bad) = (raw(format!("Bearer {token}").as_bytes()), raw(&[b"Bearer \xff", token.as_bytes()].concat()));
    assert_eq!(status(&line.client.check(&good).await), 200);
    assert_eq!(status(&line.client.check(&bad).await), 401);
    assert_eq!(line.reason("token_malformed").await, 1.0);
}

#[tokio::test]
async fn messages_that_cannot_be_read() {
    let mut line = Line::open().await;
    let good = line.good().encode_to_vec();
    let mut huge = line.good();
    huge.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap().body = "x".repeat(8 * 1024 * 1024);
    let cut = good[..good.len() / 2].to_vec();
    let messages = [("8 MB", huge.encode_to_vec(), 0), ("cut in the middle", cut, 0), ("noise", vec![0xff; 100], 0), ("compressed", good.clone(), 1)];
    for (what, message, flag) in messages {
        let reply = line.client.send(message, flag).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(reply.code, "0", "{what}: {reply:?}");
        assert_eq!(status(&reply.response.unwrap()), 400, "{what}");
    }
    // The frame says more than there is.
    let framed = [&[0][..], &u32::try_from(good.len() + 1).unwrap().to_be_bytes(), &good].concat();
    let reply = line.client.send_raw(framed).await.unwrap();
    assert_eq!((reply.code.as_str(), status(&reply.response.unwrap())), ("0", 400));
    assert_eq!(line.reason("malformed_request").await, 5.0);
    // And the connection serves on.
    assert_eq!(status(&line.client.check(&line.good()).await), 200);
}

#[tokio::test]
async fn more_at_once_than_is_taken_is_not_decided() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), &["--max-in-flight=1"]).await;
    // Whoever names an unknown key waits a while for the issuer, and nobody else is let in meanwhile.
    issuer.fail(Document::Discovery, Some(Fault::Slow(Duration::from_secs(60))));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(ringfence.address("grpc")).await.unwrap();
        let token = issuer.mint(&TokenSpec::callback(AUDIENCE).broken(Broken::UnknownKid)).unwrap();
        asking.spawn(async move {
            let authorization = format!("Bearer {token}");
            let request = check_request(peer("127.0.0.1"), "POST", HOST, &format!("/api/callbacks?key={KEY}"), &[("authorization", &authorization)]);
            status(&Client::over(stream).await.unwrap().check(&request).await)
        });
    }
    assert_eq!(asking.join_all().await, [503; 10]);
    let overloaded = ringfence.metric("ringfence_checks_total", &["reason=\"overloaded\""]).await;
    assert!((1.0..10.0).contains(&overloaded), "{overloaded}");
    assert_eq!(ringfence.metric("ringfence_checks_in_flight", &[]).await, 0.0);
}

#[tokio::test]
async fn nginx_urls_that_hide_something() {
    let line = Line::open().await;
    let authorization = format!("Bearer {}", line.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let ask = async |target: &str| {
        let ask = Ask::new("GET", &format!("/auth/nginx/any/{target}")).header("Host", "ringfence").header("Authorization", authorization.as_str());
        ask.send(line.ringfence.address("http")).await.status
    };
    let good = format!("127.0.0.1/POST/{HOST}/api/callbacks?key={KEY}");
    assert_eq!(ask(&format!("{good}/.end")).await, 200);
    for (target, what) in [
        (good.clone(), "no end"),
        (format!("{good}/.end#/x/.end"), "a fragment after an end of the client's own"),
        (format!("{good}#/.end"), "a fragment before the end"),
        (format!("127.0.0.1/POST/{HOST}/x{HOST}/../api/callbacks?key={KEY}/.end"), "dot segments"),
        (format!("127.0.0.1/POST/a/b@{HOST}/api/callbacks?key={KEY}/.end"), "a host with a slash"),
        (format!("127.0.0.1/POST/{HOST}?x=/api/callbacks?key={KEY}/.end"), "a host with a query"),
    ] {
        assert_eq!(ask(&target).await, 403, "{what}: {target}");
    }
}

#[tokio::test]
async fn dialects_that_are_not_served_do_not_answer() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), &["--http-dialects=nginx"]).await;
    for path in ["/auth/envoy/any/watched", "/auth/traefik/any", "/watched", "/auth/nginx/x/127.0.0.1/POST/callbacks.contoso.com/watched/.end"] {
        let answer = Ask::new("POST", path).header("Host", HOST).send(ringfence.address("http")).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}
