//! Who may speak for a host.
//!
//! Must not know policies, nor what a grant looks like as a resource.

use std::collections::HashSet;

use super::{HostPattern, Map};

/// Which namespaces may speak for which hosts.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    exact: Map<Box<str>, Speakers>,
    suffix: Map<Box<str>, Speakers>,
    /// Some grant cannot be read, and nobody knows for which host.
    is_doubtful: bool,
}

/// Who may speak for one host or one wildcard.
#[derive(Clone, Debug, Default)]
struct Speakers {
    namespaces: Vec<Box<str>>,
    /// There may be others.
    are_doubtful: bool,
}

impl Grants {
    /// Lets `namespace` speak for `host`; equal grants unite. `HostPattern::Any` grants nothing.
    pub fn add(&mut self, host: &HostPattern, namespace: &str) {
        let Some(Speakers { namespaces, .. }) = self.entry(host) else { return };
        if !namespaces.iter().any(|known| **known == *namespace) {
            namespaces.push(namespace.into());
        }
    }

    /// Says that a grant for `host` cannot be read: it is taken out of every wider grant, and requests for it that no policy takes cannot be
    /// decided. `HostPattern::Any`: nobody knows for which host.
    pub fn doubt(&mut self, host: &HostPattern) {
        match self.entry(host) {
            Some(speakers) => speakers.are_doubtful = true,
            None => self.is_doubtful = true,
        }
    }

    fn entry(&mut self, host: &HostPattern) -> Option<&mut Speakers> {
        match host {
            HostPattern::Exact(host) => Some(self.exact.entry(host.as_str().into()).or_default()),
            HostPattern::Suffix(suffix) => Some(self.suffix.entry(suffix.clone()).or_default()),
            HostPattern::Any => None,
        }
    }

    /// Whether the most specific grant that covers `host` (a request's own) names `namespace`.
    #[must_use]
    pub fn permits(&self, host: &str, namespace: &str) -> bool {
        self.covering(host).is_some_and(|speakers| speakers.include(namespace))
    }

    /// Whether the most specific grant that covers all of `pattern` names `namespace`.
    #[must_use]
    pub fn permits_pattern(&self, pattern: &HostPattern, namespace: &str) -> bool {
        match pattern {
            HostPattern::Exact(host) => self.permits(host.as_str(), namespace),
            HostPattern::Suffix(suffix) => {
                let most_specific = self.suffix.get(suffix.as_ref()).or_else(|| suffixes(suffix).find_map(|wider| self.suffix.get(wider)));
                most_specific.is_some_and(|speakers| speakers.include(namespace))
            }
            HostPattern::Any => false,
        }
    }

    /// Whether `host` may be granted to one of `namespaces`, or to one that cannot be read.
    pub(super) fn may_permit(&self, host: &str, namespaces: &HashSet<Box<str>>) -> bool {
        let is_one = |speakers: &Speakers| speakers.are_doubtful || speakers.namespaces.iter().any(|namespace| namespaces.contains(namespace));
        self.is_doubtful || self.covering(host).is_some_and(is_one)
    }

    /// The most specific grant that covers `host`.
    fn covering(&self, host: &str) -> Option<&Speakers> {
        self.exact.get(host).or_else(|| suffixes(host).find_map(|suffix| self.suffix.get(suffix)))
    }
}

impl Speakers {
    fn include(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|named| **named == *namespace)
    }
}

/// What is left of a host after its first label, after its second, and so on: `a.b.c` gives `b.c`, `c`.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(host.split_once('.').map(|(_, rest)| rest), |rest| rest.split_once('.').map(|(_, rest)| rest))
}

#[cfg(test)]
mod tests;
