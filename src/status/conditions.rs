//! From the report on one object to the conditions of its status: what the compiler found, never what was hoped.
//!
//! Only facts of the objects: whether keys can be fetched differs between replicas, and is a metric. Must not know: how a status is written.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use ringfence_core::{
    api::{API_VERSION, Kind},
    compile::{Authentication, Finding, FindingReason, Report},
};

/// Longest message of a condition, in bytes. The API server takes 32 KiB; a status is kept for each object, and read by people.
const LONGEST_MESSAGE: usize = 8 * 1024;

/// The conditions that are ours. Others of the same object are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// It can be read, and may do what it says.
    Accepted,
    /// Everything it names is there and can be used.
    ResolvedRefs,
    /// Every sender asks for a token.
    Authenticated,
    /// There only while it is true: it is in force, and probably not as was meant.
    Warning,
}

impl ConditionType {
    /// Every type.
    pub const ALL: &'static [Self] = &[Self::Accepted, Self::ResolvedRefs, Self::Authenticated, Self::Warning];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Authenticated => "Authenticated",
            Self::Warning => "Warning",
        }
    }

    /// The type that shows findings of this reason.
    #[must_use]
    pub const fn of(reason: FindingReason) -> Self {
        match reason {
            FindingReason::Invalid
            | FindingReason::NotSupported
            | FindingReason::Duplicate
            | FindingReason::HostNotGranted
            | FindingReason::Conflicted
            | FindingReason::IssuerNotAllowed
            | FindingReason::KeySetQuota => Self::Accepted,
            FindingReason::SecretNotFound
            | FindingReason::SecretNotPermitted
            | FindingReason::InvalidSecret
            | FindingReason::ConfigMapNotFound
            | FindingReason::InvalidConfigMap
            | FindingReason::SourceRangeSetNotFound
            | FindingReason::InvalidSourceRangeSet
            | FindingReason::PartiallyResolved => Self::ResolvedRefs,
            FindingReason::ReusePerReplica | FindingReason::LikelyMistake => Self::Warning,
        }
    }
}

/// The reason of a condition that no finding gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainReason {
    /// `Accepted`: nothing is wrong with it.
    Accepted,
    /// `ResolvedRefs`: all of them are.
    ResolvedRefs,
    /// `ResolvedRefs`, `Authenticated`: not all of the object can be read, so nobody can tell.
    NotRead,
    /// `Authenticated`: every sender asks for a token.
    TokenRequired,
    /// `Authenticated`: some sender asks for none.
    NoToken,
}

impl PlainReason {
    /// Every one of them.
    pub const ALL: &'static [Self] = &[Self::Accepted, Self::ResolvedRefs, Self::NotRead, Self::TokenRequired, Self::NoToken];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::NotRead => "NotRead",
            Self::TokenRequired => "TokenRequired",
            Self::NoToken => "NoToken",
        }
    }

    /// The conditions that may have it.
    #[must_use]
    pub const fn types(self) -> &'static [ConditionType] {
        match self {
            Self::Accepted => &[ConditionType::Accepted],
            Self::ResolvedRefs => &[ConditionType::ResolvedRefs],
            Self::NotRead => &[ConditionType::ResolvedRefs, ConditionType::Authenticated],
            Self::TokenRequired | Self::NoToken => &[ConditionType::Authenticated],
        }
    }
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    True,
    False,
    Unknown,
}

impl Holds {
    const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions that `report` comes to, as of `now`: a condition that `previous` has with the same status keeps the time of its last
/// transition.
pub(super) fn conditions(report: &Report, previous: &[Condition], now: Timestamp) -> Vec<Condition> {
    let kind = Kind::of(API_VERSION, &report.object.kind);
    let has_references = match kind {
        Some(Kind::CallbackPolicy | Kind::ClusterCallbackPolicy | Kind::SourceRangeSet) => true,
        Some(Kind::HostGrant | Kind::Secret | Kind::ConfigMap) | None => false,
    };
    let list = [
        Some(accepted(report)),
        has_references.then(|| resolved(report)),
        report.authentication.as_ref().map(authenticated),
        found(report, ConditionType::Warning).map(|(reason, message)| (ConditionType::Warning, Holds::True, reason, message)),
    ];
    let finish = |(r#type, holds, reason, message): Said| {
        let since = previous.iter().find(|before| before.type_ == r#type.name() && before.status == holds.name());
        Condition {
            type_: r#type.name().to_owned(),
            status: holds.name().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(report.generation),
            last_transition_time: since.map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    };
    list.into_iter().flatten().map(finish).collect()
}

/// Whether these conditions say the same, whenever they came about. Only those that are ours count.
pub(super) fn say_the_same(one: &[Condition], other: &[Condition]) -> bool {
    let same = |a: Option<&Condition>, b: Option<&Condition>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => (&a.status, &a.reason, &a.message, a.observed_generation) == (&b.status, &b.reason, &b.message, b.observed_generation),
        (Some(_), None) | (None, Some(_)) => false,
    };
    let of = |list, r#type: ConditionType| <[Condition]>::iter(list).find(|condition| condition.type_ == r#type.name());
    ConditionType::ALL.iter().all(|r#type| same(of(one, *r#type), of(other, *r#type)))
}

/// Type, status, reason and message.
type Said = (ConditionType, Holds, &'static str, String);

fn accepted(report: &Report) -> Said {
    match found(report, ConditionType::Accepted) {
        Some((reason, message)) => (ConditionType::Accepted, Holds::False, reason, message),
        None => {
            let ranges = report.ranges.map(|ranges| format!("; it has {ranges} {}", if ranges == 1 { "range" } else { "ranges" }));
            let message = format!("nothing in it was refused{}", ranges.unwrap_or_default());
            (ConditionType::Accepted, Holds::True, PlainReason::Accepted.name(), message)
        }
    }
}

fn resolved(report: &Report) -> Said {
    let (holds, reason, message) = match found(report, ConditionType::ResolvedRefs) {
        Some((reason, message)) => (Holds::False, reason, message),
        None if is_read(report) => (Holds::True, PlainReason::ResolvedRefs.name(), "everything that it names is there and can be used".to_owned()),
        None => (Holds::Unknown, PlainReason::NotRead.name(), "not all of it can be read; see the condition Accepted".to_owned()),
    };
    (ConditionType::ResolvedRefs, holds, reason, message)
}

/// Whether all that it names is known.
fn is_read(report: &Report) -> bool {
    !report.findings.iter().any(|finding| match finding.reason {
        FindingReason::Invalid | FindingReason::NotSupported | FindingReason::Duplicate => true,
        FindingReason::HostNotGranted
        | FindingReason::Conflicted
        | FindingReason::IssuerNotAllowed
        | FindingReason::KeySetQuota
        | FindingReason::SecretNotFound
        | FindingReason::SecretNotPermitted
        | FindingReason::InvalidSecret
        | FindingReason::ConfigMapNotFound
        | FindingReason::InvalidConfigMap
        | FindingReason::SourceRangeSetNotFound
        | FindingReason::InvalidSourceRangeSet
        | FindingReason::PartiallyResolved
        | FindingReason::ReusePerReplica
        | FindingReason::LikelyMistake => false,
    })
}

fn authenticated(authentication: &Authentication) -> Said {
    let (holds, reason, message) = match authentication {
        Authentication::Token => (Holds::True, PlainReason::TokenRequired, "every sender asks for a token".to_owned()),
        Authentication::NoToken(senders) => {
            let senders = senders.iter().map(|sender| format!("`{sender}`")).collect::<Vec<_>>().join(", ");
            let message = format!("spec.senders: {senders}: no token is asked for; whoever has the address or the API key passes");
            (Holds::False, PlainReason::NoToken, message)
        }
        Authentication::Unknown => {
            let message = "not all senders can be read, and those that cannot let nobody by; see the conditions Accepted and ResolvedRefs";
            (Holds::Unknown, PlainReason::NotRead, message.to_owned())
        }
    };
    (ConditionType::Authenticated, holds, reason.name(), cut(message))
}

/// What was found that `wanted` shows: the gravest reason, and all of it as one message.
fn found(report: &Report, wanted: ConditionType) -> Option<(&'static str, String)> {
    let mut findings: Vec<&Finding> = report.findings.iter().filter(|finding| ConditionType::of(finding.reason) == wanted).collect();
    // Stable: within a reason they stay in the order of their fields.
    findings.sort_by_key(|finding| finding.reason);
    let reason = findings.first()?.reason.name();
    Some((reason, join(&findings)))
}

/// `field: message; field: message; and 3 more`.
fn join(findings: &[&Finding]) -> String {
    const ROOM_FOR_THE_REST: usize = 40;
    let mut joined = String::new();
    for (index, Finding { field, message, .. }) in findings.iter().enumerate() {
        let line = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
        if index > 0 && joined.len() + line.len() + ROOM_FOR_THE_REST > LONGEST_MESSAGE {
            joined.push_str(&format!("; and {} more", findings.len() - index));
            break;
        }
        if index > 0 {
            joined.push_str("; ");
        }
        joined.push_str(&line);
    }
    cut(joined)
}

fn cut(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE - '…'.len_utf8()));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
