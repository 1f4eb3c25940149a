//! The program's own clock steps, while everybody else's goes on. Debian's libfaketime stands between the program and the wall clock, and leaves
//! the monotonic one alone, as a step of a real clock does.

use std::{fs, path::PathBuf, sync::Arc};

use ringfence::issuer::Issuer;
use tempfile::TempDir;

use super::scene::{Scene, new_issuer};
use crate::support::{policies::policies, ringfence::Ringfence, traffic::Tally, wait_for};

/// The library, wherever this architecture has it.
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime, which tests/run.sh installs")
}

/// The hand of one process's clock.
struct Hand(TempDir);

impl Hand {
    fn new() -> Self {
        let hand = Self(tempfile::tempdir().unwrap());
        hand.set(0);
        hand
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }

    /// Sets the clock so many seconds off.
    fn set(&self, seconds: i32) {
        let next = self.0.path().join("next");
        fs::write(&next, format!("{seconds:+}\n")).unwrap();
        fs::rename(next, self.file()).unwrap();
    }

    async fn ringfence(&self, issuer: &Issuer) -> Ringfence {
        let library = format!("LD_PRELOAD={}", library().display());
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", self.file().display());
        let words = ["env", &library, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
        let mut ringfence = Ringfence::launch_by(&words, &policies(issuer), &[]);
        ringfence.read_addresses(&["grpc", "http", "metrics"]).await;
        ringfence.wait_until_ready().await;
        ringfence
    }
}

async fn start() -> (Hand, Scene) {
    let (hand, issuer) = (Hand::new(), new_issuer().await);
    let ringfence = hand.ringfence(&issuer).await;
    (hand, Scene::before(ringfence, Arc::clone(&issuer)).await)
}

impl Scene {
    async fn wait_for_clock(&self, says: &str) {
        wait_for(&format!("the clock to be `{says}`"), async || {
            self.ringfence.get("/readyz?verbose").await.1.lines().any(|line| line.contains("clock: ") && line.contains(says)).then_some(())
        })
        .await;
    }
}

/// By its wall clock genuine tokens are over, by the time that has passed they are not: nobody can tell which is right.
pub async fn clock_forward() -> Tally {
    let (hand, scene) = start().await;
    scene.traffic.may_be_undecided(true);
    hand.set(600);
    scene.ringfence.wait_for_metric("ringfence_checks_total", &["reason=\"clock_unsettled\""], 1.0).await;
    wait_for("it to be said", async || scene.ringfence.output().contains("the clock stepped forward").then_some(())).await;
    scene.last().await;
    // Right again, which looks like a step back from the highest time seen.
    hand.set(0);
    scene.wait_for_clock("stepped back").await;
    scene.flow().await;
    scene.finish().await
}

/// It goes on by the time that has passed.
pub async fn clock_back() -> Tally {
    let (hand, scene) = start().await;
    hand.set(-600);
    scene.wait_for_clock("stepped back").await;
    assert_eq!(scene.ringfence.get("/readyz").await.0, 503);
    scene.last().await;
    hand.set(0);
    scene.wait_for_clock("ok").await;
    scene.finish().await
}
