use ringfence_core::decide::{ActiveKeys, ApiKeyCarrier};

use super::*;

const KEY: &str = "case-signing-key-0001-b1946ac92492d2";

fn policy_with(api_key: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: p, namespace: contoso}}\nspec:\n  match: {{hosts: [a.example]}}\n  \
         senders:\n  - {{name: tool, type: NoToken, apiKey: {{{api_key}}}}}\n"
    )
}

fn secret(key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: url-key, namespace: contoso}}\ntype: ringfence.dev/callback-key\nstringData: {{current: \"{key}\"}}"
    )
}

fn compiled(api_key: &str, key: &str) -> Compiled {
    compile(&[("a.yaml", &policy_with(api_key)), ("b.yaml", &secret(key))], &Options::default())
}

const REFS: &str = "secretRefs: [{name: url-key, key: current}]";

#[test]
fn signed_urls_come_out_as_written() {
    let compiled = compiled(&format!("signed: {{query: sig, {REFS}, bind: Path, maxAge: 90m}}"), KEY);
    assert_eq!(said(&compiled), Vec::<String>::new());
    let rule = checks(holder(&compiled), "tool").api_key.as_ref().unwrap();
    let ActiveKeys::Signing(signing) = &rule.active else { panic!("{rule:?}") };
    assert_eq!((&rule.carrier, rule.strip, signing.keys.len()), (&ApiKeyCarrier::Query("sig".into()), true, 1));
    assert_eq!(signing.max_age_ms, 90 * 60 * 1000);
    let Rules::Senders { forward, .. } = &holder(&compiled).rules else { panic!() };
    assert_eq!(*forward.strip_query, [Arc::<str>::from("sig")]);
}

#[test]
fn what_is_not_said_is_bounded() {
    let compiled = compiled(&format!("signed: {{query: sig, {REFS}}}, upstream: Forward"), KEY);
    let rule = checks(holder(&compiled), "tool").api_key.as_ref().unwrap();
    let ActiveKeys::Signing(signing) = &rule.active else { panic!("{rule:?}") };
    assert_eq!((rule.strip, signing.max_age_ms), (false, 24 * 3600 * 1000));
}

#[test]
fn an_unsound_signed_url_denies() {
    let signed = format!("signed: {{query: sig, {REFS}}}");
    let at = "spec.senders[0].apiKey";
    let many = ["{name: url-key, key: current}"; 5].join(", ");
    for (api_key, field, message) in [
        (format!("query: key, {signed}"), "query", "`query` and `signed` exclude each other"),
        (format!("header: x-key, {signed}"), "header", "`header` and `signed` exclude each other"),
        (format!("{REFS}, {signed}"), "secretRefs", "`secretRefs` and `signed` exclude each other"),
        (format!("sha256: [{SHA}], {signed}"), "sha256", "`sha256` and `signed` exclude each other"),
        (signed.replace("sig,", "'s g',"), "signed.query", "`s g` is no name for a query parameter"),
        (signed.replace("query: sig, ", ""), "signed", "missing field `query`"),
        ("signed: {query: sig}".to_owned(), "signed", "missing field `secretRefs`"),
        (signed.replace("]}", "], sha256: [a]}"), "signed.sha256", "unknown field `sha256`, expected one of `query`"),
        (signed.replace("]}", "], bind: Host}"), "signed.bind", "unknown variant `Host`, expected `Path`"),
        (signed.replace("]}", "], maxAge: 0s}"), "signed.maxAge", "no URL is good for `0s`; leave the field out for 24h"),
        (signed.replace("]}", "], maxAge: 1d}"), "signed.maxAge", "`1d` is not a duration"),
        (signed.replace("]}", "], maxAge: null}"), "signed.maxAge", "null is no value"),
        ("signed: null".to_owned(), "signed", "null is no value"),
        ("signed: {query: sig, secretRefs: []}".to_owned(), "signed.secretRefs", "an empty list means nothing"),
        (format!("signed: {{query: sig, secretRefs: [{many}]}}"), "signed.secretRefs", "5 keys; at most 4 are read"),
        (signed.replace("current", "next"), "signed.secretRefs[0]", "Secret `contoso/url-key` has no key `next`"),
    ] {
        let compiled = compiled(&api_key, KEY);
        let said = said(&compiled);
        assert!(
            said.iter().any(|said| said.starts_with("error ") && said.contains(&format!(" {at}.{field}: ")) && said.contains(message)),
            "{api_key}: {said:?}"
        );
        assert!(senders(holder(&compiled))[0].checks.is_err(), "{api_key}");
    }
}

#[test]
fn what_weakens_a_signature_is_warned_of() {
    let signed = format!("signed: {{query: sig, {REFS}}}");
    let short = compiled(&signed, "short-signing-key");
    let expected = "warning LikelyMistake spec.senders[0].apiKey.signed.secretRefs: a key of fewer than 32 characters may be found out";
    assert!(matches!(&said(&short)[..], [only] if only.starts_with(expected)), "{:?}", said(&short));
    assert!(checks(holder(&short), "tool").api_key.is_some());
    let too_short = compiled(&signed, "too-short");
    assert!(said(&too_short)[0].contains("has 9 characters; it must have 16 to 256"), "{:?}", said(&too_short));
    assert!(senders(holder(&too_short))[0].checks.is_err());

    let shared = policy_with(&signed) + &format!("  - {{name: other, type: NoToken, apiKey: {{query: key, {REFS}}}}}\n");
    let shared = compile(&[("a.yaml", &shared), ("b.yaml", &secret(KEY))], &Options::default());
    let expected = "warning LikelyMistake spec.senders: the key `current` of Secret `url-key` is sent by one sender and signs URLs for another";
    assert!(matches!(&said(&shared)[..], [only] if only.starts_with(expected)), "{:?}", said(&shared));
}
