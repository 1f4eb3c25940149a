//! How long answers take at half and at four fifths of what the server can do. Requests come when they are due, whether or not earlier ones are
//! answered, and each is measured from when it was due: waiting counts (an open loop).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    cores::Cores,
    load::{self, BUSY, Connection, MOST_UNDER_WAY},
    questions::Kind,
    rounds::Site,
    server::Server,
    table::Figure,
};

/// Requests with which capacity is measured, and those at each rate: fewer together than the reuse store holds for one policy.
const FOR_CAPACITY: usize = 12_000;
const CALLS: usize = 12_000;
/// When the first request is due.
const LEAD: Duration = Duration::from_millis(50);

/// Capacity of one thread, which has a core for itself, and the quantiles of latency at two parts of it, for each kind of request.
pub fn run() -> Vec<Figure> {
    eprintln!("how long answers take at half and at four fifths of capacity");
    let (site, program) = (Site::new(), Server::program());
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let flags = ["--grpc-listen=127.0.0.1:0", "--threads=1"];
        let server = Cores::the_first().during(|| Server::start_with(&program, site.folder(), &flags));
        let _cores = Cores::but_the_first();
        let (name, ask) = (kind.name(), |count| kind.ask(&site.issuer, count).messages);
        let capacity = capacity(&server, kind, &ask(FOR_CAPACITY));
        figures.push(Figure::new(format!("capacity.{name}"), format!("{name}: answers of one thread, closed loop"), capacity, "/s"));
        for (part, percent) in [(0.5, 50), (0.8, 80)] {
            let mut times = at_rate(&server, kind, &ask(CALLS), capacity * part);
            times.sort_unstable();
            for (quantile, text) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
                let time = times[(times.len() as f64 * quantile) as usize].as_secs_f64() * 1e6;
                figures.push(Figure::micros(format!("latency.{name}.{percent}.{text}"), format!("{name}: at {percent} % of that, {text}"), time));
            }
        }
        let counted = server.counted();
        assert!(counted.keys().all(|reason| kind.is_counted_as(reason)), "{name}: {counted:?}");
    }
    figures
}

/// Answers a second while it is always asked.
fn capacity(server: &Server, kind: Kind, messages: &[Bytes]) -> f64 {
    let outcome = load::run(server.grpc(), messages, BUSY, || ());
    kind.expect(&outcome.answers);
    outcome.rate()
}

/// How long each answer takes, from when its request was due.
fn at_rate(server: &Server, kind: Kind, messages: &[Bytes], per_second: f64) -> Vec<Duration> {
    let began = Instant::now() + LEAD;
    let due = |number: usize| began + Duration::from_secs_f64(number as f64 / per_second);
    on_time(&mut Connection::open(&server.grpc().into()), kind, &messages.iter().collect::<Vec<_>>(), due)
}

/// Sends each message when it is due, and how long its answer took from then.
pub fn on_time(connection: &mut Connection<'_>, kind: Kind, messages: &[&Bytes], due: impl Fn(usize) -> Instant) -> Vec<Duration> {
    let (mut sent, mut times) = (0, Vec::with_capacity(messages.len()));
    while times.len() < messages.len() {
        while sent < messages.len() && due(sent) <= Instant::now() && sent - times.len() < MOST_UNDER_WAY && connection.has_room_for(messages[sent]) {
            connection.call(messages[sent]);
            sent += 1;
        }
        connection.flush();
        let until = if sent < messages.len() && sent - times.len() < MOST_UNDER_WAY {
            due(sent).saturating_duration_since(Instant::now())
        } else {
            Duration::from_secs(30)
        };
        if connection.wait(until) {
            connection.receive(|number| times.push(due(number).elapsed()));
        }
    }
    kind.expect(&connection.answers);
    times
}
