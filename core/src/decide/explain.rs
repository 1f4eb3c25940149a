//! What is found at a step, in words for the operator. Formatted only where somebody traces; never a token, a key or a query.

use std::fmt;

use super::{Body, ClaimRule, Now, Reason, Request, TokenRule, claims, demands, entra, token::Token};

/// The source of a request and how it was judged.
pub(super) struct SourceNote<'r> {
    pub(super) request: &'r Request<'r>,
    /// As `check_source` returns it, or why a floor does not ask for it.
    pub(super) result: Result<bool, Reason>,
}

impl fmt::Display for SourceNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            Err(Reason::AmbiguousPath) => return f.write_str("the path cannot be told from one that it covers"),
            Err(Reason::PolicyInvalid) => return f.write_str("its ranges cannot be read"),
            Ok(_) | Err(_) => {}
        }
        match self.request.source {
            Some(source) => write!(f, "the source is {source}")?,
            None => f.write_str("the source is not known")?,
        }
        match self.result {
            Ok(false) => f.write_str(", within the ranges"),
            Ok(true) => f.write_str(", not within the ranges, which is only observed"),
            Err(_) => f.write_str(", not within the ranges"),
        }
    }
}

/// A token measured against a sender's demands.
pub(super) struct TokenNote<'t> {
    pub(super) token: Option<&'t Token<'t>>,
    pub(super) rule: &'t TokenRule,
    pub(super) now: Now,
    /// Why it is refused; `None` = it is not.
    pub(super) reason: Option<Reason>,
}

impl fmt::Display for TokenNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(token), Self { rule, now, .. }) = (self.token, self) else { return f.write_str("there is no token that can be read") };
        if let Some((claim, reason)) = self.objection(token) {
            let fault = if reason == Reason::ClaimMissing { "is absent" } else { "is not as the sender demands" };
            return write!(f, "claim {claim} {fault}");
        }
        let claims = &token.claims;
        let text = |text: Option<&str>| text.map_or_else(|| "absent".to_owned(), |text| format!("`{}`", text.escape_debug()));
        match self.reason {
            None => write!(
                f,
                "signed by key `{}` of {}, {}",
                token.kid().escape_debug(),
                rule.issuers,
                Age { at_ms: claims.expires_ms, now: *now, verb: Verb::EXPIRE }
            ),
            Some(Reason::AlgorithmRefused) => write!(f, "alg is {}, which this sender or this key does not take", token.signed.algorithm.name()),
            Some(Reason::IssuerMismatch) => write!(f, "iss is {}, the sender takes {}", text(token.issuer()), rule.issuers),
            Some(Reason::AudienceMismatch) => {
                write!(
                    f,
                    "aud is {}, which is none of the sender's {}",
                    text(claims.audiences.first().map(|audience| audience.of(token.payload()))),
                    rule.audiences.len()
                )
            }
            Some(Reason::TokenExpired) => Age { at_ms: claims.expires_ms, now: *now, verb: Verb::EXPIRE }.fmt(f),
            Some(Reason::TokenNotYetValid) => Age { at_ms: claims.not_before_ms.max(claims.issued_at_ms), now: *now, verb: Verb::BEGIN }.fmt(f),
            Some(Reason::LifetimeExceeded) => {
                write!(
                    f,
                    "{}, the sender's cap is {} s",
                    Age { at_ms: claims.expires_ms, now: *now, verb: Verb::EXPIRE },
                    rule.max_lifetime_ms.unwrap_or_default() / 1000
                )
            }
            Some(Reason::KeyUnknown | Reason::KeyPending) => write!(f, "key `{}` is not one of {}", token.kid().escape_debug(), rule.keys.id()),
            Some(Reason::KeysUnavailable) => write!(f, "there are no usable keys of {}", rule.keys.id()),
            Some(Reason::SignatureInvalid) => write!(f, "the signature is not one of key `{}`", token.kid().escape_debug()),
            Some(Reason::TokenMalformed) => f.write_str("the signature is no base64url"),
            Some(Reason::ClaimMissing) => f.write_str("iss, aud, exp, or a date of issue that the sender requires, is absent"),
            Some(reason) => write!(f, "{reason}"),
        }
    }
}

impl TokenNote<'_> {
    /// What is wrong with the claims that only this type of sender looks at, if that is why it is refused.
    fn objection(&self, token: &Token<'_>) -> Option<(String, Reason)> {
        let is_of_claims = matches!(self.reason, Some(Reason::ClaimMissing | Reason::ClaimMismatch));
        if !is_of_claims || claims::measure(&token.claims, token.payload(), self.rule, self.now).is_err() {
            return None;
        }
        match &self.rule.claims {
            ClaimRule::Entra(rule) => entra::measure(token, rule).err().map(|objection| (objection.claim.to_owned(), objection.reason)),
            ClaimRule::Values(values) => demands::measure(token, values).err().map(|(claim, reason)| (format!("`{claim}`"), reason)),
            ClaimRule::Nothing => None,
        }
    }
}

/// A handshake that is not answered.
pub(super) struct HandshakeNote<'r> {
    pub(super) request: &'r Request<'r>,
    pub(super) reason: Reason,
}

impl fmt::Display for HandshakeNote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, reason } = self;
        if *reason == Reason::BodyUnavailable {
            return match request.body {
                Body::Absent => f.write_str("its whole body has to be seen, and the proxy sends none; let it (`with_request_body`)"),
                Body::Partial(body) => write!(f, "its whole body has to be seen, and the proxy sent the first {} bytes", body.len()),
                Body::Complete(_) => f.write_str("its whole body has to be seen"),
            };
        }
        if !request.wire.answers_at_edge() {
            return f.write_str("over this wire nobody can be answered in the application's place");
        }
        let expected = if request.method == "OPTIONS" { "a question of Event Grid's with `webhook-request-origin`" } else { "one validation event" };
        write!(f, "it claims to be a handshake and is not exactly {expected}")
    }
}

/// Until when a signed URL says that it is good.
pub(super) struct ExpiryNote {
    pub(super) expires_ms: i64,
    /// The longest life that the sender takes.
    pub(super) longest_ms: i64,
    pub(super) now: Now,
}

impl fmt::Display for ExpiryNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expires_ms, longest_ms, now } = *self;
        write!(f, "; it {}, the sender's longest is {} s", Age { at_ms: Some(expires_ms), now, verb: Verb::EXPIRE }, longest_ms / 1000)
    }
}

/// When something happens or happened, seen from now.
struct Age {
    at_ms: Option<i64>,
    now: Now,
    verb: Verb,
}

/// What happens, before and after it does.
struct Verb {
    future: &'static str,
    past: &'static str,
}

impl Verb {
    const EXPIRE: Self = Self { future: "expires", past: "expired" };
    const BEGIN: Self = Self { future: "begins", past: "began" };
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at_ms) = self.at_ms else { return f.write_str("without a date") };
        let seconds = at_ms.saturating_sub(self.now.effective_ms) / 1000;
        let Verb { future, past } = self.verb;
        if seconds < 0 { write!(f, "{past} {} s ago", -seconds) } else { write!(f, "{future} in {seconds} s") }
    }
}

#[cfg(test)]
mod tests;
