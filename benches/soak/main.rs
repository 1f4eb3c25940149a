//! The soak: millions of checks of the real server while keys rotate, the folder is read again and used tokens are counted. `benches/soak.sh`
//! builds and runs it; `docs/performance.md` says what came of it.
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

mod soak;

use std::{process::ExitCode, time::Duration};

use soak::Plan;

/// Checks without an argument.
const CHECKS: usize = 20_000_000;
/// Exit code of a soak that was too short to judge memory by.
const TOO_SHORT: u8 = 2;

fn main() -> ExitCode {
    // `cargo bench` adds a flag of its own.
    let words: Vec<usize> = std::env::args().skip(1).filter(|word| word != "--bench").map(|word| word.parse().expect("a number")).collect();
    let seconds = |at: usize, otherwise: u64| Duration::from_secs(words.get(at).map_or(otherwise, |seconds| *seconds as u64));
    let plan = Plan { checks: words.first().copied().unwrap_or(CHECKS), rotate_every: seconds(1, 60), reload_every: seconds(2, 10), pool: 8_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let report = runtime.block_on(soak::run(plan, env!("CARGO_BIN_EXE_ringfence").as_ref()));
    println!("{report}");
    match report.memory() {
        _ if !report.is_good() => ExitCode::FAILURE,
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::from(TOO_SHORT),
    }
}
