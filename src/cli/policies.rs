//! The folder of policies that a command looks at, and how its issuers' keys may be fetched: flags that several commands share.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::bail;
use clap::{Args, builder::BoolishValueParser};
use ringfence_core::{
    compile::Options,
    decide::{KeySetId, KeySource, PolicySet, Rules},
};

use crate::{
    keys::FetchRules,
    settings::{HostOwnership, UnmatchedAnswer},
    source::{Configuration, files::FolderSource},
};

/// A folder of policies and the settings it is compiled under; the same names as for `serve`.
#[derive(Args, Debug)]
pub struct PolicyFolder {
    /// Folder of policies (`*.yaml`, `*.yml`, `*.json`)
    #[arg(long, value_name = "DIR", env = "RINGFENCE_CONFIG", help_heading = "Policies")]
    config: PathBuf,
    /// What to answer where no policy matches
    #[arg(long, value_enum, default_value = "deny", value_name = "ANSWER", env = "RINGFENCE_UNMATCHED", help_heading = "Policies")]
    unmatched: UnmatchedAnswer,
    /// Whether HostGrants say which namespace may speak for which host
    #[arg(long, value_enum, default_value = "off", value_name = "MODE", env = "RINGFENCE_HOST_OWNERSHIP", help_heading = "Policies")]
    host_ownership: HostOwnership,
    /// Namespace of the Secrets and ConfigMaps that cluster-scoped resources name
    #[arg(long, default_value = "ringfence", value_name = "NAMESPACE", env = "RINGFENCE_RESOURCE_NAMESPACE", help_heading = "Policies")]
    resource_namespace: String,
    /// Fetch keys over plain http, too
    #[arg(long, env = "RINGFENCE_INSECURE_HTTP_ISSUERS", value_parser = BoolishValueParser::new(), help_heading = "Keys")]
    insecure_http_issuers: bool,
    /// Fetch keys from private and loopback addresses, too
    #[arg(long, env = "RINGFENCE_ALLOW_PRIVATE_ISSUERS", value_parser = BoolishValueParser::new(), help_heading = "Keys")]
    allow_private_issuers: bool,
}

impl PolicyFolder {
    /// Reads and compiles the folder.
    ///
    /// # Errors
    /// Everything that cannot be read, a line each.
    pub fn load(&self) -> anyhow::Result<Configuration> {
        let folder = match FolderSource::new(&self.config).load() {
            Ok(folder) => folder,
            Err(errors) => bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        };
        let options = Options {
            unmatched: self.unmatched.into(),
            hosts_are_granted: self.host_ownership.is_granted(),
            resource_namespace: self.resource_namespace.as_str().into(),
            issuer_origins: None,
            insecure_http_issuers: self.insecure_http_issuers,
            reuse_per_replica: false,
        };
        Ok(Configuration::new(&folder.objects, options))
    }

    /// How keys may be fetched.
    #[must_use]
    pub fn fetch_rules(&self) -> FetchRules {
        FetchRules { allow_private: self.allow_private_issuers, allow_http: self.insecure_http_issuers, ..FetchRules::default() }
    }
}

/// The key sets that senders of `policies` need to be fetched.
#[must_use]
pub fn used_key_sets(policies: &PolicySet) -> BTreeSet<Arc<KeySetId>> {
    let parts = policies.parts();
    let all = parts.holders.iter().chain(&parts.pinnable).chain(&parts.fallbacks);
    let senders = all.flat_map(|policy| match &policy.rules {
        Rules::Senders { senders, .. } => senders.as_ref(),
        Rules::Invalid { .. } => &[],
    });
    let tokens = senders.filter_map(|sender| sender.checks.as_ref().ok()?.token.as_ref());
    tokens
        .filter_map(|rule| match &rule.keys {
            KeySource::Fetched(id) => Some(Arc::clone(id)),
            KeySource::Given(..) => None,
        })
        .collect()
}
