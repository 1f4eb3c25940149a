//! The async shell around `decide`: one snapshot of policies and one of keys, at most one bounded refetch of a key set, the reuse store, and
//! one place that counts and logs each verdict.

use std::time::Instant;

use ringfence_core::decide::{RawRequest, Reason, Verdict, Wire};

/// Answers checks. Shared by all listeners.
#[derive(Debug, Default)]
pub struct Checker {}

impl Checker {
    /// Decides one request, within `deadline` if the caller set one. Never fails: every fault is a denial that is "cannot decide".
    pub async fn check(&self, _raw: &RawRequest<'_>, _deadline: Option<Instant>) -> Verdict {
        Verdict::deny(Reason::Internal)
    }

    /// Counts and logs a request that never became a [`RawRequest`]: `reason` says why.
    #[must_use]
    pub fn refuse(&self, _wire: Wire, _arrived: Instant, reason: Reason) -> Verdict {
        Verdict::deny(reason)
    }
}
