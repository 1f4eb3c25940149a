//! Envoy's ext_authz `http_service`: the request line itself, after its `path_prefix`. No client address unless a header that Envoy is told
//! to send carries it.
//!
//! Must not know: what the connection is like.

use http::{header::HOST, request::Parts};

use super::Asked;

/// What Envoy asks about: its own method and host, and what follows the prefix.
pub(super) fn from_head<'a>(head: &'a Parts, rest: &'a str) -> Asked<'a> {
    Asked { method: head.method.as_str(), host: host_of(head), target: rest, address: None }
}

/// The one authority of the request; `None` if there is none, or several.
pub(super) fn host_of(head: &Parts) -> Option<&str> {
    let mut lines = head.headers.get_all(HOST).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(line.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    match (head.uri.authority().map(http::uri::Authority::as_str), line) {
        (Some(authority), Some(line)) => (authority == line).then_some(authority),
        (authority, line) => authority.or(line),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::Request;

    use super::*;

    fn host(uri: &str, lines: &[&str]) -> Option<String> {
        let mut request = Request::builder().method("POST").uri(uri);
        for line in lines {
            request = request.header(HOST, *line);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        from_head(&head, "/x").host.map(str::to_owned)
    }

    #[test]
    fn there_is_one_host_or_none() {
        assert_eq!(host("/auth/envoy/any/x", &["a.example"]).as_deref(), Some("a.example"));
        assert_eq!(host("http://a.example/auth/envoy/any/x", &[]).as_deref(), Some("a.example"));
        assert_eq!(host("http://a.example/auth/envoy/any/x", &["a.example"]).as_deref(), Some("a.example"));
        assert_eq!(host("/auth/envoy/any/x", &[]), None);
        assert_eq!(host("/auth/envoy/any/x", &["a.example", "b.example"]), None);
        assert_eq!(host("/auth/envoy/any/x", &["a.example", "a.example"]), None);
        assert_eq!(host("http://a.example/auth/envoy/any/x", &["b.example"]), None);
        assert_eq!(host("/auth/envoy/any/x", &["é.example"]), None);
    }
}
