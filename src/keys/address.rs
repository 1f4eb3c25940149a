//! Which addresses the guarded fetch may dial: global unicast ones, and nothing that leads into the cluster or to the host itself.
//!
//! Must not know names: it judges what they resolved to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Azure's wire server, reachable from every virtual machine and holding its secrets, although the address looks public.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether `address` is one of the public internet (the registries of RFC 6890). A NAT64 address is judged by the IPv4 address in it; every
/// other form that carries an IPv4 address is not global.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => nat64(address).map_or_else(|| is_global_v6(address), is_global_v4),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        // This network, private, loopback, private again, link-local with the cloud metadata services.
        [0 | 10 | 127, ..] | [192, 168, ..] | [169, 254, ..] => true,
        // Carrier-grade NAT (RFC 6598).
        [100, second, ..] => second & 0xc0 == 64,
        [172, second, ..] => second & 0xf0 == 16,
        // Protocol assignments, documentation, the former 6to4 relays, benchmarks, documentation.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        // Multicast, reserved, broadcast.
        [first, ..] => first >= 224,
    };
    !special && address != AZURE_WIRE_SERVER
}

/// Only 2000::/3 is global unicast; within it some blocks are not.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let special = match segments {
        // Protocol assignments with Teredo, benchmarks and ORCHID; documentation; 6to4, which carries an IPv4 address.
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8,
        [0x2002, ..] => true,
        [0x3fff, second, ..] => second < 0x1000,
        _ => false,
    };
    !special && matches!(segments, [first, ..] if first & 0xe000 == 0x2000)
}

/// The IPv4 address in a NAT64 address of the well-known prefix (RFC 6052).
fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
            let [.., a, b, c, d] = address.octets();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn takes_global_addresses_only() {
        let global = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "20.49.104.1",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2603:1027::1",
            "3ffe::1",
            "3fff:1000::",
            "64:ff9b::1.1.1.1",
        ];
        let other = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::10.0.0.1",
            "::1.1.1.1",
            "::ffff:1.1.1.1",
            "::ffff:10.0.0.1",
            "::ffff:0:1.1.1.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::168.63.129.16",
            "64:ff9b:1::1.1.1.1",
            "64:ff9b::1:1.1.1.1",
            "100::1",
            "1fff:ffff::1",
            "2001::1",
            "2001:db8::1",
            "2001:1ff::1",
            "2001:20::1",
            "2002:a00:1::1",
            "2002:101:101::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for address in global {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
        for address in other {
            assert!(!is_global(address.parse().unwrap()), "{address}");
        }
    }
}
