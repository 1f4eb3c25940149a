//! Tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn addresses(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn headers(joined: bool, lines: &[(&'static str, &'static str)]) -> Headers<'static> {
    let mut headers = Headers::new(joined);
    for (name, value) in lines {
        headers.push(*name, value.as_bytes());
    }
    headers
}

#[test]
fn flags_read_as_documented() {
    assert_eq!(ClientAddress::from_grpc_flag("peer"), Ok(ClientAddress::Wire));
    assert_eq!(ClientAddress::from_http_flag("dialect"), Ok(ClientAddress::Wire));
    for read in [ClientAddress::from_grpc_flag, ClientAddress::from_http_flag] {
        assert_eq!(read("xff:0"), Ok(ClientAddress::Forwarded { hops: 0 }));
        assert_eq!(read("xff:2"), Ok(ClientAddress::Forwarded { hops: 2 }));
        assert_eq!(read("header:X-Real-IP"), Ok(ClientAddress::Header("x-real-ip".into())));
        for wrong in ["", "xff", "xff:", "xff:-1", "xff:+1", "xff:1000", "header:", "header:x_real_ip", "header:a b", "header", "peer:1", "x-real-ip"]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{wrong}` does not say")) && error.contains("`xff:N`"), "{error}");
        }
    }
    assert!(ClientAddress::from_grpc_flag("dialect").unwrap_err().to_string().contains("`peer`"));
    assert!(ClientAddress::from_http_flag("peer").unwrap_err().to_string().contains("`dialect`"));
}

#[test]
fn addresses_are_read_in_every_form_that_proxies_write() {
    for (text, address) in [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7\t", "203.0.113.7"),
        ("203.0.113.7:443", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
    ] {
        assert_eq!(parse_address(text.as_bytes()), Some(address.parse().unwrap()), "{text}");
    }
    for text in [
        "",
        "unknown",
        "_hidden",
        "203.0.113",
        "203.0.113.007",
        "203.0.113.7:",
        "203.0.113.7:port",
        "203.0.113.7, 10.0.0.1",
        "[203.0.113.7]",
        "a.example",
        "203.0.113.7%1",
    ] {
        assert_eq!(parse_address(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_address(b"203.0.113.\xff"), None);
}

/// What is found in, trusted proxies, peer, headers, and the client's address.
type Case = (&'static str, &'static [&'static str], Option<&'static str>, &'static [(&'static str, &'static str)], Option<&'static str>);

const CASES: &[Case] = &[
    // What the wire says is never doubted.
    ("peer", &[], Some("203.0.113.7"), &[("x-forwarded-for", "198.51.100.1")], Some("203.0.113.7")),
    ("peer", &["10.0.0.0/8"], Some("203.0.113.7"), &[], Some("203.0.113.7")),
    ("peer", &[], None, &[("x-forwarded-for", "198.51.100.1")], None),
    // From the right, over all lines.
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1")], Some("198.51.100.1")),
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "192.0.2.9, 198.51.100.1")], Some("198.51.100.1")),
    ("xff:1", &[], Some("10.0.0.1"), &[("x-forwarded-for", "192.0.2.9, 198.51.100.1 ,10.0.0.2")], Some("198.51.100.1")),
    ("xff:1", &[], Some("10.0.0.1"), &[("x-forwarded-for", "192.0.2.9, 198.51.100.1"), ("x-forwarded-for", "10.0.0.2")], Some("198.51.100.1")),
    ("xff:2", &[], Some("10.0.0.1"), &[("x-forwarded-for", "192.0.2.9, 198.51.100.1"), ("x-forwarded-for", "10.0.0.2")], Some("192.0.2.9")),
    ("xff:0", &[], None, &[("x-forwarded-for", "198.51.100.1")], Some("198.51.100.1")),
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "[2001:db8::1]:5000")], Some("2001:db8::1")),
    // Too short or unreadable.
    ("xff:0", &[], Some("10.0.0.1"), &[], None),
    ("xff:1", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1")], None),
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "")], None),
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1,")], None),
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1, unknown")], None),
    ("xff:1", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1, unknown")], None),
    ("xff:1", &[], Some("10.0.0.1"), &[("x-forwarded-for", "unknown, 10.0.0.2")], None),
    // What lies left of the client does not matter.
    ("xff:0", &[], Some("10.0.0.1"), &[("x-forwarded-for", "\u{1}, 198.51.100.1")], Some("198.51.100.1")),
    // Trusted proxies: the peer and every hop that is skipped, else the peer is the client.
    ("xff:0", &["10.0.0.0/8"], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1")], Some("198.51.100.1")),
    ("xff:0", &["10.0.0.0/8"], Some("203.0.113.7"), &[("x-forwarded-for", "198.51.100.1")], Some("203.0.113.7")),
    ("xff:1", &["10.0.0.0/8"], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1, 10.0.0.2")], Some("198.51.100.1")),
    ("xff:1", &["10.0.0.0/8"], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1, 192.0.2.2")], Some("10.0.0.1")),
    ("xff:1", &["10.0.0.0/8"], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1, unknown")], None),
    ("xff:0", &["10.0.0.0/8"], None, &[("x-forwarded-for", "198.51.100.1")], None),
    // One header, once.
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[("x-real-ip", "198.51.100.1")], Some("198.51.100.1")),
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[("x-real-ip", "::ffff:198.51.100.1")], Some("198.51.100.1")),
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[], None),
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[("x-real-ip", "198.51.100.1"), ("x-real-ip", "198.51.100.1")], None),
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[("x-real-ip", "198.51.100.1, 192.0.2.2")], None),
    ("header:x-real-ip", &[], Some("10.0.0.1"), &[("x-forwarded-for", "198.51.100.1")], None),
    ("header:x-real-ip", &["10.0.0.0/8"], Some("203.0.113.7"), &[("x-real-ip", "198.51.100.1")], Some("203.0.113.7")),
    ("header:x-real-ip", &["10.0.0.0/8"], None, &[("x-real-ip", "198.51.100.1")], None),
];

#[test]
fn the_client_is_found_where_the_operator_said() {
    for case @ (flag, trusted, peer, lines, expected) in CASES {
        let rule = ClientAddressRule::new(ClientAddress::from_grpc_flag(flag).unwrap(), &addresses(trusted));
        let peer = peer.map(|peer| peer.parse().unwrap());
        let expected = expected.map(|expected| expected.parse().unwrap());
        for joined in [false, true] {
            assert_eq!(rule.resolve(peer, &headers(joined, lines)), expected, "{case:?}, joined: {joined}");
        }
    }
}
