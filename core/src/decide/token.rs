//! The strict parser of signed tokens: JWS compact serialisation (RFC 7515) with JSON claims (RFC 7519), and nothing beyond.
//!
//! Must not know policies, keys or the time: what a token says is measured in `claims`, whether it is true in `keys`.

use std::{borrow::Cow, fmt};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Algorithm, Header, Reason, base64url};

/// Longest token that is read, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest signature, in bytes: that of an RSA key of 4096 bits.
const MAX_SIGNATURE: usize = 512;
/// Longest `kid`, in bytes.
const MAX_KID: usize = 256;
/// Most members of one JSON object, and most audiences of one token.
const MAX_MEMBERS: usize = 64;
/// The last second of the year 9999: later dates are not dates.
const MAX_SECONDS: f64 = 253_402_300_799.0;
/// Header parameters that change what is signed or bring their own key: none is ever needed here (RFC 7515 section 4.1, RFC 7797).
const FORBIDDEN_PARAMETERS: &[&str] = &["crit", "b64", "zip", "jwk", "jku", "x5u", "x5c"];

/// A token that has the right form. Nothing in it is verified.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// What was signed: `header.payload`.
    pub(super) signed: &'a [u8],
    /// The signature, encoded.
    signature: &'a [u8],
    /// Its algorithm.
    pub(super) algorithm: Algorithm,
    /// Which key it names.
    pub(super) kid: Box<str>,
    /// The claims that every sender measures.
    pub(super) claims: Claims,
    /// The payload, decoded, for claims that only some senders read.
    payload: Vec<u8>,
}

/// The registered claims that are measured (RFC 7519 section 4.1); dates in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) issuer: Option<Box<str>>,
    pub(super) audiences: Vec<Box<str>>,
    pub(super) expires_ms: Option<i64>,
    pub(super) not_before_ms: Option<i64>,
    pub(super) issued_at_ms: Option<i64>,
}

/// The bearer token of an `Authorization` header (RFC 6750 section 2.1): the scheme in any case, exactly one space, one token.
///
/// # Errors
/// `token_missing` without a bearer token, `duplicate_credential` for more than one header, `token_malformed` for an empty or oversized one.
pub(super) fn bearer(authorization: Header<'_>) -> Result<&[u8], Reason> {
    let value = match authorization {
        Header::Absent => return Err(Reason::TokenMissing),
        Header::Many => return Err(Reason::DuplicateCredential),
        Header::One(value) => value,
    };
    let Some((scheme, token)) = value.split_at_checked(7) else { return Err(Reason::TokenMissing) };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Reason::TokenMissing);
    }
    if token.is_empty() || token.len() > MAX_TOKEN { Err(Reason::TokenMalformed) } else { Ok(token) }
}

impl<'a> Token<'a> {
    /// Reads the compact form.
    ///
    /// # Errors
    /// `token_malformed`, or `algorithm_refused` for an `alg` that is not asymmetric (which is judged before the payload is looked at).
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Reason::TokenMalformed);
        };
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(Reason::TokenMalformed)?;
        let mut buffer = vec![0; header.len().max(payload.len())];
        let header = base64url::decode(header, &mut buffer).ok_or(Reason::TokenMalformed)?;
        let header: JoseHeader<'_> = serde_json::from_slice(header).map_err(|_| Reason::TokenMalformed)?;
        let algorithm = header.algorithm.as_deref().ok_or(Reason::TokenMalformed)?;
        let algorithm = Algorithm::from_name(algorithm).ok_or(Reason::AlgorithmRefused)?;
        let kid = header.kid.filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID).ok_or(Reason::TokenMalformed)?.into();
        if signature.is_empty() || base64url::decoded_len(signature.len()).is_none_or(|length| length > MAX_SIGNATURE) {
            return Err(Reason::TokenMalformed);
        }
        let payload_len = base64url::decode(payload, &mut buffer).ok_or(Reason::TokenMalformed)?.len();
        buffer.truncate(payload_len);
        let claims = serde_json::from_slice(&buffer).map_err(|_| Reason::TokenMalformed)?;
        Ok(Self { signed, signature, algorithm, kid, claims, payload: buffer })
    }

    /// Hands the decoded signature to `verify`. It is decoded only here: most refusals never get this far.
    ///
    /// # Errors
    /// `token_malformed` if it is not base64url.
    pub(super) fn with_signature<R>(&self, verify: impl FnOnce(&[u8]) -> R) -> Result<R, Reason> {
        let mut buffer = [0; MAX_SIGNATURE];
        base64url::decode(self.signature, &mut buffer).map(verify).ok_or(Reason::TokenMalformed)
    }

    /// A top-level claim's value as any JSON; `None` if it is absent.
    pub(super) fn claim(&self, name: &str) -> Option<serde_json::Value> {
        let mut claims: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&self.payload).ok()?;
        claims.remove(name)
    }
}

/// The header parameters that matter.
#[derive(Default)]
struct JoseHeader<'a> {
    algorithm: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for JoseHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut header = Self::default();
        deserializer.deserialize_map(Members(|name: &str, map: &mut dyn Member<'de>| {
            match name {
                "alg" => header.algorithm = Some(map.text()?),
                "kid" => header.kid = Some(map.text()?),
                name if FORBIDDEN_PARAMETERS.contains(&name) => return Err("a header parameter that is never taken"),
                _ => map.skip()?,
            }
            Ok(())
        }))?;
        Ok(header)
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut claims = Self::default();
        deserializer.deserialize_map(Members(|name: &str, map: &mut dyn Member<'de>| {
            match name {
                "iss" => claims.issuer = Some(map.text()?.into()),
                "aud" => claims.audiences = map.texts()?,
                "exp" => claims.expires_ms = Some(map.date()?),
                "nbf" => claims.not_before_ms = Some(map.date()?),
                "iat" => claims.issued_at_ms = Some(map.date()?),
                _ => map.skip()?,
            }
            Ok(())
        }))?;
        Ok(claims)
    }
}

/// The value of the member that is being read.
trait Member<'de> {
    fn text(&mut self) -> Result<Cow<'de, str>, &'static str>;
    fn texts(&mut self) -> Result<Vec<Box<str>>, &'static str>;
    fn date(&mut self) -> Result<i64, &'static str>;
    fn skip(&mut self) -> Result<(), &'static str>;
}

impl<'de, A: MapAccess<'de>> Member<'de> for A {
    fn text(&mut self) -> Result<Cow<'de, str>, &'static str> {
        self.next_value::<Text<'de>>().map(|text| text.0).map_err(|_| "not a string")
    }

    fn texts(&mut self) -> Result<Vec<Box<str>>, &'static str> {
        self.next_value::<Texts>().map(|texts| texts.0).map_err(|_| "not a string or an array of strings")
    }

    fn date(&mut self) -> Result<i64, &'static str> {
        self.next_value::<NumericDate>().map(|date| date.0).map_err(|_| "not a date")
    }

    fn skip(&mut self) -> Result<(), &'static str> {
        self.next_value::<Unambiguous>().map(|_| ()).map_err(|_| "a value that cannot be read in one way")
    }
}

/// Visits an object member by member and refuses a name that comes twice: two parsers would disagree on which one counts.
struct Members<F>(F);

impl<'de, F: FnMut(&str, &mut dyn Member<'de>) -> Result<(), &'static str>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut names = [""; MAX_MEMBERS];
        let mut unused = names.iter_mut();
        let mut count = 0;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let Some(slot) = unused.next() else { return Err(de::Error::custom("too many members")) };
            *slot = name;
            count += 1;
            (self.0)(name, &mut map).map_err(de::Error::custom)?;
        }
        if has_twins(names.get(..count).unwrap_or_default()) {
            return Err(de::Error::custom("a member name that comes twice"));
        }
        Ok(())
    }
}

/// Whether a name comes twice.
fn has_twins(names: &[&str]) -> bool {
    let mut rest = names;
    while let [first, others @ ..] = rest {
        if others.contains(first) {
            return true;
        }
        rest = others;
    }
    false
}

/// A member name. Nobody needs escapes in one, and two spellings of one name are one name too many.
struct Name<'a>(&'a str);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(Name)
    }
}

/// A string, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// One string, or an array of at most [`MAX_MEMBERS`] (RFC 7519 section 4.1.3).
struct Texts(Vec<Box<str>>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.into()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(Text(text)) = items.next_element::<Text<'de>>()? {
                    if texts.len() >= MAX_MEMBERS {
                        return Err(de::Error::custom("too many audiences"));
                    }
                    texts.push(text.into());
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// Seconds since the Unix epoch, whole or not, kept in milliseconds (RFC 7519 section 2).
struct NumericDate(i64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..=MAX_SECONDS).contains(&seconds) {
            return Err(de::Error::custom("a date out of range"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "bounded by MAX_SECONDS above")]
        Ok(Self((seconds * 1000.0) as i64))
    }
}

/// Any JSON value in which no object repeats a member name.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyVisitor;
        impl<'de> Visitor<'de> for AnyVisitor {
            type Value = Unambiguous;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_unit<E>(self) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
                while items.next_element::<Unambiguous>()?.is_some() {}
                Ok(Unambiguous)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Unambiguous, A::Error> {
                Members(|_: &str, member: &mut dyn Member<'de>| member.skip()).visit_map(map).map(|()| Unambiguous)
            }
        }
        deserializer.deserialize_any(AnyVisitor)
    }
}

#[cfg(test)]
mod tests;
