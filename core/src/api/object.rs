//! One resource as its source delivered it, before its `spec` is believed.

use std::{fmt, sync::Arc};

use serde_json::Value;

/// Which resource: kind, namespace (empty for cluster-scoped ones) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `CallbackPolicy`, `Secret`, ...
    pub kind: Box<str>,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { write!(f, "{}/{}", self.kind, self.name) } else { write!(f, "{}/{}/{}", self.kind, self.namespace, self.name) }
    }
}

/// One resource: its identity, what Kubernetes keeps of its history, and its raw content.
#[derive(Clone)]
pub struct Object {
    /// Which one.
    pub key: ObjectKey,
    /// `apiVersion` as written.
    pub api_version: Box<str>,
    /// `metadata.uid`; `kind/namespace/name` in files.
    pub uid: Box<str>,
    /// `metadata.generation`; 0 in files. What the configuration hash is made of, with the uid.
    pub generation: i64,
    /// `metadata.resourceVersion`; in files a hash of the content. What the hash uses for Secrets and ConfigMaps.
    pub resource_version: Box<str>,
    /// `metadata.creationTimestamp` in seconds since the Unix epoch; `None` in files. The older wins a conflict, then the key's order.
    pub created: Option<i64>,
    /// The whole document as JSON.
    pub raw: Arc<Value>,
    /// Where it was read, for messages; `None` for Kubernetes.
    pub origin: Option<Arc<dyn Origin>>,
}

/// Shows which one it is, never its content: it may be a Secret.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("uid", &self.uid).field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// Where a resource was read: turns a field path into a place a person can open.
pub trait Origin: fmt::Debug + Send + Sync {
    /// `file`, 1-based document and 1-based line of the value at this JSON pointer (RFC 6901), or of its nearest known parent.
    fn locate(&self, pointer: &str) -> Location;
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file's path as shown to people.
    pub file: Arc<str>,
    /// Which document of the file, from 1.
    pub document: usize,
    /// Which line of the file, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} (document {})", self.file, self.line, self.document)
    }
}
