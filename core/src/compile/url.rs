//! URLs of key sets: only what they are made of is judged here, before anything is fetched.

use crate::{api::bounds::URL_LENGTH, decide::Host};

/// A URL's origin, `scheme://host[:port]`, the default port left out, in lower case.
///
/// # Errors
/// What is wrong with the URL and what to do.
pub(super) fn origin(url: &str, takes_http: bool) -> Result<String, &'static str> {
    if url.len() > URL_LENGTH {
        return Err("a URL is at most 2,048 bytes long");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte)) {
        return Err("a URL is printable ASCII without blanks, quotes, braces, `\\` and `#`");
    }
    let (scheme, rest, default_port) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => ("https", rest, "443"),
        (None, Some(rest)) if takes_http => ("http", rest, "80"),
        (None, Some(_)) => return Err("keys are fetched over https only; `--insecure-http-issuers` takes http, for tests"),
        (None, None) => return Err("must be a URL that starts with `https://`"),
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must not carry a user name or password");
    }
    let host = Host::parse(authority.as_bytes()).ok_or("names no host")?;
    let after = authority.get(host.as_str().len()..).unwrap_or_default();
    if after.starts_with('.') {
        return Err("must name its host without a dot at the end");
    }
    match after.strip_prefix(':') {
        None => Ok(format!("{scheme}://{}", host.as_str())),
        Some(port) if port == default_port => Ok(format!("{scheme}://{}", host.as_str())),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && number.to_string() == port => Ok(format!("{scheme}://{}:{port}", host.as_str())),
            Ok(_) | Err(_) => Err("has no port from 1 to 65535 after the `:`"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_is_fetched_from() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("https://idp.example/keys?x=1", Ok("https://idp.example")),
            ("https://IDP.example:443", Ok("https://idp.example")),
            ("https://idp.example:8443/", Ok("https://idp.example:8443")),
            ("http://127.0.0.1:9000/keys", Ok("http://127.0.0.1:9000")),
            ("https://[::1]:8443/keys", Ok("https://[::1]:8443")),
            ("ftp://idp.example/", Err("https://")),
            ("idp.example", Err("https://")),
            ("https:///keys", Err("no host")),
            ("https://user:pw@idp.example/", Err("user name")),
            ("https://idp.example./", Err("dot at the end")),
            ("https://idp.example:0/", Err("port")),
            ("https://idp.example:99999/", Err("port")),
            ("https://idp.example:0443/", Err("port")),
            ("https://idp.example\\@evil.example/", Err("printable")),
            ("https://idp.example/#x", Err("printable")),
            ("https://idp.example/ x", Err("printable")),
            ("https://id\u{f6}.example/", Err("printable")),
        ];
        for (url, expected) in cases {
            let found = origin(url, true);
            let as_expected = match (&found, expected) {
                (Ok(found), Ok(expected)) => found == expected,
                (Err(error), Err(expected)) => error.contains(expected),
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            assert!(as_expected, "{url}: {found:?}");
        }
        assert!(origin("http://idp.example/", false).is_err_and(|error| error.contains("--insecure-http-issuers")));
        assert!(origin(&format!("https://idp.example/{}", "x".repeat(URL_LENGTH)), true).is_err());
    }
}
