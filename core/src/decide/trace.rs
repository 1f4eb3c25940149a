//! The steps that led to a verdict, for people (`ringfence check`). The live path traces nothing and pays nothing.

use std::fmt;

use super::Reason;

/// How one step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It passed.
    Pass,
    /// It did not, for this reason.
    Fail(Reason),
    /// Neither: something worth knowing.
    Note,
}

/// One step of a decision.
#[derive(Debug)]
pub struct Step<'a> {
    /// The policy it belongs to, once one is selected.
    pub policy: Option<&'a str>,
    /// The sender it belongs to, within a policy.
    pub sender: Option<&'a str>,
    /// What was looked at: `host`, `path`, `policy`, `floor`, `method`, `source`, `api key`, `token`, ...
    pub stage: &'static str,
    /// How it went.
    pub outcome: StepOutcome,
    /// What was found. Never a token, a key or a query.
    pub detail: fmt::Arguments<'a>,
}

/// Receives the steps of one decision in order.
pub trait Trace {
    /// Takes one step.
    fn step(&mut self, step: Step<'_>);
}

/// Traces nothing; what the live path uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn step(&mut self, _: Step<'_>) {}
}
