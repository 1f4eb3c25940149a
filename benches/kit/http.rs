//! The load over HTTP/1.1: connections that each wait for an answer before they ask again, as a proxy's kept-alive connections do.
//!
//! Everything that is sent is made beforehand, and of an answer only its status and its length are read.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Requests of each connection before anything counts.
pub const WARM_UP: usize = 16;
/// How long an answer may take.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

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
///
/// One thread looks after all connections, so that the load leaves as much of the machine as it can to who is measured.
pub fn run<M>(address: SocketAddr, requests: &[Vec<u8>], status: u16, connections: usize, mark: impl Fn() -> M) -> Outcome<M> {
    let mut all: Vec<_> = (0..connections).map(|_| Connection::open(address)).collect();
    let (first, rest) = requests.split_at(WARM_UP * connections);
    ask_all(&mut all, first, status);
    let (before, began) = (mark(), Instant::now());
    let times = ask_all(&mut all, rest, status);
    let elapsed = began.elapsed();
    Outcome { times, elapsed, marks: (before, mark()) }
}

/// Asks every one of `requests`, each over the connection that is free first; how long each took.
fn ask_all(all: &mut [Connection], requests: &[Vec<u8>], status: u16) -> Vec<Duration> {
    let (mut requests, mut times) = (requests.iter(), Vec::with_capacity(requests.len()));
    all.iter_mut().zip(requests.by_ref()).for_each(|(connection, request)| connection.ask(request));
    loop {
        let mut waiting: Vec<_> = all.iter_mut().filter(|connection| connection.asked.is_some()).collect();
        if waiting.is_empty() {
            return times;
        }
        let mut wanted: Vec<_> = waiting.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
        assert!(poll(&mut wanted, Some(&PATIENCE)).unwrap() > 0, "no answer comes");
        let come: Vec<_> = wanted.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (connection, _) in waiting.iter_mut().zip(come).filter(|(_, come)| *come) {
            if let Some(time) = connection.receive(status) {
                times.push(time);
                requests.next().into_iter().for_each(|request| connection.ask(request));
            }
        }
    }
}

/// One connection.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of an answer that have come so far.
    length: usize,
    /// When it asked what is not answered yet.
    asked: Option<Instant>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: vec![0; 16 * 1024], length: 0, asked: None }
    }

    fn ask(&mut self, request: &[u8]) {
        self.asked = Some(Instant::now());
        self.stream.write_all(request).unwrap();
    }

    /// Reads what has come; how long the answer took, once it is there as a whole.
    fn receive(&mut self, status: u16) -> Option<Duration> {
        let read = self.stream.read(&mut self.received[self.length..]).unwrap();
        assert!(read > 0, "the server has closed the connection");
        self.length += read;
        let received = &self.received[..self.length];
        let whole = whole_length(received)?;
        assert_eq!(whole, self.length, "there is more than one answer");
        let line = std::str::from_utf8(&received[..12]).unwrap();
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{}", String::from_utf8_lossy(received));
        self.length = 0;
        self.asked.take().map(|asked| asked.elapsed())
    }
}

/// The length of the answer, once its header is there as a whole.
fn whole_length(received: &[u8]) -> Option<usize> {
    let header = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&received[..header]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |length| length.trim().parse().unwrap());
    (received.len() >= header + 4 + length).then_some(header + 4 + length)
}
