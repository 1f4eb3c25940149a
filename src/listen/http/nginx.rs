//! nginx `auth_request`: `/$remote_addr/$request_method/$host$request_uri/.end`, all in the request line, where no client can put anything
//! in its place.
//!
//! Must not know: what the connection is like.

use ringfence_core::decide::Reason;

use super::Asked;
use crate::listen::client_address::parse_address;

/// Closes every URL: a `#` in the client's target would hide it.
const END: &str = "/.end";

/// Splits `rest` of a check URL, raw: nothing is decoded, the client's `?` is part of it.
///
/// # Errors
/// `ambiguous_path` without the literal end, `ambiguous_host` for a host that is followed by anything but `/`.
pub(super) fn from_url(rest: &str) -> Result<Asked<'_>, Reason> {
    let asked = rest.strip_suffix(END).and_then(|rest| rest.strip_prefix('/')).ok_or(Reason::AmbiguousPath)?;
    let (address, asked) = asked.split_once('/').ok_or(Reason::AmbiguousPath)?;
    let (method, asked) = asked.split_once('/').ok_or(Reason::AmbiguousPath)?;
    let (host, target) = split_host(asked)?;
    Ok(Asked { method, host: Some(host), target, address: parse_address(address.as_bytes()) })
}

/// Splits what nginx writes as a host and a target, one after the other.
///
/// # Errors
/// `ambiguous_host` for a host that is followed by anything but `/`.
pub(super) fn split_host(asked: &str) -> Result<(&str, &str), Reason> {
    let end_of_host = asked.find(|character| !is_host(character)).unwrap_or(asked.len());
    let (host, target) = asked.split_at_checked(end_of_host).ok_or(Reason::AmbiguousHost)?;
    if host.is_empty() || !target.starts_with('/') {
        return Err(Reason::AmbiguousHost);
    }
    Ok((host, target))
}

/// `[A-Za-z0-9.:\[\]-]`.
fn is_host(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | ':' | '[' | ']' | '-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_are_split_raw() {
        for (rest, address, method, host, target) in [
            ("/203.0.113.7/POST/callbacks.contoso.com/api/callbacks/.end", Some("203.0.113.7"), "POST", "callbacks.contoso.com", "/api/callbacks"),
            (
                "/2001:db8::1/GET/callbacks.contoso.com:8443/?key=a/b&c=%2F/.end",
                Some("2001:db8::1"),
                "GET",
                "callbacks.contoso.com:8443",
                "/?key=a/b&c=%2F",
            ),
            ("/unix:/GET/[::1]/a/.end", None, "GET", "[::1]", "/a"),
            ("//GET/a.example/%2e%2e//x;y/.end", None, "GET", "a.example", "/%2e%2e//x;y"),
            ("/::ffff:203.0.113.7/GET/a.example/.end/.end", Some("203.0.113.7"), "GET", "a.example", "/.end"),
        ] {
            let address = address.map(|address| address.parse().unwrap());
            assert_eq!(from_url(rest), Ok(Asked { method, host: Some(host), target, address }), "{rest}");
        }
    }

    proptest! {
        #[test]
        fn no_target_of_a_client_reaches_beyond_its_place(
            address in "[0-9a-f.:]{0,20}", method in "[A-Z]{1,8}", host in "[A-Za-z0-9.:\\[\\]-]{1,20}", target in "/[!-~&&[^#]]{0,40}",
        ) {
            let rest = format!("/{address}/{method}/{host}{target}/.end");
            let address = address.parse::<std::net::IpAddr>().ok().map(|address| address.to_canonical());
            let asked = from_url(&rest).unwrap();
            prop_assert_eq!((asked.method, asked.host, asked.target), (method.as_str(), Some(host.as_str()), target.as_str()));
            prop_assert!(address.is_none() || asked.address == address);
        }
    }

    #[test]
    fn what_does_not_end_as_it_must_is_an_ambiguous_path() {
        for rest in
            ["", "/", "/203.0.113.7/POST/a.example/x", "/203.0.113.7/POST/a.example/x/.en", "/.end", "/203.0.113.7/.end", "/203.0.113.7/POST/.end"]
        {
            assert_eq!(from_url(rest), Err(Reason::AmbiguousPath), "{rest}");
        }
    }

    #[test]
    fn a_host_that_is_not_followed_by_a_path_is_ambiguous() {
        for host in [
            "",
            "a.example?x=1",
            "a.example@b.example/",
            "a_b.example/",
            "a.example%2F/",
            "a.example*",
            "a.example\\/",
            "é.example/",
            "a.example,b.example/",
        ] {
            assert_eq!(from_url(&format!("/203.0.113.7/POST/{host}/.end")), Err(Reason::AmbiguousHost), "{host}");
        }
    }
}
