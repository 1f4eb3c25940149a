//! The resources as people write them (`apiVersion: ringfence.dev/v1alpha1`), one file per kind.
//!
//! The same documents come from Kubernetes and from a folder; [`Object`] is one of them, whatever its source.
//! Must not know how they are decided by ([`crate::decide`]).
//!
//! The types are flat on purpose: a union is a `type` and one optional struct per type, never an enum with content, so that CRD schemas can be
//! made of them. Unknown fields are refused, and so is an explicit null: it never means absent.

mod callback_policy;
mod cluster_callback_policy;
mod duration;
mod host_grant;
mod kind;
mod object;
mod schema;
mod sender;
mod source_range_set;
mod stored;

use serde::{Deserialize, Deserializer};

pub use callback_policy::{Authorization, CallbackPolicySpec, Forward, ForwardedHeader, Match, Mode, PathMatch};
pub use cluster_callback_policy::{Applies, ClusterCallbackPolicySpec};
pub use duration::{Duration, DurationError};
pub use host_grant::HostGrantSpec;
pub use kind::{API_VERSION, GROUP, Kind};
pub use object::{Location, Object, ObjectKey, Origin};
pub use schema::{Definition, definitions};
pub use sender::{
    ApiKey, AudiencesFrom, Authority, CallAutomation, ClaimMatch, ClaimValue, ConfigMapKey, ConfigMapName, EventGrid, EventGridCloud, EventGridToken,
    Handshake, JwksFrom, Jwt, NoToken, OnMismatch, SecretKey, Sender, SenderType, SignedUrl, Sources, TokenReuse, Transport, Upstream, UrlBinding,
};
pub use source_range_set::{Microsoft365, ServiceTags, SourceRangeSetSpec};
pub use stored::{CALLBACK_KEY_TYPE, ConfigMap, Secret};

/// Upper bounds of lists and texts, the same in schemas and in the compiler. Lower bounds are one.
pub mod bounds {
    /// `match.hosts`.
    pub const HOSTS: usize = 16;
    /// `match.paths` and a sender's `paths`.
    pub const PATHS: usize = 32;
    /// Length of a path pattern, in bytes.
    pub const PATH_LENGTH: usize = 1024;
    /// `senders`.
    pub const SENDERS: usize = 8;
    /// `audiences`.
    pub const AUDIENCES: usize = 32;
    /// Length of an audience, an issuer or a claim's name, in bytes.
    pub const TEXT_LENGTH: usize = 256;
    /// Length of a URL, in bytes.
    pub const URL_LENGTH: usize = 2048;
    /// `audiencesFrom`.
    pub const AUDIENCE_MAPS: usize = 4;
    /// Audiences of one sender, those of its `ConfigMap`s included.
    pub const ALL_AUDIENCES: usize = 10_000;
    /// `apiKey.secretRefs` and `apiKey.sha256`, each.
    pub const API_KEYS: usize = 4;
    /// Inline `cidrs`, of a sender or a set.
    pub const CIDRS: usize = 1024;
    /// `sources.sets`.
    pub const SETS: usize = 16;
    /// `jwt.claims`.
    pub const CLAIMS: usize = 16;
    /// `values` of a claim.
    pub const CLAIM_VALUES: usize = 32;
    /// Length of a claim's value, in bytes.
    pub const CLAIM_VALUE_LENGTH: usize = 1024;
    /// `forward.headers`.
    pub const FORWARDED_HEADERS: usize = 16;
    /// `methods`.
    pub const METHODS: usize = 16;
    /// `applicationIds`.
    pub const APPLICATION_IDS: usize = 16;
    /// `roles`.
    pub const ROLES: usize = 16;
    /// `subscriptionNames`.
    pub const SUBSCRIPTION_NAMES: usize = 32;
    /// Grants' `hosts` and `namespaces`, each.
    pub const GRANTED: usize = 256;
}

/// What counts where nothing is written. Of enumerations it is their own default, of truth values `false`.
pub mod defaults {
    use super::Duration;

    /// `clockSkew`.
    pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
    /// `signed.maxAge`.
    pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
    /// `jwt.algorithms` is this one alone.
    pub const ALGORITHM: &str = "RS256";
}

/// Reads an optional field that is there: unlike `Option`'s own reader, it takes null for what it is.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}
