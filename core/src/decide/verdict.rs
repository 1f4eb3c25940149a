//! What was decided. A verdict cannot be built without saying allow, deny or answer, and an allow that still waits for something is
//! another type, so that no listener can render it.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Few, Forward, KeySetId, Reason, ReuseMode, SharedId, piece::Piece};

/// What [`super::decide`] came to.
#[derive(Debug)]
pub enum Decided {
    /// This.
    Final(Verdict),
    /// One bounded refetch of a key set may change the answer; decide again after it.
    NeedsKey(WantedKey),
    /// Allow, once the token is known not to have been used.
    NeedsReuse(PendingAllow),
    /// Answer at the edge, if the policy has not answered too often.
    NeedsTurn(PendingAnswer),
}

/// A key that the issuer may have published since its keys were last fetched.
#[derive(Debug)]
pub struct WantedKey {
    /// The set to fetch.
    pub key_set: Arc<KeySetId>,
    /// The answer if it cannot be fetched in time.
    pub otherwise: Verdict,
}

/// A final answer and what led to it.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The answer.
    pub decision: Decision,
    /// Who gave it, about what: for the log and the metrics, never for the client.
    pub about: About,
}

/// The answer itself.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Let it pass.
    Allow(Allow),
    /// Refuse it, or say that nothing can be decided now.
    Deny(Reason),
    /// Answer the client in the upstream's place (an Event Grid handshake).
    Answer(Answer),
}

/// Why a request is allowed, when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowReason {
    /// A sender's demands are met.
    Allowed,
    /// No policy claims the host, and `--unmatched allow` lets such requests by.
    Unmatched,
    /// The policy is in Shadow: this is the answer that would have been given.
    Shadowed(Reason),
}

/// An allow and what is done to the upstream request.
#[derive(Clone, Debug)]
pub struct Allow {
    /// Why.
    pub reason: AllowReason,
    /// What is changed.
    pub mutations: Mutations,
}

/// What is changed in the upstream request: every header that the policy forwards is set or removed, keys are stripped. No name is both
/// set and removed. Shares the policy's own lists, so that an allow copies nothing but the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutations {
    pub(super) forward: Option<Arc<Forward>>,
    /// The values of `forward.headers`, in its order; `None` and what is missing at the end = removed.
    pub(super) values: Few<Option<Box<str>>>,
}

impl Mutations {
    /// What `forward` asks for, with the values of its headers in its order; `None` and what is missing at the end = removed.
    #[must_use]
    pub fn new(forward: Arc<Forward>, values: Vec<Option<Box<str>>>) -> Self {
        Self { forward: Some(forward), values: values.into() }
    }

    /// Headers to overwrite or add: lower-case name and value.
    pub fn set_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named_values().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Headers to remove, lower case.
    pub fn remove_headers(&self) -> impl Iterator<Item = &str> {
        let unset = self.named_values().filter(|(_, value)| value.is_none()).map(|(name, _)| name);
        unset.chain(self.forward.iter().flat_map(|forward| forward.remove.iter().map(AsRef::as_ref)))
    }

    /// Query parameters to remove.
    pub fn strip_query(&self) -> impl Iterator<Item = &str> {
        self.forward.iter().flat_map(|forward| forward.strip_query.iter().map(AsRef::as_ref))
    }

    fn named_values(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let names = self.forward.iter().flat_map(|forward| forward.headers.iter().map(|(name, _)| name.as_ref()));
        names.zip(self.values.iter().map(Option::as_deref).chain(std::iter::repeat(None)))
    }
}

/// An answer given at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Headers of the answer; its status is 200.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a decision was about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The policy that answered, if any.
    pub policy: Option<SharedId>,
    /// The sender that allowed, or whose refusal is reported.
    pub sender: Option<Arc<str>>,
    /// What the token said, as far as it was read.
    pub token: Option<TokenFacts>,
    /// Whether the token's signature was verified.
    pub verified: bool,
    /// The sender that allowed lists other ranges than the source lies in (`onMismatch: Observe`).
    pub source_mismatch: bool,
    /// The token was used before (`tokenReuse: Observe`).
    pub token_reused: bool,
    /// A private address was measured against public ranges: a load balancer may hide the client.
    pub hidden_client: Option<IpAddr>,
    /// A denial is answered 503 whatever its reason (`--unmatched unavailable`).
    pub answer_unavailable: bool,
    /// Shadow floors that would have refused.
    pub shadow_floors: Vec<(SharedId, Reason)>,
}

/// What a token says of itself; believed only when the signature was verified.
#[derive(Clone, Default)]
pub struct TokenFacts {
    /// What the others lie within.
    text: String,
    issuer: Option<Span>,
    audience: Option<Span>,
    kid: Option<Span>,
}

/// Where a text begins and ends.
type Span = (u32, u32);

impl TokenFacts {
    /// These.
    #[must_use]
    pub fn new(issuer: Option<&str>, audience: Option<&str>, kid: Option<&str>) -> Self {
        Self::within(String::new(), issuer.map(Piece::from), audience.map(Piece::from), kid.map(Piece::from))
    }

    /// Pieces of `text`.
    pub(super) fn within(mut text: String, issuer: Option<Piece>, audience: Option<Piece>, kid: Option<Piece>) -> Self {
        let mut place = |piece: Piece| {
            let range = match piece {
                Piece::Within(range) => range,
                Piece::Own(own) => {
                    text.push_str(&own);
                    text.len() - own.len()..text.len()
                }
            };
            Some((u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?))
        };
        let [issuer, audience, kid] = [issuer, audience, kid].map(|piece| piece.and_then(&mut place));
        Self { text, issuer, audience, kid }
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.text_at(self.issuer)
    }

    /// The matched audience, else the first one.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.text_at(self.audience)
    }

    /// `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.text_at(self.kid)
    }

    fn text_at(&self, span: Option<Span>) -> Option<&str> {
        let (start, end) = span?;
        self.text.get(start as usize..end as usize)
    }
}

/// Shows these and nothing else of the token.
impl fmt::Debug for TokenFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFacts").field("issuer", &self.issuer()).field("audience", &self.audience()).field("kid", &self.kid()).finish()
    }
}

impl PartialEq for TokenFacts {
    fn eq(&self, other: &Self) -> bool {
        (self.issuer(), self.audience(), self.kid()) == (other.issuer(), other.audience(), other.kid())
    }
}

impl Eq for TokenFacts {}

impl Verdict {
    /// A denial about nothing in particular.
    #[must_use]
    pub fn deny(reason: Reason) -> Self {
        Self { decision: Decision::Deny(reason), about: About::default() }
    }

    /// The reason of a denial; `None` for an allow or an answer.
    #[must_use]
    pub fn denied(&self) -> Option<Reason> {
        match self.decision {
            Decision::Deny(reason) => Some(reason),
            Decision::Allow(_) | Decision::Answer(_) => None,
        }
    }

    /// Whether nothing is remarkable about it: allowed, and not by Shadow.
    #[must_use]
    pub const fn is_plain_allow(&self) -> bool {
        match &self.decision {
            Decision::Allow(allow) => match allow.reason {
                AllowReason::Allowed | AllowReason::Unmatched => true,
                AllowReason::Shadowed(_) => false,
            },
            Decision::Deny(_) | Decision::Answer(_) => false,
        }
    }

    /// The HTTP status for the client, before a dialect collapses it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.decision {
            Decision::Allow(_) | Decision::Answer(_) => 200,
            Decision::Deny(_) if self.about.answer_unavailable => 503,
            Decision::Deny(reason) => reason.status(),
        }
    }

    /// The `decision` label: `allowed`, `denied`, `shadow_denied` or `handshake`.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match &self.decision {
            Decision::Allow(Allow { reason: AllowReason::Shadowed(_), .. }) => "shadow_denied",
            Decision::Allow(_) => "allowed",
            Decision::Deny(_) => "denied",
            Decision::Answer(_) => "handshake",
        }
    }

    /// The `reason` label: a reason's code, `allowed` or `unmatched`.
    #[must_use]
    pub fn reason_label(&self) -> &'static str {
        match &self.decision {
            Decision::Allow(allow) => match allow.reason {
                AllowReason::Allowed => "allowed",
                AllowReason::Unmatched => "unmatched",
                AllowReason::Shadowed(reason) => reason.code(),
            },
            Decision::Deny(reason) => reason.code(),
            Decision::Answer(_) => "allowed",
        }
    }
}

/// A token that would be spent by an allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReuseClaim {
    /// SHA-256 over policy uid, key set and `header.payload`.
    pub key: [u8; 32],
    /// Until when it must be remembered (`exp` + skew), in milliseconds since the Unix epoch.
    pub expires_ms: i64,
    /// The policy it counts for.
    pub policy: SharedId,
    /// Observe or Deny.
    pub mode: ReuseMode,
    /// The proxy's request id: the same id again is a retried check, not reuse.
    pub request_id: Option<Box<str>>,
}

/// What the reuse store says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseAnswer {
    /// Never seen before; now remembered.
    First,
    /// Seen before.
    Reused,
    /// Not seen, but there is no room to remember it.
    Full,
    /// The store did not answer in time.
    Unknown,
}

/// An allow that waits for the reuse store.
#[derive(Debug)]
pub struct PendingAllow {
    pub(super) claim: ReuseClaim,
    pub(super) allowed: Verdict,
    /// What becomes of a refusal: a policy in Shadow allows all the same, with identity headers removed.
    pub(super) shadow: Option<Mutations>,
}

impl PendingAllow {
    /// What to ask the store.
    #[must_use]
    pub const fn claim(&self) -> &ReuseClaim {
        &self.claim
    }

    /// The final verdict.
    #[must_use]
    pub fn resolve(self, answer: ReuseAnswer) -> Verdict {
        let Self { claim, mut allowed, shadow } = self;
        let refusal = match (answer, claim.mode) {
            (ReuseAnswer::First, _) => None,
            (ReuseAnswer::Reused, ReuseMode::Deny) => Some(Reason::TokenReused),
            (ReuseAnswer::Reused, ReuseMode::Observe | ReuseMode::Allow) => {
                allowed.about.token_reused = true;
                None
            }
            // FAIL-CLOSED: a token that cannot be remembered is not allowed where reuse is denied.
            (ReuseAnswer::Full, ReuseMode::Deny) => Some(Reason::Overloaded),
            (ReuseAnswer::Unknown, ReuseMode::Deny) => Some(Reason::ReuseUnknown),
            (ReuseAnswer::Full | ReuseAnswer::Unknown, ReuseMode::Observe | ReuseMode::Allow) => None,
        };
        let Some(reason) = refusal else { return allowed };
        let Verdict { about, .. } = allowed;
        // `overloaded` is never shadowed.
        let decision = match shadow {
            Some(mutations) if reason != Reason::Overloaded => Decision::Allow(Allow { reason: AllowReason::Shadowed(reason), mutations }),
            _ => Decision::Deny(reason),
        };
        Verdict { decision, about }
    }
}

/// An answer at the edge, of which a policy gives so many per second.
#[derive(Debug)]
pub struct PendingAnswer {
    pub(super) policy: SharedId,
    pub(super) answered: Verdict,
}

impl PendingAnswer {
    /// The policy that answers.
    #[must_use]
    pub const fn policy(&self) -> &SharedId {
        &self.policy
    }

    /// The final verdict. `has_turn`: the policy may give one more answer now.
    #[must_use]
    pub fn resolve(self, has_turn: bool) -> Verdict {
        let Self { policy: _, answered } = self;
        // FAIL-CLOSED: an_answer_too_many_is_no_answer
        if has_turn { answered } else { Verdict { decision: Decision::Deny(Reason::Overloaded), about: answered.about } }
    }
}

#[cfg(test)]
mod tests;
