//! The same checks over other wires: nginx's sub-requests over HTTP/1.1, beside gRPC with one call a connection as well, and gRPC over a Unix socket.

use std::path::Path;

use ringfence::issuer::Issuer;

use crate::{
    cores::Cores,
    decide::{median, median_ratio},
    http,
    load::{self, BUSY, ONE_EACH, Shape, Target},
    questions::{Kind, Questions},
    rounds::Site,
    server::Server,
    table::{Bound, Figure},
};

/// Rounds in which all take turns; the first does not count.
const ROUNDS: usize = 7;
/// Checks of a round. In all rounds together there are fewer than the reuse store holds for one policy.
const CHECKS: usize = 4_000;
/// What is asked over each wire.
const KINDS: [Kind; 2] = [Kind::NoPolicy, Kind::Good];

/// Nanoseconds of the server's CPU per check, by kind, round by round.
type Times = [Vec<f64>; KINDS.len()];

/// One server per wire, in turn.
pub fn run() -> Vec<Figure> {
    eprintln!("the same checks over HTTP and over a Unix socket");
    let (site, program) = (Site::new(), Server::program());
    // Who answers has a core for itself, as in `checks`.
    let core = Cores::the_first();
    let [tcp, single] = [(); 2].map(|()| Server::start(&program, site.folder()));
    let http_flags = ["--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--http-dialects=nginx"];
    let http = Server::start_with(&program, site.folder(), &http_flags);
    let socket = site.folder().with_extension("socket");
    let unix = Server::start_with(&program, site.folder(), &[&format!("--grpc-listen=unix:{}", socket.display())]);
    drop(core);
    let (mut over_tcp, mut over_unix, mut one_each, mut over_http) = (Times::default(), Times::default(), Times::default(), Times::default());
    for round in 0..ROUNDS {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let times = [
                grpc(&tcp, tcp.grpc().into(), kind, BUSY, &site.issuer),
                grpc(&unix, Target::Unix(socket.clone()), kind, BUSY, &site.issuer),
                grpc(&single, single.grpc().into(), kind, ONE_EACH, &site.issuer),
                nginx(&http, kind, &site.issuer),
            ];
            if round > 0 {
                [&mut over_tcp, &mut over_unix, &mut one_each, &mut over_http].into_iter().zip(times).for_each(|(all, time)| all[number].push(time));
            }
        }
    }
    remove(&socket);
    let micros = |name, what, times: &[f64]| Figure::micros(name, what, median(times.iter().copied()) / 1e3);
    vec![
        micros("wire.tcp.no_policy", "gRPC over TCP, no policy", &over_tcp[0]),
        micros("wire.unix.no_policy", "gRPC over a Unix socket, no policy", &over_unix[0]),
        micros("wire.single.no_policy", "gRPC, one call a connection, no policy", &one_each[0]),
        micros("wire.http.no_policy", "HTTP for nginx, no policy", &over_http[0]),
        micros("wire.tcp.good", "gRPC over TCP, good webhook", &over_tcp[1]),
        micros("wire.unix.good", "gRPC over a Unix socket, good webhook", &over_unix[1]),
        micros("wire.single.good", "gRPC, one call a connection, good webhook", &one_each[1]),
        micros("wire.http.good", "HTTP for nginx, good webhook", &over_http[1]),
        Figure::ratio("wire.unix.ratio", "good webhook, Unix socket / TCP", median_ratio(&over_unix[1], &over_tcp[1])),
        Figure::ratio("wire.http.no_policy.ratio", "no policy, HTTP / gRPC, one call a connection", median_ratio(&over_http[0], &one_each[0]))
            .bound(Bound::AtMost(1.0)),
        Figure::ratio("wire.http.ratio", "good webhook, HTTP / gRPC, one call a connection", median_ratio(&over_http[1], &one_each[1]))
            .bound(Bound::AtMost(1.0)),
        Figure::ratio("wire.http.busy.ratio", "good webhook, HTTP / gRPC, 32 calls a connection", median_ratio(&over_http[1], &over_tcp[1])),
    ]
}

/// Like over its own wire: a connection of HTTP/1.1 waits for each answer, and every request is a system call or two; one that carries many calls
/// at a time reads and writes them together.
fn grpc(server: &Server, target: Target, kind: Kind, shape: Shape, issuer: &Issuer) -> f64 {
    let Questions { messages, .. } = kind.ask(issuer, CHECKS);
    let outcome = Cores::but_the_first().during(|| load::run(target, &messages, shape, || server.cpu()));
    kind.expect(&outcome.answers);
    outcome.cpu_per_call()
}

/// Over as many connections with one sub-request under way on each: HTTP/1.1 has no other way.
fn nginx(server: &Server, kind: Kind, issuer: &Issuer) -> f64 {
    let requests = kind.nginx_lines(issuer, CHECKS);
    let ask = || http::run(server.http(), &requests, kind.only_status(), ONE_EACH.connections, || server.cpu());
    let outcome = Cores::but_the_first().during(ask);
    let (before, after) = outcome.marks;
    after.since(&before) / outcome.times.len() as f64
}

fn remove(socket: &Path) {
    let _ = std::fs::remove_file(socket);
}
