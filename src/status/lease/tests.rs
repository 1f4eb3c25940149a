#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::*;

/// An API server with one Lease, which can be cut off from one of its clients.
#[derive(Clone, Default)]
struct Fake {
    lease: Arc<Mutex<Option<Lease>>>,
    writes: Arc<AtomicUsize>,
    version: Arc<AtomicUsize>,
    cut: Arc<AtomicBool>,
}

impl Fake {
    /// The same Lease by a line of its own.
    fn line(&self) -> Self {
        Self { cut: Arc::default(), ..self.clone() }
    }

    async fn pass(&self) {
        if self.cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    fn holder(&self) -> String {
        self.lease.lock().unwrap().clone().and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }
}

impl Keep for Fake {
    async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        self.pass().await;
        Ok(self.lease.lock().unwrap().clone())
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        self.pass().await;
        let mut kept = self.lease.lock().unwrap();
        let current = kept.as_ref().and_then(|kept| kept.metadata.resource_version.clone());
        if current != lease.metadata.resource_version {
            return Err(LeaseError::Conflict);
        }
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some((self.version.fetch_add(1, Ordering::SeqCst) + 1).to_string());
        self.writes.fetch_add(1, Ordering::SeqCst);
        *kept = Some(lease.clone());
        Ok(lease)
    }
}

fn stand(fake: &Fake, identity: &str) -> Leadership {
    Leadership::with(fake.clone(), identity.to_owned(), Clock::manual(1_790_000_000_000).0)
}

async fn gets(leadership: &Leadership, wanted: bool) -> Duration {
    let began = Instant::now();
    leadership.held().wait_for(|held| *held == wanted).await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_holds_it_and_renews_it() {
    let fake = Fake::default();
    let (one, other) = (stand(&fake, "one"), stand(&fake, "other"));
    gets(&one, true).await;
    sleep(Duration::from_secs(600)).await;
    assert!(*one.held().borrow() && !*other.held().borrow());
    assert_eq!(fake.holder(), "one");
    let spec = fake.lease.lock().unwrap().clone().unwrap().spec.unwrap();
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(15)));
    let writes = fake.writes.load(Ordering::SeqCst);
    assert!((190..=210).contains(&writes), "{writes} renewals in 600 s");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_dies_is_followed_once_its_lease_has_run_out() {
    let fake = Fake::default();
    let (one, other) = (stand(&fake, "one"), stand(&fake, "other"));
    gets(&one, true).await;
    sleep(Duration::from_secs(60)).await;
    drop(one);
    let waited = gets(&other, true).await;
    assert!(waited > Duration::from_secs(11) && waited < Duration::from_secs(22), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_leaves_is_followed_at_once() {
    let fake = Fake::default();
    let (one, other) = (stand(&fake, "one"), stand(&fake, "other"));
    gets(&one, true).await;
    one.release().await;
    assert_eq!(fake.holder(), "");
    assert!(gets(&other, true).await <= LOOK_EVERY);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_cut_off_knows_it_before_another_holds_it() {
    let fake = Fake::default();
    let line = fake.line();
    let (one, other) = (stand(&line, "one"), stand(&fake, "other"));
    gets(&one, true).await;
    line.cut.store(true, Ordering::SeqCst);
    let lost = gets(&one, false).await;
    assert!(lost <= RENEW_WITHIN, "{lost:?}");
    assert!(!*other.held().borrow());
    gets(&other, true).await;
    line.cut.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert!(!*one.held().borrow() && *other.held().borrow());
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_costs_nobody_the_lease() {
    let fake = Fake::default();
    let line = fake.line();
    let one = stand(&line, "one");
    gets(&one, true).await;
    sleep(Duration::from_secs(4)).await;
    line.cut.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(4)).await;
    line.cut.store(false, Ordering::SeqCst);
    let mut held = one.held();
    held.mark_unchanged();
    sleep(Duration::from_secs(60)).await;
    assert!(*held.borrow() && !held.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn steps_of_the_clock_decide_nothing() {
    let fake = Fake::default();
    let one = stand(&fake, "one");
    gets(&one, true).await;
    let (clock, hand) = Clock::manual(0);
    let other = Leadership::with(fake.clone(), "other".to_owned(), clock);
    sleep(Duration::from_secs(60)).await;
    hand.set(4_000_000_000_000);
    sleep(Duration::from_secs(60)).await;
    assert!(*one.held().borrow() && !*other.held().borrow(), "years later by its clock, and still not the holder");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_counts_for_years_keeps_nobody_waiting_for_years() {
    let fake = Fake::default();
    let spec = LeaseSpec { holder_identity: Some("nobody".to_owned()), lease_duration_seconds: Some(i32::MAX), ..LeaseSpec::default() };
    *fake.lease.lock().unwrap() = Some(Lease { spec: Some(spec), ..Lease::default() });
    let one = stand(&fake, "one");
    assert!(gets(&one, true).await < 5 * DURATION);
}
