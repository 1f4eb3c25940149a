//! Signs a URL as an application would, for `ringfence sign-url` and table cases. What is signed is the core's to say; what a URL is made of is
//! said here.

use ringfence_core::decide::{Host, Path, SigningKey};

/// Schemes that callbacks and media connections come by.
const SCHEMES: &[&str] = &["https", "http", "wss", "ws"];

/// A URL with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedUrl {
    /// The URL as it was given, with the parameter at its end.
    pub url: String,
    /// The parameter's value.
    pub value: String,
}

/// Why a URL cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// There is no scheme.
    #[error("it must start with `https://` (or `wss://`, `http://`, `ws://`)")]
    Scheme,
    /// The authority is none.
    #[error("`{0}` is not one host name in ASCII form (punycode), without user or password")]
    Host(String),
    /// The path is one that is always refused.
    #[error("every request for it would be refused: its path has {0}")]
    Path(&'static str),
    /// Fragments are never sent.
    #[error("it has a `#`, and what follows that is never sent; take it out")]
    Fragment,
    /// The parameter's name is none.
    #[error("`{0}` is no name for a query parameter; use letters, digits, `-`, `.` and `_`")]
    Parameter(String),
    /// It is signed already.
    #[error("it has the parameter `{0}` already, and twice it would be refused; take it out")]
    Signed(String),
    /// No date.
    #[error("it would expire after the year 9999")]
    Expiry,
}

/// Signs `url` with `key` for `query`, good until `expires` (seconds since the Unix epoch).
///
/// # Errors
/// [`SignError`] for a URL that would be refused however it is signed.
pub fn sign(url: &str, query: &str, key: &[u8], expires: u64) -> Result<SignedUrl, SignError> {
    let is_name = !query.is_empty() && query.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_name {
        return Err(SignError::Parameter(query.to_owned()));
    }
    let Some((scheme, rest)) = url.split_once("://") else { return Err(SignError::Scheme) };
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(SignError::Scheme);
    }
    if url.contains('#') {
        return Err(SignError::Fragment);
    }
    let (rest, parameters) = rest.split_once('?').map_or((rest, None), |(rest, parameters)| (rest, Some(parameters)));
    let (authority, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
    // A client sends `/` for no path (RFC 9110 section 4.2.3).
    let (written, path) = if path.is_empty() { ("/", "/") } else { ("", path) };
    let host = Host::parse(authority.as_bytes()).ok_or_else(|| SignError::Host(authority.to_owned()))?;
    let sound = Path::parse(path.as_bytes()).map_err(SignError::Path)?;
    if parameters.is_some_and(|parameters| names(parameters).any(|name| name.eq_ignore_ascii_case(query))) {
        return Err(SignError::Signed(query.to_owned()));
    }
    let value = SigningKey::new(key).sign(&host, &sound, expires).ok_or(SignError::Expiry)?;
    let url = match parameters {
        None => format!("{url}{written}?{query}={value}"),
        Some("") => format!("{scheme}://{rest}{written}?{query}={value}"),
        Some(parameters) => format!("{scheme}://{rest}{written}?{parameters}&{query}={value}"),
    };
    Ok(SignedUrl { url, value })
}

/// The names in a query, as they are spelled.
fn names(parameters: &str) -> impl Iterator<Item = &str> {
    parameters.split(['&', ';']).map(|parameter| parameter.split_once('=').map_or(parameter, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const KEY: &[u8] = b"example-signing-key-0001-9f3c1b7a52e8";
    const VALUE: &str = "v1.1800000000.O5bQ0phFS4fSMT3a6BubHHSxGqVy9Gj5-mNNDjiBBVQ";

    #[test]
    fn the_parameter_is_put_at_the_end() {
        for (url, end) in [
            ("https://callbacks.contoso.com/api/callbacks/42", "?"),
            ("https://Callbacks.Contoso.com.:443/api/callbacks/42", "?"),
            ("wss://callbacks.contoso.com/api/callbacks/42", "?"),
            ("https://callbacks.contoso.com/api/callbacks/42?call=1", "&"),
            ("https://callbacks.contoso.com/api/callbacks/42?call=1&signature=2", "&"),
            ("https://callbacks.contoso.com/api/callbacks/42?", ""),
        ] {
            let signed = sign(url, "sig", KEY, 1_800_000_000).unwrap();
            assert_eq!(signed, SignedUrl { url: format!("{url}{end}sig={VALUE}"), value: VALUE.to_owned() }, "{url}");
        }
    }

    #[test]
    fn no_path_is_the_root() {
        let value = "v1.1800000000.FrmOPhN35WrmzVwN3jhEgPDp6TfTsStv9kxENnA4NEY";
        for (url, signed) in [
            ("https://callbacks.contoso.com", "https://callbacks.contoso.com/?sig="),
            ("https://callbacks.contoso.com/", "https://callbacks.contoso.com/?sig="),
            ("https://callbacks.contoso.com?a=1", "https://callbacks.contoso.com/?a=1&sig="),
        ] {
            assert_eq!(sign(url, "sig", KEY, 1_800_000_000).unwrap().url, format!("{signed}{value}"), "{url}");
        }
    }

    #[test]
    fn what_would_be_refused_is_not_signed() {
        for (url, query, told) in [
            ("callbacks.contoso.com/x", "sig", "must start with `https://`"),
            ("ftp://callbacks.contoso.com/x", "sig", "must start with `https://`"),
            ("https:///x", "sig", "`` is not one host name"),
            ("https://user@callbacks.contoso.com/x", "sig", "`user@callbacks.contoso.com` is not one host name"),
            ("https://b\u{fc}cher.example/x", "sig", "ASCII form (punycode)"),
            ("https://callbacks.contoso.com//x", "sig", "its path has an empty segment"),
            ("https://callbacks.contoso.com/a/../x", "sig", "its path has a dot segment"),
            ("https://callbacks.contoso.com/a b", "sig", "its path has a control character or a space"),
            ("https://callbacks.contoso.com/x#y", "sig", "it has a `#`"),
            ("https://callbacks.contoso.com/x?sig=1", "sig", "has the parameter `sig` already"),
            ("https://callbacks.contoso.com/x?a;SIG=1", "sig", "has the parameter `sig` already"),
            ("https://callbacks.contoso.com/x", "a&b", "`a&b` is no name"),
            ("https://callbacks.contoso.com/x", "", "`` is no name"),
        ] {
            let error = sign(url, query, KEY, 1).unwrap_err().to_string();
            assert!(error.contains(told), "{url}: {error}");
        }
        assert_eq!(sign("https://a.example/", "sig", KEY, u64::MAX), Err(SignError::Expiry));
    }
}
