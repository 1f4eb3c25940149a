use ringfence_core::decide::{Algorithm, AlgorithmSet, ClaimRule, ClaimValue, Decimal, KeySetId, MethodRule, ReuseMode};

use super::*;

const JWT: &str = "issuer: https://idp.example, jwksUri: https://idp.example/keys, audiences: [callbacks]";

fn policy_with(jwt: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: p, namespace: contoso}}\nspec:\n  match: {{hosts: [a.example]}}\n  \
         senders:\n  - {{name: partner, type: JWT, jwt: {{{jwt}}}}}\n"
    )
}

fn compiled(jwt: &str) -> Compiled {
    compile(&[("a.yaml", &policy_with(jwt))], &Options::default())
}

#[test]
fn a_short_sender_takes_rs256_for_any_lifetime_and_method() {
    let compiled = compiled(JWT);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let policy = holder(&compiled);
    let rule = checks(policy, "partner").token.as_ref().unwrap();
    assert_eq!(**rule.keys.id(), KeySetId::Jwks { issuer: "https://idp.example".into(), url: "https://idp.example/keys".into() });
    assert_eq!((rule.algorithms, rule.max_lifetime_ms, rule.clock_skew_ms), (AlgorithmSet::new([Algorithm::RS256]), None, 30_000));
    assert_eq!((rule.require_issued_at, rule.reuse, &senders(policy)[0].methods), (false, ReuseMode::Observe, &MethodRule::Any));
    assert!(matches!(rule.claims, ClaimRule::Nothing), "{:?}", rule.claims);
}

#[test]
fn claims_come_out_as_written() {
    let claims = "claims: [{name: azp, values: [a, 1, 2.50, true]}, {name: /a~1b/c, values: ['1']}], algorithms: [ES384, EdDSA], maxLifetime: 1h";
    let compiled = compiled(&format!("{JWT}, {claims}"));
    assert_eq!(said(&compiled), Vec::<String>::new());
    let rule = checks(holder(&compiled), "partner").token.as_ref().unwrap();
    assert_eq!((rule.algorithms, rule.max_lifetime_ms), (AlgorithmSet::new([Algorithm::ES384, Algorithm::EdDSA]), Some(3_600_000)));
    let ClaimRule::Values(demands) = &rule.claims else { panic!("{:?}", rule.claims) };
    let number = |text: &str| ClaimValue::Number(Decimal::parse(text).unwrap());
    assert_eq!(*demands[0].values, [ClaimValue::Text("a".into()), number("1"), number("2.5"), ClaimValue::Bool(true)]);
    assert_eq!((demands[1].claim.to_string().as_str(), &*demands[1].values), ("/a~1b/c", &[ClaimValue::Text("1".into())][..]));
}

/// Nobody can lend keys to another's issuer: the set is the issuer and the place together.
#[test]
fn the_same_issuer_with_another_place_is_another_key_set() {
    let acs = "issuer: https://acscallautomation.communication.azure.com, audiences: [a]";
    let of = |keys: &str| {
        let compiled = compiled(&format!("{acs}, {keys}"));
        (**checks(holder(&compiled), "partner").token.as_ref().unwrap().keys.id()).clone()
    };
    let acs_own = compile(&[("a.yaml", &policy()), ("b.yaml", SECRET)], &Options::default());
    let acs_own = (**checks(holder(&acs_own), "callbacks").token.as_ref().unwrap().keys.id()).clone();
    let document = "https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration";
    let ids =
        [of("jwksUri: https://lender.example/keys"), of("openIdConfiguration: https://lender.example/keys"), of(&format!("jwksUri: {document}"))];
    for id in &ids {
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1);
        assert_ne!(*id, acs_own);
    }
    assert_eq!(of(&format!("openIdConfiguration: {document}")), acs_own);
}

#[test]
fn an_unsound_sender_denies() {
    let at = "spec.senders[0].jwt";
    let many = ["a"; 33].join(", ");
    for (jwt, field, message) in [
        (JWT.replace("jwksUri: https://idp.example/keys, ", ""), at.to_owned(), "name `openIdConfiguration`, `jwksUri` or `jwks`"),
        (format!("{JWT}, openIdConfiguration: https://idp.example/x"), at.to_owned(), "exactly one of the three"),
        (JWT.replace("https://idp.example/keys", "http://idp.example/keys"), format!("{at}.jwksUri"), "keys are fetched over https only"),
        (JWT.replace("issuer: https://idp.example", "issuer: ''"), format!("{at}.issuer"), "printable ASCII"),
        (JWT.replace("issuer: https://idp.example, ", ""), at.to_owned(), "missing field `issuer`"),
        (JWT.replace(", audiences: [callbacks]", ""), at.to_owned(), "missing field `audiences`"),
        (JWT.replace("[callbacks]", "[]"), format!("{at}.audiences"), "an empty list means nothing"),
        (
            format!("{JWT}, algorithms: [RS256, HS256]"),
            format!("{at}.algorithms[1]"),
            "whoever can check such a token can also make one; take one of `RS256`",
        ),
        (format!("{JWT}, algorithms: [none]"), format!("{at}.algorithms[0]"), "`none`: it is not taken here"),
        (format!("{JWT}, algorithms: [ES512]"), format!("{at}.algorithms[0]"), "`ES512`: it is not taken here"),
        (format!("{JWT}, algorithms: [rs256]"), format!("{at}.algorithms[0]"), "`rs256`: it is not taken here"),
        (format!("{JWT}, algorithms: []"), format!("{at}.algorithms"), "an empty list means nothing"),
        (format!("{JWT}, maxLifetime: 0s"), format!("{at}.maxLifetime"), "no token lives for `0s`"),
        (format!("{JWT}, methods: [post]"), format!("{at}.methods[0]"), "`post` is no method"),
        (format!("{JWT}, claims: [{{name: '', values: [a]}}]"), format!("{at}.claims[0].name"), "a claim's name is 1 to 256 bytes long"),
        (format!("{JWT}, claims: [{{name: /a~, values: [a]}}]"), format!("{at}.claims[0].name"), "is no JSON pointer; write `~0` for `~`"),
        (format!("{JWT}, claims: [{{name: a, values: []}}]"), format!("{at}.claims[0].values"), "an empty list means nothing"),
        (format!("{JWT}, claims: [{{name: a}}]"), format!("{at}.claims[0]"), "missing field `values`"),
        (format!("{JWT}, claims: [{{name: a, values: [[a]]}}]"), format!("{at}.claims[0].values[0]"), "expected a text, a number or a truth value"),
        (format!("{JWT}, claims: [{{name: a, values: [{many}]}}]"), format!("{at}.claims[0].values"), "33 values; at most 32 are read"),
        (
            format!("{JWT}, claims: [{{name: a, values: [0.1234567890123456]}}]"),
            format!("{at}.claims[0].values[0]"),
            "may not be the number that is written",
        ),
        (format!("{JWT}, claim: a"), format!("{at}.claim"), "unknown field `claim`"),
    ] {
        let compiled = compiled(&jwt);
        let said = said(&compiled);
        assert!(
            said.iter().any(|said| said.starts_with("error ") && said.contains(&format!(" {field}: ")) && said.contains(message)),
            "{jwt}: {said:?}"
        );
        assert!(senders(holder(&compiled))[0].checks.is_err(), "{jwt}");
    }
}
