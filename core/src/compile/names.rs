//! Names that end up on the wire or in a metric: senders, headers, query parameters, methods, claims.

use super::findings::shown;

/// Longest name of a header or query parameter, in bytes.
const MAX_NAME: usize = 64;
/// Most `-` in a header's name: each doubles the number of its aliases.
const MAX_DASHES: usize = 5;
/// Headers that carry credentials, route the request or frame it: nobody may set or read them by configuration.
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
];
const RESERVED_PREFIXES: &[&str] = &["x-envoy-", "x-forwarded-", "x-ringfence-", "sec-", "aeg-"];

/// A header name in lower case.
///
/// # Errors
/// What is wrong with it and what to do.
pub(super) fn read_header(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(':') || RESERVED_HEADERS.contains(&lower.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(format!("`{}` is reserved for credentials, routing and framing; choose another name", shown(name)));
    }
    if lower.contains('_') {
        return Err(format!("`{}`: some servers read `_` as `-`; write `-`", shown(name)));
    }
    let is_name = lower.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let is_named = lower.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !is_name || !is_named || lower.len() > MAX_NAME {
        return Err(format!("`{}` is no header name; use at most {MAX_NAME} letters, digits and `-`", shown(name)));
    }
    if lower.matches('-').count() > MAX_DASHES {
        return Err(format!("`{}` has more than {MAX_DASHES} `-`; choose a shorter name", shown(name)));
    }
    Ok(lower)
}

/// The other names that some servers read as this header, since they take `_` for `-`: each combination (CVE-2025-64484 and its kin).
pub(super) fn aliases(name: &str) -> Vec<String> {
    let mut spellings = vec![String::with_capacity(name.len())];
    for character in name.chars() {
        if character == '-' {
            let with_underscore: Vec<_> = spellings.iter().map(|spelling| format!("{spelling}_")).collect();
            spellings.iter_mut().for_each(|spelling| spelling.push('-'));
            spellings.extend(with_underscore);
        } else {
            spellings.iter_mut().for_each(|spelling| spelling.push(character));
        }
    }
    spellings.retain(|spelling| spelling != name);
    spellings
}

/// Whether this names a query parameter that every reader spells alike.
pub(super) fn check_parameter(name: &str) -> Result<(), String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if name.is_empty() || name.len() > MAX_NAME || !is_plain {
        return Err(format!("`{}` is no name for a query parameter; use 1 to {MAX_NAME} letters, digits, `-`, `.` and `_`", shown(name)));
    }
    Ok(())
}

/// Whether this names a sender: it is a metric label.
pub(super) fn is_sender_name(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// Whether this is a method that requests are made with. They are case-sensitive (RFC 9110), and all those in use are in capitals.
pub(super) fn is_method(method: &str) -> bool {
    (1..=32).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_headers_are_refused() {
        let reserved = [
            "Authorization",
            "Host",
            "cookie",
            "Connection",
            "transfer-encoding",
            "X-Envoy-Peer",
            "x-forwarded-for",
            "Sec-WebSocket-Key",
            "aeg-event-type",
            ":path",
            "x_user",
            "x user",
            "",
            "-x",
            "x\u{e9}",
        ];
        for name in reserved {
            assert!(read_header(name).is_err(), "{name}");
        }
        assert_eq!(read_header("X-ACS-Audience"), Ok("x-acs-audience".to_owned()));
        assert!(read_header(&"x".repeat(65)).is_err());
    }

    #[test]
    fn aliases_are_every_combination() {
        assert_eq!(aliases("user"), Vec::<String>::new());
        assert_eq!(aliases("x-user"), ["x_user"]);
        assert_eq!(aliases("x-acs-aud"), ["x_acs-aud", "x-acs_aud", "x_acs_aud"]);
        assert_eq!(aliases("a-b-c-d-e-f").len(), 31);
        assert!(read_header("a-b-c-d-e-f").is_ok());
        assert!(read_header("a-b-c-d-e-f-g").is_err());
    }

    #[test]
    fn parameters_senders_and_methods_are_plain() {
        for (name, good) in [("key", true), ("api.key_1-x", true), ("", false), ("a b", false), ("k%65y", false), ("a;b", false), ("key[]", false)] {
            assert_eq!(check_parameter(name).is_ok(), good, "{name}");
        }
        for (name, good) in [("callbacks", true), ("a-1", true), ("", false), ("-a", false), ("a-", false), ("A", false), ("a_b", false)] {
            assert_eq!(is_sender_name(name), good, "{name}");
        }
        for (name, good) in [("POST", true), ("M-SEARCH", true), ("post", false), ("", false), ("GET POST", false)] {
            assert_eq!(is_method(name), good, "{name}");
        }
    }
}
