//! The load: eight connections with 32 calls each under way, plain HTTP/2, written and read frame by frame.
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
use ringfence::client::CHECK_PATH;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Connections at a time.
pub const CONNECTIONS: usize = 8;
/// Calls under way on each.
const STREAMS: usize = 32;
/// Calls of each connection before anything counts.
const WARM_UP: usize = 64;
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
    /// Calls that counted, after the warm-up.
    pub counted: usize,
    /// What was read before and after these.
    pub marks: (M, M),
}

/// Asks every one of `messages` (framed for gRPC) once. `mark` is read when the connections are warm and when all is answered.
pub fn run<M>(target: impl Into<Target>, messages: &[Bytes], mark: impl Fn() -> M) -> Outcome<M> {
    // Where another address asked just before, this one would look like a flood to a server that is kept busy.
    thread::sleep(FORGETS);
    let (target, share) = (target.into(), messages.len().div_ceil(CONNECTIONS));
    let mut shares: Vec<(Connection, &[Bytes])> = messages.chunks(share).map(|share| (Connection::open(&target), share)).collect();
    together(&mut shares, |(connection, share)| {
        let (first, rest) = share.split_at(WARM_UP);
        connection.ask(first);
        *share = rest;
    });
    let before = mark();
    together(&mut shares, |(connection, share)| connection.ask(share));
    let after = mark();
    let mut answers = Answers::new();
    for (connection, _) in &shares {
        connection.answers.iter().for_each(|(answer, times)| count(&mut answers, answer, *times));
    }
    Outcome { answers, counted: shares.iter().map(|(_, share)| share.len()).sum(), marks: (before, after) }
}

/// Asks every one of `messages` once, one after the other over one connection: what they got, and how long each took.
pub fn one_by_one(address: SocketAddr, messages: &[Bytes]) -> (Answers, Vec<Duration>) {
    let mut connection = Connection::open(&address.into());
    let times = messages.iter().map(|message| {
        let began = Instant::now();
        connection.ask(std::slice::from_ref(message));
        began.elapsed()
    });
    let times = times.collect();
    (connection.answers, times)
}

/// Does `work` for each, all at the same time.
pub fn together<T: Send>(all: &mut [T], work: impl Fn(&mut T) + Sync) {
    thread::scope(|scope| {
        for one in all {
            scope.spawn(|| work(one));
        }
    });
}

/// One connection.
pub struct Connection {
    stream: Stream,
    next_stream: u32,
    /// Bytes of data that may still be sent.
    window: usize,
    header_blocks: [Vec<u8>; 2],
    /// What its calls got.
    pub answers: Answers,
    out: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    pub fn open(target: &Target) -> Self {
        let stream = target.connect();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        // As much as there can be: answers never wait.
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(0x7fff_ffff - FIRST_WINDOW as u32).to_be_bytes());
        let header_blocks = header_blocks("ringfence");
        Self { stream, next_stream: 1, window: FIRST_WINDOW, header_blocks, answers: Answers::new(), out, received: Vec::new() }
    }

    /// Asks all of `messages` and waits for every answer.
    fn ask(&mut self, messages: &[Bytes]) {
        let (mut sent, mut ended) = (0, 0);
        while ended < messages.len() {
            while sent < messages.len() && sent - ended < STREAMS && self.has_room_for(&messages[sent]) {
                self.call(&messages[sent]);
                sent += 1;
            }
            self.flush();
            self.receive(|_| ended += 1);
        }
    }

    /// Writes a call, which is sent with the next [`Self::flush`].
    pub fn call(&mut self, message: &[u8]) {
        let block = &self.header_blocks[usize::from(self.next_stream > 1)];
        frame(&mut self.out, HEADERS, END_HEADERS, self.next_stream, block);
        frame(&mut self.out, DATA, END_STREAM, self.next_stream, message);
        self.window -= message.len();
        self.next_stream += 2;
    }

    /// Sends what was called.
    pub fn flush(&mut self) {
        self.stream.write_all(&self.out).unwrap();
        self.out.clear();
    }

    /// Whether this message may be sent now.
    pub fn has_room_for(&self, message: &[u8]) -> bool {
        message.len() <= self.window
    }

    /// Waits until something has come, or until `patience` is over; whether something has.
    pub fn wait(&self, patience: Duration) -> bool {
        let (seconds, nanos) = (patience.as_secs().try_into().unwrap(), patience.subsec_nanos().into());
        let mut wanted = [PollFd::new(&self.stream, PollFlags::IN)];
        poll(&mut wanted, Some(&Timespec { tv_sec: seconds, tv_nsec: nanos })).unwrap() > 0
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

/// The headers of a connection's first call, and those of every later one, which refer to them (RFC 7541).
fn header_blocks(authority: &str) -> [Vec<u8>; 2] {
    // `:method: POST` and `:scheme: http` are in the static table.
    let (mut first, mut later) = (vec![0x83, 0x86], vec![0x83, 0x86]);
    let entered: [(Result<u8, &str>, &str); 7] = [
        (Ok(4), CHECK_PATH),
        (Ok(1), authority),
        (Err("te"), "trailers"),
        (Err("grpc-timeout"), "5S"),
        (Ok(31), "application/grpc"),
        (Err("x-envoy-internal"), "true"),
        (Err("x-forwarded-for"), "10.0.0.7"),
    ];
    let text = |block: &mut Vec<u8>, text: &str| {
        block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
        block.extend_from_slice(text.as_bytes());
    };
    for (place, (name, value)) in entered.iter().enumerate() {
        first.push(0x40 | name.unwrap_or_default());
        if let Err(name) = name {
            text(&mut first, name);
        }
        text(&mut first, value);
        // The one that was entered last has the number 62.
        later.push(0x80 | u8::try_from(62 + entered.len() - 1 - place).unwrap());
    }
    [first, later]
}
