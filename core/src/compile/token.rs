//! What every sender with a token has in common, whoever issues it: names of issuers, audiences, where the keys come from, lifetime and reuse.

use crate::{
    api::{
        self, Duration, TokenReuse,
        bounds::{AUDIENCES, TEXT_LENGTH},
        defaults,
    },
    decide::{Audience, KeySetId, KeySource, ReuseMode},
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    url,
};

const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// How long tokens count and how often, as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct WrittenLimits {
    pub(super) clock_skew: Option<Duration>,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) require_issued_at: Option<bool>,
    pub(super) token_reuse: Option<TokenReuse>,
}

/// The same, as it is decided by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) clock_skew_ms: i64,
    pub(super) max_lifetime_ms: Option<i64>,
    pub(super) require_issued_at: bool,
    pub(super) reuse: ReuseMode,
}

/// Compiles the limits of a sender that stands at `at`; errors are in the findings. `cap` counts where no `maxLifetime` is written.
pub(super) fn compile_limits(
    written: WrittenLimits,
    cap: Option<Duration>,
    at: &Field<'_>,
    context: &Context<'_>,
    findings: &mut Findings<'_>,
) -> Limits {
    let WrittenLimits { clock_skew, max_lifetime, require_issued_at, token_reuse } = written;
    let clock_skew = clock_skew.unwrap_or(defaults::CLOCK_SKEW);
    if clock_skew > MAX_SKEW {
        findings.invalid(&at.key("clockSkew"), format!("`{clock_skew}` is too long: at most {MAX_SKEW}; better set the clock"));
    }
    if max_lifetime == Some(Duration::default()) {
        findings.invalid(&at.key("maxLifetime"), "no token lives for `0s`; leave the field out for the sender's own cap");
    }
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Limits {
        clock_skew_ms: milliseconds(clock_skew),
        max_lifetime_ms: max_lifetime.or(cap).map(milliseconds),
        require_issued_at: require_issued_at.unwrap_or_default(),
        reuse: compile_reuse(token_reuse.unwrap_or_default(), at, context, findings),
    }
}

fn compile_reuse(reuse: TokenReuse, at: &Field<'_>, context: &Context<'_>, findings: &mut Findings<'_>) -> ReuseMode {
    match reuse {
        TokenReuse::Allow => ReuseMode::Allow,
        TokenReuse::Observe => ReuseMode::Observe,
        TokenReuse::Deny => {
            if context.options.reuse_per_replica {
                let message = "each replica remembers its own tokens, so that one is good once at each of them; use `--reuse-store redis://...`";
                findings.warning(&at.key("tokenReuse"), reasons::REUSE_PER_REPLICA, message);
            }
            ReuseMode::Deny
        }
    }
}

/// Whether `issuer`, which stands at `at`, can be an issuer's name; an error is in the findings.
pub(super) fn judge_issuer(issuer: &str, at: &Field<'_>, findings: &mut Findings<'_>) {
    if !is_plain(issuer) {
        findings.invalid(at, format!("an issuer is 1 to {TEXT_LENGTH} printable ASCII characters without blanks, compared byte for byte"));
    }
}

/// Whether `audience`, which stands at `at`, can be one; an error is in the findings.
pub(super) fn judge_audience(audience: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> bool {
    let is_one = is_plain(audience);
    if !is_one {
        findings.invalid(at, format!("an audience is 1 to {TEXT_LENGTH} printable ASCII characters without blanks"));
    }
    is_one
}

fn is_plain(text: &str) -> bool {
    (1..=TEXT_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Compiles `audiences`, which stand at `at`, each of which `judge` takes or complains about. `more`: where a longer list belongs.
pub(super) fn compile_audiences(
    audiences: &[String],
    (at, more): (&Field<'_>, &str),
    judge: impl Fn(&str, &Field<'_>, &mut Findings<'_>) -> bool,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Vec<Audience> {
    if audiences.len() > AUDIENCES {
        findings.invalid(at, format!("{} audiences; at most {AUDIENCES} are read here{more}", audiences.len()));
    }
    let mut good = Vec::with_capacity(audiences.len().min(AUDIENCES));
    for (index, audience) in audiences.iter().take(AUDIENCES).enumerate() {
        if judge(audience, &at.index(index), findings) {
            good.push(Audience { value: context.share_text(audience), name: None });
        }
    }
    good
}

/// Keys that are fetched from the URL of `id`, which stands at `at`; an error is in the findings.
pub(super) fn fetched_keys(id: KeySetId, at: &Field<'_>, context: &mut Context<'_>, findings: &mut Findings<'_>) -> Option<KeySource> {
    let (KeySetId::Discovery { url, .. } | KeySetId::Jwks { url, .. }) = &id else { return None };
    match url::origin(url, context.options.insecure_http_issuers) {
        Err(why) => findings.invalid(at, format!("`{}`: {why}", shown(url))),
        Ok(origin) if !context.allows_origin(&origin) => {
            let message = format!("keys may not be fetched from `{origin}`; the operator allows it with `--issuer-origins`");
            findings.error(at, reasons::ISSUER_NOT_ALLOWED, message);
        }
        Ok(_) => return Some(KeySource::Fetched(context.share_key_set(id))),
    }
    None
}

/// Keys of `issuer` in a `ConfigMap` of `namespace`; `jwks` stands at `at`. An error is in the findings.
pub(super) fn given_keys(
    issuer: &str,
    jwks: &api::JwksFrom,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<KeySource> {
    let api::JwksFrom { config_map_ref: api::ConfigMapKey { name, key } } = jwks;
    let keys = context.references.key_set(namespace, name, key, &at.key("configMapRef"), findings)?;
    let id = KeySetId::ConfigMap { issuer: issuer.into(), namespace: namespace.into(), name: name.as_str().into(), key: key.as_str().into() };
    Some(KeySource::Given(context.share_key_set(id), keys))
}
