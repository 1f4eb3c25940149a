#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{
    super::{Algorithm, Body, Headers, KeySet, RangeSet, RawRequest, Wire},
    *,
};

/// A request with these headers, that came at `arrived`.
fn raw<'a>(wire: Wire, method: &'a str, headers: &[(&'a str, &'a str)], source: Option<&str>, arrived: Instant) -> RawRequest<'a> {
    let mut own = Headers::new(false);
    headers.iter().for_each(|(name, value)| own.push(*name, value.as_bytes()));
    RawRequest {
        arrived,
        wire,
        method: method.as_bytes(),
        host: Some(b"a.example"),
        target: b"/",
        headers: own,
        source: source.map(|source| source.parse().unwrap()),
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    }
}

fn now() -> Instant {
    Instant::now()
}

/// "There is no such key" is only said where the issuer was asked after the request came.
#[test]
fn an_unknown_key_is_unknown_once_the_issuer_was_asked_since() {
    let id = Arc::new(KeySetId::Jwks { issuer: "i".into(), url: "u".into() });
    let (arrived, second) = (now(), Duration::from_secs(1));
    let request_raw = raw(Wire::Grpc, "POST", &[], None, arrived);
    let request = Request::new(&request_raw).unwrap();
    let fetched = KeySource::Fetched(Arc::clone(&id));
    for (began, reason) in
        [(arrived + second, Reason::KeyUnknown), (arrived, Reason::KeyPending), (arrived.checked_sub(second).unwrap(), Reason::KeyPending)]
    {
        let ring = KeyRing::default().with(&id, Some(FetchedKeys { keys: Arc::default(), fetch_began: began }));
        let unmet = find_key(&fetched, "k", &ring, &request).unwrap_err();
        assert_eq!((unmet.reason, unmet.wanted_key.is_some()), (reason, reason == Reason::KeyPending));
    }
    assert_eq!(find_key(&fetched, "k", &KeyRing::default(), &request).unwrap_err().reason, Reason::KeysUnavailable);
    let key = VerifyingKey::new(
        &[Algorithm::EdDSA],
        &[
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23,
            0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
        ],
    );
    let given = KeySource::Given(id, Arc::new(KeySet::new(HashMap::from([("k".into(), key.unwrap())]))));
    assert!(find_key(&given, "k", &KeyRing::default(), &request).unwrap().serves(Algorithm::EdDSA));
    assert_eq!(find_key(&given, "l", &KeyRing::default(), &request).unwrap_err().reason, Reason::KeyUnknown);
}

#[test]
fn a_source_is_within_the_ranges_or_not_and_a_private_one_is_remarked() {
    let ranges =
        |networks: &[&str]| -> Arc<[Arc<RangeSet>]> { networks.iter().map(|network| Arc::new(RangeSet::new(&[network.parse().unwrap()]))).collect() };
    let public = ranges(&["198.51.100.0/24", "203.0.113.0/24"]);
    let private = ranges(&["10.1.0.0/16"]);
    for (source, ranges, result, hidden) in [
        (Some("203.0.113.7"), &public, Ok(false), None),
        (Some("192.0.2.1"), &public, Err(Reason::SourceDenied), None),
        (Some("10.0.0.1"), &public, Err(Reason::SourceDenied), Some("10.0.0.1")),
        (Some("10.0.0.1"), &private, Err(Reason::SourceDenied), None),
        (Some("10.1.0.1"), &private, Ok(false), None),
        (None, &public, Err(Reason::SourceUnknown), None),
    ] {
        let raw = raw(Wire::Grpc, "POST", &[], source, now());
        let request = Request::new(&raw).unwrap();
        for on_mismatch in [OnMismatch::Deny, OnMismatch::Observe] {
            let mut about = About::default();
            let expected = if on_mismatch == OnMismatch::Observe && result.is_err() { Ok(true) } else { result };
            assert_eq!(check_source(&request, &SourceRule { ranges: Arc::clone(ranges), on_mismatch }, &mut about), expected, "{source:?}");
            assert_eq!(about.hidden_client, hidden.map(|hidden: &str| hidden.parse::<IpAddr>().unwrap()), "{source:?}");
        }
    }
}

const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");
const UPGRADE: (&str, &str) = ("upgrade", "websocket");

#[test]
fn an_upgrade_asks_for_a_websocket_of_version_13_with_a_key_of_16_bytes() {
    let short = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j");
    for (wire, headers, is_one) in [
        (Wire::Grpc, &[UPGRADE, KEY, VERSION][..], true),
        (Wire::Grpc, &[("upgrade", "WebSocket"), KEY, VERSION], true),
        (Wire::Grpc, &[("upgrade", "h2c"), KEY, VERSION], false),
        (Wire::Grpc, &[KEY, VERSION], false),
        (Wire::Nginx, &[KEY, VERSION], true),
        (Wire::Nginx, &[VERSION], false),
        (Wire::Grpc, &[UPGRADE, VERSION], false),
        (Wire::Grpc, &[UPGRADE, KEY], false),
        (Wire::Grpc, &[UPGRADE, KEY, ("sec-websocket-version", "8")], false),
        (Wire::Grpc, &[UPGRADE, short, VERSION], false),
        (Wire::Grpc, &[UPGRADE, ("sec-websocket-key", "?"), VERSION], false),
        (Wire::Grpc, &[UPGRADE, KEY, KEY, VERSION], false),
    ] {
        for (method, expected) in [("GET", if is_one { Ok(()) } else { Err(Reason::UpgradeRequired) }), ("POST", Err(Reason::MethodDenied))] {
            let raw = raw(wire, method, headers, None, now());
            assert_eq!(check_method(&Request::new(&raw).unwrap(), &MethodRule::WebSocketUpgrade), expected, "{method} {headers:?}");
        }
    }
    // RFC 8441: over HTTP/2 there is no key.
    for (headers, is_one) in [(&[UPGRADE, VERSION][..], true), (&[UPGRADE, KEY, VERSION], true), (&[UPGRADE, short, VERSION], false)] {
        let raw = RawRequest { http2: true, ..raw(Wire::Grpc, "GET", headers, None, now()) };
        assert_eq!(is_websocket_upgrade(&Request::new(&raw).unwrap()), is_one, "{headers:?}");
    }
}

#[test]
fn methods_are_compared_to_the_letter() {
    for (rule, method, expected) in [
        (MethodRule::Any, "BREW", Ok(())),
        (MethodRule::OneOf(["POST".into(), "PUT".into()].into()), "PUT", Ok(())),
        (MethodRule::OneOf(["POST".into()].into()), "post", Err(Reason::MethodDenied)),
        (MethodRule::OneOf(["POST".into()].into()), "GET", Err(Reason::MethodDenied)),
    ] {
        let raw = raw(Wire::Grpc, method, &[], None, now());
        assert_eq!(check_method(&Request::new(&raw).unwrap(), &rule), expected, "{method}");
    }
}

#[test]
fn a_nominated_header_is_found_in_any_line_and_any_case() {
    for (headers, expected) in [
        (&[("connection", "keep-alive, X-Key")][..], true),
        (&[("connection", "close"), ("connection", "x-key")], true),
        (&[("connection", "x-keys, x key")], false),
        (&[("x-key", "connection")], false),
    ] {
        let raw = raw(Wire::Grpc, "POST", headers, None, now());
        assert_eq!(connection_nominates(&Request::new(&raw).unwrap(), ["authorization", "x-key"].into_iter()), expected, "{headers:?}");
    }
}
