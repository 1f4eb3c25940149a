//! Tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{super::wire::HttpView, *};
use crate::listen::ClientAddress;

fn rule(flag: &str) -> ClientAddressRule {
    ClientAddressRule::new(ClientAddress::from_grpc_flag(flag).unwrap(), &[])
}

type Line = (&'static [u8], &'static [u8]);

fn raw(name: &'static str, value: &'static [u8]) -> Line {
    (name.as_bytes(), value)
}

/// A request for `a.example` with these header lines as raw ones.
fn view(lines: Vec<Line>) -> CheckView<'static> {
    let http = HttpView { method: b"POST", path: b"/p?q=1", host: b"a.example", header_map: lines, ..HttpView::default() };
    CheckView { http: Some(http), source: AddressView::Socket("203.0.113.7"), pin: None }
}

fn read<'a>(view: &CheckView<'a>) -> Option<RawRequest<'a>> {
    from_check(view.clone(), Instant::now(), &rule("peer"))
}

#[test]
fn everything_is_taken_over() {
    let mut view = view(vec![raw("authorization", b"Bearer a"), raw(":path", b"/p"), raw("x-name", b"\xff")]);
    view.pin = Some("contoso/contact-center");
    if let Some(http) = &mut view.http {
        (http.id, http.protocol) = ("42", b"HTTP/2");
    }
    let request = read(&view).unwrap();
    assert_eq!((request.wire, request.method, request.host, request.target), (Wire::Grpc, &b"POST"[..], Some(&b"a.example"[..]), &b"/p?q=1"[..]));
    assert_eq!(request.source, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(request.headers.iter().collect::<Vec<_>>(), [raw("authorization", b"Bearer a"), raw(":path", b"/p"), raw("x-name", b"\xff")]);
    assert_eq!((request.pin.as_deref(), request.id.as_deref(), request.http2), (Some("contoso/contact-center"), Some("42"), true));
}

#[test]
fn what_has_no_http_request_is_no_request() {
    assert!(read(&CheckView::default()).is_none());
}

#[test]
fn only_a_socket_address_is_a_source() {
    for (address, source) in [
        (AddressView::Socket("203.0.113.7"), Some("203.0.113.7")),
        (AddressView::Socket("::ffff:203.0.113.7"), Some("203.0.113.7")),
        (AddressView::Socket("fe80::1%eth0"), Some("fe80::1")),
        (AddressView::Socket("not an address"), None),
        (AddressView::Socket(""), None),
        (AddressView::Pipe, None),
        (AddressView::Internal, None),
        (AddressView::Absent, None),
    ] {
        let view = CheckView { source: address, ..view(vec![]) };
        assert_eq!(read(&view).unwrap().source, source.map(|source| source.parse().unwrap()), "{address:?}");
    }
}

#[test]
fn the_client_address_is_found_in_headers_when_asked_for() {
    let view = view(vec![raw("x-forwarded-for", b"198.51.100.1, 10.0.0.1")]);
    assert_eq!(from_check(view, Instant::now(), &rule("xff:1")).unwrap().source, Some("198.51.100.1".parse().unwrap()));
}

#[test]
fn repeated_raw_lines_are_many_apart_or_joined() {
    for lines in [vec![raw("authorization", b"Bearer a"), raw("authorization", b"Bearer b")], vec![raw("authorization", b"Bearer a,Bearer b")]] {
        let view = view(lines);
        assert_eq!(read(&view).unwrap().headers.one("authorization"), Header::Many);
    }
}

#[test]
fn a_name_that_is_twice_in_the_map_is_no_credential() {
    let mut view = view(vec![]);
    view.http.as_mut().unwrap().headers = vec![raw("authorization", b"Bearer a"), raw("x-name", b"1"), raw("authorization", b"Bearer b")];
    assert_eq!(read(&view).unwrap().headers.one("authorization"), Header::Many);
    assert_eq!(read(&view).unwrap().headers.one("x-name"), Header::One(b"1"));
}

#[test]
fn a_raw_line_with_two_values_is_no_request() {
    let mut view = view(vec![raw("authorization", b"a")]);
    assert_eq!(read(&view).unwrap().headers.one("authorization"), Header::One(b"a"));
    view.http.as_mut().unwrap().is_contradictory = true;
    assert!(read(&view).is_none());
}

#[test]
fn a_header_that_names_another_host_makes_it_ambiguous() {
    for (lines, host) in [
        (vec![], true),
        (vec![raw(":authority", b"a.example")], true),
        (vec![raw(":authority", b"A.example:443")], true),
        (vec![raw(":authority", b"b.example")], false),
        (vec![raw(":authority", b"a.example"), raw(":authority", b"b.example")], false),
        (vec![raw("host", b"a.example")], true),
        (vec![raw("host", b"b.example")], false),
        (vec![raw("Host", b"b.example")], false),
    ] {
        assert_eq!(read(&view(lines.clone())).unwrap().host.is_some(), host, "{lines:?}");
    }
    let mut view = view(vec![raw(":authority", b"a.example")]);
    if let Some(http) = &mut view.http {
        http.host = b"";
    }
    assert_eq!(read(&view).unwrap().host, None, "an empty host is none");
}

#[test]
fn a_body_is_complete_only_if_envoy_sent_all_of_it() {
    let marked = |value: &'static [u8]| vec![raw(PARTIAL_BODY, value)];
    for (lines, size, body, expected) in [
        (vec![], 0, "", Body::Absent),
        (vec![], -1, "", Body::Absent),
        (vec![], 10, "", Body::Absent),
        (vec![], 3, "abc", Body::Complete(b"abc")),
        (vec![], -1, "abc", Body::Complete(b"abc")),
        (vec![], 4, "abc", Body::Partial(b"abc")),
        (marked(b"false"), 3, "abc", Body::Complete(b"abc")),
        (marked(b"false"), 0, "", Body::Complete(b"")),
        (marked(b"false"), 10, "", Body::Absent),
        (marked(b"false"), 4, "abc", Body::Partial(b"abc")),
        (marked(b"true"), 3, "abc", Body::Partial(b"abc")),
        (marked(b"true"), 3, "", Body::Absent),
        (marked(b"TRUE"), 3, "abc", Body::Partial(b"abc")),
        (vec![raw("content-length", b"3")], 3, "abc", Body::Complete(b"abc")),
        (vec![raw("content-length", b"4")], 3, "abc", Body::Partial(b"abc")),
        (vec![raw("content-length", b"2")], 3, "abc", Body::Partial(b"abc")),
        (vec![raw("content-length", b"x")], 3, "abc", Body::Partial(b"abc")),
        (vec![raw("content-length", b"3"), raw("content-length", b"3")], 3, "abc", Body::Partial(b"abc")),
        ([marked(b"false"), vec![raw("content-length", b"4")]].concat(), 3, "abc", Body::Partial(b"abc")),
        ([marked(b"false"), vec![raw("content-length", b"4")]].concat(), 0, "", Body::Absent),
        ([marked(b"false"), marked(b"true")].concat(), 3, "abc", Body::Partial(b"abc")),
    ] {
        for as_bytes in [false, true] {
            let mut view = view(lines.clone());
            if let Some(http) = &mut view.http {
                (http.size, http.body, http.raw_body) = if as_bytes { (size, &b""[..], body.as_bytes()) } else { (size, body.as_bytes(), &b""[..]) };
            }
            assert_eq!(read(&view).unwrap().body, expected, "{lines:?} {size} {body} {as_bytes}");
        }
    }
}
