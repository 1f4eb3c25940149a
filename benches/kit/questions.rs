//! What is asked: webhooks as Envoy would ask about them under the demo's policy, good ones and such as are refused.

use std::ops::Range;

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use prost::Message;
use ringfence::{
    cases::CaseRequest,
    cli::demo::folder::{APPLICATION, AUDIENCE, HOST, KEY, SOURCE},
    client,
    issuer::{Broken, Issuer, TokenSpec},
};

use crate::load::Answers;

/// The headers of a real callback, beside the token.
const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "Azure-Communication-Services/1.0"),
    ("content-type", "application/cloudevents-batch+json; charset=utf-8"),
    ("content-length", "842"),
    ("x-request-id", "5f1c1e0b-9ad3-4f1e-9c7a-1f2e3d4c5b6a"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "52.112.10.20"),
    ("x-ms-client-request-id", "0d3f7d5c-1e1b-4a6e-8a57-6f0c5a9e4b21"),
    ("x-envoy-attempt-count", "1"),
];
/// The headers of a delivery of Event Grid's, beside the token.
const EVENT_HEADERS: &[(&str, &str)] = &[
    ("user-agent", "EventGrid"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "1311"),
    ("x-request-id", "5f1c1e0b-9ad3-4f1e-9c7a-1f2e3d4c5b6a"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "52.112.10.20"),
    ("x-envoy-attempt-count", "1"),
    ("aeg-event-type", "Notification"),
    ("aeg-subscription-name", "INCOMING-CALLS"),
    ("aeg-delivery-count", "0"),
    ("aeg-data-version", "1.0"),
    ("aeg-metadata-version", "1"),
];
/// Different tokens among requests that are refused anyway.
const REFUSED_TOKENS: usize = 256;

/// A kind of request, by what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NoPolicy,
    Good,
    WrongAudience,
    Expired,
    SourceDenied,
    TokenMissing,
    BadSignature,
    UnknownKey,
    WebSocket,
    EventGrid,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::NoPolicy,
        Self::Good,
        Self::WrongAudience,
        Self::Expired,
        Self::SourceDenied,
        Self::TokenMissing,
        Self::BadSignature,
        Self::UnknownKey,
        Self::WebSocket,
        Self::EventGrid,
    ];

    /// What it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventGrid => "event_grid",
            other => other.reason(),
        }
    }

    /// The reason that the server counts it under.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::Good | Self::WebSocket | Self::EventGrid => "allowed",
            Self::BadSignature => "signature_invalid",
            Self::UnknownKey => "key_unknown",
            Self::WrongAudience => "audience_mismatch",
            Self::Expired => "token_expired",
            Self::SourceDenied => "source_denied",
            Self::TokenMissing => "token_missing",
        }
    }

    /// Whether the server counts such requests under this reason. A key that is not there is refused after a fetch, and undecided while there may
    /// be no other.
    pub fn is_counted_as(self, reason: &str) -> bool {
        reason == self.reason() || self == Self::UnknownKey && reason == "key_pending"
    }

    /// The statuses that the client may see.
    const fn statuses(self) -> &'static [u16] {
        match self {
            Self::Good | Self::WebSocket | Self::EventGrid => &[200],
            Self::NoPolicy | Self::SourceDenied => &[403],
            Self::WrongAudience | Self::Expired | Self::TokenMissing | Self::BadSignature => &[401],
            // Undecided while no fetch may be made again: keys that came meanwhile may include this one.
            Self::UnknownKey => &[401, 503],
        }
    }

    /// Whether each request has a token that was never used before.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::WebSocket | Self::EventGrid)
    }

    /// The request without its token.
    pub fn request(self) -> CaseRequest {
        self.request_to(if self == Self::NoPolicy { "other.contoso.com" } else { HOST })
    }

    fn request_to(self, host: &str) -> CaseRequest {
        let path = match self {
            Self::WebSocket => "/media",
            Self::EventGrid => "/api/events",
            _ => "/api/callbacks/42",
        };
        let source = if self == Self::SourceDenied { "203.0.113.9" } else { SOURCE };
        let request = CaseRequest::new(&format!("https://{host}{path}?key={KEY}")).source(source.parse().ok());
        let request = request.upgrade(self == Self::WebSocket);
        let headers = if self == Self::EventGrid { EVENT_HEADERS } else { HEADERS };
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Tokens for `count` such requests: for good ones each another one, never used before.
    pub fn tokens(self, issuer: &Issuer, count: usize) -> Vec<Option<String>> {
        let good = TokenSpec::callback(AUDIENCE);
        let (spec, different) = match self {
            Self::Good => (good, count),
            Self::WebSocket => (TokenSpec::websocket(AUDIENCE), count),
            Self::EventGrid => (TokenSpec::event_grid(APPLICATION), count),
            Self::NoPolicy | Self::SourceDenied => (good, REFUSED_TOKENS),
            Self::WrongAudience => (good.broken(Broken::WrongAudience), REFUSED_TOKENS),
            Self::Expired => (good.broken(Broken::Expired), REFUSED_TOKENS),
            // A foreign key's signature may be a number that the key refuses unseen; one of the key's own is always verified.
            Self::BadSignature => (good.broken(Broken::Tampered), REFUSED_TOKENS),
            Self::UnknownKey => (good.broken(Broken::UnknownKid), REFUSED_TOKENS),
            Self::TokenMissing => return vec![None],
        };
        issuer.mint_many(&spec, different.min(count)).unwrap().into_iter().map(Some).collect()
    }

    /// `count` such requests, framed for gRPC, and the tokens in them.
    pub fn ask(self, issuer: &Issuer, count: usize) -> Questions {
        let tokens = self.tokens(issuer, count);
        Questions { messages: self.ask_with(&tokens, 0..count).collect(), tokens: tokens.into_iter().flatten().collect() }
    }

    /// One such request to each of `hosts`, with these tokens in turn.
    pub fn ask_each(self, tokens: &[Option<String>], hosts: impl Iterator<Item = String>) -> Vec<Bytes> {
        let ask = |(number, (host, token)): (usize, (String, &Option<String>))| {
            let request = self.request_to(&host);
            framed(&request, &request.header_lines(token.as_deref()), number)
        };
        hosts.zip(tokens.iter().cycle()).enumerate().map(ask).collect()
    }

    /// `count` more such requests with these tokens in turn.
    pub fn again(self, tokens: &[String], count: usize) -> impl Iterator<Item = Bytes> {
        let tokens: Vec<_> = tokens.iter().cloned().map(Some).collect();
        let first = tokens.len();
        self.ask_with(&tokens, first..first + count)
    }

    /// One request for each of `numbers`, which the proxy's ids are made of.
    fn ask_with(self, tokens: &[Option<String>], numbers: Range<usize>) -> impl Iterator<Item = Bytes> + use<> {
        let request = self.request();
        let lines: Vec<_> = tokens.iter().map(|token| request.header_lines(token.as_deref())).collect();
        numbers.map(move |number| framed(&request, &lines[number % lines.len()], number))
    }

    /// `count` such requests as nginx asks about them, a sub-request each (deploy/examples/nginx).
    pub fn nginx_lines(self, issuer: &Issuer, count: usize) -> Vec<Vec<u8>> {
        let (request, tokens) = (self.request(), self.tokens(issuer, count));
        let source = request.client().unwrap();
        let path = format!("/auth/nginx/any/{source}/{}/{}{}/.end", request.method_name(), request.authority(), request.target());
        self.http(&format!("GET {path} HTTP/1.1\r\nHost: ringfence\r\n"), &["content-length"], &tokens, count)
    }

    /// `count` such requests as a client sends them to a proxy.
    pub fn client_lines(self, issuer: &Issuer, count: usize) -> Vec<Vec<u8>> {
        let (request, tokens) = (self.request(), self.tokens(issuer, count));
        // Those that the proxy writes itself; what it says of the client's address comes from a balancer before it.
        let own = ["content-length", "x-forwarded-proto", "x-envoy-attempt-count"];
        let line = format!("{} {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n", request.method_name(), request.target(), request.authority());
        self.http(&line, &own, &tokens, count)
    }

    /// Requests with this beginning and all headers of the kind but those `left_out`.
    fn http(self, beginning: &str, left_out: &[&str], tokens: &[Option<String>], count: usize) -> Vec<Vec<u8>> {
        let request = self.request();
        let with = |token: &Option<String>| {
            let lines = request.header_lines(token.as_deref());
            let lines = lines.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
            let headers: String = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            format!("{beginning}{headers}\r\n").into_bytes()
        };
        let different: Vec<_> = tokens.iter().map(with).collect();
        (0..count).map(|number| different[number % different.len()].clone()).collect()
    }

    /// The status of a kind that has only one.
    pub fn only_status(self) -> u16 {
        let [status] = self.statuses() else { panic!("{self:?} has several") };
        *status
    }

    /// Panics if there is an answer (with its gRPC prefix) that this kind does not get.
    pub fn expect(self, answers: &Answers) {
        for (answer, times) in answers {
            let response = CheckResponse::decode(&answer[5..]).unwrap();
            let outcome = client::outcome(&response);
            assert!(self.statuses().contains(&outcome.status), "{self:?}, {times} times: {outcome:?}");
        }
    }
}

/// What a proxy asks about a request with these headers, whose id is made of `number`.
fn framed(request: &CaseRequest, lines: &[(String, String)], number: usize) -> Bytes {
    let mut message = client::check_request(request, lines, false);
    let http = message.attributes.as_mut().and_then(|attributes| attributes.request.as_mut()?.http.as_mut()).unwrap();
    http.id = format!("{}", 9_000_000_000_000_000_000 + number);
    client::frame(&message)
}

/// Requests ready to be sent.
#[derive(Debug)]
pub struct Questions {
    pub messages: Vec<Bytes>,
    pub tokens: Vec<String>,
}
