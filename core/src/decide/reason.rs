//! Why a request was not allowed: one code per denial, the same in metrics, logs and explanations.

use std::fmt;

/// What kind of "no" a reason is, which decides the status a client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself cannot be trusted to mean one thing: 400.
    Request,
    /// No policy allows it: 403.
    Policy,
    /// It comes from the wrong address: 403.
    Source,
    /// Its credential is missing or wrong: 401.
    Credential,
    /// Its credential is genuine and says the wrong thing: 403.
    Claim,
    /// Ringfence cannot decide now: 503. Never a refusal and never an allow.
    CannotDecide,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $class:ident, $stage:literal;)+) => {
        /// Why a request was not allowed.
        ///
        /// The order of the variants is the table's order: the last tie-break between several senders' refusals.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it stands in metrics, logs and explanations.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What kind of "no" this is.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$name => Class::$class,)+ }
            }

            /// How far a request got before it met this reason: a larger number is a later, dearer check.
            #[must_use]
            pub const fn stage(self) -> u8 {
                match self { $(Self::$name => $stage,)+ }
            }
        }
    };
}

reasons! {
    /// The wire request cannot be read, or breaks a bound.
    MalformedRequest = "malformed_request", Request, 0;
    /// The host is absent, doubled or not a host.
    AmbiguousHost = "ambiguous_host", Request, 1;
    /// The path could mean another path to the upstream.
    AmbiguousPath = "ambiguous_path", Request, 2;
    /// A credential is given more than once, or in a second spelling.
    DuplicateCredential = "duplicate_credential", Request, 5;
    /// No policy covers the host and path.
    NoPolicy = "no_policy", Policy, 3;
    /// The pinned policy is missing or does not match.
    PinMismatch = "pin_mismatch", Policy, 3;
    /// No sender on the path takes this method.
    MethodDenied = "method_denied", Policy, 4;
    /// The source address lies outside the sender's ranges.
    SourceDenied = "source_denied", Source, 7;
    /// There is no bearer token.
    TokenMissing = "token_missing", Credential, 10;
    /// The token is not a JWS of the strict form that is read here.
    TokenMalformed = "token_malformed", Credential, 11;
    /// The token's algorithm is not one the sender takes.
    AlgorithmRefused = "algorithm_refused", Credential, 12;
    /// The issuer has no such key, and was asked after this request came.
    KeyUnknown = "key_unknown", Credential, 20;
    /// The signature does not verify.
    SignatureInvalid = "signature_invalid", Credential, 21;
    /// `exp` has passed.
    TokenExpired = "token_expired", Credential, 15;
    /// `nbf` or `iat` lies in the future.
    TokenNotYetValid = "token_not_yet_valid", Credential, 16;
    /// The token lives longer than the sender's cap.
    LifetimeExceeded = "lifetime_exceeded", Credential, 17;
    /// `iss` is another issuer.
    IssuerMismatch = "issuer_mismatch", Credential, 13;
    /// `aud` names somebody else.
    AudienceMismatch = "audience_mismatch", Credential, 14;
    /// The same token was used before.
    TokenReused = "token_reused", Credential, 30;
    /// There is no API key.
    ApiKeyMissing = "api_key_missing", Credential, 8;
    /// The API key is none of the active ones.
    ApiKeyInvalid = "api_key_invalid", Credential, 9;
    /// The signed URL's signature is none of its host, path and expiry.
    UrlSignatureInvalid = "url_signature_invalid", Credential, 9;
    /// The signed URL has expired, or is good for longer than the sender takes.
    UrlExpired = "url_expired", Credential, 10;
    /// A required claim is absent.
    ClaimMissing = "claim_missing", Claim, 22;
    /// A claim has another value than required, or cannot be forwarded.
    ClaimMismatch = "claim_mismatch", Claim, 23;
    /// The sender takes WebSocket upgrades only.
    UpgradeRequired = "upgrade_required", Claim, 6;
    /// The Event Grid handshake is not one.
    HandshakeInvalid = "handshake_invalid", Claim, 24;
    /// The client's address is not known, and a policy needs it.
    SourceUnknown = "source_unknown", CannotDecide, 7;
    /// There are no usable keys of the issuer.
    KeysUnavailable = "keys_unavailable", CannotDecide, 19;
    /// The key is unknown, and the issuer has not been asked since.
    KeyPending = "key_pending", CannotDecide, 20;
    /// The policy that covers the request is not sound.
    PolicyInvalid = "policy_invalid", CannotDecide, 4;
    /// The reuse store did not answer.
    ReuseUnknown = "reuse_unknown", CannotDecide, 30;
    /// The body is needed and was not sent whole.
    BodyUnavailable = "body_unavailable", CannotDecide, 24;
    /// The clock stepped back, and the answer depends on it.
    ClockUnsettled = "clock_unsettled", CannotDecide, 18;
    /// The caller's deadline passed.
    DeadlineExceeded = "deadline_exceeded", CannotDecide, 25;
    /// Too much is asked at once.
    Overloaded = "overloaded", CannotDecide, 26;
    /// A fault inside Ringfence.
    Internal = "internal", CannotDecide, 31;
}

impl Reason {
    /// The HTTP status for the client, before a dialect collapses it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self.class() {
            Class::Request => 400,
            Class::Credential => 401,
            Class::Policy | Class::Source | Class::Claim => 403,
            Class::CannotDecide => 503,
        }
    }

    /// Whether this is "I cannot decide now" and not "I refuse you".
    #[must_use]
    pub const fn is_undecided(self) -> bool {
        matches!(self.class(), Class::CannotDecide)
    }

    /// The reason with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_by_its_code() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
            assert_eq!(reason.to_string(), reason.code());
            assert_eq!(reason.is_undecided(), reason.status() == 503, "{reason}");
        }
        assert_eq!(Reason::from_code("allowed"), None);
    }
}
