//! The bench kit: what a check costs, beside what it cannot cost less than, and whether that is within the bounds we promise.
//!
//! One run measures `decide` in this process and the real `ringfence serve` as another process under a load generator of ours, prints one table
//! and writes it as JSON. Told the names of sections, it measures these alone; told the name of a kind of request, it asks only that,
//! of servers of several builds in turn if their programs are named. `benches/run.sh` builds and runs it; `docs/performance.md` explains the rows.
//!
//! | file of a section | what it measures |
//! |---|---|
//! | `../decide.rs` | `decide` beside raw verification |
//! | `rounds` | the server's CPU for each kind of request over gRPC; start and memory |
//! | `wires` | the same over HTTP and over a Unix socket |
//! | `h2load` | the same question by another load generator |
//! | `latency` | how long answers take at half and at four fifths of capacity |
//! | `scale` | the server with 100,000 policies |
//! | `neighbours` | one tenant's webhooks beside another's hostile issuers |
//! | `overload` | good webhooks of one address beside a flood from another |
//! | `proxied` | through a real Envoy, beside others that may stand behind it |
//!
//! | file | what it knows |
//! |---|---|
//! | `server` | the server as a process: start, CPU time, memory |
//! | `load` | the load over HTTP/2: checks over gRPC, requests for a proxy; answers compared byte by byte |
//! | `hpack` | its headers |
//! | `http` | the load over HTTP/1.1 |
//! | `questions` | what is asked: good and bad requests, each with a token of its own |
//! | `allow_all` | an authorizer that allows everything unread |
//! | `table` | figures, bounds, the table and the JSON |
//! | `machine` | what this machine is, and what else it does |
//! | `cores` | which cores who runs on |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark"
)]

mod allow_all;
mod cores;
#[allow(dead_code, reason = "a bench of its own, too")]
#[path = "../decide.rs"]
mod decide;
mod h2load;
mod hpack;
mod http;
mod latency;
mod load;
mod machine;
mod neighbours;
mod overload;
mod proxied;
mod questions;
mod rounds;
mod scale;
mod server;
mod table;
mod wires;

use std::process::ExitCode;

use questions::Kind;
use table::{Bound, Figure, Table};

/// What can be measured by itself: its name on the command line, and how.
type Section = (&'static str, fn() -> Vec<Figure>);

const SECTIONS: [Section; 9] = [
    ("core", in_this_process),
    ("checks", rounds::run),
    ("wires", wires::run),
    ("h2load", h2load::run),
    ("latency", latency::run),
    ("scale", scale::run),
    ("neighbours", neighbours::run),
    ("overload", overload::run),
    ("envoy", proxied::run),
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, answer] = words.as_slice()
        && word == allow_all::ARGUMENT
    {
        allow_all::serve(answer);
        return ExitCode::SUCCESS;
    }
    if let Some(kind) = words.first().and_then(|word| Kind::ALL.into_iter().find(|kind| kind.name() == word)) {
        let programs: Vec<_> = words.iter().skip(1).map(Into::into).collect();
        rounds::compare(kind, if programs.is_empty() { vec![server::Server::program()] } else { programs }.as_slice());
        return ExitCode::SUCCESS;
    }
    let names = SECTIONS.map(|(name, _)| name);
    if let Some(unknown) = words.iter().find(|word| !names.contains(&word.as_str())) {
        eprintln!("`{unknown}` is neither a section ({}) nor a kind of request ({})", names.join(", "), Kind::ALL.map(Kind::name).join(", "));
        return ExitCode::from(2);
    }
    let watch = machine::Watch::start();
    let mut table = Table::default();
    for (name, measure) in SECTIONS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            table.add(measure());
        }
    }
    table.finish(&watch.finish(), "bench.json")
}

fn in_this_process() -> Vec<Figure> {
    eprintln!("in this process: decide beside raw verification");
    decide_figures(&decide::run(&[]))
}

fn decide_figures(report: &decide::Report) -> Vec<Figure> {
    let micros = |name| decide::median(report.rounds(name).iter().copied()) / 1e3;
    vec![
        Figure::micros("decide.raw", "raw RS256-2048 verification", micros("raw")),
        Figure::micros("decide.good", "decide, good webhook", micros("good")),
        Figure::micros("decide.good_among_many", "decide, good webhook among 100,000 policies", micros("good-among-100000")),
        Figure::ratio("decide.rate", "(a) decide's rate / raw rate", report.good_over_raw_rate()).bound(Bound::AtLeast(0.90)),
        Figure::ratio("decide.many", "(d) decide among 100,000 policies / with one", report.many_over_one()).bound(Bound::AtMost(1.05)),
        Figure::micros("compile.policy", "compile, each of 100,000 policies", report.compile_ns / 1e3),
    ]
}
