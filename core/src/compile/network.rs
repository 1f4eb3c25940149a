//! Address ranges as people write them: strict, since what is read generously by one program is read differently by another.

use std::{net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The IPv6 range in which IPv4 addresses are written a second time (RFC 4291 section 2.5.5.2).
const MAPPED: u128 = 0xffff_0000_0000;

/// Reads one range, such as `203.0.113.0/24`.
///
/// # Errors
/// What is wrong with it and what to write instead.
pub(super) fn read_cidr(text: &str) -> Result<IpNet, String> {
    let Some((address, length)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => format!("an address is no range; write `{text}/32`"),
            Ok(IpAddr::V6(_)) => format!("an address is no range; write `{text}/128`"),
            Err(_) => "not a range; write an address and a length, such as `203.0.113.0/24`".to_owned(),
        });
    };
    // The standard library takes no leading zeros (which some read as octal) and no short forms.
    let Ok(address) = IpAddr::from_str(address) else {
        return Err(if has_leading_zero(address) {
            "leading zeros mean octal to some; write plain decimal numbers".to_owned()
        } else {
            "not an IPv4 or IPv6 address before the `/`".to_owned()
        });
    };
    let is_plain = length == "0" || (!length.starts_with('0') && length.bytes().all(|byte| byte.is_ascii_digit()));
    let bits = length.parse::<u8>().ok().filter(|_| is_plain);
    let network = bits.and_then(|bits| IpNet::new(address, bits).ok());
    let network = network.ok_or_else(|| format!("the length after the `/` must be 0 to {}", if address.is_ipv4() { 32 } else { 128 }))?;
    if let (IpNet::V6(v6), IpAddr::V6(address)) = (network, address)
        && v6.prefix_len() > 0
        && address.to_bits() >> 32 == MAPPED >> 32
    {
        let plain = address.to_ipv4_mapped().map(|v4| format!("{v4}/{}", v6.prefix_len().saturating_sub(96))).unwrap_or_default();
        return Err(format!("IPv4 addresses are matched as such; write `{plain}`"));
    }
    if network.trunc().addr() != network.addr() {
        return Err(format!("there are bits beyond the length; write `{}`", network.trunc()));
    }
    Ok(network)
}

fn has_leading_zero(address: &str) -> bool {
    let parts: Vec<&str> = address.split('.').collect();
    parts.len() == 4
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.iter().any(|part| part.len() > 1 && part.starts_with('0'))
}

/// Whether a range covers every address of its family.
pub(super) fn covers_everything(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => Ipv4Net::prefix_len(network) == 0,
        IpNet::V6(network) => Ipv6Net::prefix_len(network) == 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        for good in ["203.0.113.0/24", "0.0.0.0/0", "10.1.2.3/32", "2603:1027::/48", "::/0", "::1/128", "2001:DB8::/32"] {
            assert!(read_cidr(good).is_ok(), "{good}");
        }
        let cases = [
            ("203.0.113.7", "write `203.0.113.7/32`"),
            ("::1", "write `::1/128`"),
            ("example.com", "not a range"),
            ("", "not a range"),
            ("203.0.113.7/24", "write `203.0.113.0/24`"),
            ("2603:1027::1/48", "write `2603:1027::/48`"),
            ("010.0.0.0/8", "leading zeros"),
            ("10.0.0/8", "not an IPv4 or IPv6 address"),
            (" 10.0.0.0/8", "not an IPv4 or IPv6 address"),
            ("fe80::%eth0/64", "not an IPv4 or IPv6 address"),
            ("10.0.0.0/33", "must be 0 to 32"),
            ("10.0.0.0/08", "must be 0 to 32"),
            ("10.0.0.0/+8", "must be 0 to 32"),
            ("10.0.0.0/", "must be 0 to 32"),
            ("::/129", "must be 0 to 128"),
            ("::ffff:10.0.0.0/104", "write `10.0.0.0/8`"),
            ("::ffff:0:0/96", "write `0.0.0.0/0`"),
        ];
        for (text, expected) in cases {
            let error = read_cidr(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
