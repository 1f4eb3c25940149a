//! Event Grid through every front door: its deliveries with Entra's tokens, and what becomes of the two handshakes, beyond what the table has.

use ringfence::issuer::{Broken, EntraSpec, EntraVersion, TokenSpec};
use serde_json::{Value, json};

use crate::support::{
    doors::Door,
    http::{Answer, Ask},
    policies::{EVENT_AUDIENCE, HOST, KEY},
    stand::Stand,
};

const CODE: &str = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";
/// What a handshake of Event Grid's own schema is answered.
pub const VALIDATED: &str = r#"{"validationResponse":"512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}"#;

fn event(kind: &str, data: &Value) -> Value {
    json!({"id": "1", "topic": "/t", "subject": "", "data": data, "eventType": kind, "eventTime": "x", "metadataVersion": "1", "dataVersion": "1"})
}

pub fn validation() -> String {
    json!([event("Microsoft.EventGrid.SubscriptionValidationEvent", &json!({"validationCode": CODE, "validationUrl": "https://x"}))]).to_string()
}

/// Bodies that look like a handshake and are none: two of them, one whose code is a script, one that breaks off.
pub fn false_validations() -> [(&'static str, String); 3] {
    let whole = validation();
    let one = whole.trim_start_matches('[').trim_end_matches(']');
    [
        ("two handshakes in one", format!("[{one},{one}]")),
        ("a handshake with a script", whole.replace(CODE, "<script>alert(1)</script>")),
        ("a handshake that breaks off", whole[..whole.len() - 2].to_owned()),
    ]
}

pub fn incoming_call() -> String {
    json!([event("Microsoft.Communication.IncomingCall", &json!({"serverCallId": "1"}))]).to_string()
}

pub fn post(sender: &str, kind: &str, body: impl Into<Vec<u8>>) -> Ask {
    let ask = Ask::new("POST", &format!("/api/events/{sender}?key={KEY}")).header("Host", HOST);
    ask.header("Content-Type", "application/json; charset=utf-8").header("Aeg-Event-Type", kind).body(body)
}

pub fn options(sender: &str, origin: &str) -> Ask {
    Ask::new("OPTIONS", &format!("/api/events/{sender}?key={KEY}")).header("Host", HOST).header("WebHook-Request-Origin", origin)
}

pub fn with_another_key(ask: Ask) -> Ask {
    Ask { target: ask.target.replace(KEY, "another-key-0123456789"), ..ask }
}

fn header<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str()).collect()
}

for_each_door!(deliveries_need_entras_token);

async fn deliveries_need_entras_token(door: &Door) {
    let stand = Stand::start(door).await;
    let token = |version: EntraVersion, broken: Option<Broken>| {
        let spec = TokenSpec { entra: Some(EntraSpec { version, ..EntraSpec::default() }), broken, ..TokenSpec::event_grid(EVENT_AUDIENCE) };
        format!("Bearer {}", stand.issuer.mint(&spec).unwrap())
    };
    for sender in ["answer", "deliver", "pass"] {
        let deliver = || post(sender, "Notification", incoming_call());
        for version in [EntraVersion::V1, EntraVersion::V2] {
            let answer = deliver().header("Authorization", token(version, None)).send(stand.proxy.address).await;
            assert_eq!(answer.status, 200, "{sender} {version:?}: {}", answer.text());
            assert_eq!(stand.application.seen().last().unwrap().body, incoming_call(), "the body reaches the application as it came");
            for (broken, status) in [(Broken::WrongTenant, 401), (Broken::WrongApplication, 403), (Broken::UserToken, 403)] {
                let ask = deliver().header("Authorization", token(version, Some(broken)));
                assert_eq!(ask.send(stand.proxy.address).await.status, status, "{sender} {version:?} {broken}");
            }
        }
        assert_eq!(deliver().send(stand.proxy.address).await.status, 401, "{sender}");
    }
    assert_eq!(stand.application.seen().len(), 6);
}

for_each_door!(a_handshake_is_answered_where_the_door_can);

async fn a_handshake_is_answered_where_the_door_can(door: &Door) {
    let stand = Stand::start(door).await;
    let at = stand.proxy.address;
    let (first, second) =
        (post("answer", "SubscriptionValidation", validation()).send(at).await, options("answer", "EventGrid.azure.net").send(at).await);
    if door.relays.answers {
        assert_eq!((first.status, second.status), (200, 200), "{}", first.text());
        assert_eq!(first.text(), VALIDATED);
        assert_eq!(header(&first, "content-type"), ["application/json; charset=utf-8"]);
        assert_eq!(second.text(), "");
        assert_eq!((header(&second, "webhook-allowed-origin"), header(&second, "webhook-allowed-rate")), (vec!["eventgrid.azure.net"], vec!["*"]));
        for answer in [&first, &second] {
            assert_eq!((header(answer, "cache-control"), header(answer, "x-content-type-options")), (vec!["no-store"], vec!["nosniff"]));
        }
        // Event Grid does not take an answer in chunks.
        assert_eq!((header(&first, "transfer-encoding").len(), header(&second, "content-length")), (0, vec!["0"]));
        let counted = stand.ringfence.metric("ringfence_checks_total", &["decision=\"handshake\"", "sender=\"answer\""]).await;
        assert!((counted - 2.0).abs() < 0.1, "{counted}");
    } else {
        assert_eq!((first.status, second.status), (403, 403));
    }
    let refused = [
        post("answer", "SubscriptionValidation", incoming_call()),
        post("answer", "SubscriptionValidation", validation()).header("Content-Encoding", "gzip"),
        options("answer", "evil.example"),
        Ask::new("OPTIONS", &format!("/api/events/answer?key={KEY}"))
            .header("Host", HOST)
            .header("Origin", "https://evil.example")
            .header("Access-Control-Request-Method", "POST"),
    ];
    for ask in refused {
        assert_eq!(ask.send(at).await.status, 403, "{ask:?}");
    }
    // Longer than what Envoy sends: the code stands within the beginning.
    let long = validation().replacen("\"subject\":\"\"", &format!("\"subject\":\"{}\"", "x".repeat(70_000)), 1);
    let expected = if door.relays.answers { door.relays.undecided } else { 403 };
    assert_eq!(post("answer", "SubscriptionValidation", long).send(at).await.status, expected);
    assert_eq!(with_another_key(post("answer", "SubscriptionValidation", validation())).send(at).await.status, 401);
    assert!(stand.application.seen().is_empty(), "no handshake reaches the application: {:?}", stand.application.seen());
}

for_each_door!(a_handshake_passes_if_it_is_nothing_else);

async fn a_handshake_passes_if_it_is_nothing_else(door: &Door) {
    let stand = Stand::start(door).await;
    let at = stand.proxy.address;
    let expected = if door.relays.answers { 200 } else { 403 };
    assert_eq!(post("pass", "SubscriptionValidation", validation()).send(at).await.status, expected);
    assert_eq!(options("pass", "eventgrid.azure.net").send(at).await.status, expected);
    let more = json!([event("Microsoft.EventGrid.SubscriptionValidationEvent", &json!({"validationCode": CODE, "incomingCallContext": "x"}))]);
    for ask in [
        post("pass", "SubscriptionValidation", incoming_call()),
        post("pass", "SubscriptionValidation", more.to_string()),
        post("pass", "SubscriptionValidation", validation()).header("Ce-Type", "Microsoft.Communication.IncomingCall"),
        options("pass", "eventgrid.azure.net").body(incoming_call()),
    ] {
        assert_eq!(ask.send(at).await.status, 403, "{ask:?}");
    }
    let seen = stand.application.seen();
    assert_eq!(seen.len(), if door.relays.answers { 2 } else { 0 }, "{seen:?}");
    assert!(seen.iter().all(|seen| !seen.target.contains(KEY) && !seen.body.contains("IncomingCall")), "{seen:?}");
    // As a delivery it needs a token like any other.
    assert_eq!(post("deliver", "SubscriptionValidation", validation()).send(at).await.status, 401);
    assert_eq!(options("deliver", "eventgrid.azure.net").send(at).await.status, 401);
}
