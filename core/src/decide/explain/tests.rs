#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use super::{
    super::{Headers, RawRequest, Wire},
    *,
};

fn shown(at_ms: Option<i64>, verb: Verb) -> String {
    Age { at_ms, now: Now::settled(1_000_000), verb }.to_string()
}

#[test]
fn ages_are_told_in_seconds_before_and_after() {
    assert_eq!(shown(Some(1_090_000), Verb::EXPIRE), "expires in 90 s");
    assert_eq!(shown(Some(1_000_000), Verb::EXPIRE), "expires in 0 s");
    assert_eq!(shown(Some(910_000), Verb::EXPIRE), "expired 90 s ago");
    assert_eq!(shown(Some(1_090_500), Verb::BEGIN), "begins in 90 s");
    assert_eq!(shown(None, Verb::EXPIRE), "without a date");
    let note = ExpiryNote { expires_ms: 1_060_000, longest_ms: 7_200_000, now: Now::settled(1_000_000) };
    assert_eq!(note.to_string(), "; it expires in 60 s, the sender's longest is 7200 s");
}

#[test]
fn a_handshake_that_is_not_answered_is_explained_by_its_wire_and_method() {
    let shown = |wire, method: &'static [u8]| {
        let raw = RawRequest {
            arrived: Instant::now(),
            wire,
            method,
            host: Some(b"a.example"),
            target: b"/",
            headers: Headers::new(false),
            source: None,
            body: Body::Absent,
            pin: None,
            http2: false,
            id: None,
        };
        HandshakeNote { request: &Request::new(&raw).unwrap(), reason: Reason::HandshakeInvalid }.to_string()
    };
    assert!(shown(Wire::Grpc, b"OPTIONS").contains("not exactly a question of Event Grid's"));
    assert!(shown(Wire::Grpc, b"POST").contains("not exactly one validation event"));
    for method in [b"OPTIONS".as_slice(), b"POST"] {
        assert!(shown(Wire::Nginx, method).contains("over this wire nobody can be answered"));
    }
}
