//! What a scalar means: the core schema of YAML 1.2, less what YAML 1.1 (Kubernetes' tools) reads as something else.

use std::borrow::Cow;

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// Words that are truth values in YAML 1.1 and plain text in YAML 1.2.
const OLD_TRUTHS: &[&str] = &["y", "yes", "on", "n", "no", "off"];

/// The value of a scalar.
pub(super) fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Value::String(text.into_owned())),
        Some(tag) => return Err(format!("the tag `{tag}` is not read; take it out, and put text in quotes")),
        None => {}
    }
    match style {
        ScalarStyle::Plain => resolve_plain(text),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => Ok(Value::String(text.into_owned())),
    }
}

/// The text of a key.
pub(super) fn resolve_key(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<String, String> {
    if style == ScalarStyle::Plain && text == "<<" {
        return Err("merge keys (`<<`) are not read; write the fields out".to_owned());
    }
    let written = text.to_string();
    match resolve(text, style, tag)? {
        Value::String(key) => Ok(key),
        Value::Number(number) if number.is_u64() && number.to_string() == written => Ok(written),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(format!("the key `{written}` is no text; put it in quotes")),
        Value::Array(_) | Value::Object(_) => Err("a key must be plain text".to_owned()),
    }
}

fn resolve_plain(text: Cow<'_, str>) -> Result<Value, String> {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if OLD_TRUTHS.iter().any(|word| is_old_truth(&text, word)) {
        return Err(format!("`{text}` without quotes is a truth value to some readers and text to others; put it in quotes, or write true or false"));
    }
    if let Some(number) = read_number(&text) {
        return number.map(Value::Number);
    }
    if is_old_number(&text) {
        return Err(format!(
            "`{text}` without quotes is a number to some readers and text to others; put it in quotes, or write it as a plain decimal"
        ));
    }
    Ok(Value::String(text.into_owned()))
}

/// `no`, `No` and `NO`, but not `nO`.
fn is_old_truth(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
        && (text.bytes().skip(1).all(|byte| byte.is_ascii_lowercase()) || text.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// A number of the core schema; an error for one that JSON or the readers before 1.2 do not take for the same.
fn read_number(text: &str) -> Option<Result<Number, String>> {
    let quote = |why: &str| Some(Err(format!("`{text}` {why}; put it in quotes if it is text")));
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x").filter(|hex| !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return u64::from_str_radix(hex, 16).map_or_else(|_| quote("is too large a number"), |number| Some(Ok(number.into())));
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if digits.len() > 1 && digits.starts_with('0') {
            return quote("is octal to some readers and decimal to others");
        }
        let plain = text.strip_prefix('+').unwrap_or(text);
        let number = plain.parse::<u64>().map(Number::from).or_else(|_| plain.parse::<i64>().map(Number::from));
        return number.map_or_else(|_| quote("is too large a number"), |number| Some(Ok(number)));
    }
    if matches!(digits.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return quote("is not a number that JSON knows");
    }
    is_float(digits).then(|| {
        let number = text.parse::<f64>().ok().and_then(Number::from_f64);
        number.ok_or_else(|| format!("`{text}` is too large a number; put it in quotes if it is text"))
    })
}

/// `[0-9]*` with a point or an exponent, and a digit before the exponent.
fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digit = !whole.is_empty() || !fraction.is_empty();
    has_digit && all_digits(whole) && all_digits(fraction) && exponent.is_none_or(|exponent| !exponent.is_empty() && all_digits(exponent))
}

/// A number to YAML 1.1 and not to 1.2: other bases, signs before them, `_` between digits.
fn is_old_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let digits = digits.replace('_', "");
    let in_base =
        |prefix: &str, base: u32| digits.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(base)));
    in_base("0b", 2) || in_base("0o", 8) || in_base("0x", 16) || is_float(&digits)
}
