#![allow(clippy::unwrap_used, reason = "tests")]

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
