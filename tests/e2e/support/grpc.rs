//! A gRPC client for Envoy's Authorization service over any stream, that can also send what no proper client sends.

use envoy_types::pb::envoy::{
    config::core::v3::{Address, SocketAddress, address, socket_address},
    service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, attribute_context, check_response::HttpResponse},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::wait_for;

/// A connection. A copy shares it.
#[derive(Clone)]
pub struct Client(http2::SendRequest<Full<Bytes>>);

/// What came back over gRPC.
#[derive(Debug)]
pub struct Reply {
    /// `grpc-status`.
    pub code: String,
    /// The message; `None` when there was none.
    pub response: Option<CheckResponse>,
}

impl Client {
    /// Over this stream.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Asks, and fails unless the answer is an OK RPC.
    pub async fn check(&mut self, request: &CheckRequest) -> CheckResponse {
        let reply = self.send(request.encode_to_vec(), 0).await.unwrap();
        assert_eq!(reply.code, "0", "{reply:?}");
        reply.response.expect("a message in an OK RPC")
    }

    /// Waits until checks are taken: a process that has just started refuses them, so that another one is asked.
    pub async fn wait_until_taken(&mut self, request: &CheckRequest) {
        wait_for("checks to be taken", async || self.send(request.encode_to_vec(), 0).await.ok().map(drop)).await;
    }

    /// Sends these bytes as the message; `flag` 1 says that they are compressed.
    pub async fn send(&mut self, message: Vec<u8>, flag: u8) -> hyper::Result<Reply> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        self.send_raw([&[flag], length.as_slice(), &message].concat()).await
    }

    /// Sends these bytes as the body of the call.
    pub async fn send_raw(&mut self, body: Vec<u8>) -> hyper::Result<Reply> {
        let request = Request::post("http://ringfence/envoy.service.auth.v3.Authorization/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::from(body))
            .unwrap();
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let head = response.headers().clone();
        let body = response.into_body().collect().await?;
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status")).or(head.get("grpc-status")).cloned();
        let code = status.map_or_else(String::new, |status| status.to_str().unwrap().to_owned());
        let message = body.to_bytes();
        Ok(Reply { code, response: message.get(5..).map(|message| CheckResponse::decode(message).unwrap()) })
    }
}

/// A request as Envoy shows it in its `headers` map, from this address.
pub fn check_request(from: address::Address, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let http = attribute_context::HttpRequest {
        method: method.to_owned(),
        host: host.to_owned(),
        path: path.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    };
    let source = attribute_context::Peer { address: Some(Address { address: Some(from) }), ..Default::default() };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    CheckRequest { attributes: Some(AttributeContext { source: Some(source), request: Some(request), ..Default::default() }) }
}

/// A TCP peer.
pub fn peer(ip: &str) -> address::Address {
    let port = socket_address::PortSpecifier::PortValue(50_000);
    address::Address::SocketAddress(SocketAddress { address: ip.to_owned(), port_specifier: Some(port), ..Default::default() })
}

/// The status that a client would see; 200 = allowed.
pub fn status(response: &CheckResponse) -> i32 {
    match (&response.status, &response.http_response) {
        (Some(status), Some(HttpResponse::DeniedResponse(denied))) if status.code != 0 => denied.status.as_ref().unwrap().code,
        (Some(status), Some(HttpResponse::OkResponse(_))) if status.code == 0 => 200,
        _ => panic!("neither a clear allow nor a clear denial: {response:?}"),
    }
}
