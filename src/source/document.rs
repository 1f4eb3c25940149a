//! From a document to the resources in it: their identity and where they stand. Lists (`kubectl get -o yaml`) are taken apart.
//!
//! Must not know what a `spec` means: only what can be told of every resource is judged here.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use ringfence_core::api::{API_VERSION, GROUP, Kind, Location, Object, ObjectKey, Origin};
use serde_json::Value;

use super::{SourceError, yaml::Document};

/// The namespace of a resource that names none, as `kubectl` has it.
const DEFAULT_NAMESPACE: &str = "default";
/// Longest name of a resource, in bytes (RFC 1123 subdomain).
const MAX_NAME: usize = 253;
/// Longest namespace, in bytes (RFC 1123 label).
const MAX_NAMESPACE: usize = 63;

/// What reading one file or folder brings together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) objects: Vec<Object>,
    pub(super) errors: Vec<SourceError>,
    pub(super) warnings: Vec<SourceError>,
}

/// A document of a file, which knows where everything in it stands.
#[derive(Debug)]
struct Source {
    file: Arc<str>,
    document: Document,
}

/// Where a resource stands: a document, or an item of a list in it.
#[derive(Debug)]
struct Place {
    source: Arc<Source>,
    /// The JSON pointer of the resource in the document.
    pointer: String,
}

impl Origin for Place {
    fn locate(&self, pointer: &str) -> Location {
        let Source { file, document } = &*self.source;
        let line = document.place.line_of(&format!("{}{pointer}", self.pointer));
        Location { file: Arc::clone(file), document: document.number, line }
    }
}

impl Place {
    fn say(&self, pointer: &str, message: impl fmt::Display) -> SourceError {
        let Location { file, document, line } = self.locate(pointer);
        SourceError { file, document: Some(document), line: Some(line), message: message.to_string() }
    }
}

/// Takes the resources out of one document of `file`.
pub(super) fn gather(file: &Arc<str>, mut document: Document, gathered: &mut Gathered) {
    let value = std::mem::take(&mut document.value);
    let source = Arc::new(Source { file: Arc::clone(file), document });
    gather_value(value, Place { source, pointer: String::new() }, gathered);
}

fn gather_value(mut value: Value, place: Place, gathered: &mut Gathered) {
    if !value.is_object() {
        gathered.errors.push(place.say("", "a document must be a mapping with `apiVersion`, `kind` and `metadata`"));
        return;
    }
    let (api_version, kind) = match (text(&value, "apiVersion"), text(&value, "kind")) {
        (Some(api_version), Some(kind)) => (api_version.to_owned(), kind.to_owned()),
        (None, _) => {
            gathered.errors.push(place.say("/apiVersion", format!("`apiVersion` is missing; our resources say `{API_VERSION}`")));
            return;
        }
        (_, None) => {
            gathered.errors.push(place.say("/kind", "`kind` is missing"));
            return;
        }
    };
    let is_list = kind == "List" || kind.strip_suffix("List").is_some_and(|item| Kind::of(&api_version, item).is_some());
    if let Some(Value::Array(items)) = value.get_mut("items").filter(|_| is_list) {
        for (at, item) in std::mem::take(items).into_iter().enumerate() {
            let pointer = format!("{}/items/{at}", place.pointer);
            gather_value(item, Place { source: Arc::clone(&place.source), pointer }, gathered);
        }
        return;
    }
    match Kind::of(&api_version, &kind) {
        Some(kind) => match identify(kind, value, place) {
            Ok(object) => gathered.objects.push(object),
            Err(error) => gathered.errors.push(error),
        },
        None if api_version == API_VERSION => {
            let known = Kind::ALL.iter().filter(|kind| kind.is_ours()).map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
            gathered.errors.push(place.say("/kind", format!("`{kind}` is no kind of `{API_VERSION}`; there are {known}")));
        }
        None if api_version.split('/').next() == Some(GROUP) => {
            gathered.errors.push(place.say("/apiVersion", format!("`{api_version}` is not known; write `{API_VERSION}`")));
        }
        None => gathered.warnings.push(place.say("/kind", format!("`{kind}` of `{api_version}` is passed over: it is none of ours"))),
    }
}

/// Reads who a resource is.
fn identify(kind: Kind, value: Value, place: Place) -> Result<Object, SourceError> {
    let metadata = value.get("metadata").filter(|metadata| metadata.is_object());
    let metadata = metadata.ok_or_else(|| place.say("/metadata", "`metadata` with a `name` is missing"))?;
    let name = match metadata.get("name") {
        Some(Value::String(name)) if is_name(name, MAX_NAME, true) => name.as_str(),
        Some(name) => return Err(place.say("/metadata/name", format!("`{}` is no name: {}", shown(name), rule_for(name)))),
        None => return Err(place.say("/metadata", "`metadata.name` is missing")),
    };
    let namespace = match (metadata.get("namespace"), kind.is_namespaced()) {
        (None, true) => DEFAULT_NAMESPACE,
        (None, false) => "",
        (Some(Value::String(namespace)), true) if is_name(namespace, MAX_NAMESPACE, false) => namespace.as_str(),
        (Some(namespace), true) => {
            return Err(place.say("/metadata/namespace", format!("`{}` is no namespace: {}", shown(namespace), rule_for(namespace))));
        }
        (Some(_), false) => return Err(place.say("/metadata/namespace", format!("a `{kind}` has no namespace; take the field out"))),
    };
    let key = ObjectKey { kind: kind.name().into(), namespace: namespace.into(), name: name.into() };
    Ok(Object {
        uid: key.to_string().into(),
        key,
        api_version: kind.api_version().into(),
        generation: 0,
        resource_version: content_version(kind, &value),
        created: None,
        raw: Arc::new(value),
        origin: Some(Arc::new(place)),
    })
}

const NAME_RULE: &str = "lower-case letters, digits and `-` (in names also `.`), with a letter or digit first and last";

fn rule_for(name: &Value) -> &'static str {
    if name.is_number() { "it is a number; put it in quotes" } else { NAME_RULE }
}

fn is_name(text: &str, longest: usize, dots: bool) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(alphanumeric)
            && bytes.last().copied().is_some_and(alphanumeric)
            && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
    };
    text.len() <= longest && if dots { text.split('.').all(is_label) } else { is_label(text) }
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str)
}

/// A value as it may be repeated in a message.
fn shown(value: &Value) -> String {
    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    shown.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Stands for the content where Kubernetes has a `resourceVersion`. Of a Secret only the names of its keys count: whatever is made of this may
/// be shown, and must not help to guess a key.
fn content_version(kind: Kind, value: &Value) -> Box<str> {
    let content = match kind {
        Kind::Secret => {
            let names = ["data", "stringData"].map(|field| value.get(field).and_then(Value::as_object).map(|map| map.keys().collect::<Vec<_>>()));
            format!("{names:?}")
        }
        Kind::CallbackPolicy | Kind::ClusterCallbackPolicy | Kind::HostGrant | Kind::SourceRangeSet | Kind::ConfigMap => value.to_string(),
    };
    let digest = digest::digest(&digest::SHA256, content.as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
