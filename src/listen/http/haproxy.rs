//! HAProxy with our Lua action (deploy/examples/haproxy/ringfence.lua): the same request line as nginx', which the action writes.
//!
//! Must not know: anything else of the request; every header is the client's.

pub(super) use super::nginx::from_url;
