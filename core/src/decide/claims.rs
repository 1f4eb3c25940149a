//! What a token says, measured against what a sender demands and against the time. Nothing here needs the signature, and nothing here
//! makes a token true: a mismatch is refused before any key is touched.

use super::{Audience, Now, Reason, TokenRule, token::Claims};

/// Measures issuer, audience, expiry and lifetime, in this order: `claims` as they were read from `payload`. Returns the audience that matched.
///
/// # Errors
/// `claim_missing`, `issuer_mismatch`, `audience_mismatch`, `token_expired`, `token_not_yet_valid`, `lifetime_exceeded`; `clock_unsettled`
/// for a time refusal that another reading of an unsettled clock would not give.
pub(super) fn measure<'p>(claims: &Claims, payload: &str, rule: &'p TokenRule, now: Now) -> Result<&'p Audience, Reason> {
    match claims.issuer(payload) {
        None => return Err(Reason::ClaimMissing),
        Some(issuer) if !rule.issuers.contains(issuer) => return Err(Reason::IssuerMismatch),
        Some(_) => {}
    }
    if claims.audiences.is_empty() {
        return Err(Reason::ClaimMissing);
    }
    let audience = claims.audiences.iter().find_map(|audience| rule.audiences.find(audience.of(payload))).ok_or(Reason::AudienceMismatch)?;
    if let Err(reason) = measure_times(claims, rule, now.effective_ms) {
        return Err(if now.is_doubtful(|other_ms| measure_times(claims, rule, other_ms).is_ok()) { Reason::ClockUnsettled } else { reason });
    }
    Ok(audience)
}

/// Measures `exp`, `nbf`, `iat` and the lifetime they span at `now_ms`. Differences saturate: no date is far enough to wrap.
fn measure_times(claims: &Claims, rule: &TokenRule, now_ms: i64) -> Result<(), Reason> {
    let skew = rule.clock_skew_ms;
    let expires = claims.expires_ms.ok_or(Reason::ClaimMissing)?;
    if now_ms >= expires.saturating_add(skew) {
        return Err(Reason::TokenExpired);
    }
    let begins = claims.not_before_ms.max(claims.issued_at_ms);
    if begins.is_some_and(|begins| begins > now_ms.saturating_add(skew)) {
        return Err(Reason::TokenNotYetValid);
    }
    if begins.is_none() && rule.require_issued_at {
        return Err(Reason::ClaimMissing);
    }
    if let Some(cap) = rule.max_lifetime_ms {
        let longest = cap.saturating_add(skew);
        let lives_too_long = begins.is_some_and(|begins| expires.saturating_sub(begins) > longest);
        if lives_too_long || expires > now_ms.saturating_add(longest) {
            return Err(Reason::LifetimeExceeded);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{collections::HashMap, sync::Arc};

    use super::*;
    use crate::decide::{AlgorithmSet, Audiences, ClaimRule, Few, Issuers, KeySet, KeySetId, KeySource, ReuseMode};

    const NOW: i64 = 1_800_000_000_000;

    fn rule() -> TokenRule {
        let id = KeySetId::Jwks { issuer: "iss".into(), url: "https://iss/keys".into() };
        TokenRule {
            issuers: Issuers::one("iss".into()),
            audiences: Audiences::new([Audience { value: "7F0C2C2E-6d1f-4f0a-9b7e-2f6b8f0d5a11".into(), name: None }]),
            keys: KeySource::Given(Arc::new(id), Arc::new(KeySet::new(HashMap::new()))),
            algorithms: AlgorithmSet::default(),
            clock_skew_ms: 30_000,
            max_lifetime_ms: Some(300_000),
            require_issued_at: false,
            claims: ClaimRule::Nothing,
            reuse: ReuseMode::Allow,
            reuse_scope: [0; 32],
        }
    }

    /// Claims with dates in seconds from now.
    fn claims(expires: Option<i64>, not_before: Option<i64>, issued_at: Option<i64>) -> Claims {
        let at = |seconds: i64| NOW + seconds * 1000;
        Claims {
            issuer: Some("iss".into()),
            audiences: ["other".into(), "7f0c2c2e-6D1F-4f0a-9b7e-2f6b8f0d5a11".into()].into(),
            expires_ms: expires.map(at),
            not_before_ms: not_before.map(at),
            issued_at_ms: issued_at.map(at),
        }
    }

    #[test]
    fn times_are_measured_to_the_second() {
        type Seconds = Option<i64>;
        let cases: &[(Seconds, Seconds, Seconds, Option<Reason>)] = &[
            (Some(300), None, Some(0), None),
            (Some(-29), None, Some(-300), None),
            (Some(-30), None, Some(-300), Some(Reason::TokenExpired)),
            (None, None, Some(0), Some(Reason::ClaimMissing)),
            (Some(330), None, Some(30), None),
            (Some(331), None, Some(31), Some(Reason::TokenNotYetValid)),
            (Some(300), Some(31), None, Some(Reason::TokenNotYetValid)),
            (Some(330), None, Some(0), None),
            (Some(330), None, Some(-1), Some(Reason::LifetimeExceeded)),
            (Some(300), Some(0), Some(-300), None),
            (Some(330), None, None, None),
            (Some(331), None, None, Some(Reason::LifetimeExceeded)),
            (Some(331), Some(1), None, Some(Reason::LifetimeExceeded)),
            (Some(331), Some(20), None, Some(Reason::LifetimeExceeded)),
        ];
        for (expires, not_before, issued_at, expected) in cases {
            let refusal = measure(&claims(*expires, *not_before, *issued_at), "", &rule(), Now::settled(NOW)).err();
            assert_eq!(refusal, *expected, "exp {expires:?} nbf {not_before:?} iat {issued_at:?}");
        }
    }

    #[test]
    fn a_token_without_dates_of_issue_can_be_refused() {
        let strict = TokenRule { require_issued_at: true, ..rule() };
        assert_eq!(measure(&claims(Some(300), None, None), "", &strict, Now::settled(NOW)).err(), Some(Reason::ClaimMissing));
        assert!(measure(&claims(Some(300), None, Some(0)), "", &strict, Now::settled(NOW)).is_ok());
    }

    #[test]
    fn without_a_cap_only_expiry_counts() {
        let uncapped = TokenRule { max_lifetime_ms: None, ..rule() };
        assert!(measure(&claims(Some(100_000_000), None, Some(0)), "", &uncapped, Now::settled(NOW)).is_ok());
    }

    #[test]
    fn issuer_and_audience_come_before_the_time() {
        let wrong_issuer = Claims { issuer: Some("iss/".into()), ..claims(Some(-100), None, None) };
        assert_eq!(measure(&wrong_issuer, "", &rule(), Now::settled(NOW)).err(), Some(Reason::IssuerMismatch));
        let no_issuer = Claims { issuer: None, ..claims(Some(300), None, None) };
        assert_eq!(measure(&no_issuer, "", &rule(), Now::settled(NOW)).err(), Some(Reason::ClaimMissing));
        let wrong_audience = Claims { audiences: Few::one("other".into()), ..claims(Some(-100), None, None) };
        assert_eq!(measure(&wrong_audience, "", &rule(), Now::settled(NOW)).err(), Some(Reason::AudienceMismatch));
        let no_audience = Claims { audiences: Few::default(), ..claims(Some(300), None, None) };
        assert_eq!(measure(&no_audience, "", &rule(), Now::settled(NOW)).err(), Some(Reason::ClaimMissing));
        assert_eq!(&*measure(&claims(Some(300), None, None), "", &rule(), Now::settled(NOW)).unwrap().value, "7F0C2C2E-6d1f-4f0a-9b7e-2f6b8f0d5a11");
    }

    #[test]
    fn a_refusal_that_only_one_reading_of_the_clock_gives_is_not_certain() {
        let stepped_back = Now { effective_ms: NOW, wall_ms: NOW - 600_000, steady_ms: NOW };
        // Issued 400 s ago: in the wall clock's future, so both times refuse it.
        assert_eq!(measure(&claims(Some(-100), None, Some(-400)), "", &rule(), stepped_back).err(), Some(Reason::TokenExpired));
        assert_eq!(measure(&claims(Some(-300), None, Some(-600)), "", &rule(), stepped_back).err(), Some(Reason::ClockUnsettled));
        let stepped_forward = Now { effective_ms: NOW, wall_ms: NOW, steady_ms: NOW - 600_000 };
        assert_eq!(measure(&claims(Some(-100), None, Some(-400)), "", &rule(), stepped_forward).err(), Some(Reason::TokenExpired));
        assert_eq!(measure(&claims(Some(-300), None, Some(-600)), "", &rule(), stepped_forward).err(), Some(Reason::ClockUnsettled));
        assert!(measure(&claims(Some(300), None, Some(0)), "", &rule(), stepped_forward).is_ok(), "what the later time allows is allowed");
    }
}
