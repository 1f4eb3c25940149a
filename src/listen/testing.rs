//! What the tests of the listeners share: a decision that is written down, and clients that speak the wires.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::{
    config::core::v3::{Address, SocketAddress, address},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest, Peer, Request as Asked},
    },
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus::{IntGaugeVec, Opts};
use prost::Message;
use ringfence_core::decide::{About, Allow, AllowReason, Body, Decision, Mutations, RawRequest, Reason, Verdict, Wire};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use super::{
    ClientAddress, ConnectionSettings, Decide, Dialect, GrpcListener, GrpcListenerSettings, HttpListener, HttpListenerSettings, ListenAddress,
    Server, ToldDecisions,
};
use crate::{check::Begun, ready::Readiness};

/// A [`RawRequest`] as it was asked, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) wire: Wire,
    pub(super) method: String,
    pub(super) host: Option<String>,
    pub(super) target: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) source: Option<IpAddr>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) pin: Option<String>,
    /// How long after its arrival it must be answered.
    pub(super) within: Option<Duration>,
}

impl Seen {
    fn new(raw: &RawRequest<'_>, deadline: Option<Instant>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            wire: raw.wire,
            method: text(raw.method),
            host: raw.host.map(text),
            target: text(raw.target),
            headers: raw.headers.iter().map(|(name, value)| (text(name), value.to_vec())).collect(),
            source: raw.source,
            body: match raw.body {
                Body::Absent => None,
                Body::Partial(body) | Body::Complete(body) => Some(body.to_vec()),
            },
            pin: raw.pin.as_deref().map(str::to_owned),
            within: deadline.map(|deadline| deadline.duration_since(raw.arrived)),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }
}

/// What the written-down decision does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Answer(Decision),
    Panic,
    /// Allows once there is a permit.
    Wait(Arc<Semaphore>),
}

/// Decides everything alike and remembers what it was asked.
#[derive(Debug)]
pub(super) struct Script {
    act: Mutex<Act>,
    seen: Mutex<Vec<Seen>>,
    refused: Mutex<Vec<(Wire, Reason)>>,
}

impl Script {
    pub(super) fn new(act: Act) -> Arc<Self> {
        Arc::new(Self { act: Mutex::new(act), seen: Mutex::default(), refused: Mutex::default() })
    }

    pub(super) fn allowing() -> Arc<Self> {
        Self::new(Act::Answer(allow(Mutations::default())))
    }

    pub(super) fn set(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    /// What was asked since the last call.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// What was refused without being asked since the last call.
    pub(super) fn refused(&self) -> Vec<(Wire, Reason)> {
        std::mem::take(&mut *self.refused.lock().unwrap())
    }
}

pub(super) fn allow(mutations: Mutations) -> Decision {
    Decision::Allow(Allow { reason: AllowReason::Allowed, mutations })
}

impl Decide for Script {
    type Awaited = Arc<Semaphore>;

    fn begin(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Begun<Arc<Semaphore>> {
        self.seen.lock().unwrap().push(Seen::new(raw, deadline));
        let act = self.act.lock().unwrap().clone();
        match act {
            Act::Answer(decision) => Begun::Decided(Verdict { decision, about: About::default() }),
            Act::Panic => panic!("on purpose"),
            Act::Wait(permits) => Begun::Awaits(permits),
        }
    }

    async fn finish(&self, _: &RawRequest<'_>, _: Option<Instant>, permits: Arc<Semaphore>) -> Verdict {
        permits.acquire().await.unwrap().forget();
        Verdict { decision: allow(Mutations::default()), about: About::default() }
    }

    async fn check(&self, raw: &RawRequest<'_>, deadline: Option<Instant>) -> Verdict {
        match self.begin(raw, deadline) {
            Begun::Decided(verdict) => verdict,
            Begun::Awaits(permits) => self.finish(raw, deadline, permits).await,
        }
    }

    fn refuse(&self, wire: Wire, _arrived: Instant, reason: Reason) -> Verdict {
        self.refused.lock().unwrap().push((wire, reason));
        Verdict::deny(reason)
    }
}

pub(super) fn expiry_gauge() -> IntGaugeVec {
    IntGaugeVec::new(Opts::new("ringfence_certificate_expiry_timestamp_seconds", "help"), &["listener"]).unwrap()
}

pub(super) fn grpc_settings() -> GrpcListenerSettings {
    GrpcListenerSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        connections: ConnectionSettings::default(),
        client_address: ClientAddress::Wire,
        trusted_proxies: vec![],
        reason_header: true,
        metadata: ToldDecisions::default(),
    }
}

pub(super) fn http_settings() -> HttpListenerSettings {
    HttpListenerSettings {
        address: "127.0.0.1:0".parse().unwrap(),
        connections: ConnectionSettings::default(),
        dialects: Dialect::ALL.to_vec(),
        client_address: ClientAddress::Wire,
        trusted_proxies: vec![],
        reason_header: true,
    }
}

pub(super) fn server() -> Server {
    Server::start(NonZeroUsize::new(2).unwrap()).unwrap()
}

/// A server that serves gRPC checks by `script`, and where.
pub(super) fn serve_grpc(settings: GrpcListenerSettings, script: &Arc<Script>) -> (Server, SocketAddr) {
    let listener = GrpcListener::bind(settings, &expiry_gauge()).unwrap();
    let address = tcp(&listener.address());
    let server = server();
    server.serve_grpc(listener, script, &Readiness::default()).unwrap();
    (server, address)
}

/// A server that serves HTTP checks by `script`, and where.
pub(super) fn serve_http(settings: HttpListenerSettings, script: &Arc<Script>) -> (Server, SocketAddr) {
    let listener = HttpListener::bind(settings, &expiry_gauge()).unwrap();
    let address = tcp(&listener.address());
    let server = server();
    server.serve_http(listener, script).unwrap();
    (server, address)
}

pub(super) fn tcp(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => panic!("{}", path.display()),
    }
}

/// A request as Envoy asks it.
pub(super) fn check_request(host: &str, path: &str) -> CheckRequest {
    let socket = SocketAddress { address: "203.0.113.7".to_owned(), ..SocketAddress::default() };
    let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
    let http = HttpRequest { method: "POST".to_owned(), host: host.to_owned(), path: path.to_owned(), ..HttpRequest::default() };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer { address, ..Peer::default() }),
            request: Some(Asked { time: None, http: Some(http) }),
            ..AttributeContext::default()
        }),
    }
}

/// With the prefix of gRPC.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// A gRPC connection.
#[derive(Clone)]
pub(super) struct GrpcClient(http2::SendRequest<Full<Bytes>>);

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) headers: HeaderMap,
    pub(super) trailers: HeaderMap,
    pub(super) message: Bytes,
}

impl GrpcClient {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await.unwrap()
    }

    pub(super) async fn over<IO>(io: IO) -> hyper::Result<Self>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends `body` as it is to the method at `path`.
    pub(super) async fn call(&self, path: &str, headers: &[(&'static str, &str)], body: Bytes) -> hyper::Result<Call> {
        let mut request = Request::post(format!("http://ringfence{path}")).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.0.clone().send_request(request.body(Full::new(body)).unwrap()).await?;
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        let collected = response.into_body().collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Call { headers, trailers, message: collected.to_bytes() })
    }

    /// Sends `body` as it is to Check; the call must end OK.
    pub(super) async fn check_bytes(&self, headers: &[(&'static str, &str)], body: Bytes) -> CheckResponse {
        let call = self.call("/envoy.service.auth.v3.Authorization/Check", headers, body).await.unwrap();
        assert_eq!(call.trailers.get("grpc-status").unwrap(), "0");
        assert_eq!(call.headers.get("content-type").unwrap(), "application/grpc");
        let (prefix, message) = call.message.split_at_checked(5).unwrap();
        assert_eq!(prefix, framed(message).split_at(5).0);
        CheckResponse::decode(message).unwrap()
    }

    pub(super) async fn check(&self, request: &CheckRequest) -> CheckResponse {
        self.check_bytes(&[], framed(&request.encode_to_vec())).await
    }

    /// Whether the server has closed the connection, or said that it will.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Writes `request` as it is and reads until the other side closes or, for one with a length, the response is whole.
pub(super) async fn http1(address: SocketAddr, request: impl AsRef<[u8]>) -> Response<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask_http1(&mut stream, request).await
}

/// The same over an open connection.
pub(super) async fn ask_http1(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: impl AsRef<[u8]>) -> Response<String> {
    try_http1(stream, request).await.expect("the connection ended before the response did")
}

/// The same; `None` if the connection ends before the response does.
pub(super) async fn try_http1(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: impl AsRef<[u8]>) -> Option<Response<String>> {
    stream.write_all(request.as_ref()).await.ok()?;
    let mut received = Vec::new();
    loop {
        if let Some(response) = parse_http1(&received) {
            return Some(response);
        }
        if stream.read_buf(&mut received).await.ok()? == 0 {
            return None;
        }
    }
}

fn parse_http1(received: &[u8]) -> Option<Response<String>> {
    let text = std::str::from_utf8(received).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut response = Response::builder().status(lines.next()?.split(' ').nth(1)?);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        response = response.header(name, value);
    }
    let response = response.body(body.to_owned()).unwrap();
    let length = response.headers().get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    (body.len() >= length).then_some(response)
}

/// Waits for `condition`, at most ten seconds.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < give_up, "it never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
