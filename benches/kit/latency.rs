//! How long answers take at half and at four fifths of what the server can do. Requests come when they are due, whether or not earlier ones are
//! answered, and each is measured from when it was due: waiting counts (an open loop).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    load::{self, BUSY, Connection},
    machine,
    questions::Kind,
    rounds::Site,
    server::Server,
    table::Figure,
};

/// Good webhooks with which capacity is measured: fewer than the reuse store holds for one policy, with those after.
const FOR_CAPACITY: usize = 16_000;
/// Good webhooks at each rate.
const CALLS: usize = 16_000;
/// When the first request is due.
const LEAD: Duration = Duration::from_millis(50);

/// Capacity of one thread, which has a core for itself, and the quantiles of latency at two parts of it.
pub fn run() -> Vec<Figure> {
    eprintln!("how long answers take at half and at four fifths of capacity");
    let (site, program) = (Site::new(), Server::program());
    let server = machine::Cores::the_first().during(|| Server::start_with(&program, site.folder(), &["--grpc-listen=127.0.0.1:0", "--threads=1"]));
    let _cores = machine::Cores::but_the_first();
    let capacity = capacity(&server, &Kind::Good.ask(&site.issuer, FOR_CAPACITY).messages);
    let mut figures = vec![Figure::new("throughput.good", "good webhooks answered by one thread, closed loop", capacity, "/s")];
    for (part, names) in [(0.5, HALF), (0.8, FOUR_FIFTHS)] {
        let mut times = at_rate(&server, &Kind::Good.ask(&site.issuer, CALLS).messages, capacity * part);
        times.sort_unstable();
        for ((name, what), quantile) in names.into_iter().zip([0.5, 0.99, 0.999]) {
            let place = (times.len() as f64 * quantile) as usize;
            figures.push(Figure::micros(name, what, times[place].as_secs_f64() * 1e6));
        }
    }
    figures
}

const HALF: [(&str, &str); 3] = [
    ("latency.half.p50", "good webhook at 50 % of that, p50"),
    ("latency.half.p99", "good webhook at 50 % of that, p99"),
    ("latency.half.p999", "good webhook at 50 % of that, p99.9"),
];
const FOUR_FIFTHS: [(&str, &str); 3] = [
    ("latency.most.p50", "good webhook at 80 % of that, p50"),
    ("latency.most.p99", "good webhook at 80 % of that, p99"),
    ("latency.most.p999", "good webhook at 80 % of that, p99.9"),
];

/// Answers a second while it is always asked.
fn capacity(server: &Server, messages: &[Bytes]) -> f64 {
    let outcome = load::run(server.grpc(), messages, BUSY, || ());
    Kind::Good.expect(&outcome.answers);
    outcome.rate()
}

/// How long each answer takes, from when its request was due.
fn at_rate(server: &Server, messages: &[Bytes], per_second: f64) -> Vec<Duration> {
    let began = Instant::now() + LEAD;
    let due = |number: usize| began + Duration::from_secs_f64(number as f64 / per_second);
    on_time(&mut Connection::open(&server.grpc().into()), &messages.iter().collect::<Vec<_>>(), due)
}

/// Sends each message when it is due, and how long its answer took from then.
pub fn on_time(connection: &mut Connection<'_>, messages: &[&Bytes], due: impl Fn(usize) -> Instant) -> Vec<Duration> {
    let (mut sent, mut times) = (0, Vec::with_capacity(messages.len()));
    while times.len() < messages.len() {
        while sent < messages.len() && due(sent) <= Instant::now() && connection.has_room_for(messages[sent]) {
            connection.call(messages[sent]);
            sent += 1;
        }
        connection.flush();
        let until = if sent < messages.len() { due(sent).saturating_duration_since(Instant::now()) } else { Duration::from_secs(30) };
        if connection.wait(until) {
            connection.receive(|number| times.push(due(number).elapsed()));
        }
    }
    Kind::Good.expect(&connection.answers);
    times
}
