//! The application behind the proxy: it answers with what it saw, echoes WebSocket messages, and remembers every request.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Collected, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

/// One request as it reached the application.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers in order, names as they came.
    pub headers: Vec<(String, String)>,
    /// Body, if it is text.
    pub body: String,
}

impl Seen {
    /// Every value of the headers that a program might take for `name`: in any case, with `_` for `-`.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let like = |header: &str| header.replace('_', "-").eq_ignore_ascii_case(name);
        self.headers.iter().filter(|(header, _)| like(header)).map(|(_, value)| value.as_str()).collect()
    }

    /// The request as the application reports it.
    pub fn from_report(report: &[u8]) -> Self {
        let report: Value = serde_json::from_slice(report).unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(report)));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let pair = |pair: &Value| (text(&pair[0]), text(&pair[1]));
        let headers = report["headers"].as_array().unwrap().iter().map(pair).collect();
        Self { method: text(&report["method"]), target: text(&report["target"]), headers, body: text(&report["body"]) }
    }

    fn of(request: &Request<Incoming>) -> Self {
        let headers = request.headers().iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Self { method: request.method().to_string(), target: request.uri().to_string(), headers: headers.collect(), body: String::new() }
    }

    fn report(&self) -> Value {
        json!({"method": self.method, "target": self.target, "headers": self.headers, "body": self.body})
    }
}

/// A running application on a loopback port.
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&seen)));
        Self { address, seen, server }
    }

    /// Every request that has reached it.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&seen)));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A proxy may drop a connection whenever it likes.
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Vec<Seen>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut this = Seen::of(&request);
    let remember = |this: &Seen| seen.lock().unwrap_or_else(PoisonError::into_inner).push(this.clone());
    if request.headers().contains_key(header::UPGRADE) {
        remember(&this);
        let mut response =
            Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(header::UPGRADE, "websocket").header(header::CONNECTION, "Upgrade");
        // There is none when the client speaks HTTP/2 (RFC 8441).
        if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) {
            response = response.header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
        }
        tokio::spawn(echo(hyper::upgrade::on(request), this));
        return Ok(response.body(Full::default()).unwrap());
    }
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    this.body = String::from_utf8_lossy(&body).into_owned();
    remember(&this);
    Ok(Response::new(Full::from(this.report().to_string())))
}

/// Sends what it saw as the first message, then every message back.
async fn echo(upgrade: hyper::upgrade::OnUpgrade, seen: Seen) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    if socket.send(Message::text(seen.report().to_string())).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() && socket.send(message).await.is_err() {
            return;
        }
    }
}
