//! Where requests may come from.

use std::sync::Arc;

use crate::{
    api::{self, Sources, bounds::SETS},
    decide::{OnMismatch, RangeSet, SourceRule},
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons},
    ranges::compile_cidrs,
};

/// Compiles `sources`; errors are in the findings.
pub(super) fn compile_sources(sources: &Sources, at: &Field<'_>, context: &mut Context<'_>, findings: &mut Findings<'_>) -> Option<SourceRule> {
    let Sources { sets, cidrs, on_mismatch } = sources;
    let mark = findings.mark();
    if sets.is_none() && cidrs.is_none() {
        findings.invalid(at, "name `sets` or `cidrs`");
    }
    let names = sets.as_deref().unwrap_or_default();
    if names.len() > SETS {
        findings.invalid(&at.key("sets"), format!("{} sets; at most {SETS} are read", names.len()));
    }
    let at_sets = at.key("sets");
    let named = names.iter().take(SETS).enumerate().map(|(index, name)| context.ranges.get(name, &at_sets.index(index), findings));
    let mut ranges: Vec<Arc<RangeSet>> = named.flatten().collect();
    if let Some(cidrs) = cidrs {
        ranges.push(Arc::new(RangeSet::new(&compile_cidrs(cidrs, &at.key("cidrs"), findings))));
    }
    if findings.has_errors_since(mark) {
        return None;
    }
    let on_mismatch = match on_mismatch {
        api::OnMismatch::Deny => OnMismatch::Deny,
        api::OnMismatch::Observe => OnMismatch::Observe,
    };
    Some(SourceRule { ranges: context.share_ranges(ranges), on_mismatch })
}

/// Says that ranges alone are no identity, where nothing else is asked for.
pub(super) fn require_acknowledged(sources: &Sources, is_acknowledged: bool, at: &Field<'_>, findings: &mut Findings<'_>) {
    if !is_acknowledged {
        let message =
            "an address alone is no identity (the ranges are shared by every ACS customer); add an `apiKey`, or say `acknowledgeWeak: true`";
        findings.invalid(&at.key("noToken").key("acknowledgeWeak"), message);
    }
    if sources.on_mismatch == api::OnMismatch::Observe {
        let message = "must be `Deny` for a sender that is known by its address alone: with `Observe` it would let everybody in";
        findings.error(&at.key("sources").key("onMismatch"), reasons::INVALID, message);
    }
}
