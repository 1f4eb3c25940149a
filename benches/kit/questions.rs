//! What is asked: webhooks as Envoy would ask about them under the demo's policy, good ones and such as are refused.

use std::ops::Range;

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use prost::Message;
use ringfence::{
    cases::CaseRequest,
    cli::demo::folder::{AUDIENCE, HOST, KEY, SOURCE},
    client,
    issuer::{Broken, Issuer, TokenSpec},
};

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
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::NoPolicy, Self::Good, Self::WrongAudience, Self::Expired, Self::SourceDenied, Self::TokenMissing];

    /// The reason that the server counts it under.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::Good => "allowed",
            Self::WrongAudience => "audience_mismatch",
            Self::Expired => "token_expired",
            Self::SourceDenied => "source_denied",
            Self::TokenMissing => "token_missing",
        }
    }

    /// The status that the client sees.
    const fn status(self) -> u16 {
        match self {
            Self::Good => 200,
            Self::NoPolicy | Self::SourceDenied => 403,
            Self::WrongAudience | Self::Expired | Self::TokenMissing => 401,
        }
    }

    fn request(self) -> CaseRequest {
        let host = if self == Self::NoPolicy { "other.contoso.com" } else { HOST };
        let source = if self == Self::SourceDenied { "203.0.113.9" } else { SOURCE };
        let request = CaseRequest::new(&format!("https://{host}/api/callbacks/42?key={KEY}")).source(source.parse().ok());
        HEADERS.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Tokens for `count` such requests: for good ones each another one, never used before.
    fn tokens(self, issuer: &Issuer, count: usize) -> Vec<Option<String>> {
        let good = TokenSpec::callback(AUDIENCE);
        let (spec, different) = match self {
            Self::Good => (good, count),
            Self::NoPolicy | Self::SourceDenied => (good, REFUSED_TOKENS),
            Self::WrongAudience => (good.broken(Broken::WrongAudience), REFUSED_TOKENS),
            Self::Expired => (good.broken(Broken::Expired), REFUSED_TOKENS),
            Self::TokenMissing => return vec![None],
        };
        issuer.mint_many(&spec, different.min(count)).unwrap().into_iter().map(Some).collect()
    }

    /// `count` such requests, framed for gRPC, and the tokens in them.
    pub fn ask(self, issuer: &Issuer, count: usize) -> Questions {
        let tokens = self.tokens(issuer, count);
        Questions { messages: self.ask_with(&tokens, 0..count).collect(), tokens: tokens.into_iter().flatten().collect() }
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
        numbers.map(move |number| {
            let mut message = client::check_request(&request, &lines[number % lines.len()], false);
            let http = message.attributes.as_mut().and_then(|attributes| attributes.request.as_mut()?.http.as_mut()).unwrap();
            http.id = format!("{}", 9_000_000_000_000_000_000 + number);
            client::frame(&message)
        })
    }

    /// Panics if `answer` (with its gRPC prefix) is not the one that this kind gets.
    pub fn expect(self, answer: &[u8]) {
        let response = CheckResponse::decode(&answer[5..]).unwrap();
        let outcome = client::outcome(&response);
        assert_eq!(outcome.status, self.status(), "{self:?}: {outcome:?}");
    }
}

/// Requests ready to be sent.
#[derive(Debug)]
pub struct Questions {
    pub messages: Vec<Bytes>,
    pub tokens: Vec<String>,
}
