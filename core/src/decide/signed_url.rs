//! Signed callback URLs: what is signed, by whom it is signed, and what a signature is worth now. `docs/signed-urls.md` is the page for those
//! who sign.
//!
//! Must not know where the parameter was found: that is `credential`'s, with its rules for parameters that come twice.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::{Host, Now, Path, Reason, Request, base64url, time::MAX_SECONDS};

/// The first line of what is signed: a signature made for anything else, with the same key, is none of a URL.
const LABEL: &str = "ringfence-url-v1";
/// The parameter's value begins with this: the version of the form and of what is signed.
const VERSION: &[u8] = b"v1";
/// Tolerated difference between the clock of whoever signs and ours.
const CLOCK_SKEW_MS: i64 = 30_000;
/// Bytes of an HMAC-SHA256.
const MAC_LENGTH: usize = 32;
/// Its length in base64url.
const ENCODED_MAC_LENGTH: usize = 43;

/// How signed URLs are measured.
#[derive(Clone, Debug)]
pub struct UrlSigning {
    /// The active keys.
    pub keys: Box<[SigningKey]>,
    /// Longest life of a URL from now on, in milliseconds.
    pub max_age_ms: i64,
}

/// A key that URLs are signed with, made ready once.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The value of the parameter that makes a URL with this host and path good until `expires`, in seconds since the Unix epoch. `None` beyond
    /// the year 9999.
    #[must_use]
    pub fn sign(&self, host: &Host<'_>, path: &Path<'_>, expires: u64) -> Option<String> {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let expiry = expires.to_string();
        let tag = self.tag(expiry.as_bytes(), host.as_str(), path.as_str());
        (expires <= MAX_SECONDS).then(|| format!("v1.{expiry}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// HMAC-SHA256 over four lines, of which none can hold a line feed: the label, the expiry, the host, the path.
    fn tag(&self, expiry: &[u8], host: &str, path: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for line in [LABEL.as_bytes(), expiry, host.as_bytes()] {
            context.update(line);
            context.update(b"\n");
        }
        context.update(path.as_bytes());
        context.sign()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// A signature as a request carries it; nothing in it is verified.
struct Signature<'v> {
    expiry: &'v [u8],
    expires_ms: i64,
    mac: [u8; MAC_LENGTH],
}

impl<'v> Signature<'v> {
    /// Reads `v1.EXPIRY.MAC`. There is one spelling of each signature: no sign, no leading zero, no padding, no loose bits.
    fn parse(value: &'v [u8]) -> Option<Self> {
        let mut parts = value.split(|byte| *byte == b'.');
        let (version, expiry, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() || encoded.len() != ENCODED_MAC_LENGTH {
            return None;
        }
        let expires_ms = read_expiry(expiry)?;
        let mut mac = [0; MAC_LENGTH];
        base64url::decode(encoded, &mut mac)?;
        Some(Self { expiry, expires_ms, mac })
    }
}

/// Seconds since the Unix epoch, in milliseconds.
fn read_expiry(digits: &[u8]) -> Option<i64> {
    const MOST_DIGITS: usize = 12;
    let is_plain = matches!(digits.first(), Some(b'1'..=b'9')) && digits.len() <= MOST_DIGITS && digits.iter().all(u8::is_ascii_digit);
    let seconds = digits.iter().filter(|_| is_plain).fold(0, |seconds: u64, digit| seconds * 10 + u64::from(digit - b'0'));
    (is_plain && seconds <= MAX_SECONDS).then(|| i64::try_from(seconds * 1000).ok())?
}

/// Whether `value` signs the request's host and path with one of the active keys, and is good now. The time is measured last, so that
/// `url_expired` is only said of what one of the keys has signed.
///
/// # Errors
/// `url_signature_invalid`, `url_expired`; `clock_unsettled` for a time refusal that another reading of an unsettled clock would not
/// give.
pub(super) fn check_signature(value: &[u8], rule: &UrlSigning, request: &Request<'_>, now: Now) -> Result<(), Reason> {
    let signature = Signature::parse(value).ok_or(Reason::UrlSignatureInvalid)?;
    // An ambiguous path was refused before any sender was asked.
    let path = request.target.path.as_ref().map_err(|_| Reason::AmbiguousPath)?;
    let is_mac_of = |key: &SigningKey| {
        let tag = key.tag(signature.expiry, request.host.as_str(), path.as_str());
        constant_time::verify_slices_are_equal(tag.as_ref(), &signature.mac).is_ok()
    };
    // Every key is tried, so that the time says nothing about which one matched.
    if !rule.keys.iter().fold(false, |found, key| is_mac_of(key) | found) {
        return Err(Reason::UrlSignatureInvalid);
    }
    if is_timely(signature.expires_ms, rule, now.effective_ms) {
        Ok(())
    } else if now.is_doubtful(|other_ms| is_timely(signature.expires_ms, rule, other_ms)) {
        Err(Reason::ClockUnsettled)
    } else {
        Err(Reason::UrlExpired)
    }
}

/// Not yet expired, and no longer good than is allowed.
fn is_timely(expires_ms: i64, rule: &UrlSigning, now_ms: i64) -> bool {
    let longest = rule.max_age_ms.saturating_add(CLOCK_SKEW_MS);
    now_ms < expires_ms.saturating_add(CLOCK_SKEW_MS) && expires_ms <= now_ms.saturating_add(longest)
}

/// When the URL with this parameter expires, in milliseconds since the Unix epoch, as far as that can be read. Not verified.
pub(super) fn expiry_of(value: &[u8]) -> Option<i64> {
    Signature::parse(value).map(|signature| signature.expires_ms)
}

#[cfg(test)]
mod tests;
