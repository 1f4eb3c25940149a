//! What Caddy and Traefik say of a request in `X-Forwarded-*`: both set these headers themselves, whatever the client sent, so each is there once.
//!
//! Must not know: which of the two asked, and any other header, which the client may have sent.

use http::HeaderMap;
use ringfence_core::decide::Reason;

use super::Asked;
use crate::listen::client_address::parse_address;

/// What is asked about. The address is the last one of `X-Forwarded-For`, which is always the proxy's own peer.
///
/// # Errors
/// `malformed_request` if one of them is missing, there twice or no text; `X-Forwarded-For` may be missing.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Asked<'_>, Reason> {
    let required = |name| one(headers, name)?.ok_or(Reason::MalformedRequest);
    let last = |list: &str| parse_address(list.rsplit(',').next().unwrap_or_default().as_bytes());
    Ok(Asked {
        method: required("x-forwarded-method")?,
        host: Some(required("x-forwarded-host")?),
        target: required("x-forwarded-uri")?,
        address: one(headers, "x-forwarded-for")?.and_then(last),
    })
}

/// The header of this name; `None` if there is none.
///
/// # Errors
/// `malformed_request` if there are several, or it is no text.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Reason> {
    let mut lines = headers.get_all(name).iter();
    // FAIL-CLOSED: a_repeated_header_of_the_proxys_is_refused (one of the two may be the client's)
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => std::str::from_utf8(line.as_bytes()).map(Some).map_err(|_| Reason::MalformedRequest),
        (Some(_), Some(_)) => Err(Reason::MalformedRequest),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::{HeaderName, HeaderValue};

    use super::*;

    /// Headers, one after the other.
    pub(in super::super) fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    const USUAL: [(&str, &[u8]); 4] = [
        ("x-forwarded-method", b"POST"),
        ("x-forwarded-host", b"a.example:8443"),
        ("x-forwarded-uri", b"/p?key=a/b#c"),
        ("x-forwarded-for", b"198.51.100.1, 203.0.113.7"),
    ];

    #[test]
    fn each_part_is_in_its_header() {
        let usual = headers(&USUAL);
        let address = "203.0.113.7".parse().ok();
        let expected = Asked { method: "POST", host: Some("a.example:8443"), target: "/p?key=a/b#c", address };
        assert_eq!(from_headers(&usual), Ok(expected));
        let (others, _) = USUAL.split_at(3);
        assert_eq!(from_headers(&headers(others)).unwrap().address, None);
        for unreadable in [&b"unknown"[..], b"203.0.113.7,", b"203.0.113.7, x", b""] {
            assert_eq!(from_headers(&headers(&[others, &[("x-forwarded-for", unreadable)]].concat())).unwrap().address, None);
        }
    }

    #[test]
    fn what_is_missing_is_refused() {
        for missing in ["x-forwarded-method", "x-forwarded-host", "x-forwarded-uri"] {
            let mut lines = USUAL.to_vec();
            lines.retain(|(name, _)| *name != missing);
            // What a client may send instead does not count.
            lines.extend([("x-original-method", &b"POST"[..]), ("x-original-uri", b"/p"), ("x-original-url", b"http://a.example/p")]);
            lines.extend([("x-forwarded-server", &b"a.example"[..]), ("forwarded", b"host=a.example"), ("x-forwarded-path", b"/p")]);
            assert_eq!(from_headers(&headers(&lines)), Err(Reason::MalformedRequest), "{missing}");
        }
    }

    #[test]
    fn a_repeated_header_of_the_proxys_is_refused() {
        for line in USUAL {
            assert_eq!(from_headers(&headers(&[&USUAL[..], &[line]].concat())), Err(Reason::MalformedRequest), "{}", line.0);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let mut lines = USUAL.to_vec();
        lines.retain(|(name, _)| *name != "x-forwarded-uri");
        lines.push(("x-forwarded-uri", b"/p\xff"));
        assert_eq!(from_headers(&headers(&lines)), Err(Reason::MalformedRequest));
    }
}
