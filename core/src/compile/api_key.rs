//! The API key of a sender: where it travels, and the digests of the active keys.

use crate::{
    api::{ApiKey, SenderType, Upstream, bounds::API_KEYS},
    decide::{ApiKeyCarrier, ApiKeyRule},
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    names,
    references::KeyDigest,
};

/// Compiles `apiKey` of a sender of this type in `namespace`; errors are in the findings.
pub(super) fn compile_api_key(
    api_key: &ApiKey,
    sender: SenderType,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<ApiKeyRule> {
    let ApiKey { query, header, secret_refs, sha256, upstream, signed } = api_key;
    if signed.is_some() {
        findings.error(&at.key("signed"), reasons::NOT_SUPPORTED, "signed URLs are not supported yet; use `query` with `secretRefs` or `sha256`");
        return None;
    }
    let carrier = compile_carrier(query.as_deref(), header.as_deref(), sender, at, context, findings);
    if secret_refs.is_none() && sha256.is_none() {
        findings.invalid(at, "there is no key; name `secretRefs` or `sha256`");
    }
    let mark = findings.mark();
    let (at_refs, at_sha256) = (at.key("secretRefs"), at.key("sha256"));
    let (refs, hashes) = (secret_refs.as_deref().unwrap_or_default(), sha256.as_deref().unwrap_or_default());
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
    digests.extend(context.references.key_digests(namespace, refs.get(..API_KEYS).unwrap_or(refs), !digests.is_empty(), &at_refs, findings));
    digests.sort_unstable();
    digests.dedup();
    let carrier = carrier?;
    if !is_bounded || !hashes_are_sound || digests.is_empty() {
        return None;
    }
    Some(ApiKeyRule { carrier, digests: digests.into(), strip: upstream.unwrap_or_default() == Upstream::Strip })
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
        (Some(query), None) => match names::check_parameter(query) {
            Ok(()) => Some(ApiKeyCarrier::Query(context.share_text(query))),
            Err(message) => {
                findings.invalid(&at.key("query"), message);
                None
            }
        },
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
