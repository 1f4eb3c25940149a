//! Tokens that were seen before.
//!
//! A store remembers each claim until the token it stands for has expired, never forgets one early, and says so when it has no more room.
//! Must not know what a claim is made of, or what becomes of its answer.

mod memory;

pub use memory::{Limits, MemoryStore};

use ringfence_core::decide::{ReuseAnswer, ReuseClaim};

/// Where seen tokens are remembered.
#[derive(Debug)]
pub enum ReuseStore {
    /// In this process.
    Memory(MemoryStore),
}

impl ReuseStore {
    /// Remembers `claim` at the effective time `now_ms` (milliseconds since the Unix epoch), and says whether it was known before.
    #[must_use]
    pub fn commit(&self, claim: &ReuseClaim, now_ms: i64) -> ReuseAnswer {
        match self {
            Self::Memory(store) => store.commit(claim, now_ms),
        }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(store) => store.len(),
        }
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
