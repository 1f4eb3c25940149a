//! What the upstream is told on allow: identity headers, and what is taken out of the request.

use std::{collections::HashSet, sync::Arc};

use crate::{
    api::{self, Authorization, Upstream, bounds::FORWARDED_HEADERS},
    decide::{ApiKeyCarrier, Forward, Sender},
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    jwt::compile_name,
    names,
    section::Section,
    spec::SenderReading,
};

/// Where an API key travels, and whether it is taken out.
struct Carried {
    carrier: ApiKeyCarrier,
    strip: bool,
}

/// Compiles `forward`, with what the senders' API keys add to it. The flag says whether all of it could be read; what is wrong is in the
/// findings.
pub(super) fn compile_forward(
    forward: Option<&api::Forward>,
    readings: &[SenderReading],
    senders: &[Sender],
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> (Forward, bool) {
    let at = Field::SPEC.key("forward");
    let mark = findings.mark();
    let keys: Vec<Carried> = readings.iter().flat_map(|reading| carried(reading, context)).collect();
    let headers = forward.and_then(|forward| forward.headers.as_deref()).unwrap_or_default();
    let headers = compile_headers(headers, &keys, &at.key("headers"), context, findings);
    let authorization = forward.and_then(|forward| forward.authorization).unwrap_or_default();
    warn_of_no_token(&headers, senders, &at, findings);
    warn_of_mixed_stripping(&keys, findings);
    let carriers = |wanted: fn(&ApiKeyCarrier) -> Option<&Arc<str>>| {
        let mut names: Vec<_> = keys.iter().filter(|key| key.strip).filter_map(|key| wanted(&key.carrier)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let stripped_headers = carriers(|carrier| match carrier {
        ApiKeyCarrier::Header(name) => Some(name),
        ApiKeyCarrier::Query(_) => None,
    });
    let strip_query = carriers(|carrier| match carrier {
        ApiKeyCarrier::Query(name) => Some(name),
        ApiKeyCarrier::Header(_) => None,
    });
    let aliased = headers.iter().map(|(name, _)| name).chain(&stripped_headers);
    let mut remove: Vec<_> = aliased.flat_map(|name| names::aliases(name)).map(|alias| context.share_text(&alias)).collect();
    remove.extend(stripped_headers.iter().cloned());
    if authorization == Authorization::Remove {
        remove.push(context.share_text("authorization"));
    }
    remove.sort_unstable();
    (Forward { headers: headers.into(), remove: remove.into(), strip_query: strip_query.into() }, !findings.has_errors_since(mark))
}

/// The API key of a sender, also of an unsound one: another sender may allow a request that carries it.
fn carried(reading: &SenderReading, context: &mut Context<'_>) -> Vec<Carried> {
    let SenderReading::Read(Section { value: sender, .. }) = reading else { return Vec::new() };
    let Some(api_key) = &sender.api_key else { return Vec::new() };
    let queries = api_key.query.iter().chain(api_key.signed.as_ref().map(|signed| &signed.query));
    let mut carriers: Vec<_> =
        queries.filter(|query| names::check_parameter(query).is_ok()).map(|query| ApiKeyCarrier::Query(context.share_text(query))).collect();
    let header = api_key.header.as_ref().and_then(|header| names::read_header(header).ok());
    carriers.extend(header.map(|header| ApiKeyCarrier::Header(context.share_text(&header))));
    let strip = api_key.upstream.unwrap_or_default() == Upstream::Strip;
    carriers.into_iter().map(|carrier| Carried { carrier, strip }).collect()
}

type Headers = Vec<(Arc<str>, Box<str>)>;

fn compile_headers(
    headers: &[api::ForwardedHeader],
    keys: &[Carried],
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Headers {
    if headers.len() > FORWARDED_HEADERS {
        findings.invalid(at, format!("{} headers; at most {FORWARDED_HEADERS} are set", headers.len()));
    }
    let mut names = HashSet::new();
    let mut compiled = Vec::with_capacity(headers.len().min(FORWARDED_HEADERS));
    for (index, api::ForwardedHeader { name, claim }) in headers.iter().take(FORWARDED_HEADERS).enumerate() {
        let at = at.index(index);
        let _ = compile_name(claim, &at.key("claim"), findings);
        let at = at.key("name");
        match names::read_header(name) {
            Err(message) => findings.invalid(&at, message),
            Ok(name) if keys.iter().any(|key| matches!(&key.carrier, ApiKeyCarrier::Header(carrier) if **carrier == *name)) => {
                findings.invalid(&at, format!("`{name}` carries an API key; forward the claim under another name"));
            }
            Ok(name) if !names.insert(name.clone()) => findings.invalid(&at, format!("`{name}` is listed twice")),
            Ok(name) => compiled.push((context.share_text(&name), claim.as_str().into())),
        }
    }
    compiled
}

/// Claims need a token to stand in.
fn warn_of_no_token(headers: &Headers, senders: &[Sender], at: &Field<'_>, findings: &mut Findings<'_>) {
    let have_tokens = senders.iter().any(|sender| sender.checks.as_ref().is_ok_and(|checks| checks.token.is_some()) || sender.checks.is_err());
    if !have_tokens && let Some((name, _)) = headers.first() {
        let message = format!("no sender of this policy has a token, so that `{}` and the like are always removed", shown(name));
        findings.warning(&at.key("headers"), reasons::LIKELY_MISTAKE, message);
    }
}

/// A key that one sender strips is stripped for all of them: the upstream request is one and the same.
fn warn_of_mixed_stripping(keys: &[Carried], findings: &mut Findings<'_>) {
    let is_mixed = |key: &&Carried| !key.strip && keys.iter().any(|other| other.strip && other.carrier == key.carrier);
    if let Some(key) = keys.iter().find(is_mixed) {
        let (ApiKeyCarrier::Query(name) | ApiKeyCarrier::Header(name)) = &key.carrier;
        let message = format!("`{name}` is stripped by one sender and forwarded by another; it is stripped");
        findings.warning(&Field::SPEC.key("senders"), reasons::LIKELY_MISTAKE, message);
    }
}
