//! What the fuzz targets check. A target is a function over bytes that panics where something is wrong; `targets/` hands each to libFuzzer.
//!
//! None of them only looks for crashes: each holds what Ringfence makes of the bytes against another library or against a naive model, or holds
//! it to something that must never happen, such as an allow without a credential.
//!
//! | target | bytes | held against |
//! |---|---|---|
//! | `token` | a token, or a header and a payload that are then signed | `jsonwebtoken` and `serde_json`: whatever is read or allowed here is read alike and allowed there |
//! | `key_set` | a JWKS document | `serde_json` and the rules of RFC 7517 written once more; every usable key is one to `jsonwebtoken`, too |
//! | `discovery` | an OpenID configuration | `serde_json`, and no member twice |
//! | `host_and_path` | an authority and a request target | `url` (WHATWG) and a naive decoder: whatever passes means the same to everybody and after any number of decodings |
//! | `query_key` | a query | a naive model: the very same answer, allow or which refusal |
//! | `check_request` | a `CheckRequest` | prost, field by field; and no allow |
//! | `http_dialects` | a request line and headers | the URL and headers put together again; and no allow |
//! | `handshake` | a body | `serde_json`: what is answered is one validation event to every reader |
//! | `resources` | a file of YAML | compiling twice gives the same, JSON reads as JSON, and nobody without a credential is allowed |
//! | `signed_url` | a signature, or changes of a good one | the signer: one spelling, its own time, and nothing else |

pub mod check_request;
pub mod discovery;
pub mod handshake;
pub mod host_and_path;
pub mod http_dialects;
pub mod key_set;
pub mod query_key;
pub mod resources;
pub mod seeds;
pub mod signed_url;
pub mod token;
mod world;
