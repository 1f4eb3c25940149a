//! `ClusterCallbackPolicy` (cluster-scoped, `ccbp`): the operator's own policies.

use serde::Deserialize;

use super::{Forward, Match, Mode, Sender, Sources, present};

/// What a `ClusterCallbackPolicy` says. Secrets and `ConfigMap`s it names live in the operator's resource namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterCallbackPolicySpec {
    /// Fallback (default) or Always.
    #[serde(default, deserialize_with = "present")]
    pub applies: Option<Applies>,
    /// Enforce (default) or Shadow.
    #[serde(default, deserialize_with = "present")]
    pub mode: Option<Mode>,
    /// Which requests it speaks for; under Always, `hosts` may be `["*"]`.
    pub r#match: Match,
    /// Under Fallback: as in a `CallbackPolicy`.
    #[serde(default, deserialize_with = "present")]
    pub senders: Option<Vec<Sender>>,
    /// Under Fallback: as in a `CallbackPolicy`.
    #[serde(default, deserialize_with = "present")]
    pub forward: Option<Forward>,
    /// Under Always: where requests may come from.
    #[serde(default, deserialize_with = "present")]
    pub sources: Option<Sources>,
}

/// When a `ClusterCallbackPolicy` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Applies {
    /// Where no `CallbackPolicy` matches.
    #[default]
    Fallback,
    /// A floor: it must pass as well, before everything else.
    Always,
}
