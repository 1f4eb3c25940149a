//! The load: eight connections with 32 calls each under way, plain HTTP/2, written and read frame by frame.
//!
//! Everything that is sent is made beforehand, and an answer is compared and not read, so that the load costs little beside the server that
//! it shares the machine with. Headers go through HPACK's table as Envoy's do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ringfence::client::CHECK_PATH;

/// Connections at a time.
pub const CONNECTIONS: usize = 8;
/// Calls under way on each.
const STREAMS: usize = 32;
/// Calls of each connection before anything counts.
const WARM_UP: usize = 64;
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

/// What came of a load.
pub struct Outcome<M> {
    /// The one answer that every call got, with its gRPC prefix.
    pub answer: Vec<u8>,
    /// Calls that counted, after the warm-up.
    pub counted: usize,
    /// What was read before and after these.
    pub marks: (M, M),
}

/// Asks every one of `messages` (framed for gRPC) once. `mark` is read when the connections are warm and when all is answered.
pub fn run<M>(address: SocketAddr, messages: &[Bytes], mark: impl Fn() -> M) -> Outcome<M> {
    let share = messages.len().div_ceil(CONNECTIONS);
    let mut shares: Vec<(Connection, &[Bytes])> = messages.chunks(share).map(|share| (Connection::open(address), share)).collect();
    together(&mut shares, |(connection, share)| {
        let (first, rest) = share.split_at(WARM_UP);
        connection.ask(first);
        *share = rest;
    });
    let before = mark();
    together(&mut shares, |(connection, share)| connection.ask(share));
    let after = mark();
    let answer = shares[0].0.answer.take().unwrap();
    assert!(shares.iter().skip(1).all(|(connection, _)| connection.answer.as_ref() == Some(&answer)), "answers differ between connections");
    Outcome { answer, counted: shares.iter().map(|(_, share)| share.len()).sum(), marks: (before, after) }
}

/// Asks every one of `messages` once, one after the other over one connection: the one answer that all got, and how long each took.
pub fn one_by_one(address: SocketAddr, messages: &[Bytes]) -> (Vec<u8>, Vec<Duration>) {
    let mut connection = Connection::open(address);
    let times = messages.iter().map(|message| {
        let began = Instant::now();
        connection.ask(std::slice::from_ref(message));
        began.elapsed()
    });
    let times = times.collect();
    (connection.answer.unwrap(), times)
}

/// Does `work` for each, all at the same time.
fn together<T: Send>(all: &mut [T], work: impl Fn(&mut T) + Sync) {
    thread::scope(|scope| {
        for one in all {
            scope.spawn(|| work(one));
        }
    });
}

/// One connection. All its calls get the same answer, or it panics.
struct Connection {
    stream: TcpStream,
    next_stream: u32,
    /// Bytes of data that may still be sent.
    window: usize,
    header_blocks: [Vec<u8>; 2],
    answer: Option<Vec<u8>>,
    out: Vec<u8>,
    received: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        // As much as there can be: answers never wait.
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(0x7fff_ffff - FIRST_WINDOW as u32).to_be_bytes());
        let header_blocks = header_blocks(&address.to_string());
        Self { stream, next_stream: 1, window: FIRST_WINDOW, header_blocks, answer: None, out, received: Vec::new() }
    }

    /// Asks all of `messages` and waits for every answer.
    fn ask(&mut self, messages: &[Bytes]) {
        let (mut sent, mut ended) = (0, 0);
        while ended < messages.len() {
            while sent < messages.len() && sent - ended < STREAMS && messages[sent].len() <= self.window {
                self.call(&messages[sent]);
                sent += 1;
            }
            self.stream.write_all(&self.out).unwrap();
            self.out.clear();
            ended += self.receive();
        }
    }

    fn call(&mut self, message: &[u8]) {
        let block = &self.header_blocks[usize::from(self.next_stream > 1)];
        frame(&mut self.out, HEADERS, END_HEADERS, self.next_stream, block);
        frame(&mut self.out, DATA, END_STREAM, self.next_stream, message);
        self.window -= message.len();
        self.next_stream += 2;
    }

    /// Reads what has come; returns how many calls have ended.
    fn receive(&mut self) -> usize {
        let mut chunk = [0; 64 * 1024];
        let length = self.stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the server has closed the connection");
        let mut received = std::mem::take(&mut self.received);
        received.extend_from_slice(&chunk[..length]);
        let (mut rest, mut ended) = (received.as_slice(), 0);
        while let Some((head, after)) = rest.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, next)) = after.split_at_checked(length) else { break };
            let of_connection = head[5..9] == [0; 4];
            ended += usize::from(self.take_frame(head[3], head[4], of_connection, payload));
            rest = next;
        }
        let taken = received.len() - rest.len();
        received.drain(..taken);
        self.received = received;
        ended
    }

    /// Whether this frame ends a call.
    fn take_frame(&mut self, kind: u8, flags: u8, of_connection: bool, payload: &[u8]) -> bool {
        match kind {
            DATA => {
                let answer = self.answer.get_or_insert_with(|| payload.to_vec());
                assert_eq!(answer, payload, "an answer differs");
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
            WINDOW_UPDATE if of_connection => {
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
