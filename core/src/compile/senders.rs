//! The senders of a policy. An error in one of them makes that one deny, and leaves the others alone.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    api::{
        self, NoToken, PathMatch, SenderType, Transport,
        bounds::{METHODS, PATHS},
    },
    decide::{Match, MethodRule, Path, PathPattern, Sender, SenderChecks},
};

use super::{
    api_key::compile_api_key,
    call_automation::compile_call_automation,
    context::Context,
    event_grid::{CompiledEventGrid, compile_event_grid},
    findings::{Field, Findings, shown},
    jwt::compile_jwt,
    matches::{compile_paths, is_within},
    names,
    section::Section,
    sources::{compile_sources, require_acknowledged},
    spec::SenderReading,
};

/// What senders need to know of their policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'p> {
    /// The policy's uid.
    pub(super) uid: &'p str,
    /// Where the Secrets and `ConfigMap`s it names live.
    pub(super) namespace: &'p str,
    /// Its match; `None` if not all of it could be read.
    pub(super) matches: Option<&'p Match>,
}

/// Compiles one sender, which stands at `at`.
pub(super) fn compile_sender(
    reading: &SenderReading,
    policy: Surroundings<'_>,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Sender {
    match reading {
        SenderReading::Read(section) => compile_readable(section, policy, at, context, findings),
        SenderReading::Unreadable(value) => salvage(value, at, context, findings),
    }
}

fn compile_readable(
    Section { value: sender, is_whole }: &Section<Box<api::Sender>>,
    policy: Surroundings<'_>,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Sender {
    let api::Sender { name, r#type, call_automation, event_grid, jwt, no_token, paths, sources, api_key } = &**sender;
    let mark = findings.mark();
    if !names::is_sender_name(name) {
        let message = format!("`{}` is no name: 1 to 63 lower-case letters, digits and `-`, with a letter or digit first and last", shown(name));
        findings.invalid(&at.key("name"), message);
    }
    let given = [call_automation.is_some(), event_grid.is_some(), jwt.is_some(), no_token.is_some()];
    judge_union(*r#type, given, at, findings);
    let paths = paths.as_deref().map(|paths| compile_own_paths(paths, policy.matches, &at.key("paths"), findings)).unwrap_or_default();
    let methods = compile_methods(sender, at, context, findings);
    let rule = sources.as_ref().and_then(|sources| compile_sources(sources, &at.key("sources"), context, findings));
    let at_key = at.key("apiKey");
    let key = api_key.as_ref().and_then(|api_key| compile_api_key(api_key, *r#type, policy.namespace, &at_key, context, findings));
    let ids = (policy.uid, policy.namespace);
    // FAIL-CLOSED: a part that is written and did not come out whole is never left out.
    let (token, event_grid, is_whole_type) = match r#type {
        SenderType::CallAutomation => {
            let compile = |spec| compile_call_automation(spec, ids, &at.key("callAutomation"), context, findings);
            let token = call_automation.as_ref().and_then(compile);
            let is_whole = token.is_some();
            (token, None, is_whole)
        }
        SenderType::EventGrid => {
            let compile = |spec| compile_event_grid(spec, policy.uid, api_key.as_ref(), &at.key("eventGrid"), context, findings);
            match event_grid.as_ref().and_then(compile) {
                Some(CompiledEventGrid { token, rule }) => (token, Some(Box::new(rule)), true),
                None => (None, None, false),
            }
        }
        SenderType::Jwt => {
            let token = jwt.as_ref().and_then(|spec| compile_jwt(spec, ids, &at.key("jwt"), context, findings));
            let is_whole = token.is_some();
            (token, None, is_whole)
        }
        SenderType::NoToken => {
            judge_no_token(sender, at, findings);
            (None, None, true)
        }
    };
    let is_complete = sources.is_some() == rule.is_some() && api_key.is_some() == key.is_some() && is_whole_type;
    let checks = SenderChecks { sources: rule, api_key: key, event_grid, token };
    // One usable API key is enough, whatever is wrong with the others.
    let is_sound = *is_whole && is_complete && !findings.has_errors_but_of_secrets_since(mark);
    let checks = if is_sound { Ok(checks) } else { Err(findings.problem_under(at)) };
    Sender { name: context.share_text(name), paths: context.share_paths(&paths), methods, checks }
}

/// The struct that belongs to the type must be there, and no other.
fn judge_union(r#type: SenderType, given: [bool; 4], at: &Field<'_>, findings: &mut Findings<'_>) {
    let fields = [
        (SenderType::CallAutomation, "callAutomation", true),
        (SenderType::EventGrid, "eventGrid", true),
        (SenderType::Jwt, "jwt", true),
        (SenderType::NoToken, "noToken", false),
    ];
    for ((owner, field, is_required), is_given) in fields.into_iter().zip(given) {
        if is_given && owner != r#type {
            findings.invalid(&at.key(field), format!("`{field}` does not belong to a sender of type `{}`; take it out", r#type.name()));
        }
        if !is_given && owner == r#type && is_required {
            findings.invalid(at, format!("a sender of type `{}` needs `{field}`", r#type.name()));
        }
    }
}

fn compile_own_paths(paths: &[PathMatch], matches: Option<&Match>, at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<PathPattern> {
    let (patterns, are_whole) = compile_paths(paths.iter().enumerate(), at, findings);
    if !are_whole {
        // FAIL-CLOSED: a path that cannot be read may be any.
        return Vec::new();
    }
    let outside = |pattern: &PathPattern| matches.is_some_and(|matches| !is_within(pattern, matches));
    for (index, _) in patterns.iter().enumerate().filter(|(_, pattern)| outside(pattern)) {
        findings.invalid(&at.index(index), "lies outside the policy's `match.paths`, so that no request ever gets here; widen those, or take it out");
    }
    patterns
}

fn compile_methods(sender: &api::Sender, at: &Field<'_>, context: &mut Context<'_>, findings: &mut Findings<'_>) -> MethodRule {
    let (methods, field) = match sender.r#type {
        SenderType::CallAutomation => {
            let transport = sender.call_automation.as_ref().and_then(|spec| spec.transport).unwrap_or_default();
            return methods_of(transport, context);
        }
        SenderType::EventGrid => return event_grid_methods(context),
        SenderType::Jwt => (sender.jwt.as_ref().and_then(|spec| spec.methods.as_deref()), "jwt"),
        SenderType::NoToken => (sender.no_token.as_ref().and_then(|spec| spec.methods.as_deref()), "noToken"),
    };
    let Some(methods) = methods else { return MethodRule::Any };
    let (mark, at) = (findings.mark(), at.key(field));
    let at = at.key("methods");
    if methods.len() > METHODS {
        findings.invalid(&at, format!("{} methods; at most {METHODS} are read", methods.len()));
    }
    for (index, method) in methods.iter().enumerate().filter(|(_, method)| !names::is_method(method)) {
        findings.invalid(&at.index(index), format!("`{}` is no method; write it in capitals, such as `POST`", shown(method)));
    }
    if findings.has_errors_since(mark) { MethodRule::Any } else { one_of(methods.iter().map(String::as_str), context) }
}

fn methods_of(transport: Transport, context: &mut Context<'_>) -> MethodRule {
    match transport {
        Transport::Webhook => one_of(["POST"], context),
        Transport::WebSocket => MethodRule::WebSocketUpgrade,
    }
}

fn event_grid_methods(context: &mut Context<'_>) -> MethodRule {
    one_of(["POST", "OPTIONS"], context)
}

fn one_of<'m>(methods: impl IntoIterator<Item = &'m str>, context: &mut Context<'_>) -> MethodRule {
    MethodRule::OneOf(context.share_methods(methods.into_iter().map(Box::from).collect()))
}

/// A sender without a token must be known by something else.
fn judge_no_token(sender: &api::Sender, at: &Field<'_>, findings: &mut Findings<'_>) {
    match (&sender.sources, &sender.api_key) {
        (_, Some(_)) => {}
        (Some(sources), None) => {
            let is_acknowledged = sender.no_token.as_ref().and_then(|NoToken { acknowledge_weak, .. }| *acknowledge_weak).unwrap_or_default();
            require_acknowledged(sources, is_acknowledged, at, findings);
        }
        (None, None) => findings.invalid(at, "a sender without a token needs an `apiKey`, `sources`, or both"),
    }
}

/// What can be told of a sender that cannot be read: where it would have answered, so that it denies there.
fn salvage(value: &Value, at: &Field<'_>, context: &mut Context<'_>, findings: &Findings<'_>) -> Sender {
    let name = value.get("name").and_then(Value::as_str).filter(|name| names::is_sender_name(name));
    let methods = match value.get("type").and_then(Value::as_str) {
        Some("CallAutomation") => match value.pointer("/callAutomation/transport").map(|transport| transport.as_str()) {
            None | Some(Some("Webhook")) => methods_of(Transport::Webhook, context),
            Some(Some("WebSocket")) => methods_of(Transport::WebSocket, context),
            Some(Some(_) | None) => MethodRule::Any,
        },
        Some("EventGrid") => event_grid_methods(context),
        Some(_) | None => MethodRule::Any,
    };
    Sender {
        name: name.map_or_else(|| at.to_string().trim_start_matches("spec.").into(), Arc::from),
        paths: salvage_paths(value.get("paths")).unwrap_or_default().into(),
        methods,
        checks: Err(findings.problem_under(at)),
    }
}

/// The paths, unless one of them cannot be read: that may be any.
fn salvage_paths(value: Option<&Value>) -> Option<Vec<PathPattern>> {
    let read = |path: &Value| {
        let text = |name| path.get(name).and_then(Value::as_str);
        let (text, pattern): (_, fn(&str) -> PathPattern) = match (text("prefix"), text("exact")) {
            (Some(prefix), None) => (prefix, PathPattern::prefix),
            (None, Some(exact)) => (exact, PathPattern::exact),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Path::parse(text.as_bytes()).is_ok().then(|| pattern(text))
    };
    value?.as_array().filter(|paths| paths.len() <= PATHS)?.iter().map(read).collect()
}
