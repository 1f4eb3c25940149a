#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use proptest::prelude::*;

use super::{super::path::fold_path, *};

fn host(authority: &[u8]) -> Option<String> {
    Host::parse(authority).map(|host| host.as_str().to_owned())
}

#[test]
fn a_host_is_exactly_one_host() {
    let sound: &[(&str, &str)] = &[
        ("callbacks.contoso.com", "callbacks.contoso.com"),
        ("CallBacks.Contoso.COM", "callbacks.contoso.com"),
        ("callbacks.contoso.com.", "callbacks.contoso.com"),
        ("callbacks.contoso.com:8443", "callbacks.contoso.com"),
        ("callbacks.contoso.com.:443", "callbacks.contoso.com"),
        ("localhost", "localhost"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[::1]", "[::1]"),
        ("[2603:1027::A]:443", "[2603:1027::a]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ];
    for (authority, expected) in sound {
        assert_eq!(host(authority.as_bytes()).as_deref(), Some(*expected), "{authority}");
    }
    let long_label = format!("{}.com", "a".repeat(64));
    let long_host = format!("{}com", "a.".repeat(126));
    let ambiguous: &[&str] = &[
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a.com..",
        "a.com,b.com",
        "a.com, b.com",
        "x@a.com",
        "a.com:",
        "a.com:x",
        "a.com:80:80",
        "a.com:123456",
        "a b",
        "a\tb",
        "a.com/",
        "a.com?x",
        "a.com#",
        "a\\b",
        "[::1",
        "[::1]x",
        "[::1]:",
        "::1",
        "[]",
        "bücher.example",
        "a%2ecom",
        "a.com\0",
        &long_label,
        &long_host,
    ];
    for authority in ambiguous {
        assert_eq!(host(authority.as_bytes()), None, "{authority:?}");
    }
    assert_eq!(host(b"a\xff.com"), None);
}

#[test]
fn a_path_is_read_alike_by_every_upstream() {
    let sound = [
        "/",
        "/api/callbacks",
        "/API/Callbacks",
        "/a.b/..c/c../...",
        "/%C3%BC",
        "/ü",
        "/a%20b",
        "/a+b",
        "/a%2Bb",
        "/a%25b",
        "/~user",
        "/a,b=c@d!$&'()*:",
        "/trailing/",
    ];
    for path in sound {
        assert!(Path::parse(path.as_bytes()).is_ok(), "{path}: {:?}", Path::parse(path.as_bytes()));
    }
    let ambiguous = [
        "",
        "api",
        "*",
        "//",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a/.",
        "/..;/admin",
        "/a;x=1",
        "/a\\b",
        "/a#b",
        "/a b",
        "/a\u{1}b",
        "/a\u{7f}",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/%2e%2e/b",
        "/a%2E",
        "/%61pi",
        "/a%2Db",
        "/a%5Fb",
        "/a%7Eb",
        "/%30",
        "/a%252fb",
        "/a%2561",
        "/a%00",
        "/a%0d%0a",
        "/a%7f",
        "/a%3bx",
        "/a%23b",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%ff",
        "/a%c0%af",
        "/a%ed%a0%80",
        "/a%C2%85",
        "/a\u{85}",
    ];
    for path in ambiguous {
        assert!(Path::parse(path.as_bytes()).is_err(), "{path:?}");
    }
    assert!(Path::parse(b"/a\xff").is_err());
}

#[test]
fn an_absolute_form_must_name_the_same_host() {
    let host = Host::parse(b"a.com").unwrap();
    let target = |text: &'static str| Target::parse(text.as_bytes(), &host).map(|target| target.path.map(|path| path.as_str().to_owned()));
    assert_eq!(target("http://a.com/x"), Ok(Ok("/x".to_owned())));
    assert_eq!(target("https://A.COM:443/x"), Ok(Ok("/x".to_owned())));
    assert_eq!(target("http://b.com/x"), Err(Reason::AmbiguousHost));
    assert_eq!(target("http://x@a.com/x"), Err(Reason::AmbiguousHost));
    assert_eq!(target("http://a.com,b.com/x"), Err(Reason::AmbiguousHost));
    assert!(target("http://a.com").unwrap().is_err());
    assert!(target("*").unwrap().is_err());
    assert!(target("").unwrap().is_err());
    assert!(target("/x?a=b#c").unwrap().is_err());
}

#[test]
fn a_joined_credential_counts_as_doubled() {
    for (joined, expected) in [(true, Header::Many), (false, Header::One(b"Bearer a,b"))] {
        let mut headers = Headers::new(joined);
        headers.push("Authorization", b"Bearer a,b".as_slice());
        assert_eq!(headers.one("authorization"), expected);
        assert_eq!(headers.one("cookie"), Header::Absent);
        headers.push("authorization", b"Bearer c".as_slice());
        assert_eq!(headers.one("authorization"), Header::Many);
    }
}

#[test]
fn methods_are_tokens() {
    for method in ["GET", "POST", "PROPFIND", "get", "M-SEARCH"] {
        assert_eq!(parse_method(method.as_bytes()), Ok(method));
    }
    for method in [b"".as_slice(), b"GE T", b"GET\n", b"G\xc3\xa9T", &[b'A'; 33]] {
        assert_eq!(parse_method(method), Err(Reason::MalformedRequest));
    }
}

/// A decoder that shares nothing with ours: what an upstream may make of a path.
fn decode_naively(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' && tail.len() >= 2 && tail[..2].iter().all(u8::is_ascii_hexdigit) {
            out.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[test]
fn names_are_compared_as_ascii_is_folded_and_shown_as_they_came() {
    for byte in 0..=255_u8 {
        for at in [0, 3, 7] {
            let mut name = *b"abcdefgh";
            name[at] = byte;
            let headers = Headers::of(vec![(&name, b"1")], false);
            let expected = if byte.eq_ignore_ascii_case(&b"abcdefgh"[at]) { Header::One(&b"1"[..]) } else { Header::Absent };
            assert_eq!(headers.one("abcdefgh"), expected, "{byte} at {at}");
            assert_eq!(headers.iter().collect::<Vec<_>>(), [(&name[..], &b"1"[..])]);
        }
    }
}

proptest! {
    #[test]
    fn a_header_is_found_by_its_name_and_by_no_other(names in proptest::collection::vec("[a-cA-C-]{0,3}", 0..8), sought in "[a-c-]{0,3}") {
        let mut headers = Headers::new(false);
        names.iter().for_each(|name| headers.push(name.as_str(), &b"1"[..]));
        let expected = match names.iter().filter(|name| name.eq_ignore_ascii_case(&sought)).count() {
            0 => Header::Absent,
            1 => Header::One(b"1"),
            _ => Header::Many,
        };
        let at_once = Headers::of(names.iter().map(|name| (name.as_bytes(), &b"1"[..])).collect(), false);
        for headers in [headers, at_once] {
            prop_assert!(headers.one(&sought) == expected);
            prop_assert_eq!(headers.all(&sought).count(), names.iter().filter(|name| name.eq_ignore_ascii_case(&sought)).count());
        }
    }

    #[test]
    fn authorization_is_the_header_of_that_name(
        lines in proptest::collection::vec(("[Aa]uthorizatio[nN]|[Aa]uthorization_|x-authorization|host", "[ab,]{0,2}"), 0..4),
        joined: bool,
    ) {
        let at_once = Headers::of(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect(), joined);
        let mut one_by_one = Headers::new(joined);
        lines.iter().for_each(|(name, value)| one_by_one.push(name, value.as_bytes()));
        for headers in [at_once, one_by_one] {
            prop_assert_eq!(headers.authorization(), headers.one("authorization"));
        }
    }

    /// Whatever passes means the same after any number of decodings, and has no way up or sideways.
    #[test]
    fn a_sound_path_survives_decoding(path in "/[a-c./%25eEfF;\\\\#0 ü]{0,12}") {
        if Path::parse(path.as_bytes()).is_ok() {
            let once = decode_naively(&path);
            let text = String::from_utf8(once.clone()).unwrap();
            prop_assert_eq!(once.iter().filter(|byte| **byte == b'/').count(), path.matches('/').count());
            prop_assert!(!text.contains("//") && !text.contains(['\\', ';', '#', '\0']));
            prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
            let twice = decode_naively(&text);
            prop_assert_eq!(twice, once);
        }
    }

    /// What a sound path has in common with its other spellings: folding twice is folding once, and neither the case, nor the encoding of what is
    /// beyond ASCII, nor a slash at the end changes it.
    #[test]
    fn spellings_of_a_path_fold_alike(path in "(/([a-cA-C._~:,+ücÜſK-]|%20|%25|%2B|%C3%BC){1,4}){1,4}") {
        if let Ok(parsed) = Path::parse(path.as_bytes()) {
            let folded = parsed.folded().to_owned();
            prop_assert_eq!(&*fold_path(&folded), folded.as_str());
            let encoded: String = path.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect() }).collect();
            for spelling in [path.to_ascii_uppercase(), path.to_ascii_lowercase(), path.to_uppercase(), encoded, format!("{path}/")] {
                prop_assert_eq!(Path::parse(spelling.as_bytes()).map(|path| path.folded().to_owned()), Ok(folded.clone()), "{}", spelling);
            }
        }
    }

    #[test]
    fn hosts_never_panic_and_are_normal(authority in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(host) = host(&authority) {
            let again = self::host(host.as_bytes());
            prop_assert_eq!(again.as_deref(), Some(host.as_str()));
            prop_assert!(!host.ends_with('.') && !host.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
}

#[test]
fn what_is_shown_holds_no_credential() {
    let mut headers = Headers::new(false);
    headers.push("authorization", b"Bearer hush".as_slice());
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(b"a.example"),
        target: b"/x?key=hush",
        headers,
        source: None,
        body: Body::Complete(b"hush"),
        pin: None,
        http2: false,
        id: None,
    };
    let request = Request::new(&raw).unwrap();
    for shown in [format!("{raw:?}"), format!("{request:?}"), format!("{:?}", request.headers.one("authorization"))] {
        assert!(!shown.contains("hush") && !shown.contains("104, 117, 115, 104"), "{shown}");
    }
    assert!(format!("{request:?}").contains("authorization"));
}

fn raw<'a>(method: &'a [u8], target: &'a [u8], body: Body<'a>) -> RawRequest<'a> {
    let mut headers = Headers::new(false);
    headers.push("authorization", b"Bearer secret".as_slice());
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method,
        host: Some(b"a.example"),
        target,
        headers,
        source: None,
        body,
        pin: None,
        http2: false,
        id: None,
    }
}

fn reads(method: &[u8], target: &[u8]) -> bool {
    Request::new(&raw(method, target, Body::Absent)).is_ok()
}

#[test]
fn methods_targets_and_labels_may_be_so_long_and_no_longer() {
    assert!(reads(&[b'A'; 32], b"/") && !reads(&[b'A'; 33], b"/") && !reads(b"", b"/") && !reads(b"A B", b"/"));
    let target = |length: usize| format!("/{}", "a".repeat(length - 1)).into_bytes();
    assert!(reads(b"GET", &target(16_384)) && !reads(b"GET", &target(16_385)));
    let label = |length: usize| host(format!("{}.example", "a".repeat(length)).as_bytes()).is_some();
    assert!(label(1) && label(62) && label(63) && !label(64) && !label(65));
    let name = |length: usize| host(format!("{}{}", "a.".repeat(100), "b".repeat(length - 200)).as_bytes()).is_some();
    assert!(name(253) && !name(254));
}

#[test]
fn an_address_may_end_in_colons() {
    for (authority, expected) in [("[::]", "[::]"), ("[fe80::]:80", "[fe80::]"), ("[1::]:8443", "[1::]")] {
        assert_eq!(host(authority.as_bytes()).as_deref(), Some(expected), "{authority}");
    }
}

/// However often it is there.
#[test]
fn what_no_query_holds_makes_the_target_ambiguous() {
    for (query, is_sound) in [
        ("a=b", true),
        ("", true),
        ("a= b", true),
        ("a=#", false),
        ("a=##", false),
        ("a=\u{1}", false),
        ("a=\u{1}\u{1f}", false),
        ("a=\u{7f}", false),
        ("a=\u{7f}\u{7f}", false),
    ] {
        let target = format!("/x?{query}");
        let raw = raw(b"GET", target.as_bytes(), Body::Absent);
        let request = Request::new(&raw).unwrap();
        assert_eq!(request.target.path.is_ok(), is_sound, "{query:?}");
        assert_eq!(request.target.query, Some(query.as_bytes()));
    }
}

/// Whoever shows a request shows no credential.
#[test]
fn what_is_shown_of_a_request_holds_no_secret() {
    let body = |body: Body<'_>| format!("{body:?}");
    assert_eq!([Body::Absent, Body::Partial(b"secret"), Body::Complete(b"secret!")].map(body), ["Absent", "Partial(6 bytes)", "Complete(7 bytes)"]);
    let raw = raw(b"GET", b"/x?key=secret", Body::Complete(b"secret"));
    let header = |name| format!("{:?}", raw.headers.one(name));
    assert_eq!([header("authorization"), header("absent")], ["One(13 bytes)", "Absent"]);
    let request = Request::new(&raw).unwrap();
    let shown = format!("{raw:?} {:?} {:?}", request.target, request.headers);
    assert!(!shown.contains("secret"), "{shown}");
    for part in ["RawRequest", "GET", "a.example", "authorization", "Target", "/x"] {
        assert!(shown.contains(part), "{shown} without {part}");
    }
}

#[test]
fn wires_have_names_of_their_own() {
    let names: Vec<_> = Wire::ALL.iter().map(|wire| wire.label()).collect();
    assert_eq!(names, ["grpc", "nginx", "ingress-nginx", "traefik", "caddy", "haproxy", "envoy"]);
    assert_eq!(Wire::ALL.iter().filter(|wire| wire.answers_at_edge()).collect::<Vec<_>>(), [&Wire::Grpc]);
}
