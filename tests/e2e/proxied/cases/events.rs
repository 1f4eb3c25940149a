//! Rows of the table: a partner's tokens, and Event Grid's deliveries and handshakes.

use base64::{Engine, engine::general_purpose::STANDARD};
use ringfence::issuer::{Broken, EntraSpec, EntraVersion, Issuer, TokenSpec};
use ringfence_core::decide::Reason;
use serde_json::json;

use super::{
    super::event_grid::{VALIDATED, false_validations, incoming_call, options, post, validation, with_another_key},
    BAD_KEY, Case, OTHER_PLACE, allowed, bearer, case, refused,
};
use crate::support::{
    doors::Outcome,
    http::Ask,
    policies::{AUDIENCE, EVENT_AUDIENCE, HOST, PARTNER},
};

/// Classes of the documentation's table.
const HANDSHAKE_IN_BODY: &str = "a handshake of Event Grid's schema";
const HANDSHAKE: &str = "a handshake of CloudEvents (`OPTIONS`)";
const NO_HANDSHAKE: &str = "a handshake that is none, or is not Event Grid's";
/// A genuine handshake's event, in gzip.
const ZIPPED: &str = "H4sIAAAAAAACA4uuVkotS80rCaksSFWyUvLNTC7KL85PK9FzBYm6F2Wm6AWXJhUnF2UWlGTm54Ul5mSmJIJYYHklHSUgL1HJqlqpDC7jnJ8CMsrU0CjF2CLJTDfZPMlC18Qg2ULXwjItVTfNxCzNMtXSzMgoyUyptjYWADNR5r2CAAAA";

/// Tokens of any issuer.
pub(super) fn partners(issuer: &Issuer) -> Vec<Case> {
    let (audience, application) = PARTNER;
    let with = |claims: serde_json::Value| {
        let spec = TokenSpec { claims: claims.as_object().unwrap().clone(), ..TokenSpec::callback(audience) };
        let ask = Ask::new("PUT", "/partner/orders").header("Host", HOST).header("X-Acs-Audience", "evil");
        ask.header("Authorization", bearer(&issuer.mint(&spec).unwrap()))
    };
    vec![
        allowed("a partner's token", with(json!({"azp": application}))).upstream_header("x-acs-audience", &[application]),
        refused("a token of another partner", Reason::ClaimMismatch, with(json!({"azp": "another-app"}))).class(OTHER_PLACE),
        refused("a callback's token where a partner's belongs", Reason::AudienceMismatch, {
            let token = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
            Ask::new("PUT", "/partner/orders").header("Host", HOST).header("Authorization", bearer(&token))
        }),
    ]
}

/// Events of Event Grid with Entra's tokens.
pub(super) fn deliveries(issuer: &Issuer) -> Vec<Case> {
    let deliver = |version: EntraVersion, broken: Option<Broken>| {
        let spec = TokenSpec { entra: Some(EntraSpec { version, ..EntraSpec::default() }), broken, ..TokenSpec::event_grid(EVENT_AUDIENCE) };
        post("answer", "Notification", incoming_call()).header("Authorization", bearer(&issuer.mint(&spec).unwrap()))
    };
    let broken = [("1.0", EntraVersion::V1), ("2.0", EntraVersion::V2)].into_iter().flat_map(|(number, version)| {
        let broken = Broken::ALL.iter().filter(|broken| broken.breaks_entra());
        broken.map(move |broken| refused(format!("a delivery of version {number}: {broken}"), broken.reason(), deliver(version, Some(*broken))))
    });
    broken
        .chain([
            allowed("a delivery with a token of version 1.0", deliver(EntraVersion::V1, None)).upstream_target("/api/events/answer"),
            allowed("a delivery with a token of version 2.0", deliver(EntraVersion::V2, None)).upstream_target("/api/events/answer"),
            refused("a delivery without a token", Reason::TokenMissing, post("answer", "Notification", incoming_call())),
            refused("a handshake that is to be a delivery", Reason::TokenMissing, post("deliver", "SubscriptionValidation", validation())),
            refused("the same of CloudEvents", Reason::TokenMissing, options("deliver", "eventgrid.azure.net")),
        ])
        .collect()
}

/// Event Grid's two handshakes.
pub(super) fn handshakes() -> Vec<Case> {
    let validate = |sender: &str| post(sender, "SubscriptionValidation", validation());
    let no_handshakes = ["answer", "pass"].into_iter().flat_map(|sender| {
        false_validations().map(|(name, body)| {
            let ask = post(sender, "SubscriptionValidation", body);
            refused(format!("{name}, {sender}"), Reason::HandshakeInvalid, ask).handshake_in_body().class(NO_HANDSHAKE)
        })
    });
    let zipped = |sender: &str| post(sender, "SubscriptionValidation", STANDARD.decode(ZIPPED).unwrap());
    let zipped = ["answer", "pass"].into_iter().flat_map(|sender| {
        let (said, unsaid) = (zipped(sender).header("Content-Encoding", "gzip"), zipped(sender));
        [
            refused(format!("a handshake in gzip, {sender}"), Reason::HandshakeInvalid, said).class(NO_HANDSHAKE),
            refused(format!("one that does not say so, {sender}"), Reason::HandshakeInvalid, unsaid).handshake_in_body().class(NO_HANDSHAKE),
        ]
    });
    let handshakes = vec![
        case("a handshake that is answered", validate("answer"), Outcome::Answered(VALIDATED)).handshake_in_body().class(HANDSHAKE_IN_BODY),
        allowed("a handshake that passes", validate("pass")).upstream_target("/api/events/pass").handshake_in_body().class(HANDSHAKE_IN_BODY),
        case("one of CloudEvents that is answered", options("answer", "EventGrid.azure.net"), Outcome::Answered("")).handshake().class(HANDSHAKE),
        allowed("one of CloudEvents that passes", options("pass", "eventgrid.azure.net"))
            .upstream_target("/api/events/pass")
            .handshake()
            .class(HANDSHAKE),
        refused("a handshake with another key", Reason::ApiKeyInvalid, with_another_key(validate("answer"))).class(BAD_KEY),
        refused("one of CloudEvents from elsewhere", Reason::HandshakeInvalid, options("answer", "evil.example")).class(NO_HANDSHAKE),
        refused("an event that says it is a handshake", Reason::HandshakeInvalid, post("answer", "SubscriptionValidation", incoming_call()))
            .handshake_in_body()
            .class(NO_HANDSHAKE),
    ];
    handshakes.into_iter().chain(no_handshakes).chain(zipped).collect()
}
