//! The request of a case, and the parts of it that every wire carries.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr, time::Instant};

use ringfence_core::{
    api::Duration,
    decide::{Body, Headers, RawRequest, Wire},
};
use serde::Deserialize;

use crate::{
    issuer::TokenSpec,
    signed_url::{self, SignError},
};

/// The headers of a real upgrade (RFC 6455 section 1.3).
const UPGRADE: &[(&str, &str)] =
    &[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CaseRequest {
    /// The method; `POST` if none is given, `GET` for an upgrade.
    method: Option<String>,
    /// `https://host[:port]/path?query`, taken apart as text and not normalised.
    url: String,
    /// The Host header, where it is to differ from the URL's.
    host: Option<String>,
    /// Further headers.
    #[serde(default)]
    headers: BTreeMap<String, HeaderValues>,
    /// The client's address; absent = not known.
    source: Option<IpAddr>,
    /// How the URL is to be signed for the run.
    sign: Option<SignSpec>,
    /// A token to be minted for the run.
    pub token: Option<TokenSpec>,
    /// The policy that the route pins, `namespace/name`.
    pin: Option<String>,
    /// Adds the headers of a WebSocket upgrade.
    #[serde(default)]
    upgrade: bool,
    /// The proxy's id of the request.
    id: Option<String>,
    /// The body, where the proxy sends it.
    body: Option<String>,
    /// The body goes on, and the proxy sent only this much of it.
    #[serde(default)]
    partial: bool,
}

/// A signature over the URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SignSpec {
    /// The key.
    key: String,
    /// The query parameter.
    #[serde(default = "default_parameter")]
    query: String,
    /// How long it is good from when it was made.
    #[serde(default = "default_lifetime")]
    lifetime: Duration,
    /// How long ago it was made.
    #[serde(default)]
    age: Duration,
    /// The URL that it was made for, if it is put on another one.
    url: Option<String>,
}

fn default_parameter() -> String {
    "sig".to_owned()
}

const fn default_lifetime() -> Duration {
    Duration::from_secs(3600)
}

/// One value of a header, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum HeaderValues {
    /// One.
    One(String),
    /// Several, each in a line of its own.
    Several(Vec<String>),
}

impl HeaderValues {
    fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values.as_slice(),
        }
        .iter()
        .map(String::as_str)
    }
}

impl CaseRequest {
    /// A request for `url` and nothing else.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            method: None,
            url: url.to_owned(),
            host: None,
            headers: BTreeMap::new(),
            source: None,
            sign: None,
            token: None,
            pin: None,
            upgrade: false,
            id: None,
            body: None,
            partial: false,
        }
    }

    /// With the signature that the case asks for, made at `now_ms` (since the Unix epoch).
    ///
    /// # Errors
    /// [`SignError`] for a URL that cannot be signed.
    pub(super) fn signed(mut self, now_ms: i64) -> Result<Self, SignError> {
        let Some(SignSpec { key, query, lifetime, age, url }) = self.sign.take() else { return Ok(self) };
        let seconds = |span: Duration| span.as_millis() / 1000;
        let expires = (u64::try_from(now_ms).unwrap_or_default() / 1000).saturating_add(seconds(lifetime)).saturating_sub(seconds(age));
        let signed = signed_url::sign(url.as_deref().unwrap_or(&self.url), &query, key.as_bytes(), expires)?;
        self.url = match url {
            None => signed.url,
            Some(_) => format!("{}{}{query}={}", self.url, if self.url.contains('?') { '&' } else { '?' }, signed.value),
        };
        Ok(self)
    }

    /// With this method.
    #[must_use]
    pub fn method(self, method: Option<String>) -> Self {
        Self { method, ..self }
    }

    /// With this header as well.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let values = self.headers.entry(name.to_ascii_lowercase()).or_insert(HeaderValues::Several(Vec::new()));
        *values = HeaderValues::Several(values.iter().map(str::to_owned).chain([value.to_owned()]).collect());
        self
    }

    /// From this address.
    #[must_use]
    pub fn source(self, source: Option<IpAddr>) -> Self {
        Self { source, ..self }
    }

    /// On a route with this pin.
    #[must_use]
    pub fn pin(self, pin: Option<String>) -> Self {
        Self { pin, ..self }
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: &str) -> Self {
        Self { body: Some(body.to_owned()), ..self }
    }

    /// As a WebSocket upgrade.
    #[must_use]
    pub fn upgrade(self, upgrade: bool) -> Self {
        Self { upgrade, ..self }
    }

    /// The method.
    #[must_use]
    pub fn method_name(&self) -> &str {
        self.method.as_deref().unwrap_or(if self.upgrade { "GET" } else { "POST" })
    }

    /// The authority that the proxy routes by.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.host.as_deref().unwrap_or_else(|| self.split().0)
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.split().1
    }

    /// The client's address.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.source
    }

    /// The pin.
    #[must_use]
    pub fn pinned(&self) -> Option<&str> {
        self.pin.as_deref()
    }

    /// The proxy's id of the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The body.
    #[must_use]
    pub fn body_text(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Whether the body goes on.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.partial
    }

    /// Every header line: those of the case, an upgrade's, and `Authorization` with `token`.
    #[must_use]
    pub fn header_lines(&self, token: Option<&str>) -> Vec<(String, String)> {
        let own = self.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.to_ascii_lowercase(), value.to_owned())));
        let upgrade = UPGRADE.iter().filter(|_| self.upgrade).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let authorization = token.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        own.chain(upgrade).chain(authorization).collect()
    }

    /// The request as a listener would hand it over.
    #[must_use]
    pub fn raw<'r>(&'r self, wire: Wire, lines: &'r [(String, String)], arrived: Instant) -> RawRequest<'r> {
        let mut headers = Headers::new(false);
        for (name, value) in lines {
            headers.push(name.as_str(), value.as_bytes());
        }
        RawRequest {
            arrived,
            wire,
            method: self.method_name().as_bytes(),
            host: Some(self.authority().as_bytes()),
            target: self.target().as_bytes(),
            headers,
            source: self.source,
            body: match &self.body {
                None => Body::Absent,
                Some(body) if self.partial => Body::Partial(body.as_bytes()),
                Some(body) => Body::Complete(body.as_bytes()),
            },
            pin: self.pin.as_deref().map(Cow::Borrowed),
            http2: false,
            id: self.id.as_deref().map(Cow::Borrowed),
        }
    }

    /// Authority and target of the URL, as text. A URL without a path has an empty target, which is refused like any other.
    fn split(&self) -> (&str, &str) {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.find(['/', '?']).and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""))
    }
}
