//! What a denied client is told: a status, a generic RFC 9457 body, a challenge. Never why, unless the operator says so.
//!
//! Must not know: the wire it goes over.

use ringfence_core::decide::{Class, Reason};

/// Seconds after which a caller may try again what could not be decided.
const RETRY_AFTER: &str = "1";
/// RFC 6750 section 3, without and with an error.
const CHALLENGE: &str = r#"Bearer realm="callbacks""#;
const CHALLENGE_INVALID: &str = r#"Bearer realm="callbacks", error="invalid_token""#;

/// A denial as HTTP says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// The status: never below 400.
    pub(super) status: u16,
    /// Headers, the body's type included; names in lower case.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// A problem document (RFC 9457).
    pub(super) body: &'static str,
}

/// The denial for `reason` with `status`. `reveal` adds the reason's code.
pub(super) fn denial(reason: Reason, status: Status, reveal: bool) -> Denial {
    let mut headers = vec![("content-type", "application/problem+json"), ("cache-control", "no-store")];
    match status {
        Status::Unauthorized => headers.push(("www-authenticate", challenge(reason))),
        Status::TooManyRequests | Status::Unavailable => headers.push(("retry-after", RETRY_AFTER)),
        Status::BadRequest | Status::Forbidden => {}
    }
    if reveal {
        headers.push(("x-ringfence-reason", reason.code()));
    }
    Denial { status: status.code(), headers, body: status.body() }
}

/// The statuses that denials have. There is no 2xx among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    BadRequest,
    Unauthorized,
    Forbidden,
    TooManyRequests,
    Unavailable,
}

impl Status {
    /// The status of `reason` before a dialect collapses it.
    pub(super) fn of(reason: Reason) -> Self {
        match reason.class() {
            Class::Request => Self::BadRequest,
            Class::Credential => Self::Unauthorized,
            Class::Policy | Class::Source | Class::Claim => Self::Forbidden,
            Class::CannotDecide => Self::Unavailable,
        }
    }

    const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
        }
    }

    const fn body(self) -> &'static str {
        match self {
            Self::BadRequest => r#"{"type":"about:blank","title":"Bad Request","status":400}"#,
            Self::Unauthorized => r#"{"type":"about:blank","title":"Unauthorized","status":401}"#,
            Self::Forbidden => r#"{"type":"about:blank","title":"Forbidden","status":403}"#,
            Self::TooManyRequests => r#"{"type":"about:blank","title":"Too Many Requests","status":429}"#,
            Self::Unavailable => r#"{"type":"about:blank","title":"Service Unavailable","status":503}"#,
        }
    }
}

/// RFC 6750 section 3.1: an error only where a token was presented.
fn challenge(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenMalformed
        | Reason::AlgorithmRefused
        | Reason::KeyUnknown
        | Reason::SignatureInvalid
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::LifetimeExceeded
        | Reason::IssuerMismatch
        | Reason::AudienceMismatch
        | Reason::TokenReused => CHALLENGE_INVALID,
        Reason::MalformedRequest
        | Reason::AmbiguousHost
        | Reason::AmbiguousPath
        | Reason::DuplicateCredential
        | Reason::NoPolicy
        | Reason::PinMismatch
        | Reason::MethodDenied
        | Reason::SourceDenied
        | Reason::TokenMissing
        | Reason::ApiKeyMissing
        | Reason::ApiKeyInvalid
        | Reason::UrlSignatureInvalid
        | Reason::UrlExpired
        | Reason::ClaimMissing
        | Reason::ClaimMismatch
        | Reason::UpgradeRequired
        | Reason::HandshakeInvalid
        | Reason::SourceUnknown
        | Reason::KeysUnavailable
        | Reason::KeyPending
        | Reason::PolicyInvalid
        | Reason::ReuseUnknown
        | Reason::BodyUnavailable
        | Reason::ClockUnsettled
        | Reason::DeadlineExceeded
        | Reason::Overloaded
        | Reason::Internal => CHALLENGE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn header(denial: &Denial, name: &str) -> Option<&'static str> {
        denial.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value)
    }

    #[test]
    fn every_reason_has_its_status_and_a_problem_that_says_no_more() {
        for reason in Reason::ALL {
            let denial = denial(*reason, Status::of(*reason), false);
            assert_eq!(denial.status, reason.status(), "{reason}");
            let body: serde_json::Value = serde_json::from_str(denial.body).unwrap();
            assert_eq!(body["status"], reason.status());
            assert_eq!(header(&denial, "content-type"), Some("application/problem+json"));
            assert_eq!(header(&denial, "www-authenticate").is_some(), reason.status() == 401, "{reason}");
            assert_eq!(header(&denial, "retry-after").is_some(), reason.is_undecided(), "{reason}");
            assert!(!format!("{denial:?}").contains(reason.code()), "{reason}");
        }
    }

    #[test]
    fn the_reason_is_told_only_when_asked_for() {
        for reason in Reason::ALL {
            assert_eq!(header(&denial(*reason, Status::of(*reason), true), "x-ringfence-reason"), Some(reason.code()));
        }
    }

    #[test]
    fn the_challenge_names_an_error_only_if_there_was_a_token() {
        let challenge = |reason| header(&denial(reason, Status::of(reason), false), "www-authenticate").unwrap();
        assert_eq!(challenge(Reason::TokenMissing), r#"Bearer realm="callbacks""#);
        assert_eq!(challenge(Reason::ApiKeyInvalid), r#"Bearer realm="callbacks""#);
        assert_eq!(challenge(Reason::TokenExpired), r#"Bearer realm="callbacks", error="invalid_token""#);
    }
}
