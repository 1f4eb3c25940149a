//! The path of a request: one that every upstream reads alike, or what makes it ambiguous.
//!
//! Must not know which paths policies have.

use std::borrow::Cow;

/// A path that every upstream reads alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    text: &'a str,
    folded: Cow<'a, str>,
}

impl<'a> Path<'a> {
    /// Checks a path, up to its `?`.
    ///
    /// # Errors
    /// What makes it ambiguous, in words for the operator.
    pub fn parse(path: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(path).map_err(|_| "bytes that are not UTF-8")?;
        if !text.starts_with('/') {
            return Err("a path that does not start with `/`");
        }
        let mut is_encoded_beyond_ascii = false;
        let mut rest = path;
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {}
                b'/' => check_segment(after)?,
                b'\\' => return Err("a backslash"),
                b';' => return Err("a `;`"),
                b'#' => return Err("a `#`"),
                0..=0x20 | 0x7f => return Err("a control character or a space"),
                b'%' => {
                    let decoded = decode_pair(after).ok_or("a `%` without two hexadecimal digits")?;
                    rest = after.get(2..).unwrap_or_default();
                    check_encoded(decoded, rest)?;
                    is_encoded_beyond_ascii |= decoded >= 0x80;
                }
                _ => {}
            }
        }
        if is_encoded_beyond_ascii {
            let decoded = String::from_utf8(percent_decode(path)).map_err(|_| "encoded bytes that are not UTF-8")?;
            if decoded.chars().any(char::is_control) {
                return Err("an encoded control character");
            }
        } else if !text.is_ascii() && text.chars().any(char::is_control) {
            return Err("a control character or a space");
        }
        Ok(Self { text, folded: fold_path(text) })
    }

    /// The path as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text
    }

    /// The path as [`fold_path`] makes it.
    pub(super) fn folded(&self) -> &str {
        &self.folded
    }
}

/// Refuses an empty segment and a dot segment, at the beginning of what follows a `/`.
fn check_segment(after: &[u8]) -> Result<(), &'static str> {
    match after {
        [b'/', ..] => Err("an empty segment (`//`)"),
        [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..] => Err("a dot segment"),
        _ => Ok(()),
    }
}

/// Refuses an encoding of anything that upstreams decode before or after they route.
fn check_encoded(decoded: u8, rest: &[u8]) -> Result<(), &'static str> {
    match decoded {
        b'/' | b'\\' => Err("an encoded slash or backslash"),
        b'.' => Err("an encoded dot"),
        b';' | b'#' | b'?' => Err("an encoded `;`, `#` or `?`"),
        b'%' if decode_pair(rest).is_some() => Err("a double encoding"),
        0..=0x1f | 0x7f => Err("an encoded control character"),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Err("an encoded letter, digit, `-`, `_` or `~`"),
        _ => Ok(()),
    }
}

/// The byte that the two hexadecimal digits at the start of `digits` stand for.
fn decode_pair(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (digits.first().and_then(digit)?, digits.get(1).and_then(digit)?);
    u8::try_from(high * 16 + low).ok()
}

/// Percent-decodes; a `%` without two digits stays, and so does `+`.
#[must_use]
pub(super) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, decode_pair(text.get(at + 1..).unwrap_or_default())) {
            (b'%', Some(value)) => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// ASCII lower case, without a copy where nothing changes.
pub(super) fn fold(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
}

/// What is equal for two sound paths that some upstream takes for the same one: decoded, without regard to case (also beyond ASCII, where
/// `ſ` is an `s` to some and the Kelvin sign a `k`), without a slash at the end. Of a path's beginning, the beginning of what the path gives.
pub(super) fn fold_path(text: &str) -> Cow<'_, str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_ascii() && !text.contains('%') {
        return fold(text);
    }
    match String::from_utf8(percent_decode(text.as_bytes())) {
        Ok(decoded) => Cow::Owned(decoded.chars().flat_map(fold_char).collect()),
        // Never of a sound path.
        Err(_) => fold(text),
    }
}

/// A character in lower case, by way of upper case, since several small letters have one capital.
fn fold_char(c: char) -> impl Iterator<Item = char> {
    let c = if c == 'İ' { 'i' } else { c };
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}
