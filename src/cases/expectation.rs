//! What is to become of a case, and where an answer differs from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ringfence_core::decide::{Decision, Reason, Verdict};
use serde::{Deserialize, Deserializer, Serialize, de};

/// What is expected. What is left out is not looked at, but a reason: without one, a denial is expected for no reason at all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expectation {
    /// `allowed`, `denied`, `shadow_denied` or `handshake`.
    #[serde(deserialize_with = "decision")]
    pub decision: String,
    /// The reason's code; for an allow `allowed` or `unmatched`.
    #[serde(default, deserialize_with = "reason")]
    pub reason: Option<String>,
    /// The policy that answers.
    pub policy: Option<String>,
    /// The sender that allows, or whose refusal is reported.
    pub sender: Option<String>,
    /// The status for the client, before a dialect collapses it.
    pub status: Option<u16>,
    /// Exactly the headers that are set upstream.
    pub headers: Option<BTreeMap<String, String>>,
    /// Exactly the headers that are removed upstream.
    pub removed: Option<BTreeSet<String>>,
    /// Exactly the query parameters that are removed upstream.
    pub stripped: Option<BTreeSet<String>>,
    /// Exactly what a handshake is answered with.
    pub answer: Option<EdgeAnswer>,
}

/// What the client is answered in the upstream's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EdgeAnswer {
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

fn decision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let decision = String::deserialize(deserializer)?;
    match decision.as_str() {
        "allowed" | "denied" | "shadow_denied" | "handshake" => Ok(decision),
        other => Err(de::Error::custom(format!("`{other}` is no decision; take allowed, denied, shadow_denied or handshake"))),
    }
}

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let reason = String::deserialize(deserializer)?;
    if Reason::from_code(&reason).is_some() || matches!(reason.as_str(), "allowed" | "unmatched") {
        Ok(Some(reason))
    } else {
        Err(de::Error::custom(format!("`{reason}` is no reason code; docs/reasons.md lists them")))
    }
}

/// What became of a request, in the terms that every wire shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The decision label.
    pub decision: String,
    /// The reason label.
    pub reason: String,
    /// The policy.
    pub policy: Option<String>,
    /// The sender.
    pub sender: Option<String>,
    /// The status for the client.
    pub status: u16,
    /// Headers set upstream.
    pub headers: BTreeMap<String, String>,
    /// Headers removed upstream.
    pub removed: BTreeSet<String>,
    /// Query parameters removed upstream.
    pub stripped: BTreeSet<String>,
    /// What a handshake is answered with; empty for everything else.
    pub answer: EdgeAnswer,
}

impl Outcome {
    /// Decision and reason, as one.
    fn label(&self) -> String {
        format!("{} ({})", self.decision, self.reason)
    }
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Self {
        let mut outcome = Self {
            decision: verdict.label().to_owned(),
            reason: verdict.reason_label().to_owned(),
            policy: verdict.about.policy.as_ref().map(|policy| policy.label.to_string()),
            sender: verdict.about.sender.as_ref().map(ToString::to_string),
            status: verdict.status(),
            ..Self::default()
        };
        match &verdict.decision {
            Decision::Allow(allow) => {
                outcome.headers = allow.mutations.set_headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                outcome.removed = allow.mutations.remove_headers().map(str::to_owned).collect();
                outcome.stripped = allow.mutations.strip_query().map(str::to_owned).collect();
            }
            Decision::Answer(answer) => {
                let headers = answer.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                outcome.answer = EdgeAnswer { body: String::from_utf8_lossy(&answer.body).into_owned(), headers };
            }
            Decision::Deny(_) => {}
        }
        outcome
    }
}

/// One difference between what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Of what.
    pub field: &'static str,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.field, self.expected, self.found)
    }
}

impl Expectation {
    /// Where `outcome` differs.
    #[must_use]
    pub fn mismatches(&self, outcome: &Outcome) -> Vec<Mismatch> {
        let Self { decision, reason, policy, sender, status, headers, removed, stripped, answer } = self;
        let reason_wanted = match (reason, decision.as_str()) {
            (None, "denied" | "shadow_denied") => Some("a reason (name the one that is expected)".to_owned()),
            (reason, _) => reason.clone(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        [
            (*decision != outcome.decision).then(|| differ("decision", decision, &outcome.label())),
            compare("reason", reason_wanted.as_ref(), &outcome.reason),
            compare("policy", policy.as_ref(), &text(&outcome.policy)),
            compare("sender", sender.as_ref(), &text(&outcome.sender)),
            status.filter(|status| *status != outcome.status).map(|status| differ("status", &status, &outcome.status)),
            compare("headers", headers.as_ref(), &outcome.headers),
            compare("removed", removed.as_ref(), &outcome.removed),
            compare("stripped", stripped.as_ref(), &outcome.stripped),
            compare("answer", answer.as_ref(), &outcome.answer),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn compare<T: PartialEq + fmt::Debug>(field: &'static str, expected: Option<&T>, found: &T) -> Option<Mismatch> {
    expected.filter(|expected| *expected != found).map(|expected| differ(field, expected, found))
}

fn differ(field: &'static str, expected: &dyn fmt::Debug, found: &dyn fmt::Debug) -> Mismatch {
    Mismatch { field, expected: format!("{expected:?}"), found: format!("{found:?}") }
}
