//! Asks a check listener as a proxy does: for the demo, for benches and for tests. No proxy of its own stands behind it.
//!
//! Must not know how an answer comes about.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::{
    config::core::v3::{Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress, address, socket_address::PortSpecifier},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest, Peer, Request},
        check_response::HttpResponse,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{net::TcpStream, time::timeout};

use crate::cases::{CaseRequest, EdgeAnswer, Outcome};

/// The method that Envoy calls.
pub const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The header in which a listener says its reason, if it is told to.
const REASON_HEADER: &str = "x-ringfence-reason";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The listener cannot be reached.
    #[error("cannot connect to `{0}`: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is not one.
    #[error("the answer is not a CheckResponse")]
    Unreadable,
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// One connection to a gRPC check listener. Cheap to clone; requests of one connection run beside one another.
#[derive(Clone, Debug)]
pub struct GrpcClient {
    connection: SendRequest<Full<Bytes>>,
    authority: String,
    limit: Duration,
}

impl GrpcClient {
    /// Connects to `address` in plain text. `limit`: how long each answer may take; it is sent as `grpc-timeout`, too.
    ///
    /// # Errors
    /// [`AskError::Connect`], [`AskError::Http`].
    pub async fn connect(address: SocketAddr, limit: Duration) -> Result<Self, AskError> {
        let stream = TcpStream::connect(address).await.map_err(|error| AskError::Connect(address, error))?;
        stream.set_nodelay(true).map_err(|error| AskError::Connect(address, error))?;
        let (connection, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its end is seen by whoever asks next.
            let _ = driver.await;
        });
        Ok(Self { connection, authority: address.to_string(), limit })
    }

    /// Asks.
    ///
    /// # Errors
    /// Every [`AskError`].
    pub async fn check(&self, request: &CheckRequest) -> Result<CheckResponse, AskError> {
        self.check_framed(frame(request)).await
    }

    /// Asks with a message that is framed already ([`frame`]).
    ///
    /// # Errors
    /// Every [`AskError`].
    pub async fn check_framed(&self, message: Bytes) -> Result<CheckResponse, AskError> {
        let call = http::Request::post(format!("http://{}{CHECK_PATH}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", format!("{}m", self.limit.as_millis()))
            .body(Full::new(message))
            .map_err(|_| AskError::Unreadable)?;
        let mut connection = self.connection.clone();
        let answer = async move {
            connection.ready().await?;
            connection.send_request(call).await?.into_body().collect().await
        };
        let collected = timeout(self.limit, answer).await.map_err(|_| AskError::Timeout(self.limit))??;
        let is_ok = collected.trailers().and_then(|trailers| trailers.get("grpc-status")).is_some_and(|status| status == "0");
        let message = collected.to_bytes();
        if !is_ok {
            return Err(AskError::Unreadable);
        }
        CheckResponse::decode(message.get(5..).ok_or(AskError::Unreadable)?).map_err(|_| AskError::Unreadable)
    }
}

/// A message with its gRPC prefix.
#[must_use]
pub fn frame(request: &CheckRequest) -> Bytes {
    let length = request.encoded_len();
    let mut framed = BytesMut::with_capacity(length + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.put_slice(&request.encode_to_vec());
    framed.freeze()
}

/// The question that Envoy asks about a request. `raw_headers`: as with `encode_raw_headers`, each header line by itself; else joined.
#[must_use]
pub fn check_request(request: &CaseRequest, lines: &[(String, String)], raw_headers: bool) -> CheckRequest {
    let mut http = HttpRequest {
        id: request.request_id().unwrap_or_default().to_owned(),
        method: request.method_name().to_owned(),
        path: request.target().to_owned(),
        host: request.authority().to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        body: request.body_text().unwrap_or_default().to_owned(),
        size: request.body_text().map_or(0, |body| i64::try_from(body.len()).unwrap_or(i64::MAX)),
        ..HttpRequest::default()
    };
    let pseudo = [(":authority", request.authority()), (":method", request.method_name()), (":path", request.target())];
    let partial = request.body_text().map(|_| ("x-envoy-auth-partial-body", if request.is_partial() { "true" } else { "false" }));
    let all = pseudo.into_iter().chain(partial).chain(lines.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if raw_headers {
        let header =
            |(name, value): (&str, &str)| HeaderValue { key: name.to_owned(), raw_value: value.as_bytes().to_vec(), ..HeaderValue::default() };
        http.header_map = Some(HeaderMap { headers: all.map(header).collect() });
    } else {
        for (name, value) in all {
            let joined: &mut String = http.headers.entry(name.to_owned()).or_default();
            *joined = if joined.is_empty() { value.to_owned() } else { format!("{joined},{value}") };
        }
    }
    let source = request.client().map(|client| Peer { address: Some(socket_address(&client.to_string())), ..Peer::default() });
    let context_extensions = request.pinned().map(|pin| ("ringfence.policy".to_owned(), pin.to_owned())).into_iter().collect();
    let request = Request { http: Some(http), ..Request::default() };
    CheckRequest { attributes: Some(AttributeContext { source, request: Some(request), context_extensions, ..AttributeContext::default() }) }
}

fn socket_address(address: &str) -> Address {
    let socket = SocketAddress { address: address.to_owned(), port_specifier: Some(PortSpecifier::PortValue(50_000)), ..SocketAddress::default() };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

/// What an answer over gRPC says, as far as a proxy sees it: no policy and no sender, and the reason only where the listener tells it.
#[must_use]
pub fn outcome(response: &CheckResponse) -> Outcome {
    let is_allowed = response.status.as_ref().is_some_and(|status| status.code == 0);
    match (&response.http_response, is_allowed) {
        (Some(HttpResponse::OkResponse(ok)), true) => Outcome {
            decision: "allowed".to_owned(),
            reason: "allowed".to_owned(),
            status: 200,
            headers: ok.headers.iter().filter_map(header).collect(),
            removed: ok.headers_to_remove.iter().cloned().collect(),
            stripped: ok.query_parameters_to_remove.iter().cloned().collect(),
            ..Outcome::default()
        },
        (Some(HttpResponse::DeniedResponse(denied)), false) => {
            let reason = denied.headers.iter().filter_map(header).find(|(name, _)| name == REASON_HEADER);
            let status = denied.status.as_ref().and_then(|status| u16::try_from(status.code).ok()).unwrap_or(403);
            if status == 200 {
                let answer = EdgeAnswer { body: denied.body.clone(), headers: denied.headers.iter().filter_map(header).collect() };
                return Outcome { decision: "handshake".to_owned(), reason: "allowed".to_owned(), status, answer, ..Outcome::default() };
            }
            Outcome { decision: "denied".to_owned(), reason: reason.map(|(_, code)| code).unwrap_or_default(), status, ..Outcome::default() }
        }
        // Envoy goes by the code alone.
        (Some(HttpResponse::OkResponse(_) | HttpResponse::DeniedResponse(_) | HttpResponse::ErrorResponse(_)) | None, allowed) => {
            Outcome { decision: if allowed { "allowed" } else { "denied" }.to_owned(), removed: BTreeSet::new(), ..Outcome::default() }
        }
    }
}

fn header(option: &HeaderValueOption) -> Option<(String, String)> {
    option.header.as_ref().map(|header| (header.key.clone(), header.value.clone()))
}
