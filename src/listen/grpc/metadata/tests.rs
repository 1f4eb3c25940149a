//! Tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{borrow::Cow, collections::BTreeMap, time::Instant};

use bytes::BytesMut;
use envoy_types::pb::{
    envoy::service::auth::v3::CheckResponse,
    google::protobuf::{Value, value::Kind},
};
use prost::Message;
use ringfence_core::decide::{About, Body, Headers, Mutations, PolicyId, PolicyKind, TokenFacts, Wire};

use super::*;

/// As Envoy reads it.
fn read(metadata: &Metadata<'_>) -> BTreeMap<String, String> {
    let mut buffer = BytesMut::new();
    metadata.encode(&mut buffer);
    assert_eq!(buffer.len(), metadata.encoded_len());
    let text = |value: Value| match value.kind {
        Some(Kind::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    };
    let fields = CheckResponse::decode(buffer.freeze()).unwrap().dynamic_metadata.unwrap().fields;
    fields.into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn expected(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn verdict(decision: Decision, verified: bool) -> Verdict {
    let about = About {
        policy: Some(PolicyId::new(PolicyKind::CallbackPolicy, "contoso", "calls", "uid").into()),
        sender: Some("acs".into()),
        token: Some(TokenFacts::new(Some("issuer"), Some("contoso-resource"), Some("k1"))),
        verified,
        ..About::default()
    };
    Verdict { decision, about }
}

fn allow(reason: AllowReason) -> Decision {
    Decision::Allow(Allow { reason, mutations: Mutations::default() })
}

fn upgrade<'a>(headers: &[(&'a str, &'a str)]) -> RawRequest<'a> {
    let mut all = Headers::new(true);
    headers.iter().for_each(|(name, value)| all.push(*name, value.as_bytes()));
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"GET",
        host: Some(b"callbacks.contoso.com"),
        target: b"/media",
        headers: all,
        source: None,
        body: Body::Absent,
        pin: None::<Cow<'_, str>>,
        http2: false,
        id: None,
    }
}

const IDS: [(&str, &str); 2] = [("x-ms-call-connection-id", "conn-1"), ("x-ms-call-correlation-id", "corr-1")];

#[test]
fn an_allow_tells_who_allowed_which_audience_and_call() {
    let (verdict, raw) = (verdict(allow(AllowReason::Allowed), true), upgrade(&IDS));
    let told = read(&Metadata::of_verdict(&verdict, Some(&raw)));
    let all = [
        ("decision", "allowed"),
        ("reason", "allowed"),
        ("policy", "contoso/calls"),
        ("sender", "acs"),
        ("audience", "contoso-resource"),
        ("call_connection_id", "conn-1"),
        ("call_correlation_id", "corr-1"),
    ];
    assert_eq!(told, expected(&all));
    let webhook = RawRequest { method: b"POST", ..raw };
    for raw in [None, Some(&webhook)] {
        assert_eq!(read(&Metadata::of_verdict(&verdict, raw)), expected(all.get(..5).unwrap()));
    }
}

#[test]
fn nothing_that_was_not_believed_is_told() {
    let raw = upgrade(&IDS);
    let refused = |decision: &'static str, reason: &'static str| {
        expected(&[("decision", decision), ("reason", reason), ("policy", "contoso/calls"), ("sender", "acs")])
    };
    for (verdict, told) in [
        (verdict(Decision::Deny(Reason::AudienceMismatch), true), refused("denied", "audience_mismatch")),
        (verdict(allow(AllowReason::Shadowed(Reason::TokenExpired)), true), refused("shadow_denied", "token_expired")),
        (verdict(allow(AllowReason::Allowed), false), refused("allowed", "allowed")),
    ] {
        assert_eq!(read(&Metadata::of_verdict(&verdict, Some(&raw))), told, "{verdict:?}");
    }
}

#[test]
fn what_does_not_look_like_a_call_id_is_not_told() {
    let verdict = verdict(allow(AllowReason::Allowed), true);
    let long = "a".repeat(65);
    for id in ["", "a b", "a,b", "a\"b", "\u{e4}", &long] {
        let raw = upgrade(&[("x-ms-call-connection-id", id)]);
        assert!(!read(&Metadata::of_verdict(&verdict, Some(&raw))).contains_key("call_connection_id"), "{id}");
    }
    let twice = upgrade(&[("x-ms-call-connection-id", "a"), ("x-ms-call-connection-id", "b")]);
    assert!(!read(&Metadata::of_verdict(&verdict, Some(&twice))).contains_key("call_connection_id"));
}

#[test]
fn long_names_of_policies_are_told_whole() {
    let mut verdict = verdict(Decision::Deny(Reason::TokenExpired), false);
    let name = "n".repeat(253);
    verdict.about.policy = Some(PolicyId::new(PolicyKind::CallbackPolicy, "contoso", &name, "uid").into());
    assert_eq!(read(&Metadata::of_verdict(&verdict, None)).get("policy"), Some(&format!("contoso/{name}")));
}

#[test]
fn what_is_prepared_of_a_refusal_is_what_would_be_told_of_it() {
    let encoded = |metadata: &Metadata<'_>| {
        let mut buffer = BytesMut::new();
        metadata.encode(&mut buffer);
        (buffer, metadata.encoded_len())
    };
    for reason in Reason::ALL {
        let verdict = verdict(Decision::Deny(*reason), true);
        let outcome = EncodedOutcome::denied(*reason);
        assert_eq!(encoded(&Metadata::of_prepared(&outcome, &verdict)), encoded(&Metadata::of_verdict(&verdict, None)), "{reason}");
    }
}
