//! Traefik's `ForwardAuth`: `X-Forwarded-{Method,Host,Uri,For}`, as it sets them with `trustForwardHeader: false`.
//!
//! Must not know: anything else of the request; `X-Original-*` and `X-Auth-*` are the client's.

pub(super) use super::forwarded::from_headers;
