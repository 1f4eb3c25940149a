//! Address ranges, kept as sorted intervals so that a lookup is a binary search whatever their number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of address ranges. IPv4 and IPv6 never match each other; hand in canonical addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl RangeSet {
    /// The union of `networks`.
    pub fn new<'n>(networks: impl IntoIterator<Item = &'n IpNet>) -> Self {
        let mut set = Self::default();
        for network in networks {
            match network {
                IpNet::V4(network) => set.v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => set.v6.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        merge(&mut set.v4, |end| end.checked_add(1));
        merge(&mut set.v6, |end| end.checked_add(1));
        set
    }

    /// Whether `address` lies in one of the ranges.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    /// How many ranges there are; overlapping and touching ones are one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether one of the ranges begins within a private network.
    pub(super) fn begins_private(&self) -> bool {
        self.v4.iter().any(|(start, _)| is_private(Ipv4Addr::from_bits(*start).into()))
            || self.v6.iter().any(|(start, _)| is_private(Ipv6Addr::from_bits(*start).into()))
    }

    /// Whether there is no range at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// Whether `source` is an address that no client on the internet has.
pub(super) fn is_private(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => {
            let shared = source.octets()[0] == 100 && source.octets()[1] & 0xc0 == 64;
            source.is_private() || source.is_loopback() || source.is_link_local() || shared
        }
        IpAddr::V6(source) => source.is_loopback() || source.is_unique_local() || source.is_unicast_link_local(),
    }
}

/// Sorts, and joins intervals that overlap or touch.
fn merge<N: Copy + Ord>(intervals: &mut Vec<(N, N)>, next: impl Fn(N) -> Option<N>) {
    intervals.sort_unstable();
    let mut merged: Vec<(N, N)> = Vec::with_capacity(intervals.len());
    for &(start, end) in intervals.iter() {
        match merged.last_mut() {
            Some(last) if next(last.1).is_none_or(|after| start <= after) => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    *intervals = merged;
}

fn within<N: Copy + Ord>(intervals: &[(N, N)], value: N) -> bool {
    let after = intervals.partition_point(|(start, _)| *start <= value);
    after.checked_sub(1).and_then(|at| intervals.get(at)).is_some_and(|(_, end)| value <= *end)
}

#[cfg(test)]
mod tests;
