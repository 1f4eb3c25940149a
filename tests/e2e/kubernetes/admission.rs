//! The admission webhook, asked by a real API server: a typo is refused when it is applied, and nothing is refused when nobody answers.

use std::{
    fs,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
};
use kube::api::Api;
use ringfence::{
    admission::{KeeperParts, Reviewer, keep},
    clock::{Clock, ManualClock},
    listen::{AdmissionCertificate, AdmissionListener, Server},
    source::Configuration,
};
use ringfence_core::compile::Options;
use tokio::{sync::watch, task::JoinSet};

use super::{Cluster, replica::client};
use crate::support::{kubernetes::Kubernetes, ringfence::Ringfence, wait_for};

/// What deploy/ installs of the webhook.
const WEBHOOK: &str = include_str!("../../../deploy/kustomize/admission/webhook.yaml");
const RIGHTS: &str = include_str!("../../../deploy/kustomize/admission/rbac.yaml");

/// The same with a URL in the Service's place.
fn webhook(port: u16, authority: &str) -> String {
    let service = "service: {name: ringfence-admission, namespace: ringfence, port: 9443}";
    let configuration = WEBHOOK.split("---\n").nth(1).unwrap();
    assert!(configuration.contains(service), "{configuration}");
    configuration.replace(service, &format!("url: 'https://localhost:{port}/validate'\n      caBundle: {}", STANDARD.encode(authority)))
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
    kubernetes.define().await;
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
        (policy("path", SOURCES).replace("match: {", "match: {paths: [{prefix: /a//b}], "), "spec.match.paths[0].prefix: `/a//b` can never match"),
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
    let broken = kubernetes
        .kubectl(&["patch", "cbp", "good", "--type=merge", "--patch", r#"{"spec":{"forward":{"headers":[{"name":"host","claim":"aud"}]}}}"#], "")
        .await
        .unwrap_err();
    assert!(broken.contains("spec.forward.headers[0].name: `host` is reserved"), "{broken}");
    kubernetes.kubectl(&["label", "cbp", "good", "team=voice"], "").await.unwrap();
    assert!(ringfence.metric("ringfence_admission_reviews_total", &["result=\"refused\""]).await >= 5.0);
    assert!(ringfence.metric("ringfence_certificate_expiry_timestamp_seconds", &["listener=\"admission\""]).await > 1.0);

    // When nobody answers, everything is let by: the status says it then.
    drop(ringfence);
    create(&typo, &[]).await.unwrap();
    kubernetes.kubectl(&["delete", "cbp", "typo", "good"], "").await.unwrap();
}

impl Cluster {
    /// Installs the webhook and what is needed to make its certificates.
    async fn install_webhook(&self) {
        self.apply(RIGHTS).await;
        self.apply(WEBHOOK).await;
    }

    /// Whether a typo is refused by the webhook now.
    async fn refuses_a_typo(&self) -> bool {
        let typo = policy("typo", "      source: {sets: [acs-callbacks]}\n");
        let refusal = self.kubernetes.kubectl(&["create", "--dry-run=server", "-f", "-"], &typo).await;
        refusal.is_err_and(|problem| problem.contains("spec.senders[0].source: unknown field `source`"))
    }

    async fn wait_until_a_typo_is_refused(&self) {
        wait_for("the webhook to be asked", async || self.refuses_a_typo().await.then_some(())).await;
    }
}

#[tokio::test]
async fn the_program_makes_its_own_certificate_and_two_replicas_show_the_same() {
    let mut cluster = Cluster::start().await;
    cluster.install_webhook().await;
    let flags = ["--admission-listen=127.0.0.1:0", "--admission-self-signed=ringfence-admission"];
    let (mut one, mut other) = (cluster.ringfence(&flags).await, cluster.ringfence(&flags).await);
    let mut addresses = Vec::new();
    for replica in [&mut one, &mut other] {
        replica.read_addresses(&["admission"]).await;
        addresses.push(replica.address("admission"));
    }
    // By the Service's own name, which the certificate is for.
    cluster.kubernetes.serve("ringfence", "ringfence-admission", "admission", &addresses).await;
    cluster.wait_until_a_typo_is_refused().await;
    let expiry = async |replica: &Ringfence| {
        wait_for("a certificate", async || {
            Some(replica.metric("ringfence_certificate_expiry_timestamp_seconds", &["listener=\"admission\""]).await).filter(|expiry| *expiry > 0.0)
        })
        .await
    };
    assert!((expiry(&one).await - expiry(&other).await).abs() < 0.5, "they show the same certificate");
    drop(one);
    cluster.wait_until_a_typo_is_refused().await;
}

/// What one replica has of the webhook, with a clock that the test moves.
struct Half {
    _server: Server,
    _tasks: JoinSet<()>,
    _held: watch::Sender<bool>,
    address: std::net::SocketAddr,
    hand: ManualClock,
}

impl Half {
    async fn start(cluster: &Cluster, is_holder: bool, ms: i64) -> Self {
        let kubeconfig = cluster.kubernetes.kubeconfig_of("ringfence", "ringfence").await;
        let (clock, hand) = Clock::manual(ms);
        let (held, newest) = (watch::Sender::new(is_holder), watch::Sender::new(None));
        let gauges = prometheus::IntGaugeVec::new(prometheus::Opts::new("expiry", "expiry"), &["listener"]).unwrap();
        let certificate = AdmissionCertificate::Given(newest.subscribe());
        let listener = AdmissionListener::bind("127.0.0.1:0".parse().unwrap(), certificate, &gauges).unwrap();
        let address = listener.address();
        let server = Server::start(NonZeroUsize::MIN).unwrap();
        let reviewer = Reviewer::new(Options::default(), Configuration::new(&[], Options::default()).policies());
        server.serve_admission(listener, &Arc::new(reviewer), &prometheus::Registry::new()).unwrap();
        let parts = KeeperParts {
            client: client(&kubeconfig).await,
            namespace: "ringfence".to_owned(),
            service: "ringfence-admission".to_owned(),
            webhook: "ringfence".to_owned(),
            clock,
            look_every: Duration::from_millis(50),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(parts, held.subscribe(), newest));
        Self { _server: server, _tasks: tasks, _held: held, address, hand }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_follow_one_another_while_every_question_is_answered() {
    const DAY_MS: i64 = 24 * 3_600 * 1_000;
    let mut cluster = Cluster::start().await;
    cluster.install_webhook().await;
    // The API server judges by its own clock: all that happens here happened in the last weeks.
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let begin = now - 60 * DAY_MS - 1_200_000;
    let holder = Half::start(&cluster, true, begin).await;
    let other = Half::start(&cluster, false, begin).await;
    let addresses = [holder.address, other.address];
    cluster.kubernetes.serve("ringfence", "ringfence-admission", "admission", &addresses).await;
    cluster.wait_until_a_typo_is_refused().await;

    let admin = client(&cluster.kubernetes.kubeconfig()).await;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), "ringfence");
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(admin);
    let secret = async |key: &str| {
        let data = secrets.get("ringfence-admission-tls").await.unwrap().data.unwrap();
        data.get(key).map(|ByteString(bytes)| String::from_utf8(bytes.clone()).unwrap())
    };
    let trusted = async || {
        let webhook = webhooks.get("ringfence").await.unwrap().webhooks.unwrap().remove(0);
        String::from_utf8(webhook.client_config.ca_bundle.unwrap().0).unwrap()
    };
    let (first, first_authority) = (secret("tls.crt").await.unwrap(), secret("ca.crt").await.unwrap());
    assert_eq!(trusted().await.trim(), first_authority.trim());

    // Somebody overwrites what the API server trusts, and it is put right.
    let nobody = format!(r#"[{{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"{}"}}]"#, STANDARD.encode(certificate().2));
    cluster.kubernetes.kubectl(&["patch", "validatingwebhookconfiguration", "ringfence", "--type=json", "--patch", &nobody], "").await.unwrap();
    wait_for("the authority to be trusted again", async || (trusted().await.trim() == first_authority.trim()).then_some(())).await;

    // Sixty days later the next one is announced, and not shown yet.
    for half in [&holder, &other] {
        half.hand.advance(60 * DAY_MS);
    }
    let next_authority = wait_for("the next authority", async || secret("next-ca.crt").await).await;
    wait_for("both to be trusted", async || trusted().await.contains(next_authority.trim()).then_some(())).await;
    assert!(trusted().await.contains(first_authority.trim()));
    assert_eq!(secret("tls.crt").await.unwrap(), first);
    assert!(cluster.refuses_a_typo().await, "the old certificate is still believed");

    // Ten minutes later it is shown; both authorities stay trusted.
    for half in [&holder, &other] {
        half.hand.advance(600_000);
    }
    wait_for("the next certificate", async || (secret("tls.crt").await.unwrap() != first).then_some(())).await;
    for _ in 0..20 {
        assert!(cluster.refuses_a_typo().await, "whichever certificate a replica shows, the API server believes it");
    }
    let both = trusted().await;
    assert!(both.contains(first_authority.trim()) && both.contains(next_authority.trim()));
    assert_eq!(secret("previous-ca.crt").await.unwrap().trim(), first_authority.trim());

    // When the old one has expired, nobody trusts its authority any more.
    holder.hand.advance(31 * DAY_MS);
    wait_for("the old authority to go", async || (!trusted().await.contains(first_authority.trim())).then_some(())).await;
    assert!(cluster.refuses_a_typo().await);
}
