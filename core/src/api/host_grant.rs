//! `HostGrant` (cluster-scoped, `hg`): which namespaces may speak for a host.

use serde::Deserialize;

/// What a `HostGrant` says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostGrantSpec {
    /// Exact names or `*.suffix`.
    pub hosts: Vec<String>,
    /// The namespaces whose policies may speak for them.
    pub namespaces: Vec<String>,
}
