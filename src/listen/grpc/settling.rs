//! The first seconds of a process that knows nothing yet.
//!
//! A replica that was killed is started again at the same address, where proxies may go on asking before its health is looked at again. "I cannot
//! decide" would be final for the client; a refused stream is asked again, of another replica. Only for so long: a process that does not get
//! ready says itself that it cannot decide, also to proxies that let by what ends in an error.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::ready::Readiness;

/// How long they last at most. A first fetch of keys may take as long.
const AT_MOST: Duration = Duration::from_secs(10);

/// Whether they go on.
#[derive(Debug)]
pub(super) struct Settling {
    readiness: Readiness,
    until: Option<Instant>,
    over: AtomicBool,
}

impl Settling {
    /// They begin now, and are over once `readiness` says ready for the first time.
    pub(super) fn begin(readiness: Readiness, now: Instant) -> Self {
        Self { readiness, until: now.checked_add(AT_MOST), over: AtomicBool::new(false) }
    }

    /// Whether they go on. Once over, they are over for good.
    pub(super) fn goes_on(&self, now: Instant) -> bool {
        if self.over.load(Ordering::Relaxed) {
            return false;
        }
        let over = self.readiness.is_ready() || self.until.is_none_or(|until| now >= until);
        self.over.store(over, Ordering::Relaxed);
        !over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_ready_and_for_good() {
        let (readiness, now) = (Readiness::default(), Instant::now());
        let guard = readiness.condition("configuration", "not in force yet");
        let settling = Settling::begin(readiness, now);
        assert!(settling.goes_on(now));
        guard.met();
        assert!(!settling.goes_on(now));
        guard.missing("lost");
        assert!(!settling.goes_on(now));
    }

    #[test]
    fn it_is_over_in_time_though_nothing_is_ready() {
        let (readiness, now) = (Readiness::default(), Instant::now());
        let _guard = readiness.condition("configuration", "not in force yet");
        let settling = Settling::begin(readiness, now);
        assert!(settling.goes_on(now + AT_MOST - Duration::from_millis(1)));
        assert!(!settling.goes_on(now + AT_MOST));
    }
}
