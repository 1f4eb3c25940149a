#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::*;

#[test]
fn the_ends_of_a_range_belong_to_it() {
    let networks: Vec<IpNet> = ["52.112.0.0/14", "52.122.0.0/15", "2603:1063::/38"].iter().map(|network| network.parse().unwrap()).collect();
    let set = RangeSet::new(&networks);
    for inside in ["52.112.0.0", "52.115.255.255", "52.122.0.0", "52.123.255.255", "2603:1063::", "2603:1063:3ff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(set.contains(inside.parse().unwrap()), "{inside}");
    }
    for outside in ["52.111.255.255", "52.116.0.0", "52.124.0.0", "2603:1062:ffff::", "2603:1063:400::", "::ffff:52.112.0.1"] {
        assert!(!set.contains(outside.parse().unwrap()), "{outside}");
    }
}

#[test]
fn everything_and_nothing() {
    let everything = RangeSet::new(&["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
    for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
        assert!(everything.contains(address.parse().unwrap()));
        assert!(!RangeSet::default().contains(address.parse().unwrap()));
    }
    assert!(RangeSet::default().is_empty() && !everything.is_empty());
}

#[test]
fn private_ranges_are_known() {
    let begins_private = |network: &str| RangeSet::new(&[network.parse().unwrap()]).begins_private();
    for private in
        ["10.0.0.0/8", "172.16.0.0/16", "192.168.1.0/24", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "fd00::/8", "fe80::/10", "::1/128"]
    {
        assert!(begins_private(private), "{private}");
    }
    for public in ["52.112.0.0/14", "100.128.0.0/10", "2603:1063::/38", "0.0.0.0/0"] {
        assert!(!begins_private(public), "{public}");
    }
}

fn network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (0u32..64, 24u8..=32).prop_map(|(low, prefix)| IpNet::new(Ipv4Addr::from(0x0a00_0000 | low << 4).into(), prefix).unwrap()),
        (0u128..64, 120u8..=128).prop_map(|(low, prefix)| IpNet::new(Ipv6Addr::from(0x2603 << 112 | low << 2).into(), prefix).unwrap()),
    ]
}

proptest! {
    #[test]
    fn agrees_with_asking_each_network(networks in proptest::collection::vec(network(), 0..8), low in 0u32..1100) {
        let set = RangeSet::new(&networks);
        for address in [IpAddr::from(Ipv4Addr::from(0x0a00_0000 | low)), IpAddr::from(Ipv6Addr::from(0x2603 << 112 | u128::from(low)))] {
            let naive = networks.iter().any(|network| network.contains(&address));
            prop_assert_eq!(set.contains(address), naive, "{} in {:?}", address, networks);
        }
    }
}

/// Networks anywhere, of any size, many of them next to or within one another.
fn any_network() -> impl Strategy<Value = IpNet> {
    let v4 = (prop_oneof![Just(0_u32), Just(u32::MAX), any::<u32>(), 0_u32..1024], 0_u8..=32);
    let v6 = (prop_oneof![Just(0_u128), Just(u128::MAX), any::<u128>(), 0_u128..1024], 0_u8..=128);
    prop_oneof![
        v4.prop_map(|(bits, prefix)| IpNet::new(Ipv4Addr::from(bits).into(), prefix).unwrap().trunc()),
        v6.prop_map(|(bits, prefix)| IpNet::new(Ipv6Addr::from(bits).into(), prefix).unwrap().trunc()),
    ]
}

proptest! {
    /// At both ends of each network and one beyond, where a mistake would show.
    #[test]
    fn agrees_with_asking_each_network_at_its_ends(networks in proptest::collection::vec(any_network(), 1..6)) {
        let set = RangeSet::new(&networks);
        for network in &networks {
            let ends = match network {
                IpNet::V4(network) => {
                    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)))
                }
                IpNet::V6(network) => {
                    let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
                    [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))
                }
            };
            for address in ends {
                prop_assert_eq!(set.contains(address), networks.iter().any(|network| network.contains(&address)), "{} in {:?}", address, networks);
            }
        }
    }

    /// As many ranges as there are after joining any two that overlap or touch until none do.
    #[test]
    fn counts_what_is_left_after_joining(networks in proptest::collection::vec(network(), 0..8)) {
        let mut left: Vec<(bool, u128, u128)> = networks
            .iter()
            .map(|network| match network {
                IpNet::V4(network) => (true, network.network().to_bits().into(), network.broadcast().to_bits().into()),
                IpNet::V6(network) => (false, network.network().to_bits(), network.broadcast().to_bits()),
            })
            .collect();
        let touch = |a: &(bool, u128, u128), b: &(bool, u128, u128)| a.0 == b.0 && a.1 <= b.2 + 1 && b.1 <= a.2 + 1;
        while let Some((at, with)) = (0..left.len()).flat_map(|at| (0..at).map(move |with| (at, with))).find(|(at, with)| touch(&left[*at], &left[*with])) {
            let other = left.remove(at);
            left[with] = (other.0, left[with].1.min(other.1), left[with].2.max(other.2));
        }
        let set = RangeSet::new(&networks);
        prop_assert_eq!(set.len(), left.len());
        prop_assert_eq!(set.is_empty(), networks.is_empty());
    }
}
