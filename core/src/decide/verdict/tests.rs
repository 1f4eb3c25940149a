#![allow(clippy::unwrap_used, reason = "tests")]

use super::{
    super::{PolicyId, PolicyKind},
    *,
};

fn policy() -> SharedId {
    PolicyId::new(PolicyKind::CallbackPolicy, "n", "p", "1").into()
}

fn allow(reason: AllowReason) -> Verdict {
    Verdict { decision: Decision::Allow(Allow { reason, mutations: Mutations::default() }), about: About::default() }
}

fn pending(mode: ReuseMode, is_shadowed: bool) -> PendingAllow {
    let claim = ReuseClaim { key: [7; 32], expires_ms: 1, policy: policy(), mode, request_id: None };
    PendingAllow { claim, allowed: allow(AllowReason::Allowed), shadow: is_shadowed.then(Mutations::default) }
}

/// Every answer of the store, under every mode, for a policy that is enforced and for one in Shadow.
#[test]
fn the_store_has_the_last_word() {
    use ReuseAnswer::{First, Full, Reused, Unknown};
    for (answer, mode, enforced, shadowed) in [
        (First, ReuseMode::Deny, ("allowed", "allowed"), ("allowed", "allowed")),
        (First, ReuseMode::Observe, ("allowed", "allowed"), ("allowed", "allowed")),
        (Reused, ReuseMode::Deny, ("denied", "token_reused"), ("shadow_denied", "token_reused")),
        (Reused, ReuseMode::Observe, ("allowed", "allowed"), ("allowed", "allowed")),
        (Full, ReuseMode::Deny, ("denied", "overloaded"), ("denied", "overloaded")),
        (Full, ReuseMode::Observe, ("allowed", "allowed"), ("allowed", "allowed")),
        (Unknown, ReuseMode::Deny, ("denied", "reuse_unknown"), ("shadow_denied", "reuse_unknown")),
        (Unknown, ReuseMode::Observe, ("allowed", "allowed"), ("allowed", "allowed")),
    ] {
        for (is_shadowed, expected) in [(false, enforced), (true, shadowed)] {
            assert_eq!(pending(mode, is_shadowed).claim().key, [7; 32]);
            let verdict = pending(mode, is_shadowed).resolve(answer);
            assert_eq!((verdict.label(), verdict.reason_label()), expected, "{answer:?} {mode:?} {is_shadowed}");
            assert_eq!(verdict.about.token_reused, answer == Reused && mode == ReuseMode::Observe);
        }
    }
}

#[test]
fn an_answer_at_the_edge_waits_for_its_turn() {
    let pending = || PendingAnswer {
        policy: policy(),
        answered: Verdict { decision: Decision::Answer(Answer { headers: Vec::new(), body: b"x".to_vec() }), about: About::default() },
    };
    assert_eq!(&*pending().policy().label, "n/p");
    let (given, refused) = (pending().resolve(true), pending().resolve(false));
    assert_eq!((given.label(), given.reason_label(), given.status(), given.denied()), ("handshake", "allowed", 200, None));
    assert_eq!((refused.label(), refused.denied(), refused.status()), ("denied", Some(Reason::Overloaded), 503));
}

#[test]
fn a_verdict_says_what_it_is() {
    for (verdict, label, reason, status, denied) in [
        (allow(AllowReason::Allowed), "allowed", "allowed", 200, None),
        (allow(AllowReason::Unmatched), "allowed", "unmatched", 200, None),
        (allow(AllowReason::Shadowed(Reason::TokenExpired)), "shadow_denied", "token_expired", 200, None),
        (Verdict::deny(Reason::TokenExpired), "denied", "token_expired", 401, Some(Reason::TokenExpired)),
        (Verdict::deny(Reason::AmbiguousPath), "denied", "ambiguous_path", 400, Some(Reason::AmbiguousPath)),
        (Verdict::deny(Reason::NoPolicy), "denied", "no_policy", 403, Some(Reason::NoPolicy)),
        (Verdict::deny(Reason::KeyPending), "denied", "key_pending", 503, Some(Reason::KeyPending)),
    ] {
        assert_eq!((verdict.label(), verdict.reason_label(), verdict.status(), verdict.denied()), (label, reason, status, denied));
        assert_eq!(verdict.is_plain_allow(), label == "allowed");
    }
    let unavailable = Verdict { about: About { answer_unavailable: true, ..About::default() }, ..Verdict::deny(Reason::NoPolicy) };
    assert_eq!(unavailable.status(), 503);
}

#[test]
fn every_forwarded_name_is_set_or_removed() {
    let forward = Forward {
        headers: [("x-a".into(), "a".into()), ("x-b".into(), "b".into()), ("x-c".into(), "c".into())].into(),
        remove: ["x_a".into()].into(),
        strip_query: ["key".into()].into(),
    };
    let mutations = Mutations::new(Arc::new(forward), vec![Some("1".into()), None]);
    assert_eq!(mutations.set_headers().collect::<Vec<_>>(), [("x-a", "1")]);
    assert_eq!(mutations.remove_headers().collect::<Vec<_>>(), ["x-b", "x-c", "x_a"]);
    assert_eq!(mutations.strip_query().collect::<Vec<_>>(), ["key"]);
    let nothing = Mutations::default();
    assert_eq!((nothing.set_headers().count(), nothing.remove_headers().count(), nothing.strip_query().count()), (0, 0, 0));
}

#[test]
fn facts_of_a_token_are_equal_by_what_they_say() {
    let facts = |issuer, audience, kid| TokenFacts::new(Some(issuer), Some(audience), Some(kid));
    let one = facts("i", "a", "k");
    assert_eq!(one, facts("i", "a", "k"));
    for other in [facts("j", "a", "k"), facts("i", "b", "k"), facts("i", "a", "l"), TokenFacts::new(None, None, None)] {
        assert_ne!(one, other);
    }
    assert_eq!(format!("{one:?}"), r#"TokenFacts { issuer: Some("i"), audience: Some("a"), kid: Some("k") }"#);
}
