//! Statuses on a real API server: each reason shows, nothing is written twice, newer knowledge stays, and a holder is followed.

use std::{path::PathBuf, time::Duration};

use ringfence_core::compile::Options;
use serde_json::{Value, json};

use super::replica::Replica;
use crate::support::{kubernetes::Kubernetes, wait_for, wait_within};

/// What a replica needs to write statuses, and no more.
const RIGHTS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: ringfence-status}
rules:
  - {apiGroups: [ringfence.dev], resources: [callbackpolicies, clustercallbackpolicies, hostgrants, sourcerangesets], verbs: [get, list]}
  - {apiGroups: [ringfence.dev], resources: [callbackpolicies/status, clustercallbackpolicies/status, hostgrants/status, sourcerangesets/status], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ringfence-status}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ringfence-status}
subjects: [{kind: ServiceAccount, name: ringfence, namespace: ringfence}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: ringfence-status, namespace: ringfence}
rules:
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [ringfence-status], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ringfence-status, namespace: ringfence}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ringfence-status}
subjects: [{kind: ServiceAccount, name: ringfence, namespace: ringfence}]
"#;

/// An API server with the definitions, and whom the replicas are.
async fn start() -> (Kubernetes, PathBuf) {
    let kubernetes = Kubernetes::start().await;
    kubernetes.define().await;
    let kubeconfig = kubernetes.service_account("ringfence", "ringfence").await;
    kubernetes.apply(RIGHTS).await;
    kubernetes.apply("{apiVersion: v1, kind: Namespace, metadata: {name: contoso}}").await;
    (kubernetes, kubeconfig)
}

/// A policy `name` for `{name}.contoso.com` whose sender has these lines, too.
fn policy(name: &str, sender: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: {name}, namespace: contoso}}\nspec:\n  \
         match: {{hosts: [{name}.contoso.com]}}\n  senders:\n    - name: callbacks\n      type: CallAutomation\n      \
         callAutomation: {{audiences: [7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11], tokenReuse: Deny}}\n{sender}---\n"
    )
}

impl Kubernetes {
    async fn policy(&self, name: &str) -> Value {
        let text = self.kubectl(&["get", "callbackpolicy", name, "--namespace", "contoso", "--output", "json"], "").await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits for a condition and says `Status/Reason: message`.
    async fn condition(&self, name: &str, r#type: &str) -> String {
        wait_for(&format!("{type} of {name}"), async || {
            let policy = self.policy(name).await;
            let generation = &policy["metadata"]["generation"];
            let found = policy["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == r#type)?.clone();
            let text = |field: &str| found[field].as_str().unwrap().to_owned();
            (found["observedGeneration"] == *generation).then(|| format!("{}/{}: {}", text("status"), text("reason"), text("message")))
        })
        .await
    }

    /// Writes to statuses so far, by ServiceAccounts.
    fn status_writes(&self) -> usize {
        let is_status = |event: &Value| {
            event["objectRef"]["subresource"] == "status"
                && event["user"]["username"].as_str().is_some_and(|user| user.starts_with("system:serviceaccount:"))
        };
        self.audit().iter().filter(|event| is_status(event)).count()
    }

    async fn holder(&self) -> String {
        let path = ["get", "lease", "ringfence-status", "--namespace", "ringfence", "--output", "jsonpath={.spec.holderIdentity}"];
        self.kubectl(&path, "").await.unwrap_or_default()
    }
}

#[tokio::test]
async fn every_reason_shows_with_its_field_and_what_to_do() {
    let (kubernetes, kubeconfig) = start().await;
    let options = Options {
        hosts_are_granted: true,
        reuse_per_replica: true,
        issuer_origins: Some(vec!["https://acscallautomation.communication.azure.com".into()]),
        ..Options::default()
    };
    let sources = "      sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
    let key = "      apiKey: {query: key, secretRefs: [{name: callback-key, key: current}]}\n";
    let table = [
        ("good", policy("good", sources), "Accepted", "True/Accepted: nothing in it was refused"),
        (
            "typo",
            policy("typo", "      source: {sets: [acs-callbacks]}\n"),
            "Accepted",
            "False/Invalid: spec.senders[0].source: unknown field `source`",
        ),
        (
            "nulled",
            policy("nulled", "      sources: null\n"),
            "Accepted",
            "False/Invalid: spec.senders[0].sources: null is no value; leave the field out",
        ),
        (
            "denied",
            policy("denied", sources).replace("hosts: [denied", "hosts: [elsewhere.example, denied"),
            "Accepted",
            "False/HostNotGranted: spec.match.hosts[0]: ",
        ),
        (
            "younger",
            policy("younger", sources).replace("hosts: [younger", "hosts: [good"),
            "Accepted",
            "False/Conflicted: spec.match: `contoso/good` already has every path of `good.contoso.com`",
        ),
        (
            "issuer",
            policy("issuer", sources).replace("tokenReuse: Deny", "openIdConfiguration: 'https://evil.example/openid'"),
            "Accepted",
            "False/IssuerNotAllowed: spec.senders[0].callAutomation.openIdConfiguration: ",
        ),
        (
            "secret",
            policy("secret", key),
            "ResolvedRefs",
            "False/SecretNotFound: spec.senders[0].apiKey.secretRefs[0]: there is no Secret `contoso/callback-key`",
        ),
        (
            "ranges",
            policy("ranges", "      sources: {sets: [office], onMismatch: Deny}\n"),
            "ResolvedRefs",
            "False/SourceRangeSetNotFound: spec.senders[0].sources.sets[0]: ",
        ),
        (
            "map",
            policy("map", sources).replace("tokenReuse: Deny", "audiencesFrom: [{configMapRef: {name: resources}}]"),
            "ResolvedRefs",
            "False/ConfigMapNotFound: spec.senders[0].callAutomation.audiencesFrom[0]",
        ),
        (
            "open",
            policy("open", &format!("{sources}    - name: anybody\n      type: NoToken\n      noToken: {{acknowledgeWeak: true}}\n{sources}")),
            "Authenticated",
            "False/NoToken: spec.senders: `anybody`: no token is asked for",
        ),
        ("good", String::new(), "Warning", "True/ReusePerReplica: spec.senders[0].callAutomation.tokenReuse: "),
    ];
    let grant = "apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: contoso}\nspec: {hosts: ['*.contoso.com'], namespaces: [contoso]}\n---\n";
    kubernetes.apply(&format!("{grant}{}", table[0].1)).await;
    // Of two policies with one creation time the first by name would win.
    kubernetes.apply(&table.iter().skip(1).map(|(_, yaml, ..)| yaml.as_str()).collect::<String>()).await;
    let replica = Replica::start(&kubeconfig, "one", options).await;
    replica.sync().await;
    for (name, _, r#type, expected) in table {
        let said = kubernetes.condition(name, r#type).await;
        assert!(said.starts_with(expected), "{name}: {said}");
    }
    let said = kubernetes.condition("denied", "Accepted").await;
    assert!(said.contains("kind: HostGrant"), "{said}");
    let columns = kubernetes.kubectl(&["get", "cbp", "--namespace", "contoso", "good", "typo"], "").await.unwrap();
    let rows: Vec<Vec<&str>> = columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows[1].contains(&"True") && rows[1].contains(&"Accepted"), "{columns}");
    assert!(rows[2].contains(&"False") && rows[2].contains(&"Invalid"), "{columns}");
    let page = "{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}";
    let read =
        kubernetes.kubectl(&["get", "callbackpolicy", "typo", "--namespace", "contoso", "--output", &format!("jsonpath={page}")], "").await.unwrap();
    assert!(read.starts_with("Accepted=False Invalid: spec.senders[0].source: unknown field"), "{read}");
    let grants = kubernetes.kubectl(&["get", "hostgrant", "contoso", "--output", "jsonpath={.status.conditions[*].reason}"], "").await.unwrap();
    assert_eq!(grants, "Accepted");
}

#[tokio::test]
async fn only_changes_are_written_and_newer_knowledge_stays() {
    let (kubernetes, kubeconfig) = start().await;
    let sources = "      sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
    let names: Vec<_> = (0..20).map(|number| format!("p{number}")).collect();
    kubernetes.apply(&names.iter().map(|name| policy(name, sources)).collect::<String>()).await;
    let replica = Replica::start(&kubeconfig, "one", Options::default()).await;
    replica.sync().await;
    for name in &names {
        kubernetes.condition(name, "Accepted").await;
    }
    let written = |count: usize| (kubernetes.status_writes() >= count).then_some(());
    wait_for("the audit log to have them all", async || written(20)).await;

    // The same once more, compiled twenty times: the one that changes is written, and nothing beside it.
    for _ in 0..20 {
        replica.sync().await;
    }
    kubernetes.apply(&policy("p3", "      source: {}\n")).await;
    replica.sync().await;
    let said = kubernetes.condition("p3", "Accepted").await;
    assert!(said.starts_with("False/Invalid"), "{said}");
    wait_for("the audit log to have the change", async || written(21)).await;
    assert_eq!(kubernetes.status_writes(), 21);
    assert_eq!(replica.metric("ringfence_status_writes_total{result=\"written\"}"), Some(21.0));

    // Another replica knows of a later generation: its word stays, whatever else changes.
    let newer = json!([{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "from the future", "observedGeneration": 99,
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let patch = json!({"status": {"conditions": newer}}).to_string();
    kubernetes
        .kubectl(&["patch", "cbp", "p4", "--namespace", "contoso", "--subresource=status", "--type=merge", "--patch", &patch], "")
        .await
        .unwrap();
    kubernetes.apply(&format!("{}{}", policy("p4", "      source: {}\n"), policy("p5", "      source: {}\n"))).await;
    replica.sync().await;
    kubernetes.condition("p5", "Accepted").await;
    assert_eq!(kubernetes.policy("p4").await["status"]["conditions"], newer);

    // Deleted and made anew: the same name and generation, and yet another object.
    kubernetes.kubectl(&["delete", "cbp", "p6", "--namespace", "contoso"], "").await.unwrap();
    kubernetes.apply(&policy("p6", sources)).await;
    replica.sync().await;
    kubernetes.condition("p6", "Accepted").await;

    // A right that is taken away is said and counted, and what was missed is written once it is back.
    kubernetes.kubectl(&["delete", "clusterrolebinding", "ringfence-status"], "").await.unwrap();
    kubernetes.apply(&policy("p8", "      source: {}\n")).await;
    let p8 = kubernetes.policy("p8").await;
    replica.take_one(&p8);
    wait_for("a refusal", async || replica.metric("ringfence_status_writes_total{result=\"refused\"}").filter(|refused| *refused > 0.0)).await;
    kubernetes.apply(RIGHTS).await;
    let said = kubernetes.condition("p8", "Accepted").await;
    assert!(said.starts_with("False/Invalid"), "{said}");
    replica.sync().await;

    // Changed at the same time, though not in its generation: it is read again, and then written.
    kubernetes.apply(&policy("p9", "      sources: {sets: [office], onMismatch: Deny}\n")).await;
    replica.sync().await;
    let said = kubernetes.condition("p9", "ResolvedRefs").await;
    assert!(said.starts_with("False/SourceRangeSetNotFound"), "{said}");
    kubernetes.kubectl(&["label", "cbp", "p9", "--namespace", "contoso", "team=voice"], "").await.unwrap();
    kubernetes.apply("apiVersion: ringfence.dev/v1alpha1\nkind: SourceRangeSet\nmetadata: {name: office}\nspec: {cidrs: [198.51.100.0/24]}\n").await;
    replica.sync().await;
    wait_for("the reference to be resolved", async || {
        kubernetes.condition("p9", "ResolvedRefs").await.starts_with("True/ResolvedRefs").then_some(())
    })
    .await;
    assert_eq!(replica.metric("ringfence_status_writes_total{result=\"conflict\"}"), Some(1.0));

    // A condition of somebody else's is left alone, and the time of a transition stays while the status does.
    let before = kubernetes.policy("p7").await["status"]["conditions"][0]["lastTransitionTime"].clone();
    let theirs = "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {name: p7, namespace: contoso}\nstatus:\n  conditions:\n    \
        - {type: Audited, status: 'True', reason: Audited, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}\n";
    kubernetes.kubectl(&["apply", "--server-side", "--subresource=status", "--field-manager=auditor", "-f", "-"], theirs).await.unwrap();
    kubernetes.apply(&policy("p7", &sources.replace("Deny", "Observe"))).await;
    replica.sync().await;
    kubernetes.condition("p7", "Accepted").await;
    let after = kubernetes.policy("p7").await["status"]["conditions"].clone();
    assert!(after.as_array().unwrap().iter().any(|condition| condition["type"] == "Audited"), "{after}");
    assert_eq!(after.as_array().unwrap().iter().find(|condition| condition["type"] == "Accepted").unwrap()["lastTransitionTime"], before);
}

#[tokio::test]
async fn a_holder_that_leaves_or_dies_is_followed_and_nothing_is_written_twice() {
    let (kubernetes, kubeconfig) = start().await;
    let sources = "      sources: {sets: [acs-callbacks], onMismatch: Deny}\n";
    kubernetes.apply(&policy("a", sources)).await;
    let one = Replica::start(&kubeconfig, "one", Options::default()).await;
    one.sync().await;
    kubernetes.condition("a", "Accepted").await;
    let two = Replica::start(&kubeconfig, "two", Options::default()).await;
    two.sync().await;
    assert!(one.holds() && !two.holds());
    assert_eq!((one.metric("ringfence_status_leader"), two.metric("ringfence_status_leader")), (Some(1.0), Some(0.0)));

    one.leave().await;
    wait_for("the other to hold the Lease", async || (kubernetes.holder().await == "two").then_some(())).await;
    kubernetes.apply(&policy("b", sources)).await;
    two.sync().await;
    kubernetes.condition("b", "Accepted").await;

    let three = Replica::start(&kubeconfig, "three", Options::default()).await;
    three.sync().await;
    // As a process that is killed: nothing is released.
    drop(two);
    wait_within(Duration::from_secs(40), "the third to follow", async || three.holds().then_some(())).await;
    kubernetes.apply(&policy("c", sources)).await;
    three.sync().await;
    kubernetes.condition("c", "Accepted").await;
    wait_for("the audit log to have them all", async || (kubernetes.status_writes() >= 3).then_some(())).await;
    assert_eq!(kubernetes.status_writes(), 3, "each status once, whoever held the Lease");
}
