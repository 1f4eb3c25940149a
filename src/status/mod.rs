//! What became of each object, written back where people look for it: the conditions of its status on Kubernetes.
//!
//! - `conditions`: from a report to conditions (pure).
//! - `lease`: which replica writes.
//! - `live`, `apply`: what stands there already, and the writing, once for each change.
//!
//! Must not know: how reports come about, or checks. Whatever goes wrong in here changes no decision.

mod apply;
mod conditions;
mod identity;
mod lease;
mod live;
mod metrics;

pub use self::{
    apply::{Writer, WriterParts},
    conditions::{ConditionType, PlainReason},
    identity::identity,
    lease::Leadership,
    metrics::StatusMetrics,
};
