//! The API key of a sender: where it travels, and the digests of the active keys, or the keys that its URLs are signed with.

use crate::{
    api::{ApiKey, Duration, SecretKey, SenderType, SignedUrl, Upstream, UrlBinding, bounds::API_KEYS, defaults},
    decide::{ActiveKeys, ApiKeyCarrier, ApiKeyRule, SigningKey, UrlSigning},
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    names,
    references::{KeyDigest, sha256},
    section::Section,
    spec::SenderReading,
};

/// A shorter signing key is warned of: whoever has one URL can try keys on it at leisure.
const STRONG_KEY: usize = 32;

/// Compiles `apiKey` of a sender of this type in `namespace`; errors are in the findings.
pub(super) fn compile_api_key(
    api_key: &ApiKey,
    sender: SenderType,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<ApiKeyRule> {
    let ApiKey { query, header, secret_refs, sha256: hashes, upstream, signed } = api_key;
    let strip = upstream.unwrap_or_default() == Upstream::Strip;
    if let Some(signed) = signed {
        let others = [("query", query.is_some()), ("header", header.is_some()), ("secretRefs", secret_refs.is_some()), ("sha256", hashes.is_some())];
        let mark = findings.mark();
        for (field, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
            findings
                .invalid(&at.key(field), format!("`{field}` and `signed` exclude each other: a request carries a key or a signature; take one out"));
        }
        let are_alone = !findings.has_errors_since(mark);
        let (carrier, signing) = compile_signed(signed, sender, namespace, &at.key("signed"), context, findings)?;
        return are_alone.then_some(ApiKeyRule { carrier, active: ActiveKeys::Signing(signing), strip });
    }
    let carrier = compile_carrier(query.as_deref(), header.as_deref(), sender, at, context, findings);
    if secret_refs.is_none() && hashes.is_none() {
        findings.invalid(at, "there is no key; name `secretRefs` or `sha256`");
    }
    let mark = findings.mark();
    let (at_refs, at_sha256) = (at.key("secretRefs"), at.key("sha256"));
    let (refs, hashes) = (secret_refs.as_deref().unwrap_or_default(), hashes.as_deref().unwrap_or_default());
    for (at, count) in [(&at_refs, refs.len()), (&at_sha256, hashes.len())] {
        if count > API_KEYS {
            findings.invalid(at, format!("{count} keys; at most {API_KEYS} are read"));
        }
    }
    let is_bounded = !findings.has_errors_since(mark);
    let given: Vec<Option<KeyDigest>> =
        hashes.iter().take(API_KEYS).enumerate().map(|(index, hash)| read_hash(hash, &at_sha256.index(index), findings)).collect();
    let hashes_are_sound = given.iter().all(Option::is_some);
    let mut digests: Vec<KeyDigest> = given.into_iter().flatten().collect();
    let refs = (namespace, refs.get(..API_KEYS).unwrap_or(refs));
    digests.extend(context.references.active_keys(refs, !digests.is_empty(), sha256, &at_refs, findings));
    digests.sort_unstable();
    digests.dedup();
    let carrier = carrier?;
    if !is_bounded || !hashes_are_sound || digests.is_empty() {
        return None;
    }
    Some(ApiKeyRule { carrier, active: ActiveKeys::Digests(digests.into()), strip })
}

/// Compiles `signed`, which stands at `at`; errors are in the findings.
fn compile_signed(
    signed: &SignedUrl,
    sender: SenderType,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<(ApiKeyCarrier, UrlSigning)> {
    let SignedUrl { query, secret_refs: refs, bind, max_age } = signed;
    // There is nothing else yet that a URL can be bound to.
    let UrlBinding::Path = bind.unwrap_or_default();
    if sender == SenderType::EventGrid {
        let message = "an Event Grid subscription keeps its URL, and a signed one expires; use `query` with `secretRefs`";
        findings.warning(at, reasons::LIKELY_MISTAKE, message);
    }
    let carrier = query_carrier(query, &at.key("query"), context, findings);
    let max_age = max_age.unwrap_or(defaults::MAX_AGE);
    let mark = findings.mark();
    if max_age == Duration::default() {
        findings.invalid(&at.key("maxAge"), format!("no URL is good for `0s`; leave the field out for {}", defaults::MAX_AGE));
    }
    let at_refs = at.key("secretRefs");
    if refs.len() > API_KEYS {
        findings.invalid(&at_refs, format!("{} keys; at most {API_KEYS} are read", refs.len()));
    }
    let is_bounded = !findings.has_errors_since(mark);
    let refs = (namespace, refs.get(..API_KEYS).unwrap_or(refs));
    let keep = |key: &[u8]| (SigningKey::new(key), key.len() < STRONG_KEY);
    let (keys, are_short): (Vec<_>, Vec<_>) = context.references.active_keys(refs, false, keep, &at_refs, findings).into_iter().unzip();
    if are_short.contains(&true) {
        let message = format!(
            "a key of fewer than {STRONG_KEY} characters may be found out by trying keys on one signed URL; make one with `ringfence hash-key --generate`"
        );
        findings.warning(&at_refs, reasons::LIKELY_MISTAKE, message);
    }
    let max_age_ms = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
    let carrier = carrier.filter(|_| is_bounded && !keys.is_empty())?;
    Some((carrier, UrlSigning { keys: keys.into(), max_age_ms }))
}

fn query_carrier(name: &str, at: &Field<'_>, context: &mut Context<'_>, findings: &mut Findings<'_>) -> Option<ApiKeyCarrier> {
    match names::check_parameter(name) {
        Ok(()) => Some(ApiKeyCarrier::Query(context.share_text(name))),
        Err(message) => {
            findings.invalid(at, message);
            None
        }
    }
}

/// Warns of a key that is sent in URLs by one sender and signs those of another: whoever sees a URL of the first can sign for the second.
pub(super) fn warn_of_shared_keys(readings: &[SenderReading], findings: &mut Findings<'_>) {
    let keys: Vec<&ApiKey> = readings
        .iter()
        .filter_map(|reading| match reading {
            SenderReading::Read(Section { value: sender, .. }) => sender.api_key.as_ref(),
            SenderReading::Unreadable(_) => None,
        })
        .collect();
    let sent: Vec<&SecretKey> = keys.iter().filter_map(|key| key.secret_refs.as_ref()).flatten().collect();
    let mut signing = keys.iter().filter_map(|key| key.signed.as_ref()).flat_map(|signed| &signed.secret_refs);
    if let Some(shared) = signing.find(|signing| sent.contains(signing)) {
        let message = format!(
            "the key `{}` of Secret `{}` is sent by one sender and signs URLs for another, so that whoever sees it can sign; use two keys",
            shown(&shared.key),
            shown(&shared.name)
        );
        findings.warning(&Field::SPEC.key("senders"), reasons::LIKELY_MISTAKE, message);
    }
}

fn compile_carrier(
    query: Option<&str>,
    header: Option<&str>,
    sender: SenderType,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<ApiKeyCarrier> {
    match (query, header) {
        (Some(query), None) => query_carrier(query, &at.key("query"), context, findings),
        (None, Some(header)) => {
            let at = at.key("header");
            if sender == SenderType::CallAutomation {
                let message = "ACS callbacks cannot carry headers of your own; put the key into the callback URL with `query`";
                findings.warning(&at, reasons::LIKELY_MISTAKE, message);
            }
            match names::read_header(header) {
                Ok(name) => Some(ApiKeyCarrier::Header(context.share_text(&name))),
                Err(message) => {
                    findings.invalid(&at, message);
                    None
                }
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            findings.invalid(at, "a key travels in a `query` parameter or in a `header`: exactly one of the two");
            None
        }
    }
}

/// Reads 64 hexadecimal digits.
fn read_hash(text: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<KeyDigest> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Option<Vec<u8>> =
        digits.map(|digits| digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect());
    let digest = bytes.filter(|_| text.len() == 64).and_then(|bytes| KeyDigest::try_from(bytes).ok());
    if digest.is_none() {
        let message = format!("`{}` is no SHA-256 digest: 64 hexadecimal digits, as `ringfence hash-key` prints them", shown(text));
        findings.invalid(at, message);
    }
    digest
}
