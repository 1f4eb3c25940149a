//! Tokens as the real issuer makes them, and tokens that are broken in a named way.

use std::{fmt, time::Duration};

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::decide::{Algorithm, Reason};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

use super::{
    IssuerError,
    entra::{EntraSpec, Names},
    key::SigningKey,
};

/// The audience of a token that is meant for somebody else: another customer's resource.
const OTHER_AUDIENCE: &str = "00000000-0000-4000-8000-00000000beef";
/// The issuer of a token that another issuer made.
const OTHER_ISSUER: &str = "https://issuer.invalid";

/// What a token is for, and so how long it lives and who issues it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A webhook callback: 5 minutes.
    #[default]
    Callback,
    /// A WebSocket connection: 24 hours.
    WebSocket,
    /// A delivery of Event Grid, issued by Entra: 24 hours and 5 minutes.
    #[serde(rename = "event-grid")]
    EventGrid,
    /// Anything else: an hour.
    Jwt,
}

impl TokenKind {
    /// How long the real issuer lets such a token live.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        match self {
            Self::Callback => Duration::from_secs(5 * 60),
            Self::WebSocket => Duration::from_secs(24 * 60 * 60),
            Self::EventGrid => Duration::from_secs(24 * 60 * 60 + 5 * 60),
            Self::Jwt => Duration::from_secs(60 * 60),
        }
    }
}

/// A signature algorithm by its registered name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningAlgorithm(pub Algorithm);

impl Serialize for SigningAlgorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for SigningAlgorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
        Algorithm::from_name(&name)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("`{name}` is no algorithm that is taken; take one of {}", known())))
    }
}

/// Which token is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenSpec {
    /// What it is for.
    #[serde(default)]
    pub kind: TokenKind,
    /// `aud`: the resource's immutableResourceId, or the id of an application of Entra.
    pub audience: String,
    /// What only Entra's tokens say; `None` = what Event Grid's say in the demo's tenant. Nothing to other kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<EntraSpec>,
    /// What it is signed with; `None` = RS256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// How many seconds it lives; `None` = as long as the kind does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<u64>,
    /// How it is broken; `None` = not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// Further claims; they replace those of the same name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
}

impl TokenSpec {
    /// A good token for a webhook callback.
    #[must_use]
    pub fn callback(audience: &str) -> Self {
        Self {
            kind: TokenKind::Callback,
            audience: audience.to_owned(),
            entra: None,
            algorithm: None,
            lifetime_seconds: None,
            broken: None,
            claims: Map::new(),
        }
    }

    /// A good token for a delivery of Event Grid.
    #[must_use]
    pub fn event_grid(audience: &str) -> Self {
        Self { kind: TokenKind::EventGrid, ..Self::callback(audience) }
    }

    /// A good token for anything else, signed with `algorithm`.
    #[must_use]
    pub fn jwt(audience: &str, algorithm: Algorithm) -> Self {
        Self { kind: TokenKind::Jwt, algorithm: Some(SigningAlgorithm(algorithm)), ..Self::callback(audience) }
    }

    /// A good token for a WebSocket connection.
    #[must_use]
    pub fn websocket(audience: &str) -> Self {
        Self { kind: TokenKind::WebSocket, ..Self::callback(audience) }
    }

    /// The same token, broken.
    #[must_use]
    pub fn broken(self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self }
    }

    /// The token, as an issuer of these `names` signs it with `key` at `now` (seconds since the Unix epoch). `foreign` is a key that it does not
    /// publish.
    pub(super) fn mint<'k>(
        &self,
        names: &Names,
        now: u64,
        key: &'k SigningKey,
        foreign: impl FnOnce() -> Result<&'k SigningKey, IssuerError>,
    ) -> Result<String, IssuerError> {
        let header = json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": "JWT"});
        let lifetime = self.lifetime_seconds.unwrap_or_else(|| self.kind.lifetime().as_secs());
        let mut claims = json!({
            "iss": names.acs, "aud": self.audience, "iat": now, "nbf": now, "exp": now.saturating_add(lifetime), "jti": random_id()?
        });
        let entra = (self.kind == TokenKind::EventGrid).then(|| self.entra.clone().unwrap_or_default());
        if let Some(entra) = &entra {
            entra.describe(names, &mut claims);
        }
        for (name, value) in &self.claims {
            set(&mut claims, name, value.clone());
        }
        match self.broken {
            None => sign(key, &header, &claims),
            Some(broken) => match (broken.breaks_entra(), &entra) {
                (true, Some(entra)) => {
                    entra.misdescribe(broken, names, &mut claims);
                    sign(key, &header, &claims)
                }
                // What only Entra's tokens say cannot be wrong in another.
                (true, None) => Err(IssuerError::Kind(broken)),
                (false, _) => broken.mint(header, claims, now, key, foreign),
            },
        }
    }
}

macro_rules! broken {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $reason:ident;)+) => {
        /// A way in which a token is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Broken { $($(#[$doc])* $variant,)+ }

        impl Broken {
            /// Every way.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name on command lines.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Why Ringfence refuses such a token where a good one of the same kind is allowed.
            #[must_use]
            pub const fn reason(self) -> Reason {
                match self { $(Self::$variant => Reason::$reason,)+ }
            }
        }
    };
}

broken! {
    /// Its time is over.
    Expired = "expired", TokenExpired;
    /// Its time begins in an hour.
    NotYetValid = "not-yet-valid", TokenNotYetValid;
    /// It lives for a month.
    LongLived = "long-lived", LifetimeExceeded;
    /// A claim was changed after the signing.
    Tampered = "tampered", SignatureInvalid;
    /// It is signed with a key that is not the issuer's, under the name of one that is.
    ForeignKey = "foreign-key", SignatureInvalid;
    /// It is not signed, and says so.
    AlgNone = "alg-none", AlgorithmRefused;
    /// It is signed with HMAC, the public key being the secret.
    Hs256 = "hs256", AlgorithmRefused;
    /// Another issuer made it.
    WrongIssuer = "wrong-issuer", IssuerMismatch;
    /// It is for another customer's resource.
    WrongAudience = "wrong-audience", AudienceMismatch;
    /// It names a key that the issuer does not publish.
    UnknownKid = "unknown-kid", KeyUnknown;
    /// It names no key.
    NoKid = "no-kid", TokenMalformed;
    /// It never expires.
    NoExp = "no-exp", ClaimMissing;
    /// It is for nobody in particular.
    NoAudience = "no-audience", ClaimMissing;
    /// It names no issuer.
    NoIssuer = "no-issuer", ClaimMissing;
    /// It brings the key that it is to be verified with.
    EmbeddedKey = "embedded-key", TokenMalformed;
    /// It demands an extension that must be understood.
    Critical = "critical", TokenMalformed;
    /// It has two audiences under one name.
    RepeatedClaim = "repeated-claim", TokenMalformed;
    /// Its signature is padded.
    Padded = "padded", TokenMalformed;
    /// Its signature is cut off.
    Truncated = "truncated", TokenMalformed;
    /// Entra issued it for another tenant.
    WrongTenant = "wrong-tenant", IssuerMismatch;
    /// It is another application's of the same tenant.
    WrongApplication = "wrong-application", ClaimMismatch;
    /// It names no application.
    NoApplication = "no-application", ClaimMissing;
    /// It names its application as the other version does.
    SwappedApplication = "swapped-application", ClaimMissing;
    /// It names one application as version 1.0 does and another as version 2.0 does.
    TwoApplications = "two-applications", ClaimMismatch;
    /// A person signed in for it.
    UserToken = "user-token", ClaimMismatch;
    /// It says that it is of the other version than its issuer is of.
    WrongVersion = "wrong-version", ClaimMismatch;
}

impl Broken {
    /// The way of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|broken| broken.name() == name)
    }

    /// Whether only Entra's tokens can be broken in this way.
    #[must_use]
    pub const fn breaks_entra(self) -> bool {
        matches!(
            self,
            Self::WrongTenant
                | Self::WrongApplication
                | Self::NoApplication
                | Self::SwappedApplication
                | Self::TwoApplications
                | Self::UserToken
                | Self::WrongVersion
        )
    }

    fn mint<'k>(
        self,
        mut header: Value,
        mut claims: Value,
        now: u64,
        key: &'k SigningKey,
        foreign: impl FnOnce() -> Result<&'k SigningKey, IssuerError>,
    ) -> Result<String, IssuerError> {
        if self.misstate(&mut header, &mut claims, now)? {
            return sign(key, &header, &claims);
        }
        match self {
            Self::ForeignKey => sign(foreign()?, &header, &claims),
            Self::EmbeddedKey => {
                let foreign = foreign()?;
                set(&mut header, "jwk", foreign.jwk());
                sign(foreign, &header, &claims)
            }
            Self::AlgNone => {
                set(&mut header, "alg", json!("none"));
                Ok(format!("{}.", signed_part(&header, &claims.to_string())))
            }
            Self::Hs256 => {
                set(&mut header, "alg", json!("HS256"));
                let signed = signed_part(&header, &claims.to_string());
                Ok(join(&signed, &key.sign_with_public_half(signed.as_bytes())?))
            }
            Self::Tampered => {
                let signature = key.sign(signed_part(&header, &claims.to_string()).as_bytes())?;
                set(&mut claims, "jti", json!(random_id()?));
                Ok(join(&signed_part(&header, &claims.to_string()), &signature))
            }
            Self::RepeatedClaim => {
                let again = claims.to_string().replacen('{', &format!("{{\"aud\":\"{OTHER_AUDIENCE}\","), 1);
                let signed = signed_part(&header, &again);
                Ok(join(&signed, &key.sign(signed.as_bytes())?))
            }
            Self::Padded => Ok(format!("{}==", sign(key, &header, &claims)?)),
            Self::Truncated => {
                let token = sign(key, &header, &claims)?;
                Ok(token.rsplit_once('.').map_or_else(String::new, |(signed, _)| signed.to_owned()))
            }
            _ => Err(IssuerError::Kind(self)),
        }
    }

    /// Says something wrong in a token that is then signed properly; `false` if it is not broken in such a way.
    fn misstate(self, header: &mut Value, claims: &mut Value, now: u64) -> Result<bool, IssuerError> {
        const HOUR: u64 = 3600;
        match self {
            Self::Expired => set_times(claims, now.saturating_sub(HOUR + 300), now.saturating_sub(HOUR)),
            Self::NotYetValid => set_times(claims, now.saturating_add(HOUR), now.saturating_add(HOUR + 300)),
            Self::LongLived => set_times(claims, now, now.saturating_add(30 * 24 * HOUR)),
            Self::WrongIssuer => set(claims, "iss", json!(OTHER_ISSUER)),
            Self::WrongAudience => set(claims, "aud", json!(OTHER_AUDIENCE)),
            Self::UnknownKid => set(header, "kid", json!(random_id()?)),
            Self::NoKid => remove(header, "kid"),
            Self::NoExp => remove(claims, "exp"),
            Self::NoAudience => remove(claims, "aud"),
            Self::NoIssuer => remove(claims, "iss"),
            Self::Critical => {
                set(header, "crit", json!(["exp"]));
                set(header, "exp", json!(now));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Broken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom("an unknown way to break a token"))
    }
}

pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

pub(super) fn remove(object: &mut Value, name: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(name);
    }
}

fn set_times(claims: &mut Value, begins: u64, ends: u64) {
    for (name, time) in [("iat", begins), ("nbf", begins), ("exp", ends)] {
        set(claims, name, json!(time));
    }
}

/// `header.payload`.
fn signed_part(header: &Value, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims))
}

fn join(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(key: &SigningKey, header: &Value, claims: &Value) -> Result<String, IssuerError> {
    let signed = signed_part(header, &claims.to_string());
    Ok(join(&signed, &key.sign(signed.as_bytes())?))
}

fn random_id() -> Result<String, IssuerError> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| IssuerError::Crypto)?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
