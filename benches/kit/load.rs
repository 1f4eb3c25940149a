//! The load: plain HTTP/2, written and read frame by frame, over several connections with several calls under way on each.
//!
//! Everything that is sent is made beforehand, and an answer is compared and not read, so that the load costs little beside the server that
//! it shares the machine with. Headers go through HPACK's table as Envoy's do.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{hpack, http, server::CpuTime};

/// How much is asked at a time.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Threads that share the connections.
    pub threads: usize,
    pub connections: usize,
    /// Calls under way on each connection.
    pub streams: usize,
    /// Calls of each connection before anything counts.
    pub warm_up: usize,
}

/// As a few busy proxies ask.
pub const BUSY: Shape = Shape { threads: 8, connections: 8, streams: 32, warm_up: 64 };
/// As over HTTP/1.1, where a connection waits for each answer.
pub const ONE_EACH: Shape = Shape { threads: 1, connections: 32, streams: 1, warm_up: http::WARM_UP };

/// Calls that a connection may have under way, which is less than the server takes.
pub const MOST_UNDER_WAY: usize = 1_000;
/// After this long a server has forgotten who asked before.
const FORGETS: Duration = Duration::from_millis(250);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// What may be sent before the server allows more (RFC 9113 section 6.9.2).
const FIRST_WINDOW: usize = 65_535;

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl Target {
    fn connect(&self) -> Stream {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Stream::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Stream::Unix(stream)
            }
        }
    }
}

/// A stream of bytes to a server.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// Different answers with their gRPC prefix, each with how many calls got it.
pub type Answers = Vec<(Vec<u8>, usize)>;

fn count(answers: &mut Answers, answer: &[u8], times: usize) {
    match answers.iter_mut().find(|(known, _)| known == answer) {
        Some((_, count)) => *count += times,
        None => answers.push((answer.to_vec(), times)),
    }
}

/// What came of a load.
pub struct Outcome<M> {
    /// What the calls got.
    pub answers: Answers,
    /// How long each call took that counted, after the warm-up.
    pub times: Vec<Duration>,
    /// How long all of these took together.
    pub elapsed: Duration,
    /// What was read before and after these.
    pub marks: (M, M),
}

impl<M> Outcome<M> {
    /// Calls that counted.
    pub fn counted(&self) -> usize {
        self.times.len()
    }

    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.counted() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Outcome<CpuTime> {
    /// Nanoseconds of the server's CPU per call.
    pub fn cpu_per_call(&self) -> f64 {
        self.marks.1.since(&self.marks.0) / self.counted() as f64
    }
}

/// Asks every one of `messages` once. `mark` is read when the connections are warm and when all is answered.
pub fn run<M>(target: impl Into<Target>, messages: &[Bytes], shape: Shape, mark: impl Fn() -> M) -> Outcome<M> {
    // Where another address asked just before, this one would look like a flood to a server that is kept busy.
    thread::sleep(FORGETS);
    let (target, share) = (target.into(), messages.len().div_ceil(shape.connections));
    let shares = messages.chunks(share).map(|share| share.split_at(shape.warm_up));
    let (mut all, rest): (Vec<_>, Vec<_>) = shares.map(|(first, rest)| (Connection::open(&target).asking(first), rest)).unzip();
    ask_all(&mut all, shape);
    for (connection, rest) in all.iter_mut().zip(rest) {
        (connection.unasked, connection.times) = (rest, Vec::with_capacity(rest.len()));
    }
    let (before, began) = (mark(), Instant::now());
    ask_all(&mut all, shape);
    let elapsed = began.elapsed();
    let after = mark();
    let mut answers = Answers::new();
    for connection in &all {
        connection.answers.iter().for_each(|(answer, times)| count(&mut answers, answer, *times));
    }
    Outcome { answers, times: all.into_iter().flat_map(|connection| connection.times).collect(), elapsed, marks: (before, after) }
}

/// Asks until no connection has anything left to ask.
fn ask_all(all: &mut [Connection<'_>], shape: Shape) {
    thread::scope(|scope| {
        for group in all.chunks_mut(shape.connections.div_ceil(shape.threads)) {
            scope.spawn(move || ask_group(group, shape.streams));
        }
    });
}

/// The same on this thread.
fn ask_group(group: &mut [Connection<'_>], streams: usize) {
    loop {
        group.iter_mut().for_each(|connection| connection.ask_on(streams));
        let mut waiting: Vec<_> = group.iter_mut().filter(|connection| connection.is_waiting()).collect();
        match waiting.as_mut_slice() {
            [] => return,
            [only] => only.receive_next(),
            several => {
                let mut wanted: Vec<_> = several.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
                assert!(poll(&mut wanted, Some(&timespec(PATIENCE))).unwrap() > 0, "no answer comes");
                let come: Vec<_> = wanted.iter().map(|fd| !fd.revents().is_empty()).collect();
                several.iter_mut().zip(come).filter(|(_, come)| *come).for_each(|(connection, _)| connection.receive_next());
            }
        }
    }
}

/// Asks every one of `messages` once, one after the other over one connection: what they got, and how long each took.
pub fn one_by_one(address: SocketAddr, messages: &[Bytes]) -> (Answers, Vec<Duration>) {
    let mut all = [Connection::open(&address.into()).asking(messages)];
    ask_group(&mut all, 1);
    let [connection] = all;
    (connection.answers, connection.times)
}

/// One connection.
pub struct Connection<'m> {
    stream: Stream,
    next_stream: u32,
    /// Bytes of data that may still be sent.
    window: usize,
    header_blocks: [Vec<u8>; 2],
    /// What its calls got.
    pub answers: Answers,
    out: Vec<u8>,
    received: Vec<u8>,
    unasked: &'m [Bytes],
    /// When each call began that is not answered, by its number.
    under_way: Vec<(usize, Instant)>,
    times: Vec<Duration>,
}

impl<'m> Connection<'m> {
    pub fn open(target: &Target) -> Self {
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        // As much as there can be: answers never wait.
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(0x7fff_ffff - FIRST_WINDOW as u32).to_be_bytes());
        Self {
            stream: target.connect(),
            next_stream: 1,
            window: FIRST_WINDOW,
            header_blocks: hpack::check_calls("ringfence"),
            answers: Answers::new(),
            out,
            received: Vec::new(),
            unasked: &[],
            under_way: Vec::new(),
            times: Vec::new(),
        }
    }

    /// The same with something to ask.
    fn asking(self, messages: &'m [Bytes]) -> Self {
        Self { unasked: messages, ..self }
    }

    /// Asks what is left, so many at a time.
    fn ask_on(&mut self, streams: usize) {
        let now = Instant::now();
        while let Some((message, rest)) = self.unasked.split_first()
            && self.under_way.len() < streams
            && self.has_room_for(message)
        {
            self.under_way.push((self.next_stream as usize / 2, now));
            self.call(message);
            self.unasked = rest;
        }
        self.flush();
    }

    fn is_waiting(&self) -> bool {
        !self.under_way.is_empty() || !self.unasked.is_empty()
    }

    /// Reads what has come, waiting for something, and notes how long it took.
    fn receive_next(&mut self) {
        let mut ended = Vec::new();
        self.receive(|number| ended.push(number));
        let now = Instant::now();
        for number in ended {
            let place = self.under_way.iter().position(|(under_way, _)| *under_way == number).expect("it was asked");
            let (_, began) = self.under_way.swap_remove(place);
            self.times.push(now - began);
        }
    }

    /// Writes a call, which is sent with the next [`Self::flush`].
    pub fn call(&mut self, message: &[u8]) {
        let stream = self.next_stream;
        frame(&mut self.out, HEADERS, END_HEADERS, stream, &self.header_blocks[usize::from(stream > 1)]);
        frame(&mut self.out, DATA, END_STREAM, stream, message);
        self.window -= message.len();
        self.next_stream += 2;
    }

    /// Sends what was called.
    pub fn flush(&mut self) {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).unwrap();
            self.out.clear();
        }
    }

    /// Whether this message may be sent now.
    pub fn has_room_for(&self, message: &[u8]) -> bool {
        message.len() <= self.window
    }

    /// Waits until something has come, or until `patience` is over; whether something has.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut wanted = [PollFd::new(&self.stream, PollFlags::IN)];
        poll(&mut wanted, Some(&timespec(patience))).unwrap() > 0
    }

    /// Reads what has come, waiting for something; `end` is told the number of each call that has ended, the first being 0.
    pub fn receive(&mut self, mut end: impl FnMut(usize)) {
        let mut chunk = [0; 64 * 1024];
        let length = self.stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the server has closed the connection");
        let mut received = std::mem::take(&mut self.received);
        received.extend_from_slice(&chunk[..length]);
        let mut rest = received.as_slice();
        while let Some((head, after)) = rest.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, next)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
            if self.take_frame(head[3], head[4], stream, payload) {
                end((stream as usize - 1) / 2);
            }
            rest = next;
        }
        let taken = received.len() - rest.len();
        received.drain(..taken);
        self.received = received;
    }

    /// Whether this frame ends a call.
    fn take_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        match kind {
            DATA => {
                count(&mut self.answers, payload, 1);
                flags & END_STREAM != 0
            }
            HEADERS => flags & END_STREAM != 0,
            RST_STREAM => panic!("a call was reset: {payload:?}"),
            GOAWAY => panic!("the server sends us away: {payload:?}"),
            SETTINGS | PING if flags & ACK == 0 => {
                frame(&mut self.out, kind, ACK, 0, if kind == PING { payload } else { &[] });
                false
            }
            // Those of a stream do not matter: a message fits into its first window.
            WINDOW_UPDATE if stream == 0 => {
                self.window += u32::from_be_bytes(payload.try_into().unwrap()) as usize;
                false
            }
            _ => false,
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap(), tv_nsec: time.subsec_nanos().into() }
}
