//! The admission webhook, asked by a real API server: a typo is refused when it is applied, and nothing is refused when nobody answers.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{kubernetes::Kubernetes, ringfence::Ringfence, wait_for};

/// The configuration that the documentation shows, with a URL in the Service's place: there is no network of Services here.
fn webhook(port: u16, authority: &str) -> String {
    let page = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/kubernetes-admission.md")).unwrap();
    let yaml = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let service = "service: {name: ringfence-admission, namespace: ringfence, port: 9443}";
    assert!(yaml.contains(service), "{yaml}");
    yaml.replace(service, &format!("url: 'https://localhost:{port}/validate'\n      caBundle: {}", STANDARD.encode(authority)))
}

/// A certificate for localhost and its key, and the authority that signed it, all PEM.
fn certificate() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    (leaf.pem(), key.serialize_pem(), authority.pem())
}

fn policy(name: &str, sender: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         match: {{hosts: [callbacks.contoso.com]}}\n  senders:\n    - name: callbacks\n      type: CallAutomation\n      \
         callAutomation: {{audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11]}}\n{sender}"
    )
}

const SOURCES: &str = "      sources: {sets: [acs-callbacks], onMismatch: Deny}\n";

#[tokio::test]
async fn a_typo_is_refused_when_it_is_applied() {
    let kubernetes = Kubernetes::start().await;
    kubernetes.apply_definitions(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/fixtures/open-definitions.yaml")).await;
    let files = tempfile::tempdir().unwrap();
    let (leaf, key, authority) = certificate();
    let (leaf_file, key_file) = (files.path().join("tls.crt"), files.path().join("tls.key"));
    fs::write(&leaf_file, leaf).unwrap();
    fs::write(&key_file, key).unwrap();
    let (leaf_flag, key_flag) = (format!("--admission-tls-cert={}", leaf_file.display()), format!("--admission-tls-key={}", key_file.display()));
    // What is in force comes from a folder here; a policy that is in the way is warned of all the same.
    let mut ringfence = Ringfence::launch(&policy("winner", SOURCES), &["--admission-listen=127.0.0.1:0", &leaf_flag, &key_flag]);
    ringfence.read_addresses(&["metrics", "http", "admission"]).await;
    ringfence.wait_until_ready().await;
    kubernetes.apply(&webhook(ringfence.address("admission").port(), &authority)).await;

    let typo = policy("typo", "      source: {sets: [acs-callbacks]}\n");
    let create = async |yaml: &str, arguments: &[&str]| kubernetes.kubectl(&[&["create", "-f", "-"], arguments].concat(), yaml).await;
    // The API server takes up a new webhook within moments.
    let refusal = wait_for("the webhook to be asked", async || create(&typo, &["--dry-run=server"]).await.err()).await;
    assert!(
        refusal.contains("The CallbackPolicy \"typo\" is invalid: spec.senders[0].source: unknown field `source`, expected one of "),
        "{refusal}"
    );
    for (yaml, part) in [
        (policy("null", "      sources: null\n").replace("name: null", "name: nulled"), "spec.senders[0].sources: null is no value"),
        (policy("mode", SOURCES).replace("spec:\n", "spec:\n  mode: Enforced\n"), "spec.mode: unknown variant `Enforced`"),
    ] {
        let refusal = create(&yaml, &[]).await.unwrap_err();
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    let applied = kubernetes.kubectl(&["apply", "--server-side", "-f", "-"], &typo).await.unwrap_err();
    assert!(applied.contains("unknown field `source`"), "{applied}");

    // What others may yet put right is stored; what is in the way is warned of, which kubectl would show and --warnings-as-errors counts.
    create(&policy("good", &format!("{SOURCES}      apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}\n")), &[])
        .await
        .unwrap();
    let warned = create(&policy("rival", SOURCES), &["--warnings-as-errors"]).await.unwrap_err();
    assert!(warned.contains("warning"), "{warned}");
    let broken = kubernetes.kubectl(&["patch", "cbp", "good", "--type=merge", "--patch", r#"{"spec":{"mode":"Off"}}"#], "").await.unwrap_err();
    assert!(broken.contains("spec.mode: unknown variant `Off`"), "{broken}");
    kubernetes.kubectl(&["label", "cbp", "good", "team=voice"], "").await.unwrap();
    assert!(ringfence.metric("ringfence_admission_reviews_total", &["result=\"refused\""]).await >= 5.0);
    assert!(ringfence.metric("ringfence_certificate_expiry_timestamp_seconds", &["listener=\"admission\""]).await > 1.0);

    // When nobody answers, everything is let by: the status says it then.
    drop(ringfence);
    create(&typo, &[]).await.unwrap();
    kubernetes.kubectl(&["delete", "cbp", "typo", "good"], "").await.unwrap();
}
