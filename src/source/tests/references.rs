use ringfence_core::decide::{ActiveKeys, KeySource};

use super::*;

/// A key set with one usable key, and one that is not.
const JWKS: &str = r#"{"keys": [
  {"kty": "EC", "crv": "P-256", "kid": "good", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
  {"kty": "oct", "kid": "bad", "k": "AAAA"}]}"#;

fn config_map(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: contoso}}\ndata:\n{data}")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn said_with(policy: &str, others: &str) -> (Vec<String>, bool) {
    let compiled = compile(&[("a.yaml", policy), ("b.yaml", SECRET), ("c.yaml", others)], &Options::default());
    (said(&compiled), senders(holder(&compiled))[0].checks.is_ok())
}

#[test]
fn a_key_that_no_caller_could_send_is_an_error_that_says_so() {
    let one = |secret: &str| {
        let text = policy().replace(", {name: callback-key, key: previous}", "");
        let compiled = compile(&[("a.yaml", &text), ("secrets.yaml", secret)], &Options::default());
        assert!(senders(holder(&compiled))[0].checks.is_err() && senders(holder(&compiled))[1].checks.is_ok(), "{secret}");
        let said = said(&compiled);
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    };
    let field = "spec.senders[0].apiKey.secretRefs[0]: ";
    let cases = [
        (
            "\"new-key-0123456789\"",
            "\"new-key-0123456789\\n\"",
            "InvalidSecret",
            "the key `current` of Secret `contoso/callback-key` at secrets.yaml:7 (document 1) ends with a newline, which no caller sends; write it without one",
        ),
        ("\"new-key-0123456789\"", "\"new-key-0123456789\\r\\n\"", "InvalidSecret", "ends with a newline"),
        ("\"new-key-0123456789\"", "\"new key 0123456789\"", "InvalidSecret", "holds a character other than"),
        ("\"new-key-0123456789\"", "short", "InvalidSecret", "has 5 characters; it must have 16 to 256"),
        ("\"new-key-0123456789\"", "1234567890123456", "InvalidSecret", "cannot be read: its values must be text"),
        ("type: ringfence.dev/callback-key", "type: Opaque", "InvalidSecret", "must be of `type: ringfence.dev/callback-key`"),
        ("type: ringfence.dev/callback-key\n", "", "InvalidSecret", "must be of `type: ringfence.dev/callback-key`"),
        ("current:", "other:", "SecretNotFound", "Secret `contoso/callback-key` has no key `current`"),
        ("namespace: contoso", "namespace: fabrikam", "SecretNotFound", "there is no Secret `contoso/callback-key`"),
    ];
    for (from, to, reason, message) in cases {
        let said = one(&SECRET.replace(from, to));
        assert!(said.starts_with(&format!("error {reason} {field}")) && said.contains(message), "{to}: {said}");
        assert!(!said.contains("new-key") && !said.contains("new key"), "a key is shown: {said}");
    }
    let encoded =
        |value: &str| SECRET.replace("stringData: {current: \"new-key-0123456789\"}", "").replace("data: {", &format!("data: {{current: {value}, "));
    assert!(one(&encoded("bmV3LWtleS0wMTIzNDU2Nzg5Cg==")).contains("ends with a newline"));
    assert!(one(&encoded("bmV3LWtleS0wMTIzNDU2Nzg5Cg")).contains("is not base64; put plain text under `stringData`"));
}

#[test]
fn one_usable_key_is_enough() {
    let (said, sound) = said_with(&policy().replace("key: previous", "key: next"), "");
    assert!(sound && said.len() == 1, "{said:?}");
    assert!(
        said[0].starts_with("warning PartiallyResolved spec.senders[0].apiKey.secretRefs[1]: Secret `contoso/callback-key` has no key `next`"),
        "{said:?}"
    );
    let secret = SECRET.replace("b2xkLWtleS0wMTIzNDU2Nzg5", "b2xkLWtleS0wMTIzNDU2Nzg5Cg==");
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", &secret)], &Options::default());
    assert!(self::said(&compiled)[0].starts_with("error InvalidSecret spec.senders[0].apiKey.secretRefs[1]: "), "{:?}", self::said(&compiled));
    assert_eq!(checks(holder(&compiled), "callbacks").api_key.as_ref().unwrap().active.count(), 1);
    let (said, sound) = said_with(
        &policy().replace("query: key\n", &format!("query: key\n        sha256: [{SHA}]\n")).replace("name: callback-key", "name: none"),
        "",
    );
    assert!(sound && said.iter().all(|said| said.starts_with("warning PartiallyResolved ")), "{said:?}");
}

#[test]
fn plain_text_and_base64_are_the_same_key() {
    let digest = |secret: &str| {
        let text = policy().replace(", {name: callback-key, key: previous}", "");
        let compiled = compile(&[("a.yaml", &text), ("b.yaml", secret)], &Options::default());
        match &checks(holder(&compiled), "callbacks").api_key.as_ref().unwrap().active {
            ActiveKeys::Digests(digests) => digests[0],
            other => panic!("{other:?}"),
        }
    };
    let encoded =
        SECRET.replace("stringData: {current: \"new-key-0123456789\"}", "").replace("data: {", "data: {current: bmV3LWtleS0wMTIzNDU2Nzg5, ");
    assert_eq!(digest(SECRET), digest(&encoded));
    let wrapped = encoded.replace("bmV3LWtleS0wMTIzNDU2Nzg5", "\"bmV3LWtleS0w\\nMTIzNDU2Nzg5\\n\"");
    assert_eq!(digest(SECRET), digest(&wrapped));
}

#[test]
fn audiences_may_stand_in_config_maps() {
    let text = policy().replacen("audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]", "audiencesFrom: [{configMapRef: {name: resources}}]", 1);
    let map = config_map("resources", "  7F0C2C2E-6d1f-4f0a-9b7e-2f6b8f0d5a11: contact center\n  11111111-6d1f-4f0a-9b7e-2f6b8f0d5a11: ''\n");
    let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET), ("c.yaml", &map)], &Options::default());
    assert_eq!(said(&compiled), Vec::<String>::new());
    let audiences = &checks(holder(&compiled), "callbacks").token.as_ref().unwrap().audiences;
    let found = audiences.find("7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11").unwrap();
    assert_eq!((&*found.value, found.name.as_deref()), ("7F0C2C2E-6d1f-4f0a-9b7e-2f6b8f0d5a11", Some("contact center")));
    assert_eq!(audiences.find("11111111-6d1f-4f0a-9b7e-2f6b8f0d5a11").unwrap().name, None);

    let at = "spec.senders[0].callAutomation.audiencesFrom[0].configMapRef: ";
    let many: String = (0..10_001).map(|at| format!("  7f0c2c2e-6d1f-4f0a-9b7e-{at:012}: name\n")).collect();
    let cases = [
        (String::new(), format!("error ConfigMapNotFound {at}there is no ConfigMap `contoso/resources`")),
        (config_map("resources", "  {}\n"), format!("error InvalidConfigMap {at}there is nothing in it")),
        (
            config_map("resources", "  resource: 7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11\n"),
            format!("error InvalidConfigMap {at}the key `resource` is no GUID"),
        ),
        (
            config_map("resources", "  7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11: \"a\\u0007\"\n"),
            format!("error InvalidConfigMap {at}the key `7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11` has a name"),
        ),
        (
            config_map("resources", "  7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11: 12\n"),
            format!("error InvalidConfigMap {at}ConfigMap `contoso/resources` at c.yaml:4 (document 1) cannot be read"),
        ),
        (config_map("resources", &many), "error Invalid spec.senders[0].callAutomation: 10001 audiences; at most 10000 are read".to_owned()),
    ];
    for (map, expected) in cases {
        let (said, sound) = said_with(&text, &map);
        assert!(!sound && said.len() == 1 && said[0].starts_with(&expected), "{expected}: {said:?}");
    }
}

#[test]
fn key_sets_may_stand_in_config_maps() {
    let text = policy().replacen("clockSkew: 1m", "jwks: {configMapRef: {name: keys, key: acs.json}}\n        issuer: https://closed.example", 1);
    let map = config_map("keys", &format!("  acs.json: |\n{}", indented(JWKS)));
    let compiled = compile(&[("a.yaml", &text), ("b.yaml", SECRET), ("c.yaml", &map)], &Options::default());
    let warnings = said(&compiled);
    assert!(warnings.len() == 1 && warnings[0].starts_with("warning PartiallyResolved spec.senders[0].callAutomation.jwks.configMapRef: the key set `acs.json` of ConfigMap `contoso/keys`: the key `bad` cannot be used: "), "{warnings:?}");
    let token = checks(holder(&compiled), "callbacks").token.as_ref().unwrap();
    let KeySource::Given(id, keys) = &token.keys else { panic!() };
    assert_eq!((id.to_string().as_str(), id.issuer(), keys.len()), ("configmap:contoso/keys/acs.json", "https://closed.example", 1));
    assert_eq!(compiled.key_sets.len(), 1, "it is not fetched");

    let html = "<!DOCTYPE html><html></html>";
    let cases = [
        (config_map("keys", "  other: x\n"), "ConfigMapNotFound", "ConfigMap `contoso/keys` has no key `acs.json`"),
        (config_map("keys", &format!("  acs.json: |\n{}", indented(html))), "InvalidConfigMap", "is HTML"),
        (config_map("keys", "  acs.json: ''\n"), "InvalidConfigMap", "is empty"),
        (config_map("keys", "  acs.json: '{\"keys\": []}'\n"), "InvalidConfigMap", "holds no usable key"),
        (config_map("keys", &format!("  acs.json: '{}'\n", "x".repeat(300_000))), "InvalidConfigMap", "has more than"),
    ];
    for (map, reason, message) in cases {
        let (said, sound) = said_with(&text, &map);
        assert!(!sound && said.len() == 1 && said[0].starts_with(&format!("error {reason} ")) && said[0].contains(message), "{message}: {said:?}");
    }
    let (said, _) = said_with(&text.replace("issuer: https", "openIdConfiguration: https"), &map);
    assert!(said[0].contains("at most one of the two"), "{said:?}");
}

#[test]
fn an_error_elsewhere_never_shows_what_is_secret() {
    let compiled = compile(&[("a.yaml", &policy()), ("b.yaml", &SECRET.replace("0123456789\"", "0123456789 \""))], &Options::default());
    let shown = format!("{compiled:?}");
    assert!(!shown.contains("new-key") && !shown.contains("bmV3LWtleS") && !shown.contains("old-key") && !shown.contains("b2xkLWtleS"));
    assert!(!format!("{:?}", load(&[("b.yaml", SECRET)])).contains("new-key"));
}

/// Else a tenant could fill our memory with one `ConfigMap` and many small policies.
#[test]
fn a_map_of_audiences_is_kept_once_however_many_senders_name_it() {
    let audience = "3d1c0e4e-9d4c-4b4b-8d0a-3a2f8a1f0b22";
    let inline = "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]";
    let with_map = policy().replace(inline, &format!("{inline}, audiencesFrom: [{{configMapRef: {{name: resources}}}}]"));
    let another = with_map.replace("name: contact-center", "name: another").replace("contoso.com", "contoso.org");
    let map = config_map("resources", &format!("  {audience}: second\n  7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11: first\n"));
    let compiled = compile(&[("a.yaml", &with_map), ("b.yaml", SECRET), ("c.yaml", &map), ("d.yaml", &another)], &Options::default());
    let found = |audience: &str| {
        let holders = compiled.policies.parts().holders.iter();
        let found = holders.map(|policy| checks(policy, "media").token.as_ref().unwrap().audiences.find(audience).unwrap());
        found.collect::<Vec<_>>()
    };
    let (second, first) = (found(audience), found("7F0C2C2E-6D1F-4F0A-9B7E-2F6B8F0D5A11"));
    assert!(second.len() == 2 && std::ptr::eq(second[0], second[1]), "{:?}", said(&compiled));
    // Listed twice: the one with a name counts.
    assert_eq!(first[0].name.as_deref(), Some("first"));
}
