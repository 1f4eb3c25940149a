//! The requests that the demo sends to itself, and what is to become of each.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::folder::{APPLICATION, AUDIENCE, HOST, KEY, SOURCE};
use crate::{
    cases::CaseRequest,
    client::{self, GrpcClient},
    issuer::{Broken, EntraSpec, EntraVersion, Issuer, Rotation, TokenSpec},
};

/// Where a request's token comes from.
enum Token {
    /// There is none.
    None,
    /// Minted for this request.
    Mint(TokenSpec),
    /// The one of the request before.
    Again,
}

/// What happens before a request.
enum Before {
    Nothing,
    /// The issuer takes a new key and signs with it at once, unannounced.
    Rotate,
}

/// One request of the table.
struct Row {
    title: &'static str,
    request: CaseRequest,
    token: Token,
    before: Before,
    expected: &'static str,
}

/// What became of one request.
pub(super) struct Asked {
    /// What it was.
    pub(super) title: &'static str,
    /// `allowed` or the reason's code.
    pub(super) answer: String,
    /// The status for the client.
    pub(super) status: u16,
    /// How long the answer took, seen from the proxy.
    pub(super) took: Duration,
    /// The answer that was expected.
    pub(super) expected: &'static str,
}

impl Asked {
    /// Whether the answer is the expected one.
    pub(super) fn is_expected(&self) -> bool {
        self.answer == self.expected
    }
}

/// Sends every request of the table over `client`, in order.
pub(super) async fn ask_all(issuer: &Issuer, client: &GrpcClient) -> anyhow::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    let mut token = None;
    for Row { title, request, token: wanted, before, expected } in rows() {
        if let Before::Rotate = before {
            issuer.rotate(Rotation::Sign)?;
        }
        token = match wanted {
            Token::None => None,
            Token::Mint(spec) => Some(issuer.mint(&spec)?),
            Token::Again => token,
        };
        let question = client::check_request(&request, &request.header_lines(token.as_deref()), true);
        let began = Instant::now();
        let response = client.check(&question).await?;
        let took = began.elapsed();
        let outcome = client::outcome(&response);
        let answer = if matches!(outcome.decision.as_str(), "allowed" | "handshake") { outcome.decision } else { outcome.reason };
        asked.push(Asked { title, answer, status: outcome.status, took, expected });
    }
    Ok(asked)
}

/// The URL of a callback; `key`: with the key.
fn callback(key: bool) -> String {
    if key { format!("https://{HOST}/api/callbacks?key={KEY}") } else { format!("https://{HOST}/api/callbacks") }
}

fn rows() -> Vec<Row> {
    let webhook = || {
        CaseRequest::new(&callback(true))
            .source(SOURCE.parse().ok())
            .header("content-type", "application/cloudevents-batch+json; charset=utf-8")
            .body(&call_connected())
    };
    let row = |title, request, token, expected| Row { title, request, token, before: Before::Nothing, expected };
    let good = || Token::Mint(TokenSpec::callback(AUDIENCE));
    let broken = |broken: Broken| Token::Mint(TokenSpec::callback(AUDIENCE).broken(broken));
    let media = CaseRequest::new(&format!("https://{HOST}/media")).source(SOURCE.parse().ok()).upgrade(true);
    let of_acs = vec![
        row("a webhook: CallConnected", webhook(), good(), "allowed"),
        row("a media WebSocket", media, Token::Mint(TokenSpec::websocket(AUDIENCE)), "allowed"),
        row("another ACS customer's valid token", webhook(), broken(Broken::WrongAudience), "audience_mismatch"),
        row("an expired token", webhook(), broken(Broken::Expired), "token_expired"),
        row("a tampered token", webhook(), broken(Broken::Tampered), "signature_invalid"),
        row("a token with `alg: none`", webhook(), broken(Broken::AlgNone), "algorithm_refused"),
        row("a key that the issuer does not have", webhook(), broken(Broken::UnknownKid), "key_unknown"),
        row("no token", webhook(), Token::None, "token_missing"),
        row("no key in the URL", CaseRequest::new(&callback(false)).source(SOURCE.parse().ok()), good(), "api_key_missing"),
        row("the wrong source address", webhook().source("203.0.113.9".parse().ok()), good(), "source_denied"),
        row("a path that no policy covers", CaseRequest::new(&format!("https://{HOST}/admin")).source(SOURCE.parse().ok()), good(), "no_policy"),
        row("a path in disguise", CaseRequest::new(&format!("https://{HOST}/x/..;/api/callbacks?key={KEY}")), good(), "ambiguous_path"),
        Row { before: Before::Rotate, ..row("a token of a key rotated in just now", webhook(), good(), "allowed") },
        row("the same token once more", webhook(), Token::Again, "token_reused"),
    ];
    of_acs.into_iter().chain(event_grid_rows()).collect()
}

/// What Event Grid sends: the two handshakes, in which it asks whether it may deliver, and deliveries.
fn event_grid_rows() -> Vec<Row> {
    let post = |kind: &str, body: &str| {
        let request = CaseRequest::new(&format!("https://{HOST}/api/events?key={KEY}")).source("20.51.4.10".parse().ok());
        request.header("content-type", "application/json; charset=utf-8").header("aeg-event-type", kind).body(body)
    };
    let options = CaseRequest::new(&format!("https://{HOST}/api/events?key={KEY}")).method(Some("OPTIONS".to_owned()));
    let options = options.source("20.51.4.10".parse().ok()).header("webhook-request-origin", "eventgrid.azure.net");
    let call = event("Microsoft.Communication.IncomingCall", &json!({"serverCallId": "aHR0cHM6Ly9h", "callerDisplayName": "Ada"}));
    let validation = event("Microsoft.EventGrid.SubscriptionValidationEvent", &json!({"validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}));
    let row = |title, request, token, expected| Row { title, request, token, before: Before::Nothing, expected };
    let v2 = TokenSpec { entra: Some(EntraSpec { version: EntraVersion::V2, ..EntraSpec::default() }), ..TokenSpec::event_grid(APPLICATION) };
    vec![
        row("Event Grid asks: may I deliver?", post("SubscriptionValidation", &validation), Token::None, "handshake"),
        row("Event Grid asks, as CloudEvents has it", options, Token::None, "handshake"),
        row("an IncomingCall under that header", post("SubscriptionValidation", &call), Token::None, "handshake_invalid"),
        row("an IncomingCall, Entra's token 1.0", post("Notification", &call), Token::Mint(TokenSpec::event_grid(APPLICATION)), "allowed"),
        row("an IncomingCall, Entra's token 2.0", post("Notification", &call), Token::Mint(v2.clone()), "allowed"),
        row("another application of the tenant", post("Notification", &call), Token::Mint(v2.broken(Broken::WrongApplication)), "claim_mismatch"),
        row("an IncomingCall without a token", post("Notification", &call), Token::None, "token_missing"),
    ]
}

/// A list of one event, as Event Grid sends it in its own schema.
fn event(kind: &str, data: &Value) -> String {
    json!([{
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": "/subscriptions/1/resourcegroups/contoso/providers/microsoft.communication/communicationservices/contoso",
        "subject": "",
        "data": data,
        "eventType": kind,
        "eventTime": "2026-11-22T12:00:00.0000000Z",
        "metadataVersion": "1",
        "dataVersion": "1.0"
    }])
    .to_string()
}

/// A batch of one event as Call Automation sends it (CloudEvents 1.0).
fn call_connected() -> String {
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("id", json!("9b5c7d0e-2a44-4c0e-9a51-0c1c7f6a3e21"));
    set("source", json!("calling/callConnections/421f3500-4b1f-4b5e-8d0d-5f0a5e5d0f00"));
    set("type", json!("Microsoft.Communication.CallConnected"));
    set(
        "data",
        json!({
            "version": "2024-09-01-preview",
            "callConnectionId": "421f3500-4b1f-4b5e-8d0d-5f0a5e5d0f00",
            "serverCallId": "aHR0cHM6Ly9hcGkuZmxpZ2h0cHJveHkuc2t5cGUuY29t",
            "correlationId": "d4f1f4d0-7a0e-4e2b-8a9b-1f1f0a4a7b11",
            "publicEventType": "Microsoft.Communication.CallConnected"
        }),
    );
    set("time", json!("2026-11-22T12:00:00.0000000+00:00"));
    set("specversion", json!("1.0"));
    set("datacontenttype", json!("application/json"));
    set("subject", json!("calling/callConnections/421f3500-4b1f-4b5e-8d0d-5f0a5e5d0f00"));
    Value::Array(vec![Value::Object(event)]).to_string()
}
