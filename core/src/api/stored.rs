//! Kubernetes' own kinds, as far as they are read: `Secret` and `ConfigMap`. Fields that are not ours are let be.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

/// The `type` that a `Secret` must have before its keys are used: else naming any `Secret` would make a guessing oracle of it.
pub const CALLBACK_KEY_TYPE: &str = "ringfence.dev/callback-key";

/// A `Secret`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    /// Its type.
    #[serde(default, rename = "type")]
    pub secret_type: Option<String>,
    /// Values in base64.
    #[serde(default)]
    pub data: Option<BTreeMap<String, String>>,
    /// Values in plain text; they come before those of `data`.
    #[serde(default)]
    pub string_data: Option<BTreeMap<String, String>>,
}

/// Shows the names, never the values.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.data.iter().chain(&self.string_data).flat_map(BTreeMap::keys).collect();
        f.debug_struct("Secret").field("type", &self.secret_type).field("keys", &names).finish()
    }
}

/// A `ConfigMap`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    /// Its values.
    #[serde(default)]
    pub data: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_secret_never_shows_its_values() {
        let secret: Secret =
            serde_json::from_str(r#"{"type": "x", "data": {"a": "aHVzaA=="}, "stringData": {"b": "quiet"}, "immutable": true}"#).unwrap();
        let shown = format!("{secret:?}");
        assert!(shown.contains("\"a\"") && shown.contains("\"b\""), "{shown}");
        assert!(!shown.contains("aHVzaA") && !shown.contains("quiet"), "{shown}");
    }
}
