//! A WebSocket client through the proxy (RFC 6455).

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
};

use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{Request, Version, body::Bytes, client::conn::http2, ext::Protocol, upgrade::Upgraded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    PATIENCE,
    http::{Answer, Ask, connect, read_answer},
    upstream::Seen,
    wait_for,
};

/// The sixteen zero bytes that every handshake here uses as its key.
pub const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// Adds what makes `ask` a WebSocket handshake.
pub fn handshake(ask: Ask) -> Ask {
    ask.header("Connection", "Upgrade").header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", KEY)
}

/// An open WebSocket to the application behind the proxy.
pub struct Socket<IO = TcpStream>(WebSocketStream<IO>);

impl Socket {
    /// Opens one with `ask`, a handshake. The answer when it is refused.
    pub async fn open(ask: &Ask, to: SocketAddr) -> Result<Self, Answer> {
        let mut stream = connect(ask.from, to).await;
        stream.write_all(&ask.bytes()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, read_answer(&mut stream)).await.expect("an answer to the handshake");
        if answer.status != 101 {
            return Err(answer);
        }
        Ok(Self(WebSocketStream::from_partially_read(stream, answer.body, Role::Client, None).await))
    }
}

impl Socket<TokioIo<Upgraded>> {
    /// Opens one over HTTP/2 by an extended CONNECT (RFC 8441) with what `ask` says. The status when it is refused.
    pub async fn open_over_http2(ask: &Ask, to: SocketAddr) -> Result<Self, u16> {
        let stream = TokioIo::new(connect(ask.from, to).await);
        let (mut sender, mut connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        // The server permits it with its first settings, for which nobody wakes us.
        wait_for("extended CONNECT to be permitted", async || {
            let ended = poll_fn(|context| Poll::Ready(Pin::new(&mut connection).poll(context).is_ready())).await;
            assert!(!ended, "the connection ended");
            connection.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        tokio::spawn(connection);
        let host = ask.headers.iter().find(|(name, _)| name == "Host").map(|(_, value)| str::from_utf8(value).unwrap()).unwrap();
        let mut request = Request::builder().method("CONNECT").version(Version::HTTP_2).uri(format!("http://{host}{}", ask.target));
        for (name, value) in ask.headers.iter().filter(|(name, _)| name != "Host") {
            request = request.header(name, value.as_slice());
        }
        let mut request = request.body(Empty::<Bytes>::new()).unwrap();
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let response = sender.send_request(request).await.unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        Ok(Self(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    /// The request that opened it, as the application saw it: the application's first message.
    pub async fn seen(&mut self) -> Seen {
        Seen::from_report(self.receive().await.into_text().unwrap().as_bytes())
    }

    /// Sends a message and fails unless it comes back.
    pub async fn echo(&mut self, message: Message) {
        self.0.send(message.clone()).await.unwrap();
        assert_eq!(self.receive().await, message);
    }

    async fn receive(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message in time").expect("an open socket").unwrap()
    }
}
