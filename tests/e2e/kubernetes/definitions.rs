//! The definitions on a real API server: what it takes, what it refuses and how it says so (`refused`), and that it drops nothing that somebody
//! wrote.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ringfence::source::files::FolderSource;
use ringfence_core::{
    api::{Kind, definitions},
    compile::{Compiled, Options, Severity, compile},
};
use serde_json::{Value, json};

use super::replica::Replica;
use crate::support::{kubernetes::Kubernetes, wait_for};

mod refused;

const GUID: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";

async fn start() -> Kubernetes {
    let kubernetes = Kubernetes::start().await;
    kubernetes.define().await;
    kubernetes.apply("{apiVersion: v1, kind: Namespace, metadata: {name: ringfence}}").await;
    kubernetes
}

fn object(kind: Kind, name: &str, spec: &Value) -> Value {
    let namespace = if kind.is_namespaced() { json!("default") } else { Value::Null };
    json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

/// A policy in which every object that a `CallbackPolicy` can have is there.
fn whole_policy() -> Value {
    let refs = json!([{"name": "callback-key", "key": "current"}]);
    json!({
        "match": {"hosts": ["callbacks.contoso.com"], "paths": [{"prefix": "/api"}]},
        "senders": [
            {"name": "webhook", "type": "CallAutomation", "callAutomation": {"audiences": [GUID], "audiencesFrom": [{"configMapRef": {"name": "resources"}}], "jwks": {"configMapRef": {"name": "keys", "key": "jwks"}}},
             "paths": [{"exact": "/api/x"}], "sources": {"sets": ["acs-callbacks"], "cidrs": ["203.0.113.0/24"], "onMismatch": "Deny"}, "apiKey": {"query": "key", "secretRefs": refs}},
            {"name": "incoming", "type": "EventGrid", "eventGrid": {"tenantId": GUID, "audiences": ["api://x"], "authority": {"issuerV1": "https://a.example/", "issuerV2": "https://b.example/", "jwksUri": "https://b.example/keys"}}},
            {"name": "partner", "type": "JWT", "jwt": {"issuer": "https://idp.example", "jwks": {"configMapRef": {"name": "keys", "key": "jwks"}}, "audiences": ["x"], "claims": [{"name": "azp", "values": ["a", 1, true]}]}},
            {"name": "signed", "type": "NoToken", "noToken": {"methods": ["GET"]}, "apiKey": {"signed": {"query": "sig", "secretRefs": refs}}},
        ],
        "forward": {"headers": [{"name": "x-acs-audience", "claim": "aud"}]},
    })
}

/// One of each kind, in which every object that it can have is there.
fn wholes() -> Vec<(Kind, Value)> {
    vec![
        (Kind::CallbackPolicy, whole_policy()),
        (Kind::ClusterCallbackPolicy, whole_policy()),
        (
            Kind::ClusterCallbackPolicy,
            json!({"applies": "Always", "match": {"hosts": ["*"]}, "sources": {"cidrs": ["203.0.113.0/24"], "onMismatch": "Deny"}}),
        ),
        (Kind::HostGrant, json!({"hosts": ["callbacks.contoso.com"], "namespaces": ["default"]})),
        (
            Kind::SourceRangeSet,
            json!({
                "cidrs": ["203.0.113.0/24"], "configMapRef": {"name": "ranges", "key": "ranges"}, "microsoft365": {"ids": [12]},
                "serviceTags": {"tags": ["AzureEventGrid"], "configMapRef": {"name": "tags", "key": "tags"}},
            }),
        ),
    ]
}

/// The JSON pointers (RFC 6901) of all objects in `value`.
fn pointers(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let below = members.iter().flat_map(|(name, member)| pointers(member, &format!("{at}/{name}")));
            [at.to_owned()].into_iter().chain(below).collect()
        }
        Value::Array(items) => items.iter().enumerate().flat_map(|(index, item)| pointers(item, &format!("{at}/{index}"))).collect(),
        _ => Vec::new(),
    }
}

/// `/senders/0/apiKey` as a status says it: `spec.senders[0].apiKey`.
fn field(pointer: &str) -> String {
    pointer.split('/').skip(1).fold("spec".to_owned(), |field, step| match step.parse::<usize>() {
        Ok(index) => format!("{field}[{index}]"),
        Err(_) => format!("{field}.{step}"),
    })
}

/// The ways that objects come to an API server.
#[derive(Clone, Copy, Debug)]
enum Way {
    Post,
    ServerSideApply,
    Apply,
}

impl Way {
    /// `kubectl apply` takes nulls out before it sends anything. What was written is kept in an annotation.
    fn drops_nulls(self) -> bool {
        matches!(self, Self::Apply)
    }
}

impl Kubernetes {
    fn path(kind: Kind) -> String {
        let plural = definitions().into_iter().find(|definition| definition.kind == kind).unwrap().plural;
        let namespace = if kind.is_namespaced() { "/namespaces/default" } else { "" };
        format!("/apis/{}{namespace}/{plural}", kind.api_version())
    }

    /// Stores an object as a client does that checks nothing itself, or says why not.
    async fn post(&self, kind: Kind, object: &Value) -> Result<Value, String> {
        let stored = self.kubectl(&["create", "--raw", &Self::path(kind), "-f", "-"], &object.to_string()).await?;
        Ok(serde_json::from_str(&stored).unwrap())
    }

    async fn store(&self, way: Way, kind: Kind, object: &Value) -> Result<Value, String> {
        let apply: &[&str] = match way {
            Way::Post => return self.post(kind, object).await,
            Way::ServerSideApply => &["apply", "--server-side", "--output=json", "-f", "-"],
            Way::Apply => &["apply", "--output=json", "-f", "-"],
        };
        let stored = self.kubectl(apply, &object.to_string()).await?;
        Ok(serde_json::from_str(&stored).unwrap())
    }

    async fn condition_of(&self, kind: Kind, name: &str, r#type: &str) -> String {
        wait_for(&format!("{type} of {kind}/{name}"), async || {
            let text = self.kubectl(&["get", kind.name(), name, "--output=json"], "").await.ok()?;
            let object: Value = serde_json::from_str(&text).unwrap();
            let found = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == r#type)?.clone();
            Some(format!("{}: {}", found["reason"].as_str()?, found["message"].as_str()?))
        })
        .await
    }
}

#[tokio::test]
async fn a_typo_and_a_null_at_every_object_are_kept_and_show_in_the_status() {
    let kubernetes = start().await;
    let mut expected: Vec<(Kind, String, String)> = Vec::new();
    for (number, (kind, spec)) in wholes().into_iter().enumerate() {
        for (index, pointer) in pointers(&spec, "").into_iter().enumerate() {
            let way = [Way::Post, Way::ServerSideApply, Way::Apply][index % 3];
            for surprise in [json!({"weaken": true}), Value::Null] {
                let is_null = surprise.is_null();
                let name = format!("typo-{number}-{index}-{}", if is_null { "null" } else { "value" });
                let mut spec = spec.clone();
                spec.pointer_mut(&pointer).unwrap()["surprise"] = surprise.clone();
                let stored = kubernetes.store(way, kind, &object(kind, &name, &spec)).await.unwrap();
                let kept = stored["spec"].pointer(&format!("{pointer}/surprise"));
                let is_kept = !(is_null && way.drops_nulls());
                assert_eq!(kept, is_kept.then_some(&surprise), "{way:?} {kind} {pointer}");
                expected.push((kind, name, format!("{}.surprise: {}", field(&pointer), if is_null { "" } else { "unknown field `surprise`" })));
            }
        }
    }
    // Beside `spec`, where a field ends up that lost its indentation.
    for way in [Way::Post, Way::ServerSideApply, Way::Apply] {
        let name = format!("beside-{way:?}").to_lowercase();
        let mut lost = object(Kind::CallbackPolicy, &name, &whole_policy());
        lost["sources"] = json!({"sets": ["acs-callbacks"], "onMismatch": "Deny"});
        let stored = kubernetes.store(way, Kind::CallbackPolicy, &lost).await.unwrap();
        assert_eq!(stored["sources"], lost["sources"], "{way:?}");
        expected.push((Kind::CallbackPolicy, name, "sources: unknown field `sources`".to_owned()));
    }
    assert!(expected.len() > 90, "{}", expected.len());
    let replica = Replica::start(&kubernetes.kubeconfig(), "one", Options::default()).await;
    replica.sync().await;
    for (kind, name, words) in expected {
        let said = kubernetes.condition_of(kind, &name, "Accepted").await;
        assert!(said.starts_with("Invalid: ") && said.contains(&words), "{kind}/{name}: {said}\nwithout: {words}");
    }
}

/// The JSON pointers of everything in `value` that may be left out, by the definitions, and whether there is a default for it.
fn optional(schema: &Value, value: &Value, at: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for (name, member) in value.as_object().into_iter().flatten() {
        let (schema, at) = (&schema["properties"][name], format!("{at}/{name}"));
        if schema["nullable"] == true {
            found.push((at.clone(), !schema["default"].is_null()));
        }
        found.extend(optional(schema, member, &at));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(optional(&schema["items"], item, &format!("{at}/{index}")));
    }
    found
}

#[tokio::test]
async fn a_null_in_the_place_of_a_value_is_never_taken_for_nothing() {
    let kubernetes = start().await;
    let mut kept: Vec<(Kind, String, String)> = Vec::new();
    let mut refused = BTreeSet::new();
    for (number, (kind, spec)) in wholes().into_iter().enumerate() {
        let definition = definitions().into_iter().find(|definition| definition.kind == kind).unwrap().document;
        let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        // What an API server adds may be null, too.
        let spec = kubernetes.post(kind, &object(kind, &format!("whole-{number}"), &spec)).await.unwrap()["spec"].clone();
        for (index, (pointer, has_default)) in optional(schema, &spec, "").into_iter().enumerate() {
            // A null that kubectl takes out where there is a default becomes the default, as if nothing had been written.
            let way = [Way::Post, Way::ServerSideApply, if has_default { Way::Post } else { Way::Apply }][index % 3];
            let name = format!("null-{number}-{index}");
            let mut spec = spec.clone();
            *spec.pointer_mut(&pointer).unwrap() = Value::Null;
            match kubernetes.store(way, kind, &object(kind, &name, &spec)).await {
                Ok(stored) => {
                    assert_eq!(stored["spec"].pointer(&pointer), (!way.drops_nulls()).then_some(&Value::Null), "{way:?} {kind} {pointer}");
                    kept.push((kind, name, format!("{}: null is no value", field(&pointer))));
                }
                Err(problem) => {
                    assert!(problem.contains(&format!("{kind} \"{name}\" is invalid: ")), "{pointer}: {problem}");
                    refused.insert((pointer.rsplit('/').next().unwrap().to_owned(), problem));
                }
            }
        }
    }
    // Enumerations say which values there are, and unions what is missing.
    let reasons = [
        "supported values: ",
        "Invalid value: a ",
        "Invalid value: an ",
        "Invalid value: there is no ",
        "Invalid value: name ",
        "Invalid value: keys come from ",
    ];
    for (pointer, problem) in &refused {
        assert!(reasons.iter().any(|reason| problem.contains(reason)), "{pointer}: {problem}");
    }
    assert!(kept.len() > 50 && refused.len() > 50, "{} {}", kept.len(), refused.len());
    let replica = Replica::start(&kubernetes.kubeconfig(), "one", Options::default()).await;
    replica.sync().await;
    for (kind, name, words) in kept {
        let said = kubernetes.condition_of(kind, &name, "Accepted").await;
        assert!(said.starts_with("Invalid: ") && said.contains(&words), "{kind}/{name}: {said}\nwithout: {words}");
    }
}

/// The policies of the documentation, the examples and the table cases, in folders that are read together.
fn folders() -> Vec<(String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = Vec::new();
    for folder in [root.join("tests/cases"), root.join("tests/e2e/fixtures"), root.join("deploy")] {
        for file in yaml_files(&folder) {
            folders.push((file.display().to_string(), vec![fs::read_to_string(&file).unwrap()]));
        }
    }
    folders.extend(crate::docs::valid_policies());
    folders
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_policy_that_is_published_is_taken_and_means_the_same_when_it_is_stored() {
    let kubernetes = start().await;
    let mut taken = 0;
    for (place, texts) in folders() {
        let folder = tempfile::tempdir().unwrap();
        for (index, text) in texts.iter().enumerate() {
            fs::write(folder.path().join(format!("{index}.yaml")), text).unwrap();
        }
        // Other products' files, and templates.
        let Ok(read) = FolderSource::new(folder.path()).load() else { continue };
        let mut objects = read.objects;
        let written = compile(&objects, &Options::default());
        let mut is_stored = false;
        for object in &mut objects {
            let Some(kind) = Kind::of(&object.api_version, &object.key.kind).filter(|kind| kind.is_ours()) else { continue };
            let mut sent = (*object.raw).clone();
            if kind.is_namespaced() {
                sent["metadata"]["namespace"] = json!("default");
            }
            let path = format!("{}?dryRun=All", Kubernetes::path(kind));
            let stored = kubernetes.kubectl(&["create", "--raw", &path, "-f", "-"], &sent.to_string()).await;
            match stored {
                Ok(stored) => {
                    let stored: Value = serde_json::from_str(&stored).unwrap();
                    let mut raw = (*object.raw).clone();
                    raw["spec"] = stored["spec"].clone();
                    object.raw = raw.into();
                    (is_stored, taken) = (true, taken + 1);
                }
                // What is refused here is refused by the compiler, too.
                Err(problem) => {
                    let report = written.reports.iter().find(|report| report.object == object.key).unwrap();
                    let is_bad = report.findings.iter().any(|finding| finding.severity == Severity::Error);
                    assert!(is_bad, "{place}: {}: {problem}", object.key);
                }
            }
        }
        if is_stored {
            let again = compile(&objects, &Options::default());
            must_equal(&place, &format!("{:?}", again.reports), &format!("{:?}", written.reports));
            // Without the tables that are made of the policies, whose order says nothing.
            let policies = |compiled: &Compiled| format!("{:?}", compiled.policies).split(" holders: HostTable ").next().unwrap().to_owned();
            must_equal(&place, &policies(&again), &policies(&written));
        }
    }
    assert!(taken > 60, "{taken}");
}

fn must_equal(place: &str, stored: &str, written: &str) {
    let same = stored.bytes().zip(written.bytes()).take_while(|(one, other)| one == other).count();
    let near = |text: &str| text.bytes().skip(same.saturating_sub(200)).take(400).map(char::from).collect::<String>();
    assert!(stored == written, "{place}: as stored\n...{}...\nas written\n...{}...", near(stored), near(written));
}

#[tokio::test]
async fn as_much_as_may_be_written_is_taken_and_one_more_is_not() {
    let kubernetes = start().await;
    let host = |number: usize| format!("{}.{number:03}", vec!["a".repeat(61); 4].join("."));
    let path = |number: usize| json!({"prefix": format!("/{number:03}{}", "p".repeat(1020))});
    let cidr = |number: usize| format!("10.{}.{}.0/24", number / 256, number % 256);
    let sender = |number: usize| {
        json!({
            "name": format!("s{number}"), "type": "CallAutomation",
            "callAutomation": {"audiences": (0..32).map(|id| format!("{id:0256}")).collect::<Vec<_>>()},
            "sources": {"cidrs": (0..1024).map(cidr).collect::<Vec<_>>(), "onMismatch": "Deny"},
            "apiKey": {"query": "key", "secretRefs": (0..4).map(|key| json!({"name": "keys", "key": format!("{key}")})).collect::<Vec<_>>()},
            "paths": (0..32).map(path).collect::<Vec<_>>(),
        })
    };
    let spec = |hosts: usize, paths: usize, senders: usize| json!({"match": {"hosts": (0..hosts).map(host).collect::<Vec<_>>(), "paths": (0..paths).map(path).collect::<Vec<_>>()}, "senders": (0..senders).map(sender).collect::<Vec<_>>()});
    kubernetes.post(Kind::CallbackPolicy, &object(Kind::CallbackPolicy, "full", &spec(16, 32, 8))).await.unwrap();
    let grants =
        json!({"hosts": (0..256).map(host).collect::<Vec<_>>(), "namespaces": (0..256).map(|number| format!("n{number}")).collect::<Vec<_>>()});
    kubernetes.post(Kind::HostGrant, &object(Kind::HostGrant, "full", &grants)).await.unwrap();
    for (spec, said) in [
        (spec(17, 32, 8), "spec.match.hosts: Too many: 17: must have at most 16 items"),
        (spec(16, 33, 8), "spec.match.paths: Too many: 33: must have at most 32 items"),
        (spec(16, 32, 9), "spec.senders: Too many: 9: must have at most 8 items"),
    ] {
        let refused = kubernetes.post(Kind::CallbackPolicy, &object(Kind::CallbackPolicy, "more", &spec)).await.unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    let lists = [("callAutomation/audiences", 32), ("sources/cidrs", 1024), ("apiKey/secretRefs", 4)];
    for (list, most) in lists {
        let mut spec = spec(1, 1, 1);
        let items = spec.pointer_mut(&format!("/senders/0/{list}")).unwrap().as_array_mut().unwrap();
        let one_more = if list == "apiKey/secretRefs" { json!({"name": "more", "key": "more"}) } else { json!("192.0.2.0/24") };
        items.push(one_more);
        let refused = kubernetes.post(Kind::CallbackPolicy, &object(Kind::CallbackPolicy, "more", &spec)).await.unwrap_err();
        assert!(refused.contains(&format!("Too many: {}: must have at most {most} items", most + 1)), "{list}: {refused}");
    }
}

#[tokio::test]
async fn kubectl_shows_and_explains_them() {
    let kubernetes = start().await;
    for (index, (kind, spec)) in wholes().into_iter().enumerate() {
        kubernetes.post(kind, &object(kind, &format!("whole-{index}"), &spec)).await.unwrap();
    }
    let replica = Replica::start(&kubernetes.kubeconfig(), "one", Options::default()).await;
    replica.sync().await;
    kubernetes.condition_of(Kind::CallbackPolicy, "whole-0", "Accepted").await;
    let columns = |text: &str| text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>();
    let policies = columns(&kubernetes.kubectl(&["get", "cbp"], "").await.unwrap());
    assert_eq!(policies[0], ["NAME", "MODE", "HOSTS", "ACCEPTED", "REASON", "AGE"]);
    assert_eq!(policies[1][..5], ["whole-0", "Enforce", "[\"callbacks.contoso.com\"]", "True", "Accepted"]);
    for (short, heading) in [
        ("ccbp", &["NAME", "APPLIES", "MODE", "HOSTS", "ACCEPTED", "REASON", "AGE"][..]),
        ("hg", &["NAME", "HOSTS", "NAMESPACES", "ACCEPTED", "REASON", "AGE"]),
        ("srs", &["NAME", "ACCEPTED", "REASON", "AGE"]),
    ] {
        assert_eq!(columns(&kubernetes.kubectl(&["get", short], "").await.unwrap())[0], heading);
    }
    let all = kubernetes.kubectl(&["get", "ringfence", "--output=name"], "").await.unwrap();
    assert_eq!(all.lines().count(), 5, "{all}");
    for (path, words) in [
        ("callbackpolicy.spec", &["match\t<Object> -required-", "senders\t<[]Object> -required-", "enum: Enforce, Shadow"][..]),
        ("callbackpolicy.spec.senders", &["name\t<string> -required-", "enum: CallAutomation, EventGrid, JWT, NoToken", "exactly that one"]),
        ("callbackpolicy.spec.senders.callAutomation.clockSkew", &["Tolerated difference of clocks; default 30s, at most 5m."]),
        ("callbackpolicy.spec.senders.sources.onMismatch", &["ENUM: Deny Observe", "required, so that nobody is surprised"]),
        ("sourcerangeset.spec", &["configMapRef", "one a line"]),
    ] {
        let said = kubernetes.kubectl(&["explain", path], "").await.unwrap();
        for words in words {
            let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains(&words), "{path}: {said}\nwithout: {words}");
        }
    }
}
