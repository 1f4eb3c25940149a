//! A sender of a policy: who may send, and by what it is known. `type` says which one of the four structs belongs to it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Number, Value};

use super::{
    Duration, PathMatch, present,
    schema::{fields, rules},
};

/// One sender; all its parts must pass.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::sender)]
pub struct Sender {
    /// Its name, unique in the policy: a metric label.
    #[schemars(schema_with = "fields::sender_name")]
    pub name: String,
    /// Who sends, and which of `callAutomation`, `eventGrid`, `jwt` and `noToken` says by what it is known: exactly that one is given.
    pub r#type: SenderType,
    /// ACS Call Automation; for `type: CallAutomation`.
    #[serde(default, deserialize_with = "present")]
    pub call_automation: Option<CallAutomation>,
    /// Event Grid; for `type: EventGrid`.
    #[serde(default, deserialize_with = "present")]
    pub event_grid: Option<EventGrid>,
    /// Any other issuer of tokens; for `type: JWT`.
    #[serde(default, deserialize_with = "present")]
    pub jwt: Option<Jwt>,
    /// Nobody who shows a token; for `type: NoToken`, and may be left out.
    #[serde(default, deserialize_with = "present")]
    pub no_token: Option<NoToken>,
    /// The paths it is good for, within the policy's; absent = all of them.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::paths")]
    pub paths: Option<Vec<PathMatch>>,
    /// Where it may come from; absent = anywhere. Start with `onMismatch: Observe`.
    #[serde(default, deserialize_with = "present")]
    pub sources: Option<Sources>,
    /// The API key it must carry, or the signature over its URL; absent = none.
    #[serde(default, deserialize_with = "present")]
    pub api_key: Option<ApiKey>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::call_automation)]
pub struct CallAutomation {
    /// The immutableResourceIds of the ACS resources; at least one here or in `audiencesFrom`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::resource_ids")]
    pub audiences: Option<Vec<String>>,
    /// More of them, in `ConfigMap`s.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::audience_maps")]
    pub audiences_from: Option<Vec<AudiencesFrom>>,
    /// The issuer's keys in a `ConfigMap`, instead of fetching them: for closed networks.
    #[serde(default, deserialize_with = "present")]
    pub jwks: Option<JwksFrom>,
    /// How ACS delivers; default Webhook.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Webhook"))]
    pub transport: Option<Transport>,
    /// Another issuer than ACS, verbatim.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::issuer")]
    pub issuer: Option<String>,
    /// Another OpenID configuration document than ACS's, verbatim.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::url")]
    pub open_id_configuration: Option<String>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::clock_skew")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default 5m for Webhook, 24h for WebSocket.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::lifetime")]
    pub max_lifetime: Option<Duration>,
    /// `true`: a token with neither `iat` nor `nbf` is refused, since its age cannot be told. Default `false`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = false))]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before; default Observe.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Observe"))]
    pub token_reuse: Option<TokenReuse>,
}

/// How ACS delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Transport {
    /// `POST`, a new token for each event.
    #[default]
    Webhook,
    /// `GET` with an upgrade, a new token for each connection.
    WebSocket,
}

/// What is done about a token that was used before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AudiencesFrom {
    /// The `ConfigMap`.
    pub config_map_ref: ConfigMapName,
}

/// A JWKS document in a `ConfigMap`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwksFrom {
    /// The `ConfigMap` and the key in it.
    pub config_map_ref: ConfigMapKey,
}

/// A `ConfigMap`, in the policy's namespace.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapName {
    /// Its name.
    #[schemars(schema_with = "fields::object_name")]
    pub name: String,
}

/// A value of a `ConfigMap`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// Its name.
    #[schemars(schema_with = "fields::object_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "fields::data_key")]
    pub key: String,
}

/// A value of a `Secret`, in the policy's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(schema_with = "fields::object_name")]
    pub name: String,
    /// The key in its data.
    #[schemars(schema_with = "fields::data_key")]
    pub key: String,
}

/// Event Grid.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::event_grid)]
pub struct EventGrid {
    /// The Entra tenant that the subscription delivers with.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::tenant")]
    pub tenant_id: Option<String>,
    /// The application's client id or App ID URI.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::audiences")]
    pub audiences: Option<Vec<String>>,
    /// Which Azure cloud; default Public.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Public"))]
    pub cloud: Option<EventGridCloud>,
    /// Applications that may deliver, instead of Event Grid's own.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::application_ids")]
    pub application_ids: Option<Vec<String>>,
    /// Whether a token is required; default Required.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Required"))]
    pub token: Option<EventGridToken>,
    /// One of these roles must be in the token.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::roles")]
    pub roles: Option<Vec<String>>,
    /// A filter by the unsigned subscription name.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::subscription_names")]
    pub subscription_names: Option<Vec<String>>,
    /// What is done about the validation handshake; default Answer.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Answer"))]
    pub handshake: Option<Handshake>,
    /// Issuers and keys of another cloud or of tests.
    #[serde(default, deserialize_with = "present")]
    pub authority: Option<Authority>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::clock_skew")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default 25h.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::lifetime")]
    pub max_lifetime: Option<Duration>,
    /// `true`: a token with neither `iat` nor `nbf` is refused, since its age cannot be told. Default `false`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = false))]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before; default Observe.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Observe"))]
    pub token_reuse: Option<TokenReuse>,
}

/// Which Azure cloud: issuers, Event Grid's application id, handshake origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum EventGridToken {
    /// It must.
    #[default]
    Required,
    /// It need not; then an API key is required.
    None,
}

/// What is done about Event Grid's validation handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authority {
    /// `iss` of version 1.0 tokens.
    #[schemars(schema_with = "fields::issuer")]
    pub issuer_v1: String,
    /// `iss` of version 2.0 tokens.
    #[schemars(schema_with = "fields::issuer")]
    pub issuer_v2: String,
    /// Where the keys are.
    #[schemars(schema_with = "fields::url")]
    pub jwks_uri: String,
}

/// Anyone with a signed token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::jwt)]
pub struct Jwt {
    /// `iss`, verbatim.
    #[schemars(schema_with = "fields::issuer")]
    pub issuer: String,
    /// The issuer's OpenID configuration document; this, `jwksUri` or `jwks`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::url")]
    pub open_id_configuration: Option<String>,
    /// The issuer's JWKS document.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::url")]
    pub jwks_uri: Option<String>,
    /// The issuer's keys in a `ConfigMap`.
    #[serde(default, deserialize_with = "present")]
    pub jwks: Option<JwksFrom>,
    /// Asymmetric algorithms; default RS256.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::algorithms")]
    pub algorithms: Option<Vec<String>>,
    /// `aud`: one of these.
    #[schemars(schema_with = "fields::audiences")]
    pub audiences: Vec<String>,
    /// Claims that must have one of the values.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::claims")]
    pub claims: Option<Vec<ClaimMatch>>,
    /// The methods it takes; absent = any.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::methods")]
    pub methods: Option<Vec<String>>,
    /// Tolerated difference of clocks; default 30s, at most 5m.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::clock_skew")]
    pub clock_skew: Option<Duration>,
    /// Longest life of a token; default no cap.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::lifetime")]
    pub max_lifetime: Option<Duration>,
    /// `true`: a token with neither `iat` nor `nbf` is refused, since its age cannot be told. Default `false`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = false))]
    pub require_issued_at: Option<bool>,
    /// What is done about a token that was used before; default Observe.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Observe"))]
    pub token_reuse: Option<TokenReuse>,
}

/// A claim that must have one of the values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMatch {
    /// The claim, or a JSON pointer to one (RFC 6901).
    #[schemars(schema_with = "fields::claim_name")]
    pub name: String,
    /// The values.
    #[schemars(schema_with = "fields::claim_values")]
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
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoToken {
    /// The methods it takes; absent = any.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::methods")]
    pub methods: Option<Vec<String>>,
    /// Must be `true` for a sender that is known by its address alone: the ranges are shared by every ACS customer.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = false))]
    pub acknowledge_weak: Option<bool>,
}

/// Where a sender may come from: `sets`, `cidrs` or both.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::sources)]
pub struct Sources {
    /// Names of `SourceRangeSet`s and built-in sets.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::range_sets")]
    pub sets: Option<Vec<String>>,
    /// Ranges.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::cidrs")]
    pub cidrs: Option<Vec<String>>,
    /// What happens outside of them; required, so that nobody is surprised.
    pub on_mismatch: OnMismatch,
}

/// What happens to a request from outside the ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OnMismatch {
    /// It is refused.
    Deny,
    /// It is counted.
    Observe,
}

/// The API key a sender must carry: in `query` or `header`, or `signed`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = rules::api_key)]
pub struct ApiKey {
    /// The query parameter it is in.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::parameter")]
    pub query: Option<String>,
    /// The header it is in.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::header")]
    pub header: Option<String>,
    /// The active keys, in `Secret`s; any one matches.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::secret_refs")]
    pub secret_refs: Option<Vec<SecretKey>>,
    /// The active keys, as hexadecimal SHA-256 digests; any one matches.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::digests")]
    pub sha256: Option<Vec<String>>,
    /// Whether it is taken out of the upstream request; default Strip.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Strip"))]
    pub upstream: Option<Upstream>,
    /// A signature over the URL instead of a key.
    #[serde(default, deserialize_with = "present")]
    pub signed: Option<SignedUrl>,
}

/// Whether an API key reaches the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Upstream {
    /// It is taken out where the proxy can.
    #[default]
    Strip,
    /// It stays.
    Forward,
}

/// An HMAC-SHA256 over host, path and expiry, made by the application.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedUrl {
    /// The query parameter it is in.
    #[schemars(schema_with = "fields::parameter")]
    pub query: String,
    /// The keys, in `Secret`s.
    #[schemars(schema_with = "fields::secret_refs")]
    pub secret_refs: Vec<SecretKey>,
    /// What it is bound to, beside the host.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("default" = "Path"))]
    pub bind: Option<UrlBinding>,
    /// Its longest life; default 24h.
    #[serde(default, deserialize_with = "present")]
    #[schemars(schema_with = "fields::max_age")]
    pub max_age: Option<Duration>,
}

/// What a signed URL is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum UrlBinding {
    /// The path.
    #[default]
    Path,
}
