//! The time a decision is taken at, handed in by the caller.

/// The time of one check, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time to judge by: never more than 60 s behind the highest time seen.
    pub effective_ms: i64,
    /// What the wall clock says. Differs from `effective_ms` only after the clock stepped back.
    pub wall_ms: i64,
}

impl Now {
    /// A settled clock: both readings are `ms`.
    #[must_use]
    pub const fn settled(ms: i64) -> Self {
        Self { effective_ms: ms, wall_ms: ms }
    }

    /// Whether the wall clock alone could give another answer than the effective time.
    #[must_use]
    pub const fn is_unsettled(self) -> bool {
        self.effective_ms != self.wall_ms
    }
}
