//! What one line says, and how it is written.

use std::{borrow::Cow, time::Instant};

use ringfence_core::decide::{Body, Header, Host, Path, PathPattern, PolicySet, RawRequest, Verdict};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};

use super::{LogPath, Subject};
use crate::telemetry::{
    LogFormat,
    text::{is_unsafe, rfc3339, shorten, to_safe_json},
};

/// Most characters of anything that the client chose.
const MOST_CHARACTERS: usize = 256;
/// Largest body that is searched for a call's ids, in bytes.
const MOST_BODY: usize = 64 * 1_024;

/// One line: names and values in the documented order. What is not known is left out.
#[derive(Debug)]
pub(super) struct Line<'r>(Vec<(&'static str, Value<'r>)>);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value<'r> {
    Text(Cow<'r, str>),
    Number(u64),
    Flag(bool),
    List(Vec<String>),
}

impl<'r> Line<'r> {
    /// The line of a verdict.
    pub(super) fn of(verdict: &'r Verdict, subject: &Subject<'r>, policies: &PolicySet, finished: Instant, wall_ms: i64, log_path: LogPath) -> Self {
        let about = &verdict.about;
        let mut line = Self(Vec::with_capacity(20));
        line.text("time", Some(rfc3339(wall_ms)));
        line.text("policy", about.policy.as_ref().map(|policy| policy.label.as_ref()));
        line.text("sender", about.sender.as_deref());
        line.text("decision", Some(verdict.label()));
        line.text("reason", Some(verdict.reason_label()));
        line.0.push(("verified", Value::Flag(about.verified)));
        if let Some(raw) = subject.raw {
            line.text("method", Some(String::from_utf8_lossy(raw.method)));
            line.text("host", raw.host.map(shown_host));
            line.text("path", shown_path(raw, verdict, policies, log_path));
            line.text("source", raw.source.map(|source| source.to_string()));
        }
        if let Some(token) = &about.token {
            line.text("issuer", token.issuer());
            line.text("audience", token.audience());
            line.text("kid", token.kid());
        }
        if let Some(raw) = subject.raw {
            let ids = CallIds::of(raw);
            line.text("call_connection_id", ids.connection);
            line.text("call_correlation_id", ids.correlation);
        }
        let latency = finished.saturating_duration_since(subject.arrived);
        line.0.push(("latency_us", Value::Number(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))));
        line.text("listener", Some(subject.wire.label()));
        line.remarks(verdict);
        line
    }

    /// What is remarkable besides the answer.
    fn remarks(&mut self, verdict: &'r Verdict) {
        let about = &verdict.about;
        for (name, remarkable) in [("source_mismatch", about.source_mismatch), ("token_reused", about.token_reused)] {
            if remarkable {
                self.0.push((name, Value::Flag(true)));
            }
        }
        if !about.shadow_floors.is_empty() {
            let floors = about.shadow_floors.iter().map(|(floor, reason)| format!("{floor}: {reason}"));
            self.0.push(("shadow_floors", Value::List(floors.collect())));
        }
        if about.hidden_client.is_some() {
            self.text("hint", Some("a private address was measured against public ranges: a load balancer may hide the client"));
        }
    }

    /// The line that says how many of a kind were left out.
    pub(super) fn suppressed(wall_ms: i64, reason: &'static str, count: u64) -> Self {
        let mut line = Self(Vec::with_capacity(3));
        line.text("time", Some(rfc3339(wall_ms)));
        line.text("reason", Some(reason));
        line.0.push(("suppressed", Value::Number(count)));
        line
    }

    fn text(&mut self, name: &'static str, value: Option<impl Into<Cow<'r, str>>>) {
        if let Some(value) = value {
            let value = match value.into() {
                Cow::Borrowed(value) => shorten(value, MOST_CHARACTERS),
                Cow::Owned(value) => Cow::Owned(shorten(&value, MOST_CHARACTERS).into_owned()),
            };
            self.0.push((name, Value::Text(value)));
        }
    }

    /// The line with its line feed.
    pub(super) fn render(&self, format: LogFormat) -> String {
        let mut line = match format {
            LogFormat::Json => to_safe_json(self),
            LogFormat::Text => self.to_text(),
        };
        line.push('\n');
        line
    }

    fn to_text(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| match value {
            Value::Text(text) if is_plain(text) => format!("{name}={text}"),
            Value::Text(_) | Value::Number(_) | Value::Flag(_) | Value::List(_) => format!("{name}={}", to_safe_json(value)),
        });
        pairs.collect::<Vec<_>>().join(" ")
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Whether text can stand after `=` without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| is_unsafe(c) || c.is_whitespace() || matches!(c, '"' | '=' | '\\'))
}

/// The host as it is matched, or as it came if it is none.
fn shown_host(host: &[u8]) -> Cow<'_, str> {
    Host::parse(host).map_or_else(|| String::from_utf8_lossy(host), |host| Cow::Owned(host.as_str().to_owned()))
}

fn shown_path<'r>(raw: &RawRequest<'r>, verdict: &Verdict, policies: &PolicySet, log_path: LogPath) -> Option<Cow<'r, str>> {
    let path = path_of(raw.target);
    match log_path {
        LogPath::Full => Some(String::from_utf8_lossy(path)),
        LogPath::Matched => matched_pattern(path, verdict, policies).map(Cow::Owned),
        LogPath::Off => None,
    }
}

/// The path of a request target: what comes after an authority and before a query, also where the `?` is encoded or missing a fragment's `#`.
fn path_of(target: &[u8]) -> &[u8] {
    let after_authority = |at: usize| {
        let rest = target.get(at + 3..).unwrap_or_default();
        rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).and_then(|start| rest.get(start..)).unwrap_or_default()
    };
    let path = match target.first() {
        Some(b'/') | None => target,
        Some(_) => target.windows(3).position(|window| window == b"://").map_or(target, after_authority),
    };
    let ends = |window: &[u8]| matches!(window, [b'?' | b'#', ..] | [b'%', b'3', b'f' | b'F']);
    let end = (0..path.len()).find(|at| ends(path.get(*at..(*at + 3).min(path.len())).unwrap_or_default()));
    path.get(..end.unwrap_or(path.len())).unwrap_or_default()
}

/// The pattern of the verdict's policy that covers `path`.
fn matched_pattern(path: &[u8], verdict: &Verdict, policies: &PolicySet) -> Option<String> {
    let policy = policies.policy(verdict.about.policy.as_ref()?)?;
    if policy.matches.paths.is_empty() {
        return Some("/".to_owned());
    }
    let path = Path::parse(path).ok()?;
    let covers = |pattern: &&PathPattern| pattern.covers(&path, policy.matches.ignore_path_case);
    let text = |pattern: &PathPattern| match pattern {
        PathPattern::Exact { path, .. } => path.to_string(),
        PathPattern::Prefix { path, .. } if path.is_empty() => "/".to_owned(),
        PathPattern::Prefix { path, .. } => path.to_string(),
    };
    policy.matches.paths.iter().filter(covers).map(text).max_by_key(String::len)
}

/// Which call a request belongs to: what support asks for. Never trusted, and shown only if it looks like an id.
#[derive(Debug, Default)]
struct CallIds {
    connection: Option<String>,
    correlation: Option<String>,
}

impl CallIds {
    /// From the headers of a WebSocket's upgrade, or from the first event of a complete body.
    fn of(raw: &RawRequest<'_>) -> Self {
        let header = |name: &str| match raw.headers.one(name) {
            Header::One(value) => std::str::from_utf8(value).ok().filter(|value| is_id(value)).map(str::to_owned),
            Header::Absent | Header::Many => None,
        };
        let ids = Self { connection: header("x-ms-call-connection-id"), correlation: header("x-ms-call-correlation-id") };
        match (ids, raw.body) {
            (Self { connection: None, correlation: None }, Body::Complete(body)) if body.len() <= MOST_BODY => Self::of_body(body),
            (ids, Body::Complete(_) | Body::Partial(_) | Body::Absent) => ids,
        }
    }

    fn of_body(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Event {
            data: Option<Data>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            call_connection_id: Option<String>,
            correlation_id: Option<String>,
        }
        let events: Vec<Event> = serde_json::from_slice(body).unwrap_or_default();
        let Some(data) = events.into_iter().next().and_then(|event| event.data) else { return Self::default() };
        let id = |id: Option<String>| id.filter(|id| is_id(id));
        Self { connection: id(data.call_connection_id), correlation: id(data.correlation_id) }
    }
}

/// `[A-Za-z0-9-]{1,64}`.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
