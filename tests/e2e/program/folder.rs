//! Folders of policies that are wrong in one place: `validate` says where, and `serve` keeps the rest.

use std::fs;

use ringfence::issuer::{Issuer, IssuerOptions, TokenSpec};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::{
    grpc::{Client, check_request, peer, status},
    policies::{AUDIENCE, HOST, KEY, policies},
    ringfence::{Ringfence, run},
};

/// A good policy; `{}` is replaced.
fn policy(name: &str, sender: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: contoso}}\nspec:\n  \
         match: {{hosts: [{name}.contoso.com]}}\n  senders:\n    - name: callbacks\n      type: CallAutomation\n      {sender}\n"
    )
}

const GOOD: &str = "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}";

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Exit code and everything that `validate` says.
fn validate(folder: &TempDir) -> (Option<i32>, String) {
    let (code, stdout, stderr) = run(&["validate", folder.path().to_str().unwrap()]);
    (code, stdout + &stderr)
}

#[test]
fn a_sound_folder_is_sound() {
    let (code, said) = validate(&folder(&[("a.yaml", policy("a", GOOD))]));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn one_malformed_file_of_ten_is_named() {
    let files: Vec<_> = (0..10).map(|number| (format!("policy-{number}.yaml"), policy(&format!("p{number}"), GOOD))).collect();
    let mut files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    files[6].1 = "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {name: p6\n".to_owned();
    let (code, said) = validate(&folder(&files));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("policy-6.yaml:"), "{said}");
    assert!((0..10).filter(|number| *number != 6).all(|number| !said.contains(&format!("policy-{number}.yaml:"))), "{said}");
}

#[test]
fn every_mistake_is_named_with_its_place() {
    // What is wrong, the sender's lines, the field, and a word of what to do.
    for (sender, field, word) in [
        ("callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], audience: [x]}", "callAutomation", "audience"),
        ("callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], transport: null}", "transport", "null"),
        ("callAutomation: {audiences: []}", "audiences", "empty list"),
        ("callAutomation: {audiences: [/subscriptions/0/x]}", "audiences[0]", "immutableResourceId"),
        ("callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], clockSkew: 6m}", "clockSkew", "5m"),
        (
            "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}\n      sources: {cidrs: [10.1.0.1/8], onMismatch: Deny}",
            "cidrs[0]",
            "10.0.0.0/8",
        ),
        ("callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}\n      sources: {cidrs: [10.0.0.0/8]}", "sources", "onMismatch"),
        ("callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}\n      apiKey: {query: key}", "apiKey", "secretRefs"),
        ("jwt: {issuer: \"https://idp.example\", audiences: [x]}", "senders[0]", "callAutomation"),
    ] {
        let (code, said) = validate(&folder(&[("good.yaml", policy("good", GOOD)), ("bad.yaml", policy("bad", sender))]));
        assert_eq!(code, Some(1), "{sender}: {said}");
        assert!(said.contains("bad.yaml:") && !said.contains("good.yaml:"), "{sender}: {said}");
        assert!(said.contains(field) && said.contains(word), "{sender} should name `{field}` and say `{word}`: {said}");
    }
}

#[test]
fn a_secret_with_a_line_feed_is_named() {
    let secret = "apiVersion: v1\nkind: Secret\ntype: ringfence.dev/callback-key\nmetadata: {name: callback-key, namespace: contoso}\n\
                  stringData: {current: \"current-key-0123456789\\n\"}\n";
    let keyed = format!("{GOOD}\n      apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}");
    let (code, said) = validate(&folder(&[("secret.yaml", secret.to_owned()), ("policy.yaml", policy("a", &keyed))]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("callback-key") && said.contains("line"), "{said}");
    assert!(!said.contains("current-key-0123456789"), "a key must not be shown: {said}");
}

#[test]
fn duplicate_keys_aliases_and_size_are_bounded() {
    let laughs = (1..12).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let below = format!("*a{}", level - 1);
        format!("{text}a{level}: &a{level} [{}]\n", vec![below; 10].join(","))
    });
    let deep = format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let twice = policy("a", GOOD).replace("spec:\n", "spec:\n  mode: Shadow\n  mode: Enforce\n");
    for (what, text) in [("a billion laughs", laughs), ("depth", deep), ("a key twice", twice), ("size", format!("a: {}\n", "x".repeat(20_000_000)))]
    {
        let (code, said) = validate(&folder(&[("bad.yaml", text)]));
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains("bad.yaml"), "{what}: {said}");
    }
}

#[tokio::test]
async fn one_bad_policy_leaves_the_others_alone() {
    let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
    let bad = policy("bad", "callAutomation: {audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], audience: x}");
    let ringfence = Ringfence::start(&format!("{}---\n{bad}", policies(&issuer)), &["--unmatched=allow"]).await;
    let mut client = Client::over(TcpStream::connect(ringfence.address("grpc")).await.unwrap()).await.unwrap();
    let authorization = format!("Bearer {}", issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap());
    let mut ask = async |host: &str, target: &str| {
        status(&client.check(&check_request(peer("127.0.0.1"), "POST", host, target, &[("authorization", &authorization)])).await)
    };
    assert_eq!(ask(HOST, &format!("/api/callbacks?key={KEY}")).await, 200);
    assert_eq!(ask("bad.contoso.com", "/").await, 503, "an unsound policy keeps its place and decides nothing");
    assert_eq!(ask("nobody.example", "/").await, 200, "--unmatched allow");
    assert!(ringfence.metric("ringfence_policies", &["state=\"invalid\""]).await >= 1.0);
}
