//! Event Grid's validation handshake: which request is one, and what it is answered with.
//!
//! Before Event Grid delivers anywhere it asks whether it may: with an event that carries a code (Event Grid schema), or with `OPTIONS`
//! (CloudEvents 1.0 webhooks). Nobody knows whether these questions carry a token, so this is where one is waived; the source and the API key
//! are not. What makes a request a handshake is a header that anybody can send: without a token nothing passes here but a handshake that is one
//! to the last byte, and nothing is answered but the code, as a string of letters, digits and `-`.
//!
//! Must not know tokens or policies; nothing is ever fetched.

use super::{Answer, Body, Header, Reason, Request, json::Scanner};

/// What is done about a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeMode {
    /// It is answered at the edge.
    Answer,
    /// It is a delivery like any other.
    Deliver,
    /// It reaches the upstream, if it is nothing else.
    PassThrough,
}

/// What a sender of type `EventGrid` demands beside its token.
#[derive(Clone, Debug)]
pub struct EventGridRule {
    /// What is done about a handshake.
    pub handshake: HandshakeMode,
    /// Who may ask with `OPTIONS`: names as Event Grid gives them, in lower case.
    pub origins: Box<[Box<str>]>,
    /// Subscriptions that may deliver, in lower case; empty = any. Unsigned: a filter, not an identity.
    pub subscriptions: Box<[Box<str>]>,
}

/// A handshake that is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// To be answered at the edge with this.
    Answer(Answer),
    /// To be let through.
    Pass,
}

/// The headers that are read here.
pub(super) const HEADERS: &[&str] = &[EVENT_TYPE, SUBSCRIPTION_NAME, REQUEST_ORIGIN, "content-encoding", "content-type"];
const EVENT_TYPE: &str = "aeg-event-type";
const SUBSCRIPTION_NAME: &str = "aeg-subscription-name";
const REQUEST_ORIGIN: &str = "webhook-request-origin";
/// The only event that may be in a validation request's body.
const VALIDATION_EVENT: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// Largest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;
/// Longest validation code.
const MAX_CODE: usize = 128;
/// The members of an event in Event Grid's schema.
const EVENT_MEMBERS: &[&str] = &["id", "topic", "subject", "data", "eventType", "eventTime", "metadataVersion", "dataVersion"];
/// The members of a validation event's data.
const DATA_MEMBERS: &[&str] = &["validationCode", "validationUrl"];

/// Judges whether `request` is a handshake. `None` = a delivery like any other.
///
/// # Errors
/// `handshake_invalid` for what only claims to be one, or cannot be answered over this wire; `body_unavailable` where the body has to be seen
/// and is not there whole.
pub(super) fn judge(request: &Request<'_>, rule: &EventGridRule) -> Result<Option<Handshake>, Reason> {
    let is_options = request.method == "OPTIONS";
    if rule.handshake == HandshakeMode::Deliver || !(is_options || is_validation(request)) {
        return Ok(None);
    }
    // FAIL-CLOSED: an_answer_at_the_edge_is_forbidden_over_http (2xx would mean allow, and there is no body to look at)
    if !request.wire.answers_at_edge() {
        return Err(Reason::HandshakeInvalid);
    }
    let handshake = if is_options { judge_options(request, rule)? } else { judge_validation(request, rule.handshake)? };
    Ok(Some(handshake))
}

/// Whether the subscription that the request names is one of those that may deliver. A handshake that names none is not held to it.
///
/// # Errors
/// `claim_missing`, `claim_mismatch`.
pub(super) fn check_subscription(request: &Request<'_>, rule: &EventGridRule, is_handshake: bool) -> Result<(), Reason> {
    match request.headers.one(SUBSCRIPTION_NAME) {
        Header::Absent if is_handshake => Ok(()),
        Header::Absent => Err(Reason::ClaimMissing),
        Header::One(name) if rule.subscriptions.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name.trim_ascii())) => Ok(()),
        Header::One(_) | Header::Many => Err(Reason::ClaimMismatch),
    }
}

fn is_validation(request: &Request<'_>) -> bool {
    matches!(request.headers.one(EVENT_TYPE), Header::One(kind) if kind.trim_ascii().eq_ignore_ascii_case(b"SubscriptionValidation"))
}

/// CloudEvents' HTTP webhooks, section 4: the consent is the name of the sender that may deliver. It is taken from our list, never from the
/// request. Event Grid sends no other `OPTIONS`; a browser's preflight (CORS) is none of them.
fn judge_options(request: &Request<'_>, rule: &EventGridRule) -> Result<Handshake, Reason> {
    let Header::One(origin) = request.headers.one(REQUEST_ORIGIN) else { return Err(Reason::HandshakeInvalid) };
    if request.headers.one("access-control-request-method") != Header::Absent {
        return Err(Reason::HandshakeInvalid);
    }
    let known = rule.origins.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(origin.trim_ascii())).ok_or(Reason::HandshakeInvalid)?;
    match rule.handshake {
        HandshakeMode::Answer => {
            Ok(Handshake::Answer(answer([("webhook-allowed-origin", known.as_ref().into()), ("webhook-allowed-rate", "*".into())], Vec::new())))
        }
        HandshakeMode::PassThrough | HandshakeMode::Deliver => has_no_body(request).map(|()| Handshake::Pass),
    }
}

/// Whether nothing follows the headers. Where the body is not shown, that can be told of HTTP/1 only, or by a length of 0.
fn has_no_body(request: &Request<'_>) -> Result<(), Reason> {
    let has_length = match request.headers.one("content-length") {
        Header::Absent => None,
        Header::One(b"0") => Some(false),
        Header::One(_) | Header::Many => Some(true),
    };
    let is_framed = request.headers.one("transfer-encoding") != Header::Absent;
    match (request.body, has_length) {
        (Body::Complete([]), None | Some(false)) => Ok(()),
        (Body::Absent, Some(false)) if !is_framed => Ok(()),
        (Body::Absent, None) if !is_framed && !request.http2 => Ok(()),
        // FAIL-CLOSED: a_body_that_is_not_shown_passes_with_no_handshake
        (Body::Absent, None) => Err(Reason::BodyUnavailable),
        (Body::Absent | Body::Partial(_) | Body::Complete(_), _) => Err(Reason::HandshakeInvalid),
    }
}

/// The validation event: alone in the body, and the body whole.
fn judge_validation(request: &Request<'_>, mode: HandshakeMode) -> Result<Handshake, Reason> {
    if request.headers.one("content-encoding") != Header::Absent || (mode != HandshakeMode::Answer && !reads_alike(request)) {
        return Err(Reason::HandshakeInvalid);
    }
    let body = match request.body {
        Body::Complete(body) | Body::Partial(body) if body.len() > MAX_BODY => return Err(Reason::HandshakeInvalid),
        Body::Complete(body) => body,
        // FAIL-CLOSED: a_handshake_needs_its_whole_body
        Body::Absent | Body::Partial(_) => return Err(Reason::BodyUnavailable),
    };
    let text = std::str::from_utf8(body).map_err(|_| Reason::HandshakeInvalid)?;
    // Envoy writes `!` for what is no UTF-8, unless it sends bytes: such a body is not the one that the upstream gets.
    if mode != HandshakeMode::Answer && text.contains('!') {
        return Err(Reason::HandshakeInvalid);
    }
    let strictness = if mode == HandshakeMode::Answer { Strictness::Code } else { Strictness::Everything };
    let code = read_validation(text, strictness).ok_or(Reason::HandshakeInvalid)?;
    if mode != HandshakeMode::Answer {
        return Ok(Handshake::Pass);
    }
    let body = serde_json::to_vec(&serde_json::json!({ "validationResponse": code })).map_err(|_| Reason::Internal)?;
    Ok(Handshake::Answer(answer([("content-type", "application/json; charset=utf-8".into())], body)))
}

/// Whether an upstream reads the same event from these bytes as we do: no other character set, and no event in the headers (CloudEvents'
/// binary mode, in which the body is only the data).
fn reads_alike(request: &Request<'_>) -> bool {
    let Header::One(content_type) = request.headers.one("content-type") else { return false };
    let mut parts = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case(b"application/json"));
    let is_utf8 = parts.all(|parameter| [&b"charset=utf-8"[..], b"charset=\"utf-8\""].iter().any(|utf8| parameter.eq_ignore_ascii_case(utf8)));
    let begins = |name: &[u8], prefix: &[u8]| name.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix));
    let has_event = request.headers.iter().any(|(name, _)| begins(name, b"ce-") || begins(name, b"ce_"));
    is_json && is_utf8 && !has_event
}

fn answer<const N: usize>(own: [(&'static str, String); N], body: Vec<u8>) -> Answer {
    let fixed = [("cache-control", "no-store".to_owned()), ("x-content-type-options", "nosniff".to_owned())];
    Answer { headers: own.into_iter().chain(fixed).collect(), body }
}

/// How much of a validation event must be as we know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strictness {
    /// What is answered.
    Code,
    /// Every member: another reader, which goes by other names or other cases, must not find another event in it.
    Everything,
}

/// The code of the one validation event that `text` is.
fn read_validation(text: &str, strictness: Strictness) -> Option<String> {
    let (mut events, mut code) = (0, None);
    Scanner::read_array(text, |scanner| {
        events += 1;
        let mut kind = None;
        scanner.object(|name, scanner| match name {
            "eventType" => {
                kind = Some(scanner.string()?);
                Some(())
            }
            "data" => {
                code = read_code(scanner, strictness)?;
                Some(())
            }
            name => read_other(name, EVENT_MEMBERS, strictness, scanner),
        })?;
        (events == 1 && kind? == VALIDATION_EVENT).then_some(())
    })?;
    code
}

/// The code in a validation event's data; `None` within if there is none.
fn read_code(scanner: &mut Scanner<'_>, strictness: Strictness) -> Option<Option<String>> {
    let mut code = None;
    scanner.object(|name, scanner| match name {
        "validationCode" => {
            let text = scanner.string()?;
            let is_code = (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            code = Some(text.into_owned()).filter(|_| is_code);
            is_code.then_some(())
        }
        name => read_other(name, DATA_MEMBERS, strictness, scanner),
    })?;
    Some(code)
}

/// A member whose value does not matter here. A name that some readers take for another one is none.
fn read_other<'j>(name: &'j str, known: &[&str], strictness: Strictness, scanner: &mut Scanner<'j>) -> Option<()> {
    let is_known = known.contains(&name);
    let is_alias = !is_known && known.iter().any(|known| known.eq_ignore_ascii_case(name));
    match strictness {
        _ if is_alias => None,
        Strictness::Code => scanner.skip(),
        Strictness::Everything => scanner.string().filter(|_| is_known).map(|_| ()),
    }
}

#[cfg(test)]
mod tests;
