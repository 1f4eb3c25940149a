//! A sender of a policy: who may send, and by what it is known. `type` says which one of the four structs belongs to it.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Number, Value};

use super::{Duration, PathMatch, present};

/// One sender; all its parts must pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sender {
    /// Its name, unique in the policy: a metric label.
    pub name: String,
    /// Which of the structs below belongs to it.
    pub r#type: SenderType,
    /// For `CallAutomation`.
    #[serde(default, deserialize_with = "present")]
    pub call_automation: Option<CallAutomation>,
    /// For `EventGrid`.
    #[serde(default, deserialize_with = "present")]
    pub event_grid: Option<EventGrid>,
    /// For `JWT`.
    #[serde(default, deserialize_with = "present")]
    pub jwt: Option<Jwt>,
    /// For `NoToken`.
    #[serde(default, deserialize_with = "present")]
    pub no_token: Option<NoToken>,
    /// The paths it is good for, within the policy's; absent = all of them.
    #[serde(default, deserialize_with = "present")]
    pub paths: Option<Vec<PathMatch>>,
    /// Where it may come from.
    #[serde(default, deserialize_with = "present")]
    pub sources: Option<Sources>,
    /// The API key it must carry.
    #[serde(default, deserialize_with = "present")]
    pub api_key: Option<ApiKey>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SenderType {
    /// ACS Call Automation: webhooks and WebSockets.
    CallAutomation,
    /// Event Grid.
    EventGrid,
    /// Anyone with a signed token.
    #[serde(rename = "JWT")]
    Jwt,
    /// Anyone with an API key, or from certain addresses.
    NoToken,
}

impl SenderType {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CallAutomation => "CallAutomation",
            Self::EventGrid => "EventGrid",
            Self::Jwt => "JWT",
            Self::NoToken => "NoToken",
        }
    }
}

/// ACS Call Automation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CallAutomation {
    /// The immutableResourceIds of the ACS resources; at least one here or in `audiencesFrom`.
    #[serde(default, deserialize_with = "present")]
    pub audiences: Option<Vec<String>>,
    /// More of them, in `ConfigMap`s.
    #[serde(default, deserialize_with = "present")]
    pub audiences_from: Option<Vec<AudiencesFrom>>,
    /// The issuer's keys, instead of fetching them.
    #[serde(default, deserialize_with = "present")]
    pub jwks: Option<JwksFrom>,
    /// Webhook (default) or WebSocket.
    #[serde(default, deserialize_with = "present")]
    pub transport: Option<Transport>,
    /// Another issuer than ACS, verbatim.
    #[serde(default, deserialize_with = "present")]
    pub issuer: Option<String>,
    /// Another OpenID configuration document than ACS's, verbatim.
    #[serde(default, deserialize_with = "present")]
    pub open_id_configuration: Option<String>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default 5m for Webhook, 24h for WebSocket.
    #[serde(default, deserialize_with = "present")]
    pub max_lifetime: Option<Duration>,
    /// A token with neither `iat` nor `nbf` is refused.
    #[serde(default, deserialize_with = "present")]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before.
    #[serde(default, deserialize_with = "present")]
    pub token_reuse: Option<TokenReuse>,
}

/// How ACS delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Transport {
    /// `POST`, a new token for each event.
    #[default]
    Webhook,
    /// `GET` with an upgrade, a new token for each connection.
    WebSocket,
}

/// What is done about a token that was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum TokenReuse {
    /// Nothing.
    Allow,
    /// It is counted.
    #[default]
    Observe,
    /// It is refused.
    Deny,
}

/// Audiences in a `ConfigMap`: each key is one, its value the operator's name for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AudiencesFrom {
    /// The `ConfigMap`.
    pub config_map_ref: ConfigMapName,
}

/// A JWKS document in a `ConfigMap`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwksFrom {
    /// The `ConfigMap` and the key in it.
    pub config_map_ref: ConfigMapKey,
}

/// A `ConfigMap`, in the policy's namespace.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapName {
    /// Its name.
    pub name: String,
}

/// A value of a `ConfigMap`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Its name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// A value of a `Secret`, in the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key in its data.
    pub key: String,
}

/// Event Grid.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventGrid {
    /// The Entra tenant that the subscription delivers with.
    #[serde(default, deserialize_with = "present")]
    pub tenant_id: Option<String>,
    /// The application's client id or App ID URI.
    #[serde(default, deserialize_with = "present")]
    pub audiences: Option<Vec<String>>,
    /// Public (default), USGovernment or China.
    #[serde(default, deserialize_with = "present")]
    pub cloud: Option<EventGridCloud>,
    /// Applications that may deliver, instead of Event Grid's own.
    #[serde(default, deserialize_with = "present")]
    pub application_ids: Option<Vec<String>>,
    /// Whether a token is required.
    #[serde(default, deserialize_with = "present")]
    pub token: Option<EventGridToken>,
    /// One of these roles must be in the token.
    #[serde(default, deserialize_with = "present")]
    pub roles: Option<Vec<String>>,
    /// A filter by the unsigned subscription name.
    #[serde(default, deserialize_with = "present")]
    pub subscription_names: Option<Vec<String>>,
    /// What is done about the validation handshake.
    #[serde(default, deserialize_with = "present")]
    pub handshake: Option<Handshake>,
    /// Issuers and keys of another cloud or of tests.
    #[serde(default, deserialize_with = "present")]
    pub authority: Option<Authority>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default 25h.
    #[serde(default, deserialize_with = "present")]
    pub max_lifetime: Option<Duration>,
    /// A token with neither `iat` nor `nbf` is refused.
    #[serde(default, deserialize_with = "present")]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before.
    #[serde(default, deserialize_with = "present")]
    pub token_reuse: Option<TokenReuse>,
}

/// Which Azure cloud: issuers, Event Grid's application id, handshake origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum EventGridCloud {
    /// The public cloud.
    #[default]
    Public,
    /// Azure Government.
    USGovernment,
    /// Azure operated by 21Vianet.
    China,
}

/// Whether Event Grid must send a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum EventGridToken {
    /// It must.
    #[default]
    Required,
    /// It need not; then an API key is required.
    None,
}

/// What is done about Event Grid's validation handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Handshake {
    /// It is answered at the edge, with a token or without.
    #[default]
    Answer,
    /// It is an ordinary delivery.
    RequireToken,
    /// It is let through, if it is nothing else.
    PassThrough,
}

/// Issuers and keys, verbatim.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authority {
    /// `iss` of version 1.0 tokens.
    pub issuer_v1: String,
    /// `iss` of version 2.0 tokens.
    pub issuer_v2: String,
    /// Where the keys are.
    pub jwks_uri: String,
}

/// Anyone with a signed token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// `iss`, verbatim.
    pub issuer: String,
    /// The issuer's OpenID configuration document; this, `jwksUri` or `jwks`.
    #[serde(default, deserialize_with = "present")]
    pub open_id_configuration: Option<String>,
    /// The issuer's JWKS document.
    #[serde(default, deserialize_with = "present")]
    pub jwks_uri: Option<String>,
    /// The issuer's keys in a `ConfigMap`.
    #[serde(default, deserialize_with = "present")]
    pub jwks: Option<JwksFrom>,
    /// Asymmetric algorithms; default RS256.
    #[serde(default, deserialize_with = "present")]
    pub algorithms: Option<Vec<String>>,
    /// `aud`: one of these.
    pub audiences: Vec<String>,
    /// Claims that must have one of the values.
    #[serde(default, deserialize_with = "present")]
    pub claims: Option<Vec<ClaimMatch>>,
    /// The methods it takes; absent = any.
    #[serde(default, deserialize_with = "present")]
    pub methods: Option<Vec<String>>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default no cap.
    #[serde(default, deserialize_with = "present")]
    pub max_lifetime: Option<Duration>,
    /// A token with neither `iat` nor `nbf` is refused.
    #[serde(default, deserialize_with = "present")]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before.
    #[serde(default, deserialize_with = "present")]
    pub token_reuse: Option<TokenReuse>,
}

/// A claim that must have one of the values.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMatch {
    /// The claim, or a JSON pointer to one (RFC 6901).
    pub name: String,
    /// The values.
    pub values: Vec<ClaimValue>,
}

/// A value that a claim may have to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A text.
    Text(String),
    /// A number.
    Number(Number),
    /// A truth value.
    Bool(bool),
}

impl<'de> Deserialize<'de> for ClaimValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Number(number) => Ok(Self::Number(number)),
            Value::Bool(flag) => Ok(Self::Bool(flag)),
            Value::Null => Err(D::Error::custom("invalid type: null, expected a text, a number or a truth value")),
            Value::Array(_) | Value::Object(_) => Err(D::Error::custom("expected a text, a number or a truth value")),
        }
    }
}

/// Anyone with an API key, or from certain addresses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoToken {
    /// The methods it takes; absent = any.
    #[serde(default, deserialize_with = "present")]
    pub methods: Option<Vec<String>>,
    /// Must be true for a sender that is known by its address alone: the ranges are shared by every ACS customer.
    #[serde(default, deserialize_with = "present")]
    pub acknowledge_weak: Option<bool>,
}

/// Where a sender may come from: `sets`, `cidrs` or both.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sources {
    /// Names of `SourceRangeSet`s and built-in sets.
    #[serde(default, deserialize_with = "present")]
    pub sets: Option<Vec<String>>,
    /// Ranges.
    #[serde(default, deserialize_with = "present")]
    pub cidrs: Option<Vec<String>>,
    /// What happens outside of them; required, so that nobody is surprised.
    pub on_mismatch: OnMismatch,
}

/// What happens to a request from outside the ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OnMismatch {
    /// It is refused.
    Deny,
    /// It is counted.
    Observe,
}

/// The API key a sender must carry: in `query` or `header`, or `signed`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKey {
    /// The query parameter it is in.
    #[serde(default, deserialize_with = "present")]
    pub query: Option<String>,
    /// The header it is in.
    #[serde(default, deserialize_with = "present")]
    pub header: Option<String>,
    /// The active keys, in `Secret`s; any one matches.
    #[serde(default, deserialize_with = "present")]
    pub secret_refs: Option<Vec<SecretKey>>,
    /// The active keys, as hexadecimal SHA-256 digests; any one matches.
    #[serde(default, deserialize_with = "present")]
    pub sha256: Option<Vec<String>>,
    /// Whether it is taken out of the upstream request.
    #[serde(default, deserialize_with = "present")]
    pub upstream: Option<Upstream>,
    /// A signature over the URL instead of a key.
    #[serde(default, deserialize_with = "present")]
    pub signed: Option<SignedUrl>,
}

/// Whether an API key reaches the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Upstream {
    /// It is taken out where the proxy can.
    #[default]
    Strip,
    /// It stays.
    Forward,
}

/// An HMAC-SHA256 over host, path and expiry, made by the application.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedUrl {
    /// The query parameter it is in.
    pub query: String,
    /// The keys, in `Secret`s.
    pub secret_refs: Vec<SecretKey>,
    /// What it is bound to, beside the host.
    #[serde(default, deserialize_with = "present")]
    pub bind: Option<UrlBinding>,
    /// Its longest life; default 24h.
    #[serde(default, deserialize_with = "present")]
    pub max_age: Option<Duration>,
}

/// What a signed URL is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum UrlBinding {
    /// The path.
    #[default]
    Path,
}
