//! Caddy's `forward_auth`: `X-Forwarded-{Method,Host,Uri,For}`, and the client's own `Host` beside them. The client's query reaches the check
//! URL, too, and is not read.
//!
//! Must not know: anything else of the request; `X-Original-*` and `X-Real-IP` are the client's.

use http::request::Parts;
use ringfence_core::decide::Reason;

use super::{Asked, envoy::host_of, forwarded};

/// What Caddy asks about.
///
/// # Errors
/// `malformed_request` for a header of Caddy's that is missing or there twice; `ambiguous_host` unless `X-Forwarded-Host` is the host that Caddy
/// routes by: with `trusted_proxies` it is what a client of those proxies says.
pub(super) fn from_head(head: &Parts) -> Result<Asked<'_>, Reason> {
    let asked = forwarded::from_headers(&head.headers)?;
    // FAIL-CLOSED: caddy_judges_the_host_that_it_routes_by
    if host_of(head).is_none() || host_of(head) != asked.host {
        return Err(Reason::AmbiguousHost);
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use http::Request;

    use super::*;

    #[test]
    fn caddy_judges_the_host_that_it_routes_by() {
        let ask = |hosts: &[&str]| {
            let mut request = Request::get("/auth/caddy/any").header("x-forwarded-method", "POST").header("x-forwarded-uri", "/p");
            for host in hosts {
                request = request.header("host", *host);
            }
            let (head, ()) = request.header("x-forwarded-host", "a.example").body(()).unwrap().into_parts();
            from_head(&head).map(|asked| asked.host.unwrap().to_owned())
        };
        assert_eq!(ask(&["a.example"]).as_deref(), Ok("a.example"));
        for hosts in [&[][..], &["b.example"], &["a.example:8443"], &["a.example", "a.example"]] {
            assert_eq!(ask(hosts), Err(Reason::AmbiguousHost), "{hosts:?}");
        }
    }
}
