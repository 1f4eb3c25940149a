//! How many lines are written: a bound for each reason, and a sample of what is allowed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ringfence_core::decide::{AllowReason, Decision, Reason, Verdict};

/// What lines are counted by: a reason, or none (what is allowed, and handshakes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(Option<Reason>);

impl Kind {
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self(match &verdict.decision {
            Decision::Allow(allow) => match allow.reason {
                AllowReason::Allowed | AllowReason::Unmatched => None,
                AllowReason::Shadowed(reason) => Some(reason),
            },
            Decision::Deny(reason) => Some(*reason),
            Decision::Answer(_) => None,
        })
    }

    fn all() -> impl Iterator<Item = Self> {
        Reason::ALL.iter().copied().map(Some).chain([None]).map(Self)
    }

    const fn index(self) -> usize {
        match self.0 {
            Some(reason) => reason as usize,
            None => Reason::ALL.len(),
        }
    }

    /// The reason's code, or `allowed`.
    pub(super) const fn label(self) -> &'static str {
        match self.0 {
            Some(reason) => reason.code(),
            None => "allowed",
        }
    }
}

/// At most so many lines of each kind in a second, and how many were left out since the last time somebody asked.
#[derive(Debug)]
pub(super) struct Limits {
    rate: u32,
    kinds: Box<[KindCount]>,
}

#[derive(Debug, Default)]
struct KindCount {
    /// The second in the upper half, the lines of that second in the lower.
    window: AtomicU64,
    suppressed: AtomicU64,
}

impl Limits {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, kinds: Kind::all().map(|_| KindCount::default()).collect() }
    }

    /// Whether one more line of this kind may be written at `now` (since any fixed moment); else it is counted as left out.
    pub(super) fn admits(&self, kind: Kind, now: Duration) -> bool {
        let Some(count) = self.kinds.get(kind.index()) else { return false };
        // Starts at 1, so that the window that nothing was counted in yet is never the present one.
        let second = (now.as_secs() + 1) & u64::from(u32::MAX);
        let one_more = |window: u64| match (window >> 32 == second, window & u64::from(u32::MAX)) {
            (true, lines) if lines >= u64::from(self.rate) => None,
            (true, _) => Some(window + 1),
            (false, _) => (self.rate > 0).then_some(second << 32 | 1),
        };
        let admitted = count.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !admitted {
            count.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Counts a line that was left out for another reason.
    pub(super) fn suppress(&self, kind: Kind) {
        if let Some(count) = self.kinds.get(kind.index()) {
            count.suppressed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines of each kind were left out since the last call; only kinds of which there were any.
    pub(super) fn take_suppressed(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::all().zip(&self.kinds).map(|(kind, count)| (kind, count.suppressed.swap(0, Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }
}

/// Takes an even part of what passes.
#[derive(Debug)]
pub(super) struct Sample {
    /// Of 2^32.
    part: u64,
    sum: AtomicU64,
}

impl Sample {
    /// `part`: from 0 (none) to 1 (all).
    pub(super) fn new(part: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of 33 bits")]
        let part = (part.clamp(0.0, 1.0) * 4_294_967_296.0) as u64;
        Self { part, sum: AtomicU64::new(0) }
    }

    /// Whether this one is taken: whenever the parts have added up to a whole.
    pub(super) fn takes(&self) -> bool {
        let before = self.sum.fetch_add(self.part, Ordering::Relaxed);
        before.wrapping_add(self.part) >> 32 != before >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_count() {
        let indexes: Vec<_> = Kind::all().map(Kind::index).collect();
        assert_eq!(indexes, (0..=Reason::ALL.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_second_admits_so_many_and_the_next_one_as_many_again() {
        let limits = Limits::new(3);
        let kind = Kind(Some(Reason::NoPolicy));
        let admitted = |millis| (0..5).filter(|_| limits.admits(kind, Duration::from_millis(millis))).count();
        assert_eq!((admitted(0), admitted(999), admitted(1_000), admitted(61_000)), (3, 0, 3, 3));
        assert!(limits.admits(Kind(None), Duration::ZERO));
        assert_eq!(limits.take_suppressed().collect::<Vec<_>>(), [(kind, 11)]);
        assert_eq!(limits.take_suppressed().count(), 0);
    }

    #[test]
    fn a_sample_is_even() {
        for (part, taken) in [(0.0, 0), (0.25, 250), (1.0, 1_000), (7.0, 1_000)] {
            let sample = Sample::new(part);
            assert_eq!((0..1_000).filter(|_| sample.takes()).count(), taken, "{part}");
        }
    }
}
