//! What HTTP/2 lets a hostile peer do to a server's memory. Each is tried against the real program, which must stay small and go on serving others.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use prost::Message;
use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};
use tokio::task::spawn_blocking;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::Ringfence,
    wait_for,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

/// Hostile connections at a time.
const PEERS: usize = 8;
/// Calls that one connection may have under way.
const STREAMS: u32 = 1024;
/// By how much the program may grow at most: for each peer a megabyte of data, headers of 16 KiB for each of its calls, and half as much again
/// for what surrounds them.
const GROWTH: u64 = PEERS as u64 * (1024 + STREAMS as u64 * 24) * 1024;
/// How much a peer sends at most that is not stopped.
const ENOUGH: usize = 32 * 1024 * 1024;

/// A peer that writes frames as it likes.
struct Peer {
    stream: TcpStream,
    next_stream: u32,
}

impl Peer {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // A server that reads no more has done its part.
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        Self { stream, next_stream: 1 }
    }

    /// Says hello, with these settings.
    fn greet(mut self, settings: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        self.send(&frame(SETTINGS, 0, 0, &payload));
        self
    }

    /// Whether the server still takes what is sent.
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends the same until the server stops it, or it is enough.
    fn repeat(&mut self, bytes: &[u8]) {
        let many = bytes.repeat((64 * 1024 / bytes.len()).max(1));
        for _ in 0..ENOUGH / many.len() {
            if !self.send(&many) {
                return;
            }
        }
    }

    /// The headers of a call, and the number of its stream.
    fn open(&mut self, flags: u8, more: &[u8]) -> (u32, Vec<u8>) {
        let stream = self.next_stream;
        self.next_stream += 2;
        // `:method: POST`, `:scheme: http`, then a path and an authority that enter no table.
        let mut block = vec![0x83, 0x86];
        block.extend(text(&[0x04], "/envoy.service.auth.v3.Authorization/Check"));
        block.extend(text(&[0x01], "ringfence"));
        block.extend_from_slice(more);
        (stream, frame(HEADERS, flags, stream, &block))
    }

    /// A whole call with this message.
    fn call(&mut self, message: &[u8]) -> bool {
        let (stream, mut bytes) = self.open(END_HEADERS, &[]);
        bytes.extend(frame(DATA, END_STREAM, stream, message));
        self.send(&bytes)
    }

    /// Waits until the server closes the connection, and fails if it does not.
    fn must_be_sent_away(&mut self) {
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    return;
                }
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A literal header field without indexing, whose name is indexed or follows `name`.
fn text(name: &[u8], value: &str) -> Vec<u8> {
    // Lengths of less than 127 fit into one byte.
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 127).unwrap();
    [name, &[length], value.as_bytes()].concat()
}

struct Line {
    issuer: Issuer,
    ringfence: Ringfence,
}

impl Line {
    async fn open() -> Self {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let ringfence = Ringfence::start(&policies(&issuer), &["--decision-log=off"]).await;
        let line = Self { issuer, ringfence };
        line.must_serve_others().await;
        line
    }

    fn message(&self) -> Vec<u8> {
        let authorization = format!("Bearer {}", self.issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
        let request = check_request(peer("127.0.0.1"), "POST", HOST, &format!("/api/callbacks?key={KEY}"), &[("authorization", &authorization)]);
        let message = request.encode_to_vec();
        [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
    }

    /// Somebody else asks and is let by; on a busy machine a peer may take so much time that he is asked to come again.
    async fn must_serve_others(&self) {
        let stream = tokio::net::TcpStream::connect(self.ringfence.address("grpc")).await.unwrap();
        let mut client = Client::over(stream).await.unwrap();
        for _ in 0..5 {
            wait_for("an answer", async || {
                let answer = status(&client.send_raw(self.message()).await.unwrap().response.unwrap());
                assert!(answer == 200 || answer == 503, "{answer}");
                (answer == 200).then_some(())
            })
            .await;
        }
    }

    fn proc(&mut self, file: &str) -> String {
        format!("/proc/{}/{file}", self.ringfence.process().id())
    }

    /// Resident memory in bytes.
    fn resident(&mut self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
    }

    fn descriptors(&mut self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Lets hostile peers do their worst, each on a thread of its own; others are served meanwhile and memory stays bounded. Once they are gone,
    /// nothing of them stays.
    async fn withstand(mut self, settings: &'static [(u16, u32)], attack: fn(&mut Peer, &[u8])) {
        let (memory, descriptors) = (self.resident(), self.descriptors());
        let (address, message) = (self.ringfence.address("grpc"), self.message());
        let start = |_| {
            let message = message.clone();
            spawn_blocking(move || {
                let mut peer = Peer::connect(address).greet(settings);
                attack(&mut peer, &message);
                peer
            })
        };
        let mut peers = Vec::new();
        for attack in (0..PEERS).map(start).collect::<Vec<_>>() {
            while !attack.is_finished() {
                self.must_serve_others().await;
            }
            peers.push(attack.await.unwrap());
        }
        self.must_serve_others().await;
        let grown = self.resident().saturating_sub(memory);
        assert!(grown < GROWTH, "grew by {} MiB", grown >> 20);
        drop(peers);
        wait_for("their connections to be let go", async || (self.descriptors() <= descriptors + 1).then_some(())).await;
        self.ringfence.process().must_run();
    }
}

#[tokio::test]
async fn calls_that_are_reset_at_once() {
    let attack = |peer: &mut Peer, _: &[u8]| {
        for _ in 0..500 {
            let mut many = Vec::new();
            for _ in 0..100 {
                let (stream, headers) = peer.open(END_HEADERS, &[]);
                many.extend(headers);
                many.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            if !peer.send(&many) {
                return;
            }
        }
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn headers_without_end() {
    let attack = |peer: &mut Peer, _: &[u8]| {
        let (stream, headers) = peer.open(0, &[]);
        assert!(peer.send(&headers));
        let field = text(&[0x00, 1, b'x'], &"y".repeat(120));
        peer.repeat(&frame(CONTINUATION, 0, stream, &field.repeat(100)));
        peer.must_be_sent_away();
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn headers_that_unpack_to_much_more() {
    let attack = |peer: &mut Peer, _: &[u8]| {
        // One field of nearly the whole table, entered once and named again and again by its number, 62.
        let mut large = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
        large.extend([b'y'; 4000]);
        let (_, headers) = peer.open(END_HEADERS, &large);
        assert!(peer.send(&headers));
        for _ in 0..STREAMS {
            let (_, headers) = peer.open(END_HEADERS, &[0xbe; 4_000]);
            if !peer.send(&headers) {
                return;
            }
        }
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn long_headers_of_calls_that_never_end() {
    let attack = |peer: &mut Peer, _: &[u8]| {
        let fields = text(&[0x00, 1, b'x'], &"y".repeat(120)).repeat(100);
        for _ in 0..STREAMS {
            let (_, headers) = peer.open(END_HEADERS, &fields);
            if !peer.send(&headers) {
                return;
            }
        }
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn pings_whose_answers_nobody_reads() {
    Line::open().await.withstand(&[], |peer, _| peer.repeat(&frame(PING, 0, 0, &[0; 8]))).await;
}

#[tokio::test]
async fn settings_again_and_again() {
    Line::open().await.withstand(&[], |peer, _| peer.repeat(&frame(SETTINGS, 0, 0, &[]))).await;
}

#[tokio::test]
async fn answers_that_nobody_reads() {
    let attack = |peer: &mut Peer, message: &[u8]| {
        let mut asked = 0;
        while asked < 2 * STREAMS && peer.call(message) {
            asked += 1;
        }
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn answers_that_may_not_be_sent_but_for_a_byte_at_a_time() {
    let attack = |peer: &mut Peer, message: &[u8]| {
        let first = peer.next_stream;
        let mut asked = 0;
        while asked < STREAMS && peer.call(message) {
            asked += 1;
        }
        for stream in (first..peer.next_stream).step_by(2) {
            if !peer.send(&frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())) {
                return;
            }
        }
    };
    Line::open().await.withstand(&[(INITIAL_WINDOW, 0)], attack).await;
}

#[tokio::test]
async fn messages_that_never_end() {
    let attack = |peer: &mut Peer, message: &[u8]| {
        // More than the connection's window allows would be a fault of another kind.
        let part = &message[..message.len().min(512)];
        for _ in 0..STREAMS {
            let (stream, mut bytes) = peer.open(END_HEADERS, &[]);
            bytes.extend(frame(DATA, 0, stream, part));
            if !peer.send(&bytes) {
                return;
            }
        }
    };
    Line::open().await.withstand(&[], attack).await;
}

#[tokio::test]
async fn connections_that_say_nothing_or_half_a_word() {
    let mut line = Line::open().await;
    let (memory, descriptors, address) = (line.resident(), line.descriptors(), line.ringfence.address("grpc"));
    let mut silent: Vec<_> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in silent.iter_mut().step_by(2) {
        stream.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    }
    // Among those that were counted before may be one that has ended meanwhile.
    wait_for("all to be taken in", async || (line.descriptors() >= silent.len()).then_some(())).await;
    line.must_serve_others().await;
    let grown = line.resident().saturating_sub(memory);
    assert!(grown < GROWTH, "grew by {} MiB", grown >> 20);
    drop(silent);
    wait_for("their connections to be let go", async || (line.descriptors() <= descriptors + 1).then_some(())).await;
}
