//! The body of a handshake: what is answered or let through without a token is one validation event to every reader.

use std::sync::LazyLock;

use ringfence_core::{
    compile::Compiled,
    decide::{Body, Decision, KeyRing, Now, Reason},
};
use serde_json::{Value, json};

use crate::world::{self, Ask, NOW_MS};

const EVENT: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
const MODES: [(&str, &str); 3] = [("answer.example", "Answer"), ("pass.example", "PassThrough"), ("token.example", "RequireToken")];
const HEADERS: &[(&str, &[u8])] = &[("aeg-event-type", b"SubscriptionValidation"), ("content-type", b"application/json; charset=utf-8")];

static POLICIES: LazyLock<Compiled> = LazyLock::new(|| {
    let event_grid = |handshake: &str| json!({"tenantId": "11111111-2222-3333-4444-555555555555", "audiences": ["api://x"], "handshake": handshake});
    let policy = |(host, mode)| world::policy(host, &json!([{"name": "s", "type": "EventGrid", "eventGrid": event_grid(mode)}]));
    world::sound(&MODES.map(policy))
});

/// The first byte says what is done about a handshake, and whether the body is whole; the body follows.
pub fn check(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let (host, mode) = MODES[usize::from(*kind) % MODES.len()];
    let is_whole = *kind < 128;
    let decision = ask(host, if is_whole { Body::Complete(body) } else { Body::Partial(body) });
    match (decision, mode) {
        (Decision::Answer(answer), "Answer") if is_whole => {
            let (_, code) = read(body).unwrap_or_else(|| panic!("no validation event was answered: {}", String::from_utf8_lossy(body)));
            assert_eq!(answer.body, json!({"validationResponse": code}).to_string().into_bytes());
            assert_plain_is_answered(&code);
        }
        (Decision::Allow(_), "PassThrough") if is_whole => {
            let (event, _) = read(body).unwrap_or_else(|| panic!("no validation event passed: {}", String::from_utf8_lossy(body)));
            let known = ["id", "topic", "subject", "data", "eventType", "eventTime", "metadataVersion", "dataVersion"];
            assert!(event.as_object().is_some_and(|event| event.keys().all(|name| known.contains(&name.as_str()))), "{event}");
        }
        (Decision::Deny(Reason::HandshakeInvalid), "Answer" | "PassThrough") => {}
        (Decision::Deny(Reason::BodyUnavailable), "Answer" | "PassThrough") if !is_whole => {}
        (Decision::Deny(Reason::TokenMissing), "RequireToken") => {}
        (decision, _) => panic!("{mode}: {decision:?} for {}", String::from_utf8_lossy(body)),
    }
}

fn ask(host: &str, body: Body<'_>) -> Decision {
    Ask { host, headers: HEADERS, body, ..Ask::default() }.of(&POLICIES, &KeyRing::default(), Now::settled(NOW_MS)).decision
}

/// The one event and its code, as a general library reads them.
fn read(body: &[u8]) -> Option<(Value, String)> {
    let Value::Array(mut events) = world::json(body).ok()? else { return None };
    let event = events.pop().filter(|_| events.is_empty())?;
    let code = event["data"]["validationCode"].as_str()?.to_owned();
    let is_code = (1..=128).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (event["eventType"] == EVENT && is_code).then_some((event, code))
}

/// The same event as Event Grid writes it gets an answer, too.
fn assert_plain_is_answered(code: &str) {
    let plain =
        json!([{"id": "1", "topic": "/t", "subject": "", "data": {"validationCode": code}, "eventType": EVENT, "eventTime": "2026-11-28T00:00:00Z"}]);
    assert!(matches!(ask("answer.example", Body::Complete(plain.to_string().as_bytes())), Decision::Answer(_)), "{plain}");
}
