//! `SourceRangeSet` (cluster-scoped, `srs`): address ranges under a name.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    ConfigMapKey, Duration, present,
    schema::{fields, rules},
};

/// What a `SourceRangeSet` says; at least one of its parts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::source_range_set)]
pub struct SourceRangeSetSpec {
    /// Ranges written here.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::cidrs")]
    pub cidrs: Option<Vec<String>>,
    /// Ranges in a `ConfigMap` of the operator's resource namespace: one a line, blank lines and `#` comments left out.
    #[serde(default, deserialize_with = "present")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// Ranges of Microsoft 365 endpoint sets.
    #[serde(default, rename = "microsoft365", deserialize_with = "present")]
    pub microsoft_365: Option<Microsoft365>,
    /// Ranges of Azure service tags.
    #[serde(default, deserialize_with = "present")]
    pub service_tags: Option<ServiceTags>,
}

/// Endpoint sets of the Microsoft 365 endpoints web service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Microsoft365 {
    /// The endpoint sets' ids.
    #[schemars(schema_with = "fields::endpoint_sets")]
    pub ids: Vec<u32>,
    /// The web service, if another than Microsoft's.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::url")]
    pub url: Option<String>,
    /// How often it is asked.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::refresh")]
    pub refresh: Option<Duration>,
}

/// Tags of the Azure service tags file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceTags {
    /// The tags.
    #[schemars(schema_with = "fields::tags")]
    pub tags: Vec<String>,
    /// The file's URL.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::url")]
    pub url: Option<String>,
    /// The file, or a part of it, in a `ConfigMap`.
    #[serde(default, deserialize_with = "present")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// How often it is fetched.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::refresh")]
    pub refresh: Option<Duration>,
}
