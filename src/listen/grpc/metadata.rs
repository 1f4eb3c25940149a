//! What Envoy is told of a decision besides the answer, for its access logs and rate limits: dynamic metadata, which it keeps under
//! `envoy.filters.http.ext_authz`.
//!
//! Written straight into the message, since the generated `Struct` would cost a map and a dozen strings at every check.
//!
//! Must not know: what becomes of the request.

use bytes::{BufMut, BytesMut};
use ringfence_core::decide::{Allow, AllowReason, Decision, Header, RawRequest, Reason, Verdict};

use super::fields::{open, prefixed, text};

/// `CheckResponse.dynamic_metadata`, a `google.protobuf.Struct`.
const DYNAMIC_METADATA: u32 = 4;
/// `Struct.fields`, a map: its entries are messages of a key and a value.
const FIELDS: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
/// `Value.string_value`.
const STRING_VALUE: u32 = 3;
/// What is told; what is not known is left out. All values are strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata<'v> {
    outcome: Option<Outcome<'v>>,
    policy: Option<&'v str>,
    sender: Option<&'v str>,
    audience: Option<&'v str>,
    call_connection_id: Option<&'v str>,
    call_correlation_id: Option<&'v str>,
}

/// What was decided and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome<'v> {
    Said { decision: &'static str, reason: &'static str },
    Encoded(&'v EncodedOutcome),
}

/// That a request is denied and for which reason, encoded beforehand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EncodedOutcome(Box<[u8]>);

impl EncodedOutcome {
    pub(super) fn denied(reason: Reason) -> Self {
        let mut buffer = BytesMut::new();
        Metadata::of_denial(reason).encode_fields(&mut buffer);
        Self(buffer.as_ref().into())
    }
}

impl<'v> Metadata<'v> {
    /// Nothing is told.
    pub(super) const NOTHING: Self =
        Self { outcome: None, policy: None, sender: None, audience: None, call_connection_id: None, call_correlation_id: None };

    /// A refusal of nobody in particular.
    pub(super) fn of_denial(reason: Reason) -> Self {
        Self { outcome: Some(Outcome::Said { decision: "denied", reason: reason.code() }), ..Self::NOTHING }
    }

    /// A refusal and who gave it: the same as [`Self::of_verdict`] where `outcome` is of the verdict's reason.
    pub(super) fn of_prepared(outcome: &'v EncodedOutcome, verdict: &'v Verdict) -> Self {
        Self { outcome: Some(Outcome::Encoded(outcome)), ..Self::of_whom(verdict) }
    }

    /// The answer, who gave it and, where a token was believed, for which audience and call: limits may be counted under these, so nothing
    /// that a refused client said is among them.
    pub(super) fn of_verdict(verdict: &'v Verdict, raw: Option<&'v RawRequest<'_>>) -> Self {
        let outcome = Outcome::Said { decision: verdict.label(), reason: verdict.reason_label() };
        let told = Self { outcome: Some(outcome), ..Self::of_whom(verdict) };
        let believed = verdict.about.verified && matches!(verdict.decision, Decision::Allow(Allow { reason: AllowReason::Allowed, .. }));
        let Some(token) = verdict.about.token.as_ref().filter(|_| believed) else { return told };
        // ACS sends them with the upgrade to a WebSocket, and with nothing else.
        let upgrade = raw.filter(|raw| raw.method == b"GET");
        let id = |header| call_id(upgrade?, header);
        let (call_connection_id, call_correlation_id) = (id("x-ms-call-connection-id"), id("x-ms-call-correlation-id"));
        Self { audience: token.audience(), call_connection_id, call_correlation_id, ..told }
    }

    fn of_whom(verdict: &'v Verdict) -> Self {
        let (policy, sender) = (&verdict.about.policy, &verdict.about.sender);
        Self { policy: policy.as_ref().map(|policy| &*policy.label), sender: sender.as_deref(), ..Self::NOTHING }
    }

    /// Length in bytes as a field of a `CheckResponse`.
    pub(super) fn encoded_len(&self) -> usize {
        match self.fields_len() {
            0 => 0,
            length => prefixed(DYNAMIC_METADATA, length),
        }
    }

    /// Writes it as a field of a `CheckResponse`.
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        let length = self.fields_len();
        if length > 0 {
            open(DYNAMIC_METADATA, length, buffer);
            self.encode_fields(buffer);
        }
    }

    fn fields_len(&self) -> usize {
        let of_outcome = match self.outcome {
            None => 0,
            Some(Outcome::Said { decision, reason }) => entry_len("decision", Some(decision)) + entry_len("reason", Some(reason)),
            Some(Outcome::Encoded(EncodedOutcome(encoded))) => encoded.len(),
        };
        of_outcome
            + entry_len("policy", self.policy)
            + entry_len("sender", self.sender)
            + entry_len("audience", self.audience)
            + entry_len("call_connection_id", self.call_connection_id)
            + entry_len("call_correlation_id", self.call_correlation_id)
    }

    fn encode_fields(&self, buffer: &mut BytesMut) {
        match self.outcome {
            None => {}
            Some(Outcome::Said { decision, reason }) => {
                entry("decision", Some(decision), buffer);
                entry("reason", Some(reason), buffer);
            }
            Some(Outcome::Encoded(EncodedOutcome(encoded))) => buffer.put_slice(encoded),
        }
        entry("policy", self.policy, buffer);
        entry("sender", self.sender, buffer);
        entry("audience", self.audience, buffer);
        entry("call_connection_id", self.call_connection_id, buffer);
        entry("call_correlation_id", self.call_correlation_id, buffer);
    }
}

/// Length of what [`entry`] writes.
#[inline]
fn entry_len(name: &'static str, value: Option<&str>) -> usize {
    value.map_or(0, |value| prefixed(FIELDS, pair_len(name, value)))
}

/// Writes an entry of the map. In line, so that what is known of its name beforehand is not worked out each time.
#[inline(always)]
fn entry(name: &'static str, value: Option<&str>, buffer: &mut BytesMut) {
    let Some(value) = value else { return };
    open(FIELDS, pair_len(name, value), buffer);
    text(ENTRY_KEY, name, buffer);
    open(ENTRY_VALUE, prefixed(STRING_VALUE, value.len()), buffer);
    text(STRING_VALUE, value, buffer);
}

#[inline]
fn pair_len(name: &str, value: &str) -> usize {
    prefixed(ENTRY_KEY, name.len()) + prefixed(ENTRY_VALUE, prefixed(STRING_VALUE, value.len()))
}

/// The value of a call id's header, if there is one of it and it looks like an id: `[A-Za-z0-9-]{1,64}`.
fn call_id<'r>(raw: &'r RawRequest<'_>, header: &str) -> Option<&'r str> {
    let Header::One(value) = raw.headers.one(header) else { return None };
    let is_id = (1..=64).contains(&value.len()) && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    std::str::from_utf8(value).ok().filter(|_| is_id)
}

#[cfg(test)]
mod tests;
