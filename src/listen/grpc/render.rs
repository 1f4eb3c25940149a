//! From a [`Verdict`] to a framed `CheckResponse`.
//!
//! A `CheckResponse` with status code 0 is an allow whatever else it holds, and so is a default one: exactly two functions build one in the
//! whole program, [`allowed`] and [`denied`].
//!
//! An allow is written straight into the message, since the generated types would cost a dozen texts at every check.

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{CheckResponse, DeniedHttpResponse, check_response::HttpResponse},
        r#type::v3::HttpStatus,
    },
    google::{protobuf::BoolValue, rpc},
};
use prost::Message;
use ringfence_core::decide::{Answer, Decision, Mutations, RawRequest, Reason, Verdict};

use super::{
    fields::{open, prefixed, text},
    frame::framed,
    metadata::{EncodedOutcome, Metadata},
};
use crate::listen::{
    problem::{Denial, Status, denial},
    settings::ToldDecisions,
};

/// `CheckResponse.status`.
const STATUS: u32 = 1;
/// `CheckResponse.ok_response`.
const OK_RESPONSE: u32 = 3;
/// `OkHttpResponse.headers`, each a message of a header and what becomes of the client's.
const HEADERS: u32 = 2;
const HEADER: u32 = 1;
/// `HeaderValue.key` and `HeaderValue.value`.
const NAME: u32 = 1;
const VALUE: u32 = 2;
/// `HeaderValueOption.append` (a message of `false`) and `append_action`: see [`overwrite`].
const OVERWRITE: [u8; 4] = [2 << 3 | 2, 0, 3 << 3, HeaderAppendAction::OverwriteIfExistsOrAdd as u8];
/// `OkHttpResponse.headers_to_remove`.
const REMOVED_HEADERS: u32 = 5;
/// `OkHttpResponse.query_parameters_to_remove`.
const REMOVED_PARAMETERS: u32 = 8;

/// `google.rpc.Code` of a denial. There is no 0 among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeniedCode {
    InvalidArgument = 3,
    PermissionDenied = 7,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl DeniedCode {
    const fn of(status: Status) -> Self {
        match status {
            Status::BadRequest => Self::InvalidArgument,
            Status::Unauthorized => Self::Unauthenticated,
            Status::Forbidden => Self::PermissionDenied,
            Status::TooManyRequests | Status::Unavailable => Self::Unavailable,
        }
    }
}

/// Renders verdicts. Denials are the same for every request but for who denies, so they are rendered once.
#[derive(Debug)]
pub(super) struct Renderer {
    denials: Vec<Prepared>,
    reveal: bool,
    told: ToldDecisions,
}

/// A denial.
#[derive(Debug)]
struct Prepared {
    /// Encoded, without its metadata.
    encoded: Vec<u8>,
    /// The part of its metadata that does not say who gave it.
    outcome: EncodedOutcome,
    /// Framed, of nobody in particular. Copied for each answer: threads that share one would hand the count of its holders to and fro.
    framed: Box<[u8]>,
}

impl Renderer {
    /// `reveal`: denials carry `x-ringfence-reason`. `told`: answers that carry metadata.
    pub(super) fn new(reveal: bool, told: ToldDecisions) -> Self {
        let prepare = |reason: &Reason| {
            let response = from_reason(*reason, Status::of(*reason), reveal);
            let framed = frame(&response, &denial_metadata(*reason, told)).to_vec().into();
            Prepared { encoded: response.encode_to_vec(), outcome: EncodedOutcome::denied(*reason), framed }
        };
        Self { denials: Reason::ALL.iter().map(prepare).collect(), reveal, told }
    }

    /// The framed answer to `raw`; `None` where it could not be read.
    pub(super) fn render(&self, verdict: &Verdict, raw: Option<&RawRequest<'_>>) -> Bytes {
        let metadata = || match (self.told, verdict.is_plain_allow()) {
            (ToldDecisions::Off, _) | (ToldDecisions::Denied, true) => Metadata::NOTHING,
            (ToldDecisions::Denied, false) | (ToldDecisions::All, _) => Metadata::of_verdict(verdict, raw),
        };
        match &verdict.decision {
            Decision::Allow(allow) => allowed(&allow.mutations, &metadata()),
            Decision::Deny(reason) if verdict.about.answer_unavailable => frame(&from_reason(*reason, Status::Unavailable, self.reveal), &metadata()),
            Decision::Deny(reason) => match self.prepared(*reason) {
                Some(prepared) if verdict.about.policy.is_some() => prepared.frame(verdict, self.told),
                _ => self.denial(*reason),
            },
            Decision::Answer(answer) => from_answer(answer).map_or_else(|| self.denial(Reason::Internal), |answer| frame(&answer, &metadata())),
        }
    }

    /// The framed denial for `reason`, of nobody in particular.
    pub(super) fn denial(&self, reason: Reason) -> Bytes {
        let unprepared = || frame(&from_reason(reason, Status::of(reason), self.reveal), &denial_metadata(reason, self.told));
        self.prepared(reason).map_or_else(unprepared, |prepared| Bytes::copy_from_slice(&prepared.framed))
    }

    fn prepared(&self, reason: Reason) -> Option<&Prepared> {
        self.denials.get(reason as usize)
    }
}

/// What is told of a denial of nobody in particular.
fn denial_metadata(reason: Reason, told: ToldDecisions) -> Metadata<'static> {
    match told {
        ToldDecisions::Off => Metadata::NOTHING,
        ToldDecisions::Denied | ToldDecisions::All => Metadata::of_denial(reason),
    }
}

impl Prepared {
    /// Framed, and who gave it.
    fn frame(&self, verdict: &Verdict, told: ToldDecisions) -> Bytes {
        let metadata = match told {
            ToldDecisions::Off => Metadata::NOTHING,
            ToldDecisions::Denied | ToldDecisions::All => Metadata::of_prepared(&self.outcome, verdict),
        };
        framed(self.encoded.len() + metadata.encoded_len(), |buffer| {
            buffer.extend_from_slice(&self.encoded);
            metadata.encode(buffer);
        })
    }
}

/// The response and its metadata as one framed message.
fn frame(response: &CheckResponse, metadata: &Metadata<'_>) -> Bytes {
    framed(response.encoded_len() + metadata.encoded_len(), |buffer| {
        response.encode_raw(buffer);
        metadata.encode(buffer);
    })
}

/// A framed allow. One of the two functions that build a `CheckResponse`.
fn allowed(mutations: &Mutations, metadata: &Metadata<'_>) -> Bytes {
    let changes = changes_len(mutations);
    framed(prefixed(STATUS, 0) + prefixed(OK_RESPONSE, changes) + metadata.encoded_len(), |buffer| {
        open(STATUS, 0, buffer);
        open(OK_RESPONSE, changes, buffer);
        write_changes(mutations, buffer);
        metadata.encode(buffer);
    })
}

/// Length of what [`write_changes`] writes.
fn changes_len(mutations: &Mutations) -> usize {
    let headers = mutations.set_headers().map(|(name, value)| prefixed(HEADERS, option_len(name, value)));
    let removed = removed_headers(mutations).map(|name| prefixed(REMOVED_HEADERS, name.len()));
    let parameters = mutations.strip_query().map(|name| prefixed(REMOVED_PARAMETERS, name.len()));
    headers.chain(removed).chain(parameters).sum()
}

/// What an `OkHttpResponse` says.
fn write_changes(mutations: &Mutations, buffer: &mut BytesMut) {
    for (name, value) in mutations.set_headers() {
        open(HEADERS, option_len(name, value), buffer);
        open(HEADER, header_len(name, value), buffer);
        text(NAME, name, buffer);
        text(VALUE, value, buffer);
        buffer.put_slice(&OVERWRITE);
    }
    removed_headers(mutations).for_each(|name| text(REMOVED_HEADERS, name, buffer));
    mutations.strip_query().for_each(|name| text(REMOVED_PARAMETERS, name, buffer));
}

/// Length of a `HeaderValueOption`.
fn option_len(name: &str, value: &str) -> usize {
    prefixed(HEADER, header_len(name, value)) + OVERWRITE.len()
}

/// Length of a `HeaderValue`.
fn header_len(name: &str, value: &str) -> usize {
    prefixed(NAME, name.len()) + prefixed(VALUE, value.len())
}

/// Everything but an allow. One of the two functions that build a `CheckResponse`.
fn denied(code: DeniedCode, status: u16, headers: Vec<HeaderValueOption>, body: String) -> CheckResponse {
    let denied = DeniedHttpResponse { status: Some(HttpStatus { code: i32::from(status) }), headers, body };
    CheckResponse {
        status: Some(rpc::Status { code: code as i32, ..rpc::Status::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

fn from_reason(reason: Reason, status: Status, reveal: bool) -> CheckResponse {
    let Denial { status: number, headers, body } = denial(reason, status, reveal);
    let headers = headers.iter().map(|(name, value)| overwrite(name, value)).collect();
    denied(DeniedCode::of(status), number, headers, body.to_owned())
}

/// An answer at the edge: Envoy gives the client what a denial holds, so this is a denial with status 200. `None` if its body is no text.
fn from_answer(answer: &Answer) -> Option<CheckResponse> {
    let body = String::from_utf8(answer.body.clone()).ok()?;
    let headers = answer.headers.iter().map(|(name, value)| overwrite(name, value)).collect();
    Some(denied(DeniedCode::PermissionDenied, 200, headers, body))
}

/// Envoy runs removals after sets: a name that is set is not removed.
fn removed_headers(mutations: &Mutations) -> impl Iterator<Item = &str> {
    mutations.remove_headers().filter(|name| !mutations.set_headers().any(|(set, _)| set == *name))
}

/// A header that replaces whatever the client sent: newer Envoys append unless both fields say otherwise.
fn overwrite(name: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() };
    #[expect(deprecated, reason = "older Envoys read `append`, newer ones `append_action`")]
    HeaderValueOption {
        header: Some(header),
        append: Some(BoolValue { value: false }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        keep_empty_value: false,
    }
}

#[cfg(test)]
mod tests;
