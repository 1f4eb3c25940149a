//! The load over HTTP/1.1: connections that each wait for an answer before they ask again, as a proxy's kept-alive connections do.
//!
//! Everything that is sent is made beforehand, and of an answer only its status and its length are read.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::load::together;

/// Connections at a time.
pub const CONNECTIONS: usize = 32;
/// Requests of each connection before anything counts.
const WARM_UP: usize = 16;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a load.
pub struct Outcome<M> {
    /// How long each request took that counted.
    pub times: Vec<Duration>,
    /// How long all of them took together.
    pub elapsed: Duration,
    /// What was read before and after these.
    pub marks: (M, M),
}

/// Asks every one of `requests` once, and panics at an answer that is not `status`.
pub fn run<M>(address: SocketAddr, requests: &[Vec<u8>], status: u16, mark: impl Fn() -> M) -> Outcome<M> {
    let share = requests.len().div_ceil(CONNECTIONS);
    let mut shares: Vec<_> = requests.chunks(share).map(|share| (Connection::open(address), share, Vec::with_capacity(share.len()))).collect();
    together(&mut shares, |(connection, share, _)| {
        let (first, rest) = share.split_at(WARM_UP);
        first.iter().for_each(|request| connection.ask(request, status));
        *share = rest;
    });
    let (before, began) = (mark(), Instant::now());
    together(&mut shares, |(connection, share, times)| {
        for request in *share {
            let began = Instant::now();
            connection.ask(request, status);
            times.push(began.elapsed());
        }
    });
    let elapsed = began.elapsed();
    let after = mark();
    Outcome { times: shares.into_iter().flat_map(|(.., times)| times).collect(), elapsed, marks: (before, after) }
}

/// One connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: vec![0; 16 * 1024] }
    }

    /// Asks and waits for the whole answer.
    fn ask(&mut self, request: &[u8], status: u16) {
        self.stream.write_all(request).unwrap();
        let mut length = 0;
        loop {
            let read = self.stream.read(&mut self.received[length..]).unwrap();
            assert!(read > 0, "the server has closed the connection");
            length += read;
            let received = &self.received[..length];
            if let Some(whole) = whole_length(received) {
                assert_eq!(whole, length, "there is more than one answer");
                let line = std::str::from_utf8(&received[..12]).unwrap();
                assert_eq!(line, format!("HTTP/1.1 {status}"), "{}", String::from_utf8_lossy(received));
                return;
            }
        }
    }
}

/// The length of the answer, once its header is there as a whole.
fn whole_length(received: &[u8]) -> Option<usize> {
    let header = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&received[..header]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |length| length.trim().parse().unwrap());
    (received.len() >= header + 4 + length).then_some(header + 4 + length)
}
