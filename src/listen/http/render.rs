//! From a [`Verdict`] to an HTTP answer that the dialect's proxy relays: 200 for an allow and for nothing else.
//!
//! | proxy | relays | so |
//! |---|---|---|
//! | nginx, ingress-nginx | 401 with its challenge, 403; anything else is a 500 to the client | 400 becomes 403; 503 stays, which closes |
//! | Traefik, Caddy, HAProxy | everything | nothing changes |
//! | Envoy | everything below 500; a 5xx is an error, which `failure_mode_allow` lets by | 503 becomes 429 with `Retry-After` |
//!
//! Must not know: the request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use ringfence_core::decide::{Decision, Mutations, Reason, Verdict};

use crate::listen::{
    Dialect,
    problem::{Status, denial},
};

/// Envoy's own: header names to take out of the upstream request.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// For our Lua action in HAProxy: names of headers to set, and to remove, and of query parameters to take out, each a list with commas.
const LUA_SET: HeaderName = HeaderName::from_static("x-ringfence-set");
const LUA_REMOVE: HeaderName = HeaderName::from_static("x-ringfence-remove");
const LUA_STRIP_QUERY: HeaderName = HeaderName::from_static("x-ringfence-strip-query");

/// Renders verdicts.
#[derive(Debug)]
pub(super) struct Renderer {
    reveal: bool,
}

impl Renderer {
    /// `reveal`: denials carry `x-ringfence-reason`.
    pub(super) fn new(reveal: bool) -> Self {
        Self { reveal }
    }

    /// The answer.
    pub(super) fn render(&self, dialect: Dialect, verdict: &Verdict) -> Response<Full<Bytes>> {
        match &verdict.decision {
            Decision::Allow(allow) => allowed(dialect, &allow.mutations).unwrap_or_else(|| self.denial(dialect, Reason::Internal)),
            Decision::Deny(reason) => self.denied(dialect, *reason, verdict.about.answer_unavailable),
            // FAIL-CLOSED: an_answer_at_the_edge_is_forbidden_over_http (2xx would mean allow)
            Decision::Answer(_) => self.denial(dialect, Reason::HandshakeInvalid),
        }
    }

    /// The denial for `reason`.
    pub(super) fn denial(&self, dialect: Dialect, reason: Reason) -> Response<Full<Bytes>> {
        self.denied(dialect, reason, false)
    }

    fn denied(&self, dialect: Dialect, reason: Reason, unavailable: bool) -> Response<Full<Bytes>> {
        let status = if unavailable { Status::Unavailable } else { Status::of(reason) };
        let denial = denial(reason, collapse(dialect, status), self.reveal);
        let mut response = Response::new(Full::from(denial.body));
        *response.status_mut() = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::FORBIDDEN);
        for (name, value) in denial.headers {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

fn collapse(dialect: Dialect, status: Status) -> Status {
    match (dialect, status) {
        (Dialect::Nginx | Dialect::IngressNginx, Status::BadRequest) => Status::Forbidden,
        (Dialect::Envoy, Status::Unavailable) => Status::TooManyRequests,
        (_, status) => status,
    }
}

/// 200 and what the operator maps into the upstream request; `None` if a name or value is none.
fn allowed(dialect: Dialect, mutations: &Mutations) -> Option<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    let removed = mutations.remove_headers().filter(|name| !mutations.set_headers().any(|(set, _)| set == *name));
    match dialect {
        // An empty value in `proxy_set_header` drops the header. nginx takes `x_a` and `x-a` for the same variable and joins them, so names with
        // `_` are left to nginx, which drops them unless `underscores_in_headers` is on. Caddy 2.6 needs every name that `copy_headers` lists; its
        // example drops empty ones, and names with `_` before anything else.
        Dialect::Nginx | Dialect::IngressNginx | Dialect::Caddy => {
            removed.filter(|name| !name.contains('_')).try_for_each(|name| insert(headers, name, ""))?;
        }
        // It removes whatever its configuration lists and the answer does not carry.
        Dialect::Traefik => {}
        Dialect::Haproxy => {
            insert_list(headers, LUA_SET, mutations.set_headers().map(|(name, _)| name))?;
            insert_list(headers, LUA_REMOVE, removed)?;
            insert_list(headers, LUA_STRIP_QUERY, mutations.strip_query())?;
        }
        Dialect::Envoy => insert_list(headers, TO_REMOVE, removed)?,
    }
    mutations.set_headers().try_for_each(|(name, value)| insert(headers, name, value))?;
    Some(response)
}

/// A header that lists names, if there are any.
fn insert_list<'a>(headers: &mut HeaderMap, header: HeaderName, names: impl Iterator<Item = &'a str>) -> Option<()> {
    let names = names.collect::<Vec<_>>().join(",");
    if !names.is_empty() {
        headers.insert(header, HeaderValue::from_str(&names).ok()?);
    }
    Some(())
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    Some(())
}

#[cfg(test)]
mod tests;
