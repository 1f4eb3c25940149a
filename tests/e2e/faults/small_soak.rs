//! A small soak: that `benches/soak.sh` measures what it says. The large one's result stands in `docs/performance.md`.

#[path = "../../../benches/soak/soak.rs"]
mod soak;

use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_soak_finds_no_wrong_answer() {
    let plan = soak::Plan { checks: 50_000, rotate_every: Duration::from_millis(500), reload_every: Duration::from_millis(300), pool: 300 };
    let report = soak::run(plan, env!("CARGO_BIN_EXE_ringfence").as_ref()).await;
    eprintln!("{report}");
    assert!(report.is_good(), "{report}");
    assert!(report.answers >= plan.checks && report.rotations >= 1 && report.reloads >= 1, "{report}");
    // Far more good checks than tokens.
    assert!(report.reused > plan.checks / 3, "{report}");
}
