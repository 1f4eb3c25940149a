//! Keeps one connection: takes it away from those who ask as soon as it is doubtful, and makes another, again and again, less and less often.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{select, sync::watch, time::sleep};

use super::{
    Link, SharedStoreMetrics,
    connect::{Connected, Connector, Problem},
};

/// How often a connection that nobody complains about is looked at.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// The wait before the first attempt to connect again, and the longest one.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LAST_BACK_OFF: Duration = Duration::from_secs(2);

/// The task behind a shared store.
pub(super) struct Keeper {
    pub(super) connector: Connector,
    pub(super) link: Arc<Link>,
    pub(super) metrics: SharedStoreMetrics,
    pub(super) fraction: Arc<dyn Fn() -> f64 + Send + Sync>,
    pub(super) attempted: watch::Sender<bool>,
}

impl Keeper {
    /// Never ends by itself.
    pub(super) async fn keep(self) -> Infallible {
        let store = self.connector.address().to_string();
        let (mut failures, mut told) = (0_u32, None);
        loop {
            let problem = match self.connector.connect().await {
                Ok(connected) => {
                    tracing::info!(store, "the reuse store is connected");
                    let (began, problem) = (Instant::now(), self.serve(connected).await);
                    told = None;
                    // One that breaks as soon as it is made is no success.
                    if began.elapsed() >= LAST_BACK_OFF {
                        failures = 0;
                    }
                    problem
                }
                Err(problem) => problem,
            };
            let said = problem.to_string();
            // One line for each problem, however often it is met in a row.
            if told.as_ref() != Some(&said) {
                tracing::error!(store, problem = said, "the reuse store cannot be asked: where `tokenReuse` is `Deny`, the answer is 503");
            }
            told = Some(said);
            self.attempted.send_replace(true);
            failures = failures.saturating_add(1);
            sleep(back_off(failures, (self.fraction)())).await;
        }
    }

    /// Lets everybody ask, until something is wrong.
    async fn serve(&self, mut connected: Connected) -> Problem {
        self.link.connection.store(Some(Arc::new(connected.connection.clone())));
        self.metrics.connected(true);
        self.attempted.send_replace(true);
        if let Some(policy) = connected.forgetful().await {
            tracing::warn!(
                store = %self.connector.address(),
                maxmemory_policy = policy,
                "the reuse store forgets tokens when its memory is full, and lets them by once more: set `maxmemory-policy noeviction`"
            );
        }
        let problem = self.watch(&mut connected).await;
        self.link.connection.store(None);
        self.metrics.connected(false);
        problem
    }

    async fn watch(&self, connected: &mut Connected) -> Problem {
        loop {
            select! {
                _ = connected.driver.join_next() => return Problem::Broken,
                () = self.link.doubt.notified() => {}
                () = sleep(PROBE_EVERY) => {}
            }
            if let Err(problem) = connected.probe().await {
                return problem;
            }
        }
    }
}

/// The time until the next attempt after `failures` bad ones in a row: doubling, half of it random. `fraction` is from 0 to 1.
fn back_off(failures: u32, fraction: f64) -> Duration {
    let doubled = FIRST_BACK_OFF.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let fraction = if (0.0..=1.0).contains(&fraction) { fraction } else { 0.5 };
    doubled.min(LAST_BACK_OFF).mul_f64(0.5 + 0.5 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_up_to_two_seconds() {
        let waits: Vec<_> = (1..=8).map(|failures| back_off(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(back_off(u32::MAX, 0.0), LAST_BACK_OFF / 2);
        assert!(back_off(1, f64::NAN) < FIRST_BACK_OFF);
    }
}
