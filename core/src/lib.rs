//! What Ringfence decides, kept free of I/O, of a runtime and of a clock of its own.
//!
//! - [`api`]: the resources as people write them (one file per kind).
//! - [`compile`]: the whole set of resources in, a [`decide::PolicySet`] and one report per object out.
//! - [`decide`]: one request, one set of policies, one ring of keys and the time in, one verdict out.
//!
//! `compile` knows `api` and `decide`; `api` and `decide` know nothing of each other.

pub mod api;
pub mod compile;
pub mod decide;
