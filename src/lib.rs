//! Ringfence: external authorization for Azure Communication Services callbacks.
//!
//! Two straight paths go through this crate.
//!
//! **One check**: [`listen`] turns the wire into one [`RawRequest`](ringfence_core::decide::RawRequest) → [`check`] takes one snapshot of
//! policies and one of keys → [`decide`](ringfence_core::decide::decide) (pure) returns what it came to → [`check`] asks for a key or spends
//! a token where that is wanted, then counts and logs the verdict once → the listener renders it.
//!
//! **One change of configuration**: [`source`] keeps a set of objects → [`compile`](ringfence_core::compile::compile) turns the whole set
//! into policies and one report per object → the snapshot is swapped.
//!
//! | room | what it knows |
//! |---|---|
//! | [`cli`] | one file per command; wires everything together |
//! | [`settings`] | flags, environment and settings file, one name for each |
//! | [`source`] | a folder of YAML, or an API server → objects; live reload |
//! | [`keys`] | the guarded fetch, and one keeper task per key set |
//! | [`reuse`] | tokens that were seen before |
//! | [`check`] | the async shell around `decide`: deadline, overload, counting |
//! | [`listen`] | gRPC, HTTP dialects, health and metrics; TLS; client addresses |
//! | [`status`] | what became of each object, written back to Kubernetes by one replica |
//! | [`telemetry`] | metrics, the decision log, tracing |
//! | [`admission`] | what is wrong with an object before it is stored; the webhook's own certificates |
//! | [`clock`], [`ready`] | the time that decisions are taken at; whether to send traffic here |
//! | [`client`] | asks a check listener as a proxy does |
//! | [`signed_url`] | signs a URL as an application would |
//! | [`cases`] | table cases: requests, and what is to become of each |
//! | [`issuer`] | an embedded issuer that imitates Microsoft's, for `demo`, `token` and tests |

pub mod admission;
pub mod cases;
pub mod check;
pub mod cli;
pub mod client;
pub mod clock;
pub mod issuer;
pub mod keys;
pub mod listen;
pub mod ready;
pub mod reuse;
pub mod settings;
pub mod signed_url;
pub mod source;
pub mod status;
pub mod telemetry;
