//! The strict parser of signed tokens: JWS compact serialisation (RFC 7515) with JSON claims (RFC 7519), and nothing beyond.
//!
//! Must not know policies, keys or the time: what a token says is measured in `claims`, whether it is true in `keys`.

mod header;

use std::fmt;

use serde_json::Value;

use self::header::JoseHeader;
use super::{
    Few, Header, Reason, TokenFacts, base64url,
    json::{KnownName, Scanner},
    keys::Signed,
    piece::Piece,
    time::MAX_SECONDS,
};

/// Longest token that is read, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest signature, in bytes: that of an RSA key of 4096 bits.
const MAX_SIGNATURE: usize = 512;

/// A token that has the right form. Nothing in it is verified.
pub(super) struct Token<'a> {
    /// What was signed, `header.payload`, and its algorithm.
    pub(super) signed: Signed<'a>,
    /// The signature, encoded.
    signature: &'a [u8],
    /// The header, decoded, and after it the payload.
    text: String,
    /// Where the payload begins.
    payload_at: usize,
    /// Which key it names, in the header.
    kid: Piece,
    /// The claims that every sender measures.
    pub(super) claims: Claims,
}

/// Says whose it is, so that nobody can use what is shown.
impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("algorithm", &self.signed.algorithm)
            .field("kid", &self.kid())
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// The registered claims that are measured (RFC 7519 section 4.1), texts as pieces of the payload; dates in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) issuer: Option<Piece>,
    pub(super) audiences: Few<Piece>,
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
        let dot = |from: usize| token.get(from..).and_then(|rest| memchr::memchr(b'.', rest)).map(|at| from + at).ok_or(Reason::TokenMalformed);
        let first = dot(0)?;
        let second = dot(first + 1)?;
        let (Some(header), Some(payload), Some(signed)) = (token.get(..first), token.get(first + 1..second), token.get(..second)) else {
            return Err(Reason::TokenMalformed);
        };
        // A third dot is no digit, so that `with_signature` refuses it; it is refused here already, before anything is decoded.
        let signature = token.get(second + 1..).filter(|rest| memchr::memchr(b'.', rest).is_none()).ok_or(Reason::TokenMalformed)?;
        let payload_at = base64url::decoded_len(header.len()).ok_or(Reason::TokenMalformed)?;
        let length = payload_at + base64url::decoded_len(payload.len()).unwrap_or_default();
        #[expect(
            clippy::slow_vector_initialization,
            reason = "little memory that is zero already takes the allocator longer than to ask and to fill"
        )]
        let mut buffer = Vec::with_capacity(length);
        buffer.resize(length, 0);
        let (header_room, payload_room) = buffer.split_at_mut_checked(payload_at).ok_or(Reason::TokenMalformed)?;
        let JoseHeader { algorithm, kid } = JoseHeader::read(header, header_room)?;
        if signature.is_empty() || base64url::decoded_len(signature.len()).is_none_or(|length| length > MAX_SIGNATURE) {
            return Err(Reason::TokenMalformed);
        }
        base64url::decode(payload, payload_room).ok_or(Reason::TokenMalformed)?;
        let text = String::from_utf8(buffer).map_err(|_| Reason::TokenMalformed)?;
        let claims = text.get(payload_at..).and_then(Claims::parse).ok_or(Reason::TokenMalformed)?;
        Ok(Self { signed: Signed::new(algorithm, signed), signature, text, payload_at, kid, claims })
    }

    /// Which key it names.
    pub(super) fn kid(&self) -> &str {
        self.kid.of(&self.text)
    }

    /// `iss`.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.issuer(self.payload())
    }

    /// What it says of itself, for the log, together with the text that all else of it is read from: it must not be used any more. `audience` is
    /// the matched one.
    pub(super) fn take_facts(&mut self, audience: Option<&str>) -> TokenFacts {
        let payload = self.text.get(self.payload_at..).unwrap_or_default();
        let given = match audience {
            // Nearly always spelled alike; else the policy's spelling counts.
            Some(audience) => self.claims.audiences.iter().find(|given| given.of(payload) == audience),
            None => self.claims.audiences.first(),
        };
        let audience = given.map(|given| given.clone().moved_by(self.payload_at)).or_else(|| audience.map(Piece::from));
        let issuer = self.claims.issuer.take().map(|issuer| issuer.moved_by(self.payload_at));
        TokenFacts::within(std::mem::take(&mut self.text), issuer, audience, Some(std::mem::take(&mut self.kid)))
    }

    /// Hands the decoded signature to `verify`. It is decoded only here: most refusals never get this far.
    ///
    /// # Errors
    /// `token_malformed` if it is not base64url.
    pub(super) fn with_signature<R>(&self, verify: impl FnOnce(&[u8]) -> R) -> Result<R, Reason> {
        let mut buffer = [0; MAX_SIGNATURE];
        base64url::decode(self.signature, &mut buffer).map(verify).ok_or(Reason::TokenMalformed)
    }

    /// Calls `member` with each claim's name; it must read the claim's value from the scanner. `None` if it does not like one.
    pub(super) fn read_claims<'t>(&'t self, member: impl FnMut(&'t str, &mut Scanner<'t>) -> Option<()>) -> Option<()> {
        Scanner::read_object(self.payload(), member)
    }

    /// The claims as JSON text; strict, since it was read once.
    pub(super) fn payload(&self) -> &str {
        self.text.get(self.payload_at..).unwrap_or_default()
    }

    /// A claim's value as any JSON, of the top level or where a JSON pointer leads (a name that begins with `/`); `None` if it is absent. Null where the library cannot read all of the payload (half a character, in
    /// a claim that nobody measures): nobody knows then what its claims are.
    pub(super) fn claim(&self, name: &str) -> Option<Value> {
        match serde_json::from_str::<serde_json::Map<String, Value>>(self.payload()) {
            Ok(claims) if name.starts_with('/') => Value::Object(claims).pointer(name).cloned(),
            Ok(mut claims) => claims.remove(name),
            Err(_) => Some(Value::Null),
        }
    }
}

impl Claims {
    /// `iss`, of these claims as they were read from `payload`.
    pub(super) fn issuer<'t>(&'t self, payload: &'t str) -> Option<&'t str> {
        self.issuer.as_ref().map(|issuer| issuer.of(payload))
    }

    fn parse(payload: &str) -> Option<Self> {
        let mut claims = Self::default();
        Scanner::read_object_knowing(payload, |name, scanner| {
            match name {
                Some(Registered::Issuer) => claims.issuer = Some(scanner.piece()?),
                Some(Registered::Audience) => claims.audiences = scanner.pieces()?,
                Some(Registered::Expires) => claims.expires_ms = Some(read_date(scanner)?),
                Some(Registered::NotBefore) => claims.not_before_ms = Some(read_date(scanner)?),
                Some(Registered::IssuedAt) => claims.issued_at_ms = Some(read_date(scanner)?),
                Some(Registered::Subject | Registered::TokenId) | None => scanner.skip()?,
            }
            Some(())
        })?;
        Some(claims)
    }
}

/// The registered claims (RFC 7519 section 4.1).
#[derive(Clone, Copy)]
enum Registered {
    Issuer,
    Subject,
    Audience,
    Expires,
    NotBefore,
    IssuedAt,
    TokenId,
}

impl KnownName for Registered {
    #[inline]
    fn from_letters(letters: [u8; 3]) -> Option<Self> {
        match &letters {
            b"iss" => Some(Self::Issuer),
            b"sub" => Some(Self::Subject),
            b"aud" => Some(Self::Audience),
            b"exp" => Some(Self::Expires),
            b"nbf" => Some(Self::NotBefore),
            b"iat" => Some(Self::IssuedAt),
            b"jti" => Some(Self::TokenId),
            _ => None,
        }
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Seconds since the Unix epoch, whole or not (RFC 7519 section 2), in milliseconds.
fn read_date(scanner: &mut Scanner<'_>) -> Option<i64> {
    if let Some(seconds) = scanner.small_whole_number() {
        return i64::try_from(seconds * 1000).ok().filter(|_| seconds <= MAX_SECONDS);
    }
    let seconds = scanner.number()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded by MAX_SECONDS")]
    (0.0..=MAX_SECONDS as f64).contains(&seconds).then_some((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests;
