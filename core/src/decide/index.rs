//! Which policy speaks for a host and a path.

use std::{collections::HashMap, sync::Arc};

use super::{Floor, Grants, Policy, Unmatched};

/// Everything the live path looks up, immutable: built by `compile`, swapped as a whole.
#[derive(Debug, Default)]
pub struct PolicySet {
    parts: PolicySetParts,
    pins: HashMap<Box<str>, Arc<Policy>>,
}

/// What a [`PolicySet`] is made of.
#[derive(Debug, Default)]
pub struct PolicySetParts {
    /// `CallbackPolicy`s that hold a match slot, valid or not. No two of them tie for a host and path (`compile` settles conflicts).
    pub holders: Vec<Arc<Policy>>,
    /// `CallbackPolicy`s that lost a conflict: they may still be pinned.
    pub pinnable: Vec<Arc<Policy>>,
    /// `ClusterCallbackPolicy`s that apply where no `CallbackPolicy` matches.
    pub fallbacks: Vec<Arc<Policy>>,
    /// `ClusterCallbackPolicy`s that always apply as well.
    pub floors: Vec<Floor>,
    /// Who may speak for which host; `None` = host ownership is off.
    pub grants: Option<Grants>,
    /// Namespaces of policies whose `match` cannot be read. Under grants they claim the hosts granted to their namespace, without grants every host.
    pub unreadable: Vec<Box<str>>,
    /// What happens where no policy matches.
    pub unmatched: Unmatched,
    /// The hash of the configuration this was compiled from (low 48 bits are shown as a metric).
    pub config_hash: u64,
}

impl PolicySet {
    /// Indexes `parts`.
    #[must_use]
    pub fn new(parts: PolicySetParts) -> Self {
        Self { parts, pins: HashMap::new() }
    }

    /// What it was made of.
    #[must_use]
    pub fn parts(&self) -> &PolicySetParts {
        &self.parts
    }
}
