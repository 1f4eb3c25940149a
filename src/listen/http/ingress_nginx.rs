//! ingress-nginx' `auth-url`: `X-Original-URL`, `X-Original-Method` and `X-Real-IP`, as its template sets them.
//!
//! The host in `X-Original-URL` is `$http_host`, which may differ from the host that it routes by, so every URL of this dialect is pinned.
//!
//! Must not know: anything else of the request; `X-Original-URI` and `X-Forwarded-*` may be the client's.

use http::HeaderMap;
use ringfence_core::decide::Reason;

use super::{Asked, forwarded::one, nginx::split_host};
use crate::listen::client_address::parse_address;

/// What is asked about.
///
/// # Errors
/// `malformed_request` for a header of the template's that is missing or there twice, or a URL that is none; `ambiguous_host` for a host that is
/// followed by anything but `/`.
pub(super) fn from_headers(headers: &HeaderMap) -> Result<Asked<'_>, Reason> {
    let method = one(headers, "x-original-method")?.ok_or(Reason::MalformedRequest)?;
    let url = one(headers, "x-original-url")?.ok_or(Reason::MalformedRequest)?;
    let after_scheme = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or(Reason::MalformedRequest)?;
    let (host, target) = split_host(after_scheme)?;
    let address = one(headers, "x-real-ip")?.and_then(|address| parse_address(address.as_bytes()));
    Ok(Asked { method, host: Some(host), target, address })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{super::forwarded::tests::headers, *};

    fn usual(url: &str) -> Vec<(&'static str, Vec<u8>)> {
        vec![("x-original-method", b"POST".to_vec()), ("x-original-url", url.as_bytes().to_vec()), ("x-real-ip", b"203.0.113.7".to_vec())]
    }

    fn read(lines: &[(&'static str, Vec<u8>)]) -> Result<(String, String, String, Option<std::net::IpAddr>), Reason> {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let headers = headers(&lines);
        let asked = from_headers(&headers)?;
        Ok((asked.method.to_owned(), asked.host.unwrap().to_owned(), asked.target.to_owned(), asked.address))
    }

    #[test]
    fn the_url_is_split_raw() {
        for (url, host, target) in [
            ("https://a.example/p?key=a/b", "a.example", "/p?key=a/b"),
            ("http://a.example:8443//x/../y", "a.example:8443", "//x/../y"),
            ("http://[::1]/p#f", "[::1]", "/p#f"),
        ] {
            let expected = ("POST".to_owned(), host.to_owned(), target.to_owned(), "203.0.113.7".parse().ok());
            assert_eq!(read(&usual(url)), Ok(expected), "{url}");
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        for url in ["", "/p", "a.example/p", "ftp://a.example/p", "HTTP://a.example/p"] {
            assert_eq!(read(&usual(url)), Err(Reason::MalformedRequest), "{url}");
        }
        for url in ["http:///p", "http://a.example", "http://a.example?x=/p", "http://a@b.example/p", "http://a.example#/p", "http://a%2eexample/p"] {
            assert_eq!(read(&usual(url)), Err(Reason::AmbiguousHost), "{url}");
        }
    }

    #[test]
    fn a_header_that_is_missing_or_repeated_is_refused() {
        for at in 0..3 {
            let mut lines = usual("http://a.example/p");
            let line = lines.remove(at);
            if line.0 == "x-real-ip" {
                assert_eq!(read(&lines).unwrap().3, None, "the address may be missing");
            } else {
                lines.extend([("x-original-uri", b"/p".to_vec()), ("x-forwarded-uri", b"/p".to_vec()), ("x-forwarded-method", b"POST".to_vec())]);
                assert_eq!(read(&lines), Err(Reason::MalformedRequest), "{}", line.0);
            }
            lines.extend([line.clone(), line]);
            assert_eq!(read(&lines), Err(Reason::MalformedRequest));
        }
    }
}
