//! `CallbackPolicy` (namespaced, `cbp`): which requests for a host and path are let through.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Sender, present,
    schema::{fields, rules},
};

/// What a `CallbackPolicy` says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::policy)]
pub struct CallbackPolicySpec {
    /// Whether its answers are enforced; default Enforce.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Enforce"))]
    pub mode: Option<Mode>,
    /// Which requests it speaks for.
    pub r#match: Match,
    /// A request must satisfy one of these with all its parts; their order never changes a verdict.
    #[schemars(schema_with = "fields::senders")]
    pub senders: Vec<Sender>,
    /// What the upstream is told on allow.
    #[serde(default, deserialize_with = "present")]
    pub forward: Option<Forward>,
}

/// Whether a policy's answer is enforced or only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Mode {
    /// The answer stands.
    #[default]
    Enforce,
    /// The request is allowed, and the answer it would have got is counted.
    Shadow,
}

/// Which requests a policy speaks for: any of the hosts and any of the paths.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Exact names, or `*.suffix` for one or more labels before it; A-labels (punycode) only.
    #[schemars(schema_with = "fields::hosts")]
    pub hosts: Vec<String>,
    /// The paths; absent = every path.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::paths")]
    pub paths: Option<Vec<PathMatch>>,
    /// `true` for upstreams that route without regard to case (ASP.NET); default `false`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = false))]
    pub ignore_path_case: Option<bool>,
}

/// A path; exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::path)]
pub struct PathMatch {
    /// This path and everything below it, by whole segments.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::path")]
    pub prefix: Option<String>,
    /// This path and no other.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::path")]
    pub exact: Option<String>,
}

/// What the upstream is told on allow: every name listed is set or removed, never left as the client sent it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// Headers that carry claims.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::forwarded_headers")]
    pub headers: Option<Vec<ForwardedHeader>>,
    /// What becomes of `Authorization`; default Keep.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Keep"))]
    pub authorization: Option<Authorization>,
}

/// A header that carries a claim.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardedHeader {
    /// The header.
    #[schemars(schema_with = "fields::header")]
    pub name: String,
    /// The claim; `aud` is the matched one.
    #[schemars(schema_with = "fields::claim_name")]
    pub claim: String,
}

/// What becomes of `Authorization` on its way upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Authorization {
    /// It stays.
    #[default]
    Keep,
    /// It is removed.
    Remove,
}
