//! Good webhooks from one address, while another floods the server with bad signatures at three times what it can do.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ringfence::client;

use crate::{
    cores::Cores,
    latency::on_time,
    load::{self, BUSY, Connection, MOST_UNDER_WAY},
    questions::Kind,
    rounds::Site,
    server::Server,
    table::{Bound, Figure},
};

/// Bad signatures with which capacity is measured.
const FOR_CAPACITY: usize = 40_000;
/// How many times capacity the flood is.
const TIMES: f64 = 3.0;
/// Connections of the flood.
const CONNECTIONS: usize = 2;
/// Good webhooks, and how many come in a second.
const GOOD: usize = 4_000;
const PER_SECOND: f64 = 500.0;
/// How long the flood goes on before anything counts.
const LEAD: Duration = Duration::from_millis(500);
/// Another sender's address, in the same published range as the good one's.
const FLOODER: &str = "52.112.10.99";

/// One thread answers on a core of its own.
pub fn run() -> Vec<Figure> {
    eprintln!("one address floods, another goes on asking");
    let (site, program) = (Site::new(), Server::program());
    let server = Cores::the_first().during(|| Server::start_with(&program, site.folder(), &["--grpc-listen=127.0.0.1:0", "--threads=1"]));
    let _cores = Cores::but_the_first();
    let bad = bad_signature(&site);
    let capacity = capacity(&server, &vec![bad.clone(); FOR_CAPACITY]);
    let (good, over) = (Kind::Good.ask(&site.issuer, GOOD).messages, AtomicBool::new(false));
    let (offered, mut times) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&server, &bad, capacity * TIMES, &over));
        let began = Instant::now() + LEAD;
        let due = |number: usize| began + Duration::from_secs_f64(number as f64 / PER_SECOND);
        // Every answer is an allow, or this panics.
        let times = on_time(&mut Connection::open(&server.grpc().into()), Kind::Good, &good.iter().collect::<Vec<_>>(), due);
        over.store(true, Ordering::Relaxed);
        (flood.join().unwrap(), times)
    });
    times.sort_unstable();
    let quantile = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e6;
    let counted = server.counted();
    let count = |reason: &str| counted.get(reason).copied().unwrap_or_default() as f64;
    let flooded = count("overloaded") + count("signature_invalid") - FOR_CAPACITY as f64;
    vec![
        Figure::new("overload.capacity", "bad signatures answered by one thread", capacity, "/s"),
        Figure::ratio("overload.offered", "the flood / that", offered / capacity),
        Figure::new("overload.shed", "of the flood, answered `overloaded`", 100.0 * count("overloaded") / flooded, "%"),
        Figure::micros("overload.good.p50", "good webhook from another address meanwhile, p50", quantile(0.5)),
        Figure::micros("overload.good.p99", "good webhook from another address meanwhile, p99", quantile(0.99)).bound(Bound::AtMost(20_000.0)),
        Figure::micros("overload.good.p999", "good webhook from another address meanwhile, p99.9", quantile(0.999)),
    ]
}

/// A webhook with a token that somebody else signed.
fn bad_signature(site: &Site) -> Bytes {
    let request = Kind::BadSignature.request().source(FLOODER.parse().ok());
    let tokens = Kind::BadSignature.tokens(&site.issuer, 1);
    let lines = request.header_lines(tokens.first().and_then(Option::as_deref));
    client::frame(&client::check_request(&request, &lines, false))
}

/// Answers a second while it is always asked.
fn capacity(server: &Server, messages: &[Bytes]) -> f64 {
    let outcome = load::run(server.grpc(), messages, BUSY, || ());
    Kind::BadSignature.expect(&outcome.answers);
    outcome.rate()
}

/// Sends `message` so many times a second, answered or not, until it is over; how many a second there were.
fn flood(server: &Server, message: &Bytes, per_second: f64, over: &AtomicBool) -> f64 {
    let mut connections = [(); CONNECTIONS].map(|()| (Connection::open(&server.grpc().into()), 0, 0));
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * per_second / CONNECTIONS as f64) as usize;
        for (connection, sent, ended) in &mut connections {
            while *sent < due && *sent - *ended < MOST_UNDER_WAY && connection.has_room_for(message) {
                connection.call(message);
                *sent += 1;
            }
            connection.flush();
            if connection.wait(Duration::ZERO) {
                connection.receive(|_| *ended += 1);
            }
        }
    }
    connections.iter().map(|(_, sent, _)| sent).sum::<usize>() as f64 / began.elapsed().as_secs_f64()
}
