//! Which kinds of resources there are.

use std::fmt;

/// Our API group.
pub const GROUP: &str = "ringfence.dev";
/// Our group and version, as `apiVersion` says it.
pub const API_VERSION: &str = "ringfence.dev/v1alpha1";

/// A kind of resource that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the kinds' own")]
pub enum Kind {
    CallbackPolicy,
    ClusterCallbackPolicy,
    HostGrant,
    SourceRangeSet,
    Secret,
    ConfigMap,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::CallbackPolicy, Self::ClusterCallbackPolicy, Self::HostGrant, Self::SourceRangeSet, Self::Secret, Self::ConfigMap];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallbackPolicy => "CallbackPolicy",
            Self::ClusterCallbackPolicy => "ClusterCallbackPolicy",
            Self::HostGrant => "HostGrant",
            Self::SourceRangeSet => "SourceRangeSet",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// Its `apiVersion`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        if self.is_ours() { API_VERSION } else { "v1" }
    }

    /// Whether it is one of ours, and not Kubernetes' own.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        match self {
            Self::CallbackPolicy | Self::ClusterCallbackPolicy | Self::HostGrant | Self::SourceRangeSet => true,
            Self::Secret | Self::ConfigMap => false,
        }
    }

    /// Whether its objects live in a namespace.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        match self {
            Self::CallbackPolicy | Self::Secret | Self::ConfigMap => true,
            Self::ClusterCallbackPolicy | Self::HostGrant | Self::SourceRangeSet => false,
        }
    }

    /// The kind of this `apiVersion` and `kind`, if it is read.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == kind && known.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
