//! What policies refer to by name: Secrets and `ConfigMap`s, in their own namespace.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    api::{CALLBACK_KEY_TYPE, ConfigMap, Kind, Object, Secret, SecretKey},
    decide::{AudienceSet, JwksError, KeySet, RejectedKey, read_key_set},
};

use super::{
    Withheld,
    findings::{Field, Findings, reasons, shown},
};

/// How long an API key may be, in characters.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;
/// What an API key may be made of beside letters and digits: what a query carries without being changed.
const KEY_MARKS: &[u8] = b"-._~+/=";
/// Most unusable keys of one JWKS document that are named.
const MAX_REJECTED: usize = 8;

/// The ClusterRole that a namespace binds to permit that its keys are read.
const SECRET_READER: &str = "ringfence-secret-reader";

/// A digest of an API key.
pub(super) type KeyDigest = [u8; 32];
/// Namespace and name.
type Name = (Box<str>, Box<str>);
/// Namespace, name and key.
type ValueName = (Box<str>, Box<str>, Box<str>);

/// A JWKS document of a `ConfigMap`, read once however many policies name it.
type ReadJwks = Result<GivenKeys, JwksError>;

#[derive(Clone, Debug)]
struct GivenKeys {
    keys: Arc<KeySet>,
    rejected: Arc<[RejectedKey]>,
}

/// Audiences of a `ConfigMap`, read once likewise.
#[derive(Clone, Debug)]
pub(super) struct AudienceMap {
    pub(super) audiences: Arc<AudienceSet>,
    /// What is wrong with it.
    pub(super) problems: Arc<[String]>,
}

/// The Secrets and `ConfigMap`s there are. Whoever writes one large one and names it a thousand times costs what it costs once.
#[derive(Debug)]
pub(super) struct References<'o> {
    withheld: &'o Withheld,
    secrets: HashMap<Name, Stored<'o, Secret>>,
    config_maps: HashMap<Name, Stored<'o, ConfigMap>>,
    jwks: HashMap<ValueName, ReadJwks>,
    audiences: HashMap<Name, AudienceMap>,
}

/// An object whose values are read when somebody names it.
#[derive(Debug)]
struct Stored<'o, T> {
    object: &'o Object,
    values: OnceCell<Option<T>>,
}

impl<'o, T: Deserialize<'o>> Stored<'o, T> {
    const fn new(object: &'o Object) -> Self {
        Self { object, values: OnceCell::new() }
    }

    /// `None` = they are not all text.
    fn values(&self) -> Option<&T> {
        self.values.get_or_init(|| T::deserialize(&*self.object.raw).ok()).as_ref()
    }
}

/// Why a reference gives nothing.
struct Unresolved {
    how: How,
    message: String,
}

enum How {
    /// It is not there at all: it may yet come.
    Missing,
    /// It may not be read: that may yet be permitted.
    Withheld,
    /// It is there, and no key.
    Unusable,
}

impl<'o> References<'o> {
    /// The references to be found among `objects`, of which no two have the same key.
    pub(super) fn new(objects: &[&'o Object], withheld: &'o Withheld) -> Self {
        let (secrets, config_maps) = (HashMap::new(), HashMap::new());
        let mut references = Self { withheld, secrets, config_maps, jwks: HashMap::new(), audiences: HashMap::new() };
        for &object in objects {
            let name = (object.key.namespace.clone(), object.key.name.clone());
            match Kind::of(&object.api_version, &object.key.kind) {
                Some(Kind::Secret) => drop(references.secrets.insert(name, Stored::new(object))),
                Some(Kind::ConfigMap) => drop(references.config_maps.insert(name, Stored::new(object))),
                Some(Kind::CallbackPolicy | Kind::ClusterCallbackPolicy | Kind::HostGrant | Kind::SourceRangeSet) | None => {}
            }
        }
        references
    }

    /// The API keys that `refs`, at `at`, name, each as `keep` keeps it. One usable key is enough (`has_others`: there is one elsewhere): that
    /// others are missing is then a warning.
    pub(super) fn active_keys<K>(
        &self,
        (namespace, refs): (&str, &[SecretKey]),
        has_others: bool,
        keep: impl Fn(&[u8]) -> K,
        at: &Field<'_>,
        findings: &mut Findings<'_>,
    ) -> Vec<K> {
        let resolved: Vec<_> = refs.iter().map(|reference| self.secret_value(namespace, reference)).collect();
        let has_usable = has_others || resolved.iter().any(Result::is_ok);
        let mut keys = Vec::new();
        for (index, resolved) in resolved.into_iter().enumerate() {
            let at = at.index(index);
            match resolved {
                Ok(key) => keys.push(keep(&key)),
                Err(Unresolved { how: How::Missing | How::Withheld, message }) if has_usable => {
                    findings.warning(&at, reasons::PARTIALLY_RESOLVED, message);
                }
                Err(Unresolved { how: How::Missing, message }) => findings.error(&at, reasons::SECRET_NOT_FOUND, message),
                Err(Unresolved { how: How::Withheld, message }) => findings.error(&at, reasons::SECRET_NOT_PERMITTED, message),
                Err(Unresolved { how: How::Unusable, message }) => findings.error(&at, reasons::INVALID_SECRET, message),
            }
        }
        keys
    }

    /// A value of a Secret that is fit to be a key.
    fn secret_value(&self, namespace: &str, SecretKey { name, key }: &SecretKey) -> Result<Vec<u8>, Unresolved> {
        let missing = |message| Unresolved { how: How::Missing, message };
        let invalid = |message| Unresolved { how: How::Unusable, message };
        let label = || format!("Secret `{namespace}/{}`", shown(name));
        let stored = self.secrets.get(&(namespace.into(), name.as_str().into())).ok_or_else(|| self.absent(namespace, name, &label()))?;
        let object = stored.object;
        let unreadable = || invalid(format!("{}{} cannot be read: its values must be text", label(), place_of(object, &["data"])));
        let secret = stored.values().ok_or_else(unreadable)?;
        if secret.secret_type.as_deref() != Some(CALLBACK_KEY_TYPE) {
            let place = place_of(object, &["type"]);
            return Err(invalid(format!("{}{place} must be of `type: {CALLBACK_KEY_TYPE}`, or its values are not used as keys", label())));
        }
        let value_of = |data: &Option<BTreeMap<String, String>>| data.as_ref().and_then(|data| data.get(key)).cloned();
        let (field, value) = match (value_of(&secret.string_data), value_of(&secret.data)) {
            (Some(plain), _) => ("stringData", Ok(plain.into_bytes())),
            (None, Some(encoded)) => ("data", decode(&encoded)),
            (None, None) => return Err(missing(format!("{} has no key `{}`", label(), shown(key)))),
        };
        let judged = match value {
            Ok(value) => judge_key(&value).map(|()| value),
            Err(()) => Err("is not base64; put plain text under `stringData`".to_owned()),
        };
        judged.map_err(|why| invalid(format!("the key `{}` of {}{} {why}", shown(key), label(), place_of(object, &[field, key]))))
    }

    /// Why a Secret is not there.
    fn absent(&self, namespace: &str, name: &str, label: &str) -> Unresolved {
        let named = (namespace.into(), name.into());
        if self.withheld.left_out_secrets.contains(&named) {
            let message = format!("{label} is not read: the policies of `{namespace}` name more Secrets than are read one by one; use fewer");
            return Unresolved { how: How::Missing, message };
        }
        if !self.withheld.secrets.contains(&named) {
            return Unresolved { how: How::Missing, message: format!("there is no {label} of type {CALLBACK_KEY_TYPE}") };
        }
        let message = format!(
            "{label} may not be read until its namespace permits it: `kubectl create rolebinding {SECRET_READER} --namespace {namespace} \
             --clusterrole {SECRET_READER} {}`",
            self.withheld.reader
        );
        Unresolved { how: How::Withheld, message }
    }

    /// The values of a `ConfigMap`; an error is in the findings.
    fn config_map(&self, namespace: &str, name: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<&BTreeMap<String, String>> {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        let label = format!("ConfigMap `{namespace}/{}`", shown(name));
        let named = (namespace.into(), name.into());
        let Some(stored) = self.config_maps.get(&named) else {
            let message = if self.withheld.left_out_config_maps.contains(&named) {
                format!("{label} is not read: the policies of `{namespace}` name more ConfigMaps than are; use fewer")
            } else if self.withheld.config_maps.contains(&named) {
                format!("{label} may not be read: permit `get`, `list` and `watch` of `configmaps` there")
            } else {
                format!("there is no {label}")
            };
            findings.error(at, reasons::CONFIG_MAP_NOT_FOUND, message);
            return None;
        };
        match stored.values() {
            Some(ConfigMap { data }) => Some(data.as_ref().unwrap_or(&NOTHING)),
            None => {
                let place = place_of(stored.object, &["data"]);
                findings.error(at, reasons::INVALID_CONFIG_MAP, format!("{label}{place} cannot be read: the values of its `data` must be text"));
                None
            }
        }
    }

    /// One value of a `ConfigMap`; an error is in the findings.
    pub(super) fn config_value(&self, namespace: &str, name: &str, key: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<&str> {
        let value = self.config_map(namespace, name, at, findings)?.get(key).map(String::as_str);
        if value.is_none() {
            let message = format!("ConfigMap `{namespace}/{}` has no key `{}`", shown(name), shown(key));
            findings.error(at, reasons::CONFIG_MAP_NOT_FOUND, message);
        }
        value
    }

    /// The audiences of a `ConfigMap` as `read` reads them; that there is none is in the findings.
    pub(super) fn audience_map(
        &mut self,
        namespace: &str,
        name: &str,
        read: impl FnOnce(&BTreeMap<String, String>) -> AudienceMap,
        at: &Field<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<AudienceMap> {
        let cached: Name = (namespace.into(), name.into());
        if let Some(map) = self.audiences.get(&cached) {
            return Some(map.clone());
        }
        let map = read(self.config_map(namespace, name, at, findings)?);
        self.audiences.insert(cached, map.clone());
        Some(map)
    }

    /// The keys of a JWKS document in a `ConfigMap`; an error is in the findings. Keys that cannot be used are warned of.
    pub(super) fn key_set(&mut self, namespace: &str, name: &str, key: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<Arc<KeySet>> {
        let cached: ValueName = (namespace.into(), name.into(), key.into());
        let reading = match self.jwks.get(&cached) {
            Some(reading) => reading.clone(),
            None => {
                let document = self.config_value(namespace, name, key, at, findings)?;
                let reading =
                    read_key_set(document.as_bytes()).map(|reading| GivenKeys { keys: Arc::new(reading.keys), rejected: reading.rejected.into() });
                self.jwks.insert(cached, reading.clone());
                reading
            }
        };
        let label = format!("the key set `{}` of ConfigMap `{namespace}/{}`", shown(key), shown(name));
        let GivenKeys { keys, rejected } = match reading {
            Ok(given) => given,
            Err(error) => {
                findings.error(at, reasons::INVALID_CONFIG_MAP, format!("{label} cannot be read: {error}"));
                return None;
            }
        };
        for rejected in rejected.iter().take(MAX_REJECTED) {
            let kid = rejected.kid.as_deref().map_or_else(|| "without a `kid`".to_owned(), |kid| format!("`{}`", shown(kid)));
            findings.warning(at, reasons::PARTIALLY_RESOLVED, format!("{label}: the key {kid} cannot be used: {}", rejected.why));
        }
        if keys.is_empty() {
            findings.error(at, reasons::INVALID_CONFIG_MAP, format!("{label} holds no usable key"));
            return None;
        }
        Some(keys)
    }
}

/// ` (file:line (document n))`, where the object is in a file.
fn place_of(object: &Object, path: &[&str]) -> String {
    let pointer: String = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
    object.origin.as_ref().map(|origin| format!(" at {}", origin.locate(&pointer))).unwrap_or_default()
}

/// Decodes a value of `data`; line breaks are left out, as Kubernetes does.
fn decode(value: &str) -> Result<Vec<u8>, ()> {
    let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(value).map_err(|_| ())
}

/// Whether this is a key that a URL can carry and nobody guesses.
fn judge_key(key: &[u8]) -> Result<(), String> {
    if key.ends_with(b"\n") || key.ends_with(b"\r") {
        return Err("ends with a newline, which no caller sends; write it without one (`printf %s`, not `echo`)".to_owned());
    }
    if !key.iter().all(|byte| byte.is_ascii_alphanumeric() || KEY_MARKS.contains(byte)) {
        return Err("holds a character other than `A-Z a-z 0-9 - . _ ~ + / =`".to_owned());
    }
    if !KEY_LENGTH.contains(&key.len()) {
        return Err(format!("has {} characters; it must have {} to {}", key.len(), KEY_LENGTH.start(), KEY_LENGTH.end()));
    }
    Ok(())
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> KeyDigest {
    let mut sum = KeyDigest::default();
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}
