//! From a [`Verdict`] to a framed `CheckResponse`.
//!
//! A `CheckResponse` with status code 0 is an allow whatever else it holds, and so is a default one: exactly two functions build one in the
//! whole program, [`allowed`] and [`denied`].

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse},
        r#type::v3::HttpStatus,
    },
    google::{protobuf::BoolValue, rpc},
};
use prost::Message;
use ringfence_core::decide::{Answer, Decision, Mutations, RawRequest, Reason, Verdict};

use super::{frame::framed, metadata::Metadata};
use crate::listen::problem::{Denial, Status, denial};

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
}

/// A denial.
#[derive(Debug)]
struct Prepared {
    /// Encoded, without the policy and sender that gave it.
    encoded: Vec<u8>,
    /// Framed, of nobody in particular.
    framed: Bytes,
}

impl Renderer {
    /// `reveal`: denials carry `x-ringfence-reason`.
    pub(super) fn new(reveal: bool) -> Self {
        let prepare = |reason: &Reason| {
            let response = from_reason(*reason, Status::of(*reason), reveal);
            let framed = frame(&response, &Metadata::of_denial(*reason));
            Prepared { encoded: response.encode_to_vec(), framed }
        };
        Self { denials: Reason::ALL.iter().map(prepare).collect(), reveal }
    }

    /// The framed answer to `raw`; `None` where it could not be read.
    pub(super) fn render(&self, verdict: &Verdict, raw: Option<&RawRequest<'_>>) -> Bytes {
        let metadata = || Metadata::of_verdict(verdict, raw);
        match &verdict.decision {
            Decision::Allow(allow) => frame(&allowed(&allow.mutations), &metadata()),
            Decision::Deny(reason) if verdict.about.answer_unavailable => frame(&from_reason(*reason, Status::Unavailable, self.reveal), &metadata()),
            Decision::Deny(reason) => match self.prepared(*reason) {
                Some(prepared) if verdict.about.policy.is_some() => prepared.frame(&metadata()),
                _ => self.denial(*reason),
            },
            Decision::Answer(answer) => from_answer(answer).map_or_else(|| self.denial(Reason::Internal), |answer| frame(&answer, &metadata())),
        }
    }

    /// The framed denial for `reason`, of nobody in particular.
    pub(super) fn denial(&self, reason: Reason) -> Bytes {
        let unprepared = || frame(&from_reason(reason, Status::of(reason), self.reveal), &Metadata::of_denial(reason));
        self.prepared(reason).map_or_else(unprepared, |prepared| prepared.framed.clone())
    }

    fn prepared(&self, reason: Reason) -> Option<&Prepared> {
        let place = Reason::ALL.iter().position(|one| *one == reason)?;
        self.denials.get(place)
    }
}

impl Prepared {
    fn frame(&self, metadata: &Metadata<'_>) -> Bytes {
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

/// An allow. One of the two functions that build a `CheckResponse`.
fn allowed(mutations: &Mutations) -> CheckResponse {
    let ok = OkHttpResponse {
        headers: mutations.set_headers().map(|(name, value)| overwrite(name, value)).collect(),
        headers_to_remove: mutations.remove_headers().filter(|name| !is_set(mutations, name)).map(str::to_owned).collect(),
        query_parameters_to_remove: mutations.strip_query().map(str::to_owned).collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse { status: Some(rpc::Status::default()), dynamic_metadata: None, http_response: Some(HttpResponse::OkResponse(ok)) }
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
fn is_set(mutations: &Mutations, name: &str) -> bool {
    mutations.set_headers().any(|(set, _)| set == name)
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
