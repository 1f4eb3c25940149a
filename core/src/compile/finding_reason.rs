//! Why something is said about an object: one word each, which conditions in a status and `validate -o json` show.

use std::fmt;

/// The reason of a finding. Its name fits the `reason` of a Kubernetes condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "docs/commands.md and docs/kubernetes-troubleshooting.md have a line on each")]
pub enum FindingReason {
    Invalid,
    NotSupported,
    Duplicate,
    HostNotGranted,
    Conflicted,
    IssuerNotAllowed,
    KeySetQuota,
    SecretNotFound,
    SecretNotPermitted,
    InvalidSecret,
    ConfigMapNotFound,
    InvalidConfigMap,
    SourceRangeSetNotFound,
    InvalidSourceRangeSet,
    PartiallyResolved,
    ReusePerReplica,
    LikelyMistake,
}

impl FindingReason {
    /// Every reason, the gravest first.
    pub const ALL: &'static [Self] = &[
        Self::Invalid,
        Self::NotSupported,
        Self::Duplicate,
        Self::HostNotGranted,
        Self::Conflicted,
        Self::IssuerNotAllowed,
        Self::KeySetQuota,
        Self::SecretNotFound,
        Self::SecretNotPermitted,
        Self::InvalidSecret,
        Self::ConfigMapNotFound,
        Self::InvalidConfigMap,
        Self::SourceRangeSetNotFound,
        Self::InvalidSourceRangeSet,
        Self::PartiallyResolved,
        Self::ReusePerReplica,
        Self::LikelyMistake,
    ];

    /// Its name, as people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::NotSupported => "NotSupported",
            Self::Duplicate => "Duplicate",
            Self::HostNotGranted => "HostNotGranted",
            Self::Conflicted => "Conflicted",
            Self::IssuerNotAllowed => "IssuerNotAllowed",
            Self::KeySetQuota => "KeySetQuota",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretNotPermitted => "SecretNotPermitted",
            Self::InvalidSecret => "InvalidSecret",
            Self::ConfigMapNotFound => "ConfigMapNotFound",
            Self::InvalidConfigMap => "InvalidConfigMap",
            Self::SourceRangeSetNotFound => "SourceRangeSetNotFound",
            Self::InvalidSourceRangeSet => "InvalidSourceRangeSet",
            Self::PartiallyResolved => "PartiallyResolved",
            Self::ReusePerReplica => "ReusePerReplica",
            Self::LikelyMistake => "LikelyMistake",
        }
    }
}

impl fmt::Display for FindingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_in_its_order() {
        assert!(FindingReason::ALL.is_sorted_by(|a, b| a < b));
        assert_eq!(FindingReason::ALL.last(), Some(&FindingReason::LikelyMistake));
        assert_eq!(FindingReason::ALL.len(), FindingReason::LikelyMistake as usize + 1);
    }
}
