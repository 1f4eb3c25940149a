//! The settings of `serve` that other commands share: what a folder of policies amounts to, and how its issuers' keys may be fetched.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use clap::{ArgMatches, Args};
use ringfence_core::decide::{KeySetId, KeySource, PolicySet, Rules};

use crate::{
    settings::{IssuerSettings, PolicyRules, PolicySettings, Settings},
    source::{Configuration, files::FolderSource},
};

/// What a folder of policies is compiled under. The values are read through [`settings`], which looks at the other places, too.
#[derive(Args, Debug)]
pub struct RuleFlags {
    #[command(flatten)]
    _rules: PolicyRules,
    #[command(flatten)]
    _fetching: FetchFlags,
}

/// A folder of policies, and what it is compiled under.
#[derive(Args, Debug)]
pub struct FolderFlags {
    #[command(flatten)]
    _policies: PolicySettings,
    #[command(flatten)]
    _fetching: FetchFlags,
}

/// How keys may be fetched.
#[derive(Args, Debug)]
pub struct FetchFlags {
    #[command(flatten)]
    _issuers: IssuerSettings,
    /// TOML file with the settings of `serve`
    #[arg(id = "settings", long = "settings", value_name = "FILE", help_heading = "Settings")]
    _settings: Option<PathBuf>,
}

/// What `serve` would go by, given these flags of a command.
///
/// # Errors
/// Settings that cannot be used, each with its place.
pub fn settings(matches: &ArgMatches) -> anyhow::Result<Settings> {
    Ok(Settings::read(matches, std::env::vars_os())?)
}

/// Reads and compiles the folder that `settings` name.
///
/// # Errors
/// Everything that cannot be read, a line each.
pub fn load(settings: &Settings) -> anyhow::Result<Configuration> {
    let dir = settings.policies.config.as_ref().context("say where the policies are, with `--config DIR`")?;
    match FolderSource::new(dir).load() {
        Ok(folder) => Ok(Configuration::new(&folder.objects, settings.compile_options())),
        Err(errors) => bail!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
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
