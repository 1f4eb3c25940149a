//! The time a decision is taken at, handed in by the caller.

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
