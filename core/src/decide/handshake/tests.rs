#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decide::{Headers, RawRequest, Wire};

const CODE: &str = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";

fn rule(handshake: HandshakeMode) -> EventGridRule {
    EventGridRule { handshake, origins: ["eventgrid.azure.net".into()].into(), subscriptions: [].into() }
}

/// What becomes of a request with this body.
fn judge_with(mode: HandshakeMode, method: &str, headers: &[(&str, &str)], body: Body<'_>, http2: bool) -> Result<Option<Handshake>, Reason> {
    let mut own = Headers::new(false);
    for (name, value) in headers {
        own.push(*name, value.as_bytes());
    }
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: method.as_bytes(),
        host: Some(b"events.contoso.com"),
        target: b"/events",
        headers: own,
        source: None,
        body,
        pin: None,
        http2,
        id: None,
    };
    judge(&Request::new(&raw).unwrap(), &rule(mode))
}

fn judge_body(mode: HandshakeMode, body: Body<'_>) -> Result<Option<Handshake>, Reason> {
    let headers = [("aeg-event-type", "SubscriptionValidation"), ("content-type", "application/json")];
    judge_with(mode, "POST", &headers, body, false)
}

fn event(kind: &str, data: &Value) -> Value {
    json!({"id": "1", "topic": "/t", "subject": "", "data": data, "eventType": kind, "eventTime": "x", "metadataVersion": "1", "dataVersion": "1"})
}

fn validation() -> Value {
    event(VALIDATION_EVENT, &json!({"validationCode": CODE, "validationUrl": "https://x.eventgrid.azure.net/?id=1"}))
}

/// The body of the answer.
fn answered(handshake: Result<Option<Handshake>, Reason>) -> String {
    match handshake {
        Ok(Some(Handshake::Answer(answer))) => String::from_utf8(answer.body).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_bound_is_64_kib_whole_or_not() {
    let body = |length: usize| {
        let mut event = validation();
        let rest = length - json!([event]).to_string().len();
        event["subject"] = "x".repeat(rest).into();
        json!([event]).to_string()
    };
    let (most, more) = (body(65_536), body(65_537));
    assert_eq!((most.len(), more.len()), (65_536, 65_537));
    assert!(answered(judge_body(HandshakeMode::Answer, Body::Complete(most.as_bytes()))).contains(CODE));
    assert_eq!(judge_body(HandshakeMode::Answer, Body::Complete(more.as_bytes())), Err(Reason::HandshakeInvalid));
    assert_eq!(judge_body(HandshakeMode::Answer, Body::Partial(more.as_bytes())), Err(Reason::HandshakeInvalid));
    assert_eq!(judge_body(HandshakeMode::Answer, Body::Partial(most.as_bytes())), Err(Reason::BodyUnavailable));
}

#[test]
fn a_handshake_with_an_event_in_its_headers_does_not_pass_in_any_case_of_their_names() {
    let body = json!([validation()]).to_string();
    let usual = [("aeg-event-type", "SubscriptionValidation"), ("content-type", "application/json")];
    for (name, passes) in
        [("ce-type", false), ("ce_id", false), ("Ce-Type", false), ("CE_ID", false), ("ce", true), ("cetype", true), ("x-ce-type", true)]
    {
        let headers = [&usual[..], &[(name, "1")]].concat();
        let judged = judge_with(HandshakeMode::PassThrough, "POST", &headers, Body::Complete(body.as_bytes()), false);
        assert_eq!(judged.is_ok(), passes, "{name}: {judged:?}");
    }
}

#[test]
fn a_handshake_needs_its_whole_body() {
    let body = json!([validation()]).to_string();
    for mode in [HandshakeMode::Answer, HandshakeMode::PassThrough] {
        for body in [Body::Absent, Body::Partial(b""), Body::Partial(body.as_bytes())] {
            assert_eq!(judge_body(mode, body), Err(Reason::BodyUnavailable), "{mode:?} {body:?}");
        }
        assert!(judge_body(mode, Body::Complete(body.as_bytes())).is_ok_and(|handshake| handshake.is_some()));
    }
    assert_eq!(judge_body(HandshakeMode::Deliver, Body::Absent), Ok(None));
}

#[test]
fn a_body_that_is_not_shown_passes_with_no_handshake() {
    let (mode, origin) = (HandshakeMode::PassThrough, ("webhook-request-origin", "eventgrid.azure.net"));
    let options = |more: &[(&str, &str)], body, http2| judge_with(mode, "OPTIONS", &[&[origin], more].concat(), body, http2);
    let pass = Ok(Some(Handshake::Pass));
    assert_eq!(options(&[], Body::Absent, false), pass);
    assert_eq!(options(&[], Body::Complete(b""), true), pass);
    assert_eq!(options(&[("content-length", "0")], Body::Absent, true), pass);
    // In HTTP/2 a body needs no header that announces it.
    assert_eq!(options(&[], Body::Absent, true), Err(Reason::BodyUnavailable));
    assert_eq!(options(&[("content-length", "1")], Body::Absent, false), Err(Reason::HandshakeInvalid));
    assert_eq!(options(&[("content-length", "0"), ("content-length", "1")], Body::Absent, false), Err(Reason::HandshakeInvalid));
    assert_eq!(options(&[("content-length", "0"), ("transfer-encoding", "chunked")], Body::Absent, false), Err(Reason::HandshakeInvalid));
    assert_eq!(options(&[("transfer-encoding", "chunked")], Body::Absent, false), Err(Reason::BodyUnavailable));
    assert_eq!(options(&[], Body::Partial(b"x"), false), Err(Reason::HandshakeInvalid));
    assert_eq!(options(&[], Body::Complete(b"x"), false), Err(Reason::HandshakeInvalid));
    // An answer keeps what may follow from the upstream anyway.
    let answered = judge_with(HandshakeMode::Answer, "OPTIONS", &[origin], Body::Absent, true);
    assert!(matches!(answered, Ok(Some(Handshake::Answer(answer))) if answer.body.is_empty()));
}

#[test]
fn an_answer_at_the_edge_is_forbidden_over_http() {
    let mut headers = Headers::new(false);
    headers.push("aeg-event-type", "SubscriptionValidation".as_bytes());
    let body = json!([validation()]).to_string();
    for wire in Wire::ALL.iter().copied().filter(|wire| !wire.answers_at_edge()) {
        let raw = RawRequest {
            arrived: Instant::now(),
            wire,
            method: b"POST",
            host: Some(b"events.contoso.com"),
            target: b"/events",
            headers: headers.clone(),
            source: None,
            body: Body::Complete(body.as_bytes()),
            pin: None,
            http2: false,
            id: None,
        };
        for mode in [HandshakeMode::Answer, HandshakeMode::PassThrough] {
            assert_eq!(judge(&Request::new(&raw).unwrap(), &rule(mode)), Err(Reason::HandshakeInvalid), "{wire:?}");
        }
        assert_eq!(judge(&Request::new(&raw).unwrap(), &rule(HandshakeMode::Deliver)), Ok(None));
    }
}

proptest! {
    /// Whatever is answered is a code and nothing else, and the library finds the same code in the body.
    #[test]
    fn only_a_code_is_ever_answered(code in r#"[a-c0-9<>"\\{}-]{0,6}|\PC{0,4}"#, cut in 0usize..300, put in r#"[\[\]{}",:x ]{0,3}"#) {
        let whole = json!([event(VALIDATION_EVENT, &json!({"validationCode": code}))]).to_string();
        let mut broken = whole.clone();
        let at = broken.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(0);
        broken.insert_str(at, &put);
        for body in [whole, broken] {
            match judge_body(HandshakeMode::Answer, Body::Complete(body.as_bytes())) {
                Ok(Some(Handshake::Answer(answer))) => {
                    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
                    let read: Value = serde_json::from_str(&body).unwrap();
                    let answered = answer["validationResponse"].as_str().unwrap();
                    prop_assert_eq!(answer.as_object().unwrap().len(), 1);
                    prop_assert!(!answered.is_empty() && answered.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                    prop_assert_eq!(read.as_array().unwrap().len(), 1);
                    prop_assert_eq!(read[0]["data"]["validationCode"].as_str(), Some(answered));
                }
                other => prop_assert_eq!(other, Err(Reason::HandshakeInvalid)),
            }
        }
    }

    /// Whatever passes says the same to a reader who goes by no case and takes the last of several.
    #[test]
    fn what_passes_is_a_validation_event_to_every_reader(
        names in proptest::collection::vec("(?i:eventtype|data|type|id|subject|topic|ce)", 0..4),
        kind in "Microsoft\\.(EventGrid\\.SubscriptionValidationEvent|Communication\\.IncomingCall)",
    ) {
        let mut event = validation();
        for name in &names {
            event[name] = kind.clone().into();
        }
        let body = json!([event]).to_string();
        if judge_body(HandshakeMode::PassThrough, Body::Complete(body.as_bytes())) == Ok(Some(Handshake::Pass)) {
            for (name, value) in event.as_object().unwrap() {
                prop_assert!(!name.eq_ignore_ascii_case("eventType") || value == VALIDATION_EVENT, "{}", body);
                prop_assert!(EVENT_MEMBERS.contains(&name.as_str()), "{}", body);
            }
        }
    }
}

#[test]
fn a_handshake_may_name_no_subscription_and_never_a_wrong_one() {
    let judge = |name: Option<&str>, is_handshake| {
        let mut headers = Headers::new(false);
        name.iter().for_each(|name| headers.push("aeg-subscription-name", name.as_bytes()));
        let raw = RawRequest {
            arrived: Instant::now(),
            wire: Wire::Grpc,
            method: b"POST",
            host: Some(b"events.contoso.com"),
            target: b"/events",
            headers,
            source: None,
            body: Body::Absent,
            pin: None,
            http2: false,
            id: None,
        };
        let rule = EventGridRule { subscriptions: ["calls".into()].into(), ..rule(HandshakeMode::Answer) };
        check_subscription(&Request::new(&raw).unwrap(), &rule, is_handshake)
    };
    assert_eq!([judge(None, true), judge(None, false)], [Ok(()), Err(Reason::ClaimMissing)]);
    for is_handshake in [true, false] {
        assert_eq!(judge(Some("CALLS"), is_handshake), Ok(()));
        assert_eq!(judge(Some("other"), is_handshake), Err(Reason::ClaimMismatch));
    }
}

/// Envoy writes `!` for what is no UTF-8: what it shows is then not what passes, and an answer of ours does not depend on it.
#[test]
fn a_body_with_an_exclamation_mark_is_answered_and_never_passed() {
    let mut event = validation();
    event["subject"] = "!".into();
    let body = json!([event]).to_string();
    assert!(answered(judge_body(HandshakeMode::Answer, Body::Complete(body.as_bytes()))).contains(CODE));
    assert_eq!(judge_body(HandshakeMode::PassThrough, Body::Complete(body.as_bytes())), Err(Reason::HandshakeInvalid));
    let plain = body.replace('!', "");
    assert_eq!(judge_body(HandshakeMode::PassThrough, Body::Complete(plain.as_bytes())), Ok(Some(Handshake::Pass)));
}
