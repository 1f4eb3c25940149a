//! The resources as people write them (`apiVersion: ringfence.dev/v1alpha1`), one file per kind.
//!
//! The same documents come from Kubernetes and from a folder; [`Object`] is one of them, whatever its source.
//! Must not know how they are decided by ([`crate::decide`]).

mod object;

pub use object::{Location, Object, ObjectKey, Origin};
