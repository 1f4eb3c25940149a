//! A client that sends any bytes as a request over HTTP/1.1, from any loopback address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::PATIENCE;

/// One request, as it is written to the wire.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The address it comes from.
    pub from: IpAddr,
    /// Method.
    pub method: String,
    /// Request target, as it stands in the request line.
    pub target: String,
    /// Headers in order, `Host` included.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Ask {
    /// A request from 127.0.0.1 without any header.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { from: Ipv4Addr::LOCALHOST.into(), method, target, headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the address it comes from.
    pub fn from(mut self, from: impl Into<IpAddr>) -> Self {
        self.from = from.into();
        self
    }

    /// The bytes of the request. Without an upgrade the connection is to be closed after the answer.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection")) {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT") {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it over a connection of its own and reads the answer.
    pub async fn send(&self, to: SocketAddr) -> Answer {
        let exchange = async {
            let mut stream = connect(self.from, to).await;
            stream.write_all(&self.bytes()).await.unwrap();
            read_answer(&mut stream).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("no answer to {self:?}"))
    }
}

impl Answer {
    /// The value of the only header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "more than one {name}");
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Connects from `from`.
pub async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(to).await.unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"))
}

/// Reads one answer: up to its length if it says one, else to the end of the connection (chunks are put together).
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut received = Vec::new();
    let head_end = loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let read = stream.read_buf(&mut received).await.unwrap();
        assert!(read > 0, "the connection ended within the head of the answer: {:?}", String::from_utf8_lossy(&received));
    };
    let (status, headers) = read_head(&received[..head_end]);
    let mut answer = Answer { status, headers, body: received.split_off(head_end + 4) };
    let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
    while status != 101 && length.is_none_or(|length| answer.body.len() < length) {
        if stream.read_buf(&mut answer.body).await.unwrap() == 0 {
            assert!(length.is_none(), "the connection ended within the body of the answer");
            break;
        }
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = join_chunks(&answer.body);
    }
    answer
}

/// RFC 9112 section 7.1, without extensions and trailers.
fn join_chunks(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 2 + size + 2..];
    }
}

fn read_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let head = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    (status, headers.collect())
}
