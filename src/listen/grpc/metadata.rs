//! What Envoy is told of a decision besides the answer, for its access logs and rate limits: dynamic metadata, which it keeps under
//! `envoy.filters.http.ext_authz`.
//!
//! Written straight into the message, since the generated `Struct` would cost a map and a dozen strings at every check.
//!
//! Must not know: what becomes of the request.

use bytes::BytesMut;
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
/// What can be told.
const MOST: usize = 7;

/// Names and values, all of them strings; what is not known is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metadata<'v>([Option<(&'static str, &'v str)>; MOST]);

impl<'v> Metadata<'v> {
    /// Nothing is told.
    pub(super) const NOTHING: Self = Self([None; MOST]);

    /// A refusal of nobody in particular.
    pub(super) fn of_denial(reason: Reason) -> Self {
        Self([Some(("decision", "denied")), Some(("reason", reason.code())), None, None, None, None, None])
    }

    /// The answer, who gave it and, where a token was believed, for which audience and call: limits may be counted under these, so nothing
    /// that a refused client said is among them.
    pub(super) fn of_verdict(verdict: &'v Verdict, raw: Option<&'v RawRequest<'_>>) -> Self {
        let (decision, reason) = (Some(("decision", verdict.label())), Some(("reason", verdict.reason_label())));
        let policy = verdict.about.policy.as_ref().map(|policy| ("policy", &*policy.label));
        let sender = verdict.about.sender.as_ref().map(|sender| ("sender", &**sender));
        let believed = verdict.about.verified && matches!(verdict.decision, Decision::Allow(Allow { reason: AllowReason::Allowed, .. }));
        let Some(token) = verdict.about.token.as_ref().filter(|_| believed) else {
            return Self([decision, reason, policy, sender, None, None, None]);
        };
        let audience = token.audience().map(|audience| ("audience", audience));
        // ACS sends them with the upgrade to a WebSocket, and with nothing else.
        let upgrade = raw.filter(|raw| raw.method == b"GET");
        let id = |name: &'static str, header| Some((name, call_id(upgrade?, header)?));
        let connection = id("call_connection_id", "x-ms-call-connection-id");
        let correlation = id("call_correlation_id", "x-ms-call-correlation-id");
        Self([decision, reason, policy, sender, audience, connection, correlation])
    }

    /// Length in bytes as a field of a `CheckResponse`.
    pub(super) fn encoded_len(&self) -> usize {
        if *self == Self::NOTHING { 0 } else { prefixed(DYNAMIC_METADATA, self.fields_len()) }
    }

    /// Writes it as a field of a `CheckResponse`.
    pub(super) fn encode(&self, buffer: &mut BytesMut) {
        if *self == Self::NOTHING {
            return;
        }
        open(DYNAMIC_METADATA, self.fields_len(), buffer);
        for (name, value) in self.0.iter().flatten() {
            open(FIELDS, entry_len(name, value), buffer);
            text(ENTRY_KEY, name, buffer);
            open(ENTRY_VALUE, prefixed(STRING_VALUE, value.len()), buffer);
            text(STRING_VALUE, value, buffer);
        }
    }

    fn fields_len(&self) -> usize {
        self.0.iter().flatten().map(|(name, value)| prefixed(FIELDS, entry_len(name, value))).sum()
    }
}

/// The value of a call id's header, if there is one of it and it looks like an id: `[A-Za-z0-9-]{1,64}`.
fn call_id<'r>(raw: &'r RawRequest<'_>, header: &str) -> Option<&'r str> {
    let Header::One(value) = raw.headers.one(header) else { return None };
    let is_id = (1..=64).contains(&value.len()) && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    std::str::from_utf8(value).ok().filter(|_| is_id)
}

fn entry_len(name: &str, value: &str) -> usize {
    prefixed(ENTRY_KEY, name.len()) + prefixed(ENTRY_VALUE, prefixed(STRING_VALUE, value.len()))
}

#[cfg(test)]
mod tests;
