//! What goes wrong around the program, one fault to a row, each while good requests and bad ones of several kinds come through a real Envoy.
//!
//! A wrong answer is an allow of what must be refused, a refusal (4xx) of a genuine request, and "cannot decide" (503) where what is known
//! must serve. Rows say where 503 is right. What came of all of them is printed as a table by the last one; `docs/faults.md` says what each
//! means for whoever runs Ringfence.

mod certificates;
mod clock;
mod cluster;
mod folder;
mod issuers;
mod limits;
mod processes;
mod scene;
mod small_soak;
mod store;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use crate::support::traffic::Tally;

/// One test for each row, so that they run side by side and each has its name.
macro_rules! rows {
    ([$($room:ident::$row:ident = $name:literal;)+] of one cluster: [$($later:literal;)+]) => {
        /// Every row, as the page calls it.
        const ROWS: &[&str] = &[$($name,)+ $($later),+];

        $(#[tokio::test]
        async fn $row() {
            report($name, $room::$row().await);
        })+

        /// They share what takes long to start.
        #[tokio::test]
        async fn outages_of_an_api_server() {
            for (row, tally) in [$($later),+].into_iter().zip(cluster::outages().await) {
                report(row, tally);
            }
        }
    };
}

rows! {
    [
    issuers::issuer_down = "issuer down";
    issuers::issuer_down_from_the_start = "issuer down from the start";
    issuers::issuer_slow = "issuer slow";
    issuers::issuer_flapping = "issuer flapping";
    issuers::issuer_serving_garbage = "issuer serving garbage";
    issuers::keys_rotated_early = "keys rotated early";
    issuers::keys_rotated_late = "keys rotated late";
    clock::clock_forward = "clock 10 minutes forward";
    clock::clock_back = "clock 10 minutes back";
    folder::folder_deleted = "configuration folder deleted";
    folder::folder_filled_with_garbage = "configuration folder filled with garbage";
    folder::folder_on_a_full_disk = "configuration folder on a full disk";
    certificates::certificate_expired = "certificate expired";
    certificates::certificate_replaced = "certificate replaced";
    processes::hang_up = "SIGHUP";
    processes::terminated = "SIGTERM of one of two replicas";
    processes::killed = "kill -9 of one of two replicas";
    limits::descriptors_exhausted = "file descriptors exhausted";
    limits::memory_limit_close = "memory limit close";
    store::store_down = "shared reuse store down";
    store::store_hangs = "shared reuse store hangs";
    ]
    of one cluster: [
    "API server down";
    "etcd down";
    "watch cut";
    "watch stale";
    ]
}

/// What came of each row so far.
static LEDGER: Mutex<BTreeMap<&str, Tally>> = Mutex::new(BTreeMap::new());

/// Enters a row. Fails when it had a wrong answer.
fn report(row: &'static str, tally: Tally) {
    let wrong = tally.wrong.clone();
    let mut ledger = LEDGER.lock().unwrap_or_else(PoisonError::into_inner);
    ledger.insert(row, tally);
    let table = table(&ledger);
    if ledger.len() == ROWS.len() {
        // Past what the test harness keeps to itself: this is to be seen.
        let _ = writeln!(io::stderr().lock(), "\n{table}");
    } else {
        eprintln!("{table}");
    }
    drop(ledger);
    assert!(wrong.is_empty(), "{row}: {} answers were wrong:\n{}", wrong.len(), wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
}

fn table(ledger: &BTreeMap<&str, Tally>) -> String {
    let mut table = format!("{:<40} {:>8} {:>8} {:>8} {:>10} {:>6}\n", "fault", "answers", "allowed", "refused", "undecided", "WRONG");
    for (row, tally) in ROWS.iter().filter_map(|row| ledger.get_key_value(row)) {
        let Tally { allowed, refused, undecided, wrong } = tally;
        let _ = writeln!(table, "{row:<40} {:>8} {allowed:>8} {refused:>8} {undecided:>10} {:>6}", tally.answers(), wrong.len());
    }
    table
}

#[test]
fn the_page_has_every_row() {
    let page = include_str!("../../../docs/faults.md");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| **")?.split_once("** |")).map(|(name, _)| name).collect();
    assert_eq!(rows, ROWS);
}
