//! The time a decision is taken at, handed in by the caller.

/// The last second of the year 9999, since the Unix epoch: later dates are not dates.
pub(super) const MAX_SECONDS: u64 = 253_402_300_799;

/// The time of one check, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time to judge by: the later of the others, and never more than 60 s behind the highest time judged by.
    pub effective_ms: i64,
    /// What the wall clock says. Differs from `effective_ms` only after the clock stepped back.
    pub wall_ms: i64,
    /// What the wall clock would say if it had not stepped, by the time that has passed. Differs from `wall_ms` only after a large step.
    pub steady_ms: i64,
}

impl Now {
    /// A settled clock: every reading is `ms`.
    #[must_use]
    pub const fn settled(ms: i64) -> Self {
        Self { effective_ms: ms, wall_ms: ms, steady_ms: ms }
    }

    /// Whether another reading of the clock could give another answer than the effective time.
    #[must_use]
    pub const fn is_unsettled(self) -> bool {
        self.effective_ms != self.wall_ms || self.effective_ms != self.steady_ms
    }

    /// Whether what the effective time refuses would be good by another reading, which may be the right one.
    pub fn is_doubtful(self, is_good: impl Fn(i64) -> bool) -> bool {
        [self.wall_ms, self.steady_ms].into_iter().any(|other| other != self.effective_ms && is_good(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_settled_while_all_its_readings_agree() {
        for (effective_ms, wall_ms, steady_ms, is_unsettled) in [(5, 5, 5, false), (5, 4, 5, true), (5, 5, 4, true), (5, 4, 4, true)] {
            assert_eq!(Now { effective_ms, wall_ms, steady_ms }.is_unsettled(), is_unsettled, "{effective_ms} {wall_ms} {steady_ms}");
        }
    }

    #[test]
    fn what_another_reading_would_take_is_doubtful() {
        let doubtful = |now: Now| now.is_doubtful(|ms| ms < 5);
        assert!(doubtful(Now { effective_ms: 9, wall_ms: 4, steady_ms: 9 }) && doubtful(Now { effective_ms: 9, wall_ms: 9, steady_ms: 4 }));
        assert!(!doubtful(Now::settled(9)) && !doubtful(Now::settled(4)) && !doubtful(Now { effective_ms: 9, wall_ms: 8, steady_ms: 7 }));
    }
}
