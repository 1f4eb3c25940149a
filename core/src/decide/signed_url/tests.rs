#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use proptest::prelude::*;

use super::{super::*, *};

const KEY: &[u8] = b"example-signing-key-0001-9f3c1b7a52e8";
const OTHER_KEY: &[u8] = b"example-signing-key-0002-9f3c1b7a52e8";
const EXPIRES: u64 = 1_800_000_000;
const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
/// An hour before `EXPIRES`.
const NOW: i64 = 1_800_000_000 * SECOND - HOUR;

fn sign(key: &[u8], host: &str, path: &str, expires: u64) -> String {
    SigningKey::new(key).sign(&Host::parse(host.as_bytes()).unwrap(), &Path::parse(path.as_bytes()).unwrap(), expires).unwrap()
}

fn rule(keys: &[&[u8]], max_age_ms: i64) -> UrlSigning {
    UrlSigning { keys: keys.iter().map(|key| SigningKey::new(key)).collect(), max_age_ms }
}

/// Asks with `value` for host and path.
fn ask(value: &[u8], rule: &UrlSigning, host: &str, target: &str, now: Now) -> Result<(), Reason> {
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(host.as_bytes()),
        target: target.as_bytes(),
        headers: Headers::new(false),
        source: None,
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    };
    check_signature(value, rule, &Request::new(&raw).unwrap(), now)
}

fn at(value: &str, now_ms: i64) -> Result<(), Reason> {
    ask(value.as_bytes(), &rule(&[KEY], HOUR), "a.example", "/x", Now::settled(now_ms))
}

/// Made with another implementation: Python's `hmac`.
#[test]
fn what_is_signed_is_what_the_page_says() {
    for (host, path, value) in [
        ("callbacks.contoso.com", "/api/callbacks/42", "v1.1800000000.O5bQ0phFS4fSMT3a6BubHHSxGqVy9Gj5-mNNDjiBBVQ"),
        ("Callbacks.Contoso.com.:443", "/", "v1.1800000000.FrmOPhN35WrmzVwN3jhEgPDp6TfTsStv9kxENnA4NEY"),
        ("xn--bcher-kva.example", "/a%20b/%C3%BC", "v1.1800000000.Ssj7o4Pe-ieN0raf7BBqqScpnidiZS6pMsgn4rcoXuk"),
    ] {
        assert_eq!(sign(KEY, host, path, EXPIRES), value, "{host} {path}");
    }
    let (host, path) = (Host::parse(b"a.example").unwrap(), Path::parse(b"/").unwrap());
    assert!(SigningKey::new(KEY).sign(&host, &path, 253_402_300_799).is_some());
    assert_eq!(SigningKey::new(KEY).sign(&host, &path, 253_402_300_800), None);
}

#[test]
fn a_signature_is_good_for_its_host_and_path_only() {
    let (value, rule) = (sign(KEY, "a.example", "/x", EXPIRES), rule(&[KEY], HOUR));
    let ask = |host, target| ask(value.as_bytes(), &rule, host, target, Now::settled(NOW));
    for (host, target) in [("a.example", "/x"), ("A.Example.:8443", "/x?other=1"), ("a.example", "/x?")] {
        assert_eq!(ask(host, target), Ok(()), "{host}{target}");
    }
    for (host, target) in
        [("b.example", "/x"), ("x.a.example", "/x"), ("a.example", "/X"), ("a.example", "/x/"), ("a.example", "/x/y"), ("a.example", "/")]
    {
        assert_eq!(ask(host, target), Err(Reason::UrlSignatureInvalid), "{host}{target}");
    }
}

/// Lines cannot be moved: what ends one field cannot begin the next.
#[test]
fn fields_do_not_run_into_each_other() {
    let rule = rule(&[KEY], HOUR);
    let value = sign(KEY, "a.example", "/x", EXPIRES);
    let ask = |host, target| ask(value.as_bytes(), &rule, host, target, Now::settled(NOW));
    assert_eq!(ask("a.example", "/x/x"), Err(Reason::UrlSignatureInvalid));
    assert_eq!(ask("a.example.x", "/x"), Err(Reason::UrlSignatureInvalid));
    // The same key over another first line.
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, KEY));
    context.update(format!("{EXPIRES}\na.example\n/x").as_bytes());
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let bare = format!("v1.{EXPIRES}.{}", URL_SAFE_NO_PAD.encode(context.sign()));
    assert_eq!(at(&bare, NOW), Err(Reason::UrlSignatureInvalid));
}

#[test]
fn any_active_key_is_good() {
    let value = sign(KEY, "a.example", "/x", EXPIRES);
    for (keys, expected) in [
        (&[KEY][..], Ok(())),
        (&[OTHER_KEY, KEY], Ok(())),
        (&[KEY, OTHER_KEY], Ok(())),
        (&[OTHER_KEY, OTHER_KEY, OTHER_KEY, KEY], Ok(())),
        (&[OTHER_KEY], Err(Reason::UrlSignatureInvalid)),
    ] {
        assert_eq!(ask(value.as_bytes(), &rule(keys, HOUR), "a.example", "/x", Now::settled(NOW)), expected, "{}", keys.len());
    }
}

#[test]
fn the_form_is_strict() {
    let value = sign(KEY, "a.example", "/x", EXPIRES);
    assert_eq!(at(&value, NOW), Ok(()));
    let mac = value.rsplit('.').next().unwrap();
    // The last character of 43 carries two bits that say nothing: with them set it is another spelling of the same bytes.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(mac.chars().last().unwrap()).unwrap();
    let loose = format!("{}{}", mac.split_at(42).0, alphabet.chars().nth(last | 1).unwrap());
    assert_ne!(loose, mac);
    for wrong in [
        String::new(),
        "v1".to_owned(),
        "v1..".to_owned(),
        mac.to_owned(),
        format!("v1.{EXPIRES}."),
        format!("v1..{mac}"),
        format!("v2.{EXPIRES}.{mac}"),
        format!("V1.{EXPIRES}.{mac}"),
        format!("v1.0{EXPIRES}.{mac}"),
        format!("v1.+{EXPIRES}.{mac}"),
        format!("v1.-{EXPIRES}.{mac}"),
        format!("v1. {EXPIRES}.{mac}"),
        format!("v1.{EXPIRES} .{mac}"),
        format!("v1.{EXPIRES}.0.{mac}"),
        format!("v1.0.{mac}"),
        format!("v1.253402300800.{mac}"),
        format!("v1.{}.{mac}", "9".repeat(40)),
        format!("v1.{EXPIRES}.{mac}."),
        format!("v1.{EXPIRES}.{mac}="),
        format!("v1.{EXPIRES}.{mac}A"),
        format!("v1.{EXPIRES}.{}", mac.split_at(42).0),
        format!("v1.{EXPIRES}.{loose}"),
        format!("v1.{}.{mac}", EXPIRES + 1),
        format!("v1.{}.{mac}", EXPIRES - 1),
    ] {
        assert_eq!(at(&wrong, NOW), Err(Reason::UrlSignatureInvalid), "{wrong}");
    }
}

#[test]
fn a_url_is_good_until_it_expires_and_never_longer_than_is_allowed() {
    let value = sign(KEY, "a.example", "/x", EXPIRES);
    let expires_ms = i64::try_from(EXPIRES).unwrap() * SECOND;
    for (from_expiry, expected) in [
        (-HOUR, Ok(())),
        (-SECOND, Ok(())),
        (0, Ok(())),
        (30 * SECOND - 1, Ok(())),
        (30 * SECOND, Err(Reason::UrlExpired)),
        (1000 * HOUR, Err(Reason::UrlExpired)),
        (-HOUR - 30 * SECOND, Ok(())),
        (-HOUR - 30 * SECOND - 1, Err(Reason::UrlExpired)),
        (-1000 * HOUR, Err(Reason::UrlExpired)),
    ] {
        assert_eq!(at(&value, expires_ms + from_expiry), expected, "{from_expiry}");
    }
    // No age is long enough to wrap.
    let endless = rule(&[KEY], i64::MAX);
    assert_eq!(ask(value.as_bytes(), &endless, "a.example", "/x", Now::settled(NOW)), Ok(()));
}

#[test]
fn only_a_signed_url_is_called_expired() {
    let forged = sign(OTHER_KEY, "a.example", "/x", EXPIRES);
    assert_eq!(at(&forged, NOW + 1000 * HOUR), Err(Reason::UrlSignatureInvalid));
}

#[test]
fn a_url_that_only_one_reading_of_the_clock_calls_expired_is_not_certain() {
    let (value, rule) = (sign(KEY, "a.example", "/x", EXPIRES), rule(&[KEY], HOUR));
    let ask = |effective_ms, other_ms| {
        let stepped_back = Now { effective_ms, wall_ms: other_ms, steady_ms: effective_ms };
        let stepped_forward = Now { effective_ms, wall_ms: effective_ms, steady_ms: other_ms };
        let [back, forward] = [stepped_back, stepped_forward].map(|now| ask(value.as_bytes(), &rule, "a.example", "/x", now));
        assert_eq!(back, forward);
        back
    };
    assert_eq!(ask(NOW + 2 * HOUR, NOW), Err(Reason::ClockUnsettled));
    assert_eq!(ask(NOW + 3 * HOUR, NOW + 2 * HOUR), Err(Reason::UrlExpired));
    assert_eq!(ask(NOW, NOW - 2 * HOUR), Ok(()));
}

#[test]
fn nothing_shows_a_key() {
    let shown = format!("{:?} {:?}", rule(&[KEY], HOUR), ActiveKeys::Signing(rule(&[KEY], HOUR)));
    assert_eq!(shown, "UrlSigning { keys: [SigningKey], max_age_ms: 3600000 } Signing(1)");
}

proptest! {
    #[test]
    fn any_change_is_refused(at in 0usize..57, to: u8) {
        let mut value = sign(KEY, "a.example", "/x", EXPIRES).into_bytes();
        prop_assert_eq!(value.len(), 57);
        let byte = value.get_mut(at).unwrap();
        prop_assume!(*byte != to);
        *byte = to;
        prop_assert_eq!(ask(&value, &rule(&[KEY], i64::MAX), "a.example", "/x", Now::settled(NOW)), Err(Reason::UrlSignatureInvalid));
    }

    #[test]
    fn no_value_is_a_fault(value: Vec<u8>, text in "v1\\.[0-9]{0,14}\\.[A-Za-z0-9_-]{41,45}") {
        for value in [value.as_slice(), text.as_bytes()] {
            prop_assert_eq!(ask(value, &rule(&[KEY], i64::MAX), "a.example", "/x", Now::settled(NOW)), Err(Reason::UrlSignatureInvalid));
        }
    }
}

/// A key may be listed twice, as while one Secret takes over from another.
#[test]
fn a_key_that_is_there_twice_is_that_key() {
    let value = sign(KEY, "a.example", "/x", EXPIRES);
    let ask = |keys: &[&[u8]]| ask(value.as_bytes(), &rule(keys, HOUR), "a.example", "/x", Now::settled(NOW));
    assert_eq!(ask(&[KEY, KEY]), Ok(()));
    assert_eq!(ask(&[KEY, OTHER_KEY, KEY]), Ok(()));
    assert_eq!(ask(&[OTHER_KEY, OTHER_KEY]), Err(Reason::UrlSignatureInvalid));
}

#[test]
fn an_expiry_is_a_plain_number_of_seconds() {
    for (digits, expected) in [
        ("1", Some(1_000)),
        ("1800000000", Some(1_800_000_000_000)),
        ("253402300799", Some(253_402_300_799_000)),
        ("253402300800", None),
        ("1000000000000", None),
        ("", None),
        ("0", None),
        ("01", None),
        ("+1", None),
        ("-1", None),
        ("1a", None),
        ("a1", None),
        ("1 ", None),
    ] {
        assert_eq!(read_expiry(digits.as_bytes()), expected, "{digits}");
        let value = format!("v1.{digits}.{}", "A".repeat(ENCODED_MAC_LENGTH));
        assert_eq!(expiry_of(value.as_bytes()), expected, "{digits}");
    }
}
