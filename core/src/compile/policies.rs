//! `CallbackPolicy` and `ClusterCallbackPolicy`: from an object to what is looked up and decided by.

use std::collections::HashMap;

use crate::{
    api::{Applies, Kind, Mode, Object, bounds::SENDERS},
    decide::{self, Floor, HostPattern, Match, Policy, PolicyId, PolicyKind, Rules, Sender, SourceRule},
};

use super::{
    Authentication,
    api_key::warn_of_shared_keys,
    context::Context,
    findings::{Field, Findings, reasons},
    forward::compile_forward,
    matches::{CompiledMatch, HostScope, compile_match},
    senders::{Surroundings, compile_sender},
    sources::compile_sources,
    spec::{self, Reading, SenderReading},
};

/// A policy before it is known whether it holds its place.
#[derive(Debug)]
pub(super) struct Draft<'o> {
    pub(super) object: &'o Object,
    pub(super) policy: Policy,
    /// Not all of its `match` could be read.
    pub(super) is_unreadable: bool,
    pub(super) findings: Findings<'o>,
}

/// What became of a `ClusterCallbackPolicy`.
#[derive(Debug)]
pub(super) enum ClusterDraft<'o> {
    Fallback(Box<Draft<'o>>),
    Floor(Box<Floor>, Findings<'o>),
}

/// Compiles a `CallbackPolicy`.
pub(super) fn compile_policy<'o>(object: &'o Object, context: &mut Context<'_>) -> Draft<'o> {
    let mut findings = Findings::new(object);
    let reading = spec::read_policy(object, &mut findings);
    let scope = match &context.grants {
        Some(grants) => HostScope::Granted(grants, &object.key.namespace),
        None => HostScope::All,
    };
    let compiled = compile_match(&reading.matches, scope, &mut findings);
    draft(object, &reading, compiled, context, findings)
}

/// Compiles a `ClusterCallbackPolicy`.
pub(super) fn compile_cluster_policy<'o>(object: &'o Object, context: &mut Context<'_>) -> ClusterDraft<'o> {
    let mut findings = Findings::new(object);
    let mut reading = spec::read_cluster_policy(object, &mut findings);
    if reading.applies == Some(Applies::Fallback) && reading.sources.is_some() {
        findings.invalid(&Field::SPEC.key("sources"), "`sources` is for `applies: Always`; a Fallback has them in its senders");
        reading.is_whole = false;
        // It has the shape of a floor, and what it is was left out or misspelled.
        if reading.senders.is_none() && object.raw.pointer("/spec/applies").is_none() {
            reading.applies = None;
        }
    }
    if reading.applies == Some(Applies::Fallback) {
        let compiled = compile_match(&reading.matches, HostScope::All, &mut findings);
        return ClusterDraft::Fallback(Box::new(draft(object, &reading, compiled, context, findings)));
    }
    // FAIL-CLOSED: what may be a floor is one.
    let floor = compile_floor(object, &reading, context, &mut findings);
    ClusterDraft::Floor(Box::new(floor), findings)
}

/// The part that `CallbackPolicy` and Fallback have in common.
fn draft<'o>(object: &'o Object, reading: &Reading, compiled: CompiledMatch, context: &mut Context<'_>, mut findings: Findings<'o>) -> Draft<'o> {
    let CompiledMatch { mut matches, is_whole } = compiled;
    matches.paths = context.share_paths(&matches.paths);
    let at = Field::SPEC.key("senders");
    let namespace = reference_namespace(object, context);
    let surroundings = Surroundings { uid: &object.uid, namespace: &namespace, matches: is_whole.then_some(&matches) };
    let readings = reading.senders.as_deref().unwrap_or_default();
    let senders: Vec<Sender> = readings
        .iter()
        .take(SENDERS)
        .enumerate()
        .map(|(index, sender)| compile_sender(sender, surroundings, &at.index(index), context, &mut findings))
        .collect();
    let senders_are_sound = judge_list(reading.senders.as_deref(), &senders, &at, &mut findings);
    warn_of_shared_keys(readings, &mut findings);
    let (forward, forward_is_sound) = compile_forward(reading.forward.as_ref(), readings, &senders, context, &mut findings);
    let forward = context.share_forward(forward);
    let rules = if reading.is_whole && is_whole && senders_are_sound && forward_is_sound {
        Rules::Senders { senders: senders.into(), forward }
    } else {
        Rules::Invalid { problem: findings.problem_outside(&at), forward }
    };
    findings.authentication(authentication(&rules));
    let policy = Policy { id: identify(object).into(), mode: mode(reading.mode), matches, rules };
    Draft { object, policy, is_unreadable: !is_whole, findings }
}

/// Whether the senders ask for a token. One that asks for none is named, whatever is wrong with the others.
fn authentication(rules: &Rules) -> Authentication {
    let Rules::Senders { senders, .. } = rules else { return Authentication::Unknown };
    let asks_for_none = |sender: &&Sender| sender.checks.as_ref().is_ok_and(|checks| checks.token.is_none());
    let without: Vec<_> = senders.iter().filter(asks_for_none).map(|sender| Box::from(&*sender.name)).collect();
    if !without.is_empty() {
        Authentication::NoToken(without)
    } else if senders.iter().any(|sender| sender.checks.is_err()) {
        Authentication::Unknown
    } else {
        Authentication::Token
    }
}

/// Whether the list of senders is one that can be decided by: not too long, not empty, every name there once.
fn judge_list(readings: Option<&[SenderReading]>, senders: &[Sender], at: &Field<'_>, findings: &mut Findings<'_>) -> bool {
    let mark = findings.mark();
    match readings {
        None | Some([]) => findings.invalid(at, "there is no sender; name at least one"),
        Some(readings) if readings.len() > SENDERS => findings.invalid(at, format!("{} senders; at most {SENDERS} are read", readings.len())),
        Some(_) => {}
    }
    let mut names = HashMap::new();
    for (index, sender) in senders.iter().enumerate() {
        if let Some(first) = names.insert(&*sender.name, index) {
            findings.invalid(at, format!("senders {first} and {index} have the same name `{}`; rename one", sender.name));
        }
    }
    !findings.has_errors_since(mark)
}

fn compile_floor(object: &Object, reading: &Reading, context: &mut Context<'_>, findings: &mut Findings<'_>) -> Floor {
    let CompiledMatch { mut matches, is_whole } = compile_match(&reading.matches, HostScope::Floor, findings);
    let mark = findings.mark();
    for (field, is_there) in [("senders", reading.senders.is_some()), ("forward", reading.forward.is_some())] {
        if is_there && reading.applies.is_some() {
            let message = format!("`{field}` has no place where `applies: Always` is; a floor asks for `sources` only");
            findings.invalid(&Field::SPEC.key(field), message);
        }
    }
    let at = Field::SPEC.key("sources");
    let rule: Option<SourceRule> = match &reading.sources {
        Some(sources) => compile_sources(sources, &at, context, findings),
        None if reading.applies.is_some() && reading.is_whole => {
            findings.invalid(&at, "a floor needs `sources`; there is nothing else for it to ask");
            None
        }
        None => None,
    };
    if !is_whole {
        // FAIL-CLOSED: a floor of which nobody knows where it applies applies everywhere.
        matches = Match { hosts: [HostPattern::Any].into(), ..Match::default() };
    }
    let is_sound = is_whole && reading.is_whole && reading.applies.is_some() && !findings.has_errors_since(mark);
    let sources = rule.filter(|_| is_sound).ok_or_else(|| findings.problem_outside(&Field::SPEC.key("senders")));
    Floor { id: identify(object).into(), mode: mode(reading.mode), matches, sources }
}

/// Where the Secrets and `ConfigMap`s that `object` names live.
fn reference_namespace(object: &Object, context: &Context<'_>) -> Box<str> {
    if object.key.namespace.is_empty() { context.options.resource_namespace.clone() } else { object.key.namespace.clone() }
}

fn identify(object: &Object) -> PolicyId {
    let kind = if *object.key.kind == *Kind::ClusterCallbackPolicy.name() { PolicyKind::ClusterCallbackPolicy } else { PolicyKind::CallbackPolicy };
    PolicyId::new(kind, &object.key.namespace, &object.key.name, &object.uid)
}

fn mode(mode: Mode) -> decide::Mode {
    match mode {
        Mode::Enforce => decide::Mode::Enforce,
        Mode::Shadow => decide::Mode::Shadow,
    }
}

impl Draft<'_> {
    /// What conflicts are settled by: the older first, then by name.
    pub(super) fn seniority(&self) -> (i64, &str, &str) {
        (self.object.created.unwrap_or(i64::MAX), &self.object.key.namespace, &self.object.key.name)
    }

    /// Says that this policy lost a place to `winner`, and whether it has others left.
    pub(super) fn lose(&mut self, winner: &PolicyId, over: &str, has_others: bool) {
        let rest = if has_others { "; this one keeps what it has for itself" } else { "" };
        let way_on = if self.policy.id.namespace.is_empty() { "" } else { "; a route may still pin this one" };
        let message = format!("`{winner}` already has {over}, and no two policies can; change the `match` of one of them{rest}{way_on}");
        self.findings.error(&Field::SPEC.key("match"), reasons::CONFLICTED, message);
    }
}
