//! The last good keys of key sets that nobody wants any more, kept aside for a while: a policy that is edited and put right again during an
//! issuer's outage finds them. Nothing is decided by them meanwhile. Pure: the time is handed in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ringfence_core::decide::{FetchedKeys, KeySetId};
use tokio::time::Instant;

/// How long they are kept aside.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Most key sets that are: as many as may be wanted at once.
const MAX_SETS: usize = 256;

/// The last keys that were had of a set.
#[derive(Clone, Debug)]
pub(super) struct LastGood {
    pub(super) keys: FetchedKeys,
    /// When the first fetch after them failed, if one did.
    pub(super) failing_since: Option<Instant>,
}

/// The sets kept aside, each with the time until which.
#[derive(Debug, Default)]
pub(super) struct Parked(HashMap<Arc<KeySetId>, (Instant, LastGood)>);

impl Parked {
    /// Keeps a set's keys aside from `now` on; the oldest ones give way.
    pub(super) fn put(&mut self, id: Arc<KeySetId>, last_good: LastGood, now: Instant) {
        self.0.retain(|_, (until, _)| now < *until);
        if self.0.len() >= MAX_SETS
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (until, _))| *until).map(|(id, _)| Arc::clone(id))
        {
            self.0.remove(&oldest);
        }
        self.0.insert(id, (now + KEPT, last_good));
    }

    /// The set is wanted again: its keys, if they are still there.
    pub(super) fn take(&mut self, id: &KeySetId, now: Instant) -> Option<LastGood> {
        self.0.remove(id).filter(|(until, _)| now < *until).map(|(_, last_good)| last_good)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn id(number: usize) -> Arc<KeySetId> {
        Arc::new(KeySetId::Jwks { issuer: "https://issuer.example".into(), url: format!("https://issuer.example/{number}").into() })
    }

    fn last_good() -> LastGood {
        LastGood { keys: FetchedKeys { keys: Arc::default(), fetch_began: std::time::Instant::now() }, failing_since: None }
    }

    #[test]
    fn keys_are_kept_aside_for_an_hour_and_given_back_once() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        parked.put(id(1), last_good(), now);
        parked.put(id(2), last_good(), now);
        assert!(parked.take(&id(1), now + KEPT - Duration::from_secs(1)).is_some());
        assert!(parked.take(&id(1), now).is_none());
        assert!(parked.take(&id(2), now + KEPT).is_none());
    }

    #[test]
    fn the_oldest_give_way() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        for number in 0..=MAX_SETS {
            parked.put(id(number), last_good(), now + Duration::from_secs(u64::try_from(number).unwrap()));
        }
        assert_eq!(parked.0.len(), MAX_SETS);
        assert!(parked.take(&id(0), now).is_none());
        assert!(parked.take(&id(MAX_SETS), now).is_some());
    }
}
