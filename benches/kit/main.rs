//! The bench kit: what a check costs, beside what it cannot cost less than, and whether that is within the bounds we promise.
//!
//! One run measures `decide` in this process and the real `ringfence serve` as another process under a load generator of ours, prints one table
//! and writes it as JSON; told the reason of a kind of request, it asks only that,
//! of servers of several builds in turn if their programs are named. `benches/run.sh` builds and runs it; `docs/performance.md` explains each row.
//!
//! | file | what it knows |
//! |---|---|
//! | `../decide.rs` | `decide` beside raw verification |
//! | `server` | the server as a process: start, CPU time, memory |
//! | `load` | the load: plain HTTP/2 over eight connections, answers compared byte by byte |
//! | `questions` | what is asked: good and bad requests, each with a token of its own |
//! | `rounds` | who is measured when |
//! | `neighbours` | one tenant's webhooks beside another's hostile issuers |
//! | `table` | figures, bounds, the table and the JSON |
//! | `machine` | what this machine is, and what else it does |
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

#[allow(dead_code, reason = "a bench of its own, too")]
#[path = "../decide.rs"]
mod decide;
mod load;
mod machine;
mod neighbours;
mod questions;
mod rounds;
mod server;
mod table;

use std::process::ExitCode;

use questions::Kind;
use table::{Bound, Figure, Table};

fn main() -> ExitCode {
    let own = server::Server::program();
    let mut words = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    if let Some(reason) = words.next() {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.reason() == reason) else {
            eprintln!("name a kind of request: {}", Kind::ALL.map(Kind::reason).join(", "));
            return ExitCode::from(2);
        };
        let programs: Vec<_> = words.map(Into::into).collect();
        rounds::compare(kind, if programs.is_empty() { std::slice::from_ref(&own) } else { &programs });
        return ExitCode::SUCCESS;
    }
    let watch = machine::Watch::start();
    eprintln!("in this process: decide beside raw verification");
    let report = decide::run(None);
    let mut table = Table::default();
    table.add(decide_figures(&report));
    table.add(rounds::run());
    table.add(neighbours::run());
    table.finish(&watch.finish())
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
        Figure::new("memory.policy", "memory, each of 100,000 policies", report.bytes_per_policy / 1024.0, "KiB"),
    ]
}
