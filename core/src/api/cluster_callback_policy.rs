//! `ClusterCallbackPolicy` (cluster-scoped, `ccbp`): the operator's own policies.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Forward, Match, Mode, Sender, Sources, present,
    schema::{fields, rules},
};

/// What a `ClusterCallbackPolicy` says. Secrets and `ConfigMap`s it names live in the operator's resource namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::cluster_policy)]
pub struct ClusterCallbackPolicySpec {
    /// When it counts; default Fallback.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Fallback"))]
    pub applies: Option<Applies>,
    /// Whether its answers are enforced; default Enforce.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Enforce"))]
    pub mode: Option<Mode>,
    /// Which requests it speaks for; under Always, `hosts` may be `["*"]`.
    pub r#match: Match,
    /// Under Fallback: as in a `CallbackPolicy`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::senders")]
    pub senders: Option<Vec<Sender>>,
    /// Under Fallback: as in a `CallbackPolicy`.
    #[serde(default, deserialize_with = "present")]
    pub forward: Option<Forward>,
    /// Under Always: where requests may come from.
    #[serde(default, deserialize_with = "present")]
    pub sources: Option<Sources>,
}

/// When a `ClusterCallbackPolicy` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Applies {
    /// Where no `CallbackPolicy` matches.
    #[default]
    Fallback,
    /// A floor: it must pass as well, before everything else.
    Always,
}
