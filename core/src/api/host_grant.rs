//! `HostGrant` (cluster-scoped, `hg`): which namespaces may speak for a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::schema::fields;

/// What a `HostGrant` says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostGrantSpec {
    /// Exact names or `*.suffix`.
    #[schemars(schema_with = "fields::granted_hosts")]
    pub hosts: Vec<String>,
    /// The namespaces whose policies may speak for them.
    #[schemars(schema_with = "fields::namespaces")]
    pub namespaces: Vec<String>,
}
