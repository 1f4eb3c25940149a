//! What a policy asks of claims beyond issuer, audience and time: values that one of them must have. Looked at once the signature is known to be
//! good.
//!
//! A claim is read as it is spelled in the token, so that no number is rounded and no value is taken for one of another type.

use std::fmt;

use super::{Reason, json::Scanner, token::Token};

/// A claim that must have one of some values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimDemand {
    /// Which one.
    pub claim: ClaimName,
    /// At least one; of a list, one member must be one of them.
    pub values: Box<[ClaimValue]>,
}

/// Where a claim is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimName {
    /// As it is written.
    text: Box<str>,
    /// The members that lead to it, from the outside in.
    steps: Box<[Box<str>]>,
}

impl ClaimName {
    /// A top-level claim, or what a JSON pointer (RFC 6901) leads to where the name begins with `/`. `None` for a pointer that is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let steps = match text.strip_prefix('/') {
            None => Box::from([Box::from(text)]),
            Some(pointer) => pointer.split('/').map(unescape).collect::<Option<_>>()?,
        };
        Some(Self { text: text.into(), steps })
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A reference token of a JSON pointer: `~1` is a slash, `~0` a tilde, and nothing else follows a tilde.
fn unescape(step: &str) -> Option<Box<str>> {
    let mut pieces = step.split('~');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (character, rest) = piece.strip_prefix('1').map(|rest| ('/', rest)).or_else(|| piece.strip_prefix('0').map(|rest| ('~', rest)))?;
        name.push(character);
        name.push_str(rest);
    }
    Some(name.into())
}

/// A value that a claim may have to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A text, character by character.
    Text(Box<str>),
    /// A number, by what it amounts to.
    Number(Decimal),
    /// A truth value.
    Bool(bool),
}

/// A decimal number, exactly: `digits` times ten to the `exponent`, with neither leading nor trailing zeros, so that equal numbers are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    is_negative: bool,
    digits: Box<str>,
    exponent: i64,
}

impl Decimal {
    /// The number that JSON spells so (RFC 8259 section 6). `None` for anything else, and for an exponent that no number in use has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let without_end = digits.trim_end_matches('0');
        let dropped = i64::try_from(digits.len() - without_end.len()).ok()?;
        let exponent = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + dropped;
        let digits = without_end.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: Box::default(), exponent: 0 });
        }
        Some(Self { is_negative, digits: digits.into(), exponent })
    }
}

/// Measures every claim that is asked for. `Err` names the first that is missing or has another value.
pub(super) fn measure<'d>(token: &Token<'_>, demands: &'d [ClaimDemand]) -> Result<(), (&'d ClaimName, Reason)> {
    let payload = token.payload();
    for ClaimDemand { claim, values } in demands {
        let found = find(payload, &claim.steps).ok_or((claim, Reason::ClaimMissing))?;
        if !is_one_of(found, values) {
            return Err((claim, Reason::ClaimMismatch));
        }
    }
    Ok(())
}

/// The JSON text of the value that `steps` lead to.
fn find<'j>(text: &'j str, steps: &[Box<str>]) -> Option<&'j str> {
    steps.iter().try_fold(text, |text, step| match text.trim_start().as_bytes().first()? {
        b'{' => member(text, step),
        b'[' => item(text, step),
        _ => None,
    })
}

fn member<'j>(object: &'j str, name: &str) -> Option<&'j str> {
    let mut found = None;
    Scanner::read_object(object, |known, scanner| {
        let value = scanner.raw()?;
        if known == name {
            found = Some(value);
        }
        Some(())
    })?;
    found
}

/// The item of an index without leading zeros.
fn item<'j>(list: &'j str, index: &str) -> Option<&'j str> {
    let is_index = index == "0" || (!index.starts_with('0') && index.bytes().all(|digit| digit.is_ascii_digit()));
    let index: usize = index.parse().ok().filter(|_| is_index)?;
    items(list)?.get(index).copied()
}

fn items(list: &str) -> Option<Vec<&str>> {
    let mut items = Vec::new();
    Scanner::read_array(list, |scanner| {
        items.push(scanner.raw()?);
        Some(())
    })?;
    Some(items)
}

/// Whether the value is one of `values`, or a list of which a member is. What is within a member never counts.
fn is_one_of(text: &str, values: &[ClaimValue]) -> bool {
    let is_value = |text: &str| read(text).is_some_and(|value| values.contains(&value));
    if text.starts_with('[') { items(text).is_some_and(|items| items.into_iter().any(is_value)) } else { is_value(text) }
}

/// A scalar. `None` for null, lists and objects, and for a text with half a character.
fn read(text: &str) -> Option<ClaimValue> {
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(ClaimValue::Text),
        b't' => Some(ClaimValue::Bool(true)),
        b'f' => Some(ClaimValue::Bool(false)),
        _ => Decimal::parse(text).map(ClaimValue::Number),
    }
}

#[cfg(test)]
mod tests;
