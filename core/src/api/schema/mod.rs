//! The definitions of our kinds, as an API server wants them (`CustomResourceDefinition`), made of the types of this part.
//!
//! They are made with schemars alone: kube's derive would bring a Kubernetes client into the core, and leaves out what matters here, that
//! nothing is dropped in silence.

pub(super) mod fields;
pub(super) mod rules;
mod structural;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{CallbackPolicySpec, ClusterCallbackPolicySpec, GROUP, HostGrantSpec, Kind, SourceRangeSetSpec};

use structural::structural;

/// The definition of one kind.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Of which kind.
    pub kind: Kind,
    /// The kind's name in URLs: `callbackpolicies`.
    pub plural: &'static str,
    /// The `CustomResourceDefinition`.
    pub document: Value,
}

/// What there is to say of a kind beside its schema.
struct Names {
    kind: Kind,
    plural: &'static str,
    short: &'static str,
    about: &'static str,
    /// Columns of `kubectl get` before those that all kinds have, and where they are.
    columns: &'static [(&'static str, &'static str)],
}

const HOSTS: (&str, &str) = ("Hosts", ".spec.match.hosts");
const MODE: (&str, &str) = ("Mode", ".spec.mode");

/// The definitions of all of our kinds.
#[must_use]
pub fn definitions() -> Vec<Definition> {
    let policy = Names {
        kind: Kind::CallbackPolicy,
        plural: "callbackpolicies",
        short: "cbp",
        about: "Which requests for a host and path are let through, and by what their senders are known.",
        columns: &[MODE, HOSTS],
    };
    let cluster_policy = Names {
        kind: Kind::ClusterCallbackPolicy,
        plural: "clustercallbackpolicies",
        short: "ccbp",
        about: "The operator's own policy: a fallback where no CallbackPolicy matches, or a floor that every request must pass as well.",
        columns: &[("Applies", ".spec.applies"), MODE, HOSTS],
    };
    let grant = Names {
        kind: Kind::HostGrant,
        plural: "hostgrants",
        short: "hg",
        about: "Which namespaces may speak for a host: CallbackPolicies of others do not count for it.",
        columns: &[("Hosts", ".spec.hosts"), ("Namespaces", ".spec.namespaces")],
    };
    let ranges = Names {
        kind: Kind::SourceRangeSet,
        plural: "sourcerangesets",
        short: "srs",
        about: "Address ranges under a name, for `sources.sets` of policies. `acs-callbacks` and `acs-media` are built in.",
        columns: &[],
    };
    vec![
        define::<CallbackPolicySpec>(&policy),
        define::<ClusterCallbackPolicySpec>(&cluster_policy),
        define::<HostGrantSpec>(&grant),
        define::<SourceRangeSetSpec>(&ranges),
    ]
}

fn define<T: JsonSchema>(names: &Names) -> Definition {
    let Names { kind, plural, short, .. } = names;
    let singular = kind.name().to_ascii_lowercase();
    let document = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name(), "listKind": format!("{kind}List"), "plural": plural, "singular": singular,
                "shortNames": [short], "categories": ["ringfence"],
            },
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(names.columns),
                "schema": {"openAPIV3Schema": root::<T>(names)},
            }],
        },
    });
    Definition { kind: *kind, plural, document }
}

fn columns(own: &[(&str, &str)]) -> Vec<Value> {
    let accepted = |field: &str| format!(".status.conditions[?(@.type==\"Accepted\")].{field}");
    let own = own.iter().map(|(name, path)| json!({"name": name, "type": "string", "jsonPath": path}));
    let common = [
        json!({"name": "Accepted", "type": "string", "jsonPath": accepted("status")}),
        json!({"name": "Reason", "type": "string", "jsonPath": accepted("reason")}),
        json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
    ];
    own.chain(common).collect()
}

/// The schema of a whole object. A member beside `spec` that nobody knows is kept, too: it may be one that lost its indentation.
fn root<T: JsonSchema>(names: &Names) -> Value {
    let mut root = json!({
        "type": "object",
        "description": names.about,
        "required": ["spec"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "apiVersion": {"type": "string", "description": "`ringfence.dev/v1alpha1`."},
            "kind": {"type": "string", "description": format!("`{}`.", names.kind)},
            "metadata": {"type": "object"},
            "spec": spec::<T>(),
            "status": status(),
        },
    });
    if names.kind == Kind::SourceRangeSet
        && let Value::Object(root) = &mut root
    {
        let rule = "!(self.metadata.name in ['acs-callbacks', 'acs-media'])";
        let message = "`acs-callbacks` and `acs-media` are built in; choose another name";
        root.insert("x-kubernetes-validations".to_owned(), json!([{"rule": rule, "message": message}]));
    }
    root
}

fn spec<T: JsonSchema>() -> Map<String, Value> {
    let settings = SchemaSettings::default().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    structural(settings.into_generator().into_root_schema_for::<T>().into())
}

/// What the holder of the Lease writes.
fn status() -> Value {
    json!({
        "type": "object",
        "description": "What became of it; written by Ringfence.",
        "properties": {"conditions": {
            "type": "array",
            "description": "Accepted, ResolvedRefs, Authenticated, and Warning while there is one.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                "properties": {
                    "type": {"type": "string", "maxLength": 316, "description": "What it is about."},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                    "reason": {"type": "string", "minLength": 1, "maxLength": 1024, "description": "Why, in one word."},
                    "message": {"type": "string", "maxLength": 32_768, "description": "Why, with the field and what to do."},
                    "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0, "description": "The generation that it is about."},
                    "lastTransitionTime": {"type": "string", "format": "date-time", "description": "Since when `status` is as it is."},
                },
            },
        }},
    })
}
