//! Tokens that were seen before.
//!
//! A store remembers each claim until the token it stands for has expired, never forgets one early, and says so when it has no more room.
//! Must not know what a claim is made of, or what becomes of its answer.

mod memory;
mod shared;

pub use memory::{Limits, MemoryStore};
pub use shared::{SharedStore, SharedStoreMetrics, SharedStoreSettings, SharedStoreSurroundings, StoreAddress, StoreError};

use std::time::Instant;

use ringfence_core::decide::{ReuseAnswer, ReuseClaim};

/// Where seen tokens are remembered.
#[derive(Debug)]
pub enum ReuseStore {
    /// In this process.
    Memory(MemoryStore),
    /// In a Redis or Valkey, for all replicas.
    Shared(SharedStore),
}

impl ReuseStore {
    /// Remembers `claim` at the effective time `now_ms` (milliseconds since the Unix epoch), and says whether it was known before; `None` if that
    /// has to be waited for: [`Self::commit`].
    #[must_use]
    pub fn commit_at_once(&self, claim: &ReuseClaim, now_ms: i64) -> Option<ReuseAnswer> {
        match self {
            Self::Memory(store) => Some(store.commit(claim, now_ms)),
            Self::Shared(store) => store.answer_at_once(),
        }
    }

    /// The same, waiting for it within the store's own budget, and no longer than until `deadline`.
    pub async fn commit(&self, claim: &ReuseClaim, now_ms: i64, deadline: Option<Instant>) -> ReuseAnswer {
        match self {
            Self::Memory(store) => store.commit(claim, now_ms),
            Self::Shared(store) => store.commit(claim, now_ms, deadline).await,
        }
    }

    /// Waits until there has been an attempt to connect to the store, whichever way it ended.
    pub async fn first_attempted(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Shared(store) => store.first_attempted().await,
        }
    }
}
