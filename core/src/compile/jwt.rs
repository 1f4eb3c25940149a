//! Tokens of any one issuer: whose they are, where its keys are, and what their claims must say.

use crate::{
    api::{
        self, ClaimMatch, Jwt,
        bounds::{CLAIM_VALUE_LENGTH, CLAIM_VALUES, CLAIMS, TEXT_LENGTH},
        defaults,
    },
    decide::{
        Algorithm, AlgorithmSet, Audiences, ClaimDemand, ClaimName, ClaimRule, ClaimValue, Decimal, Issuers, KeySetId, KeySource, TokenRule,
        reuse_scope,
    },
};

use super::{
    context::Context,
    findings::{Field, Findings, shown},
    token::{self, Limits, WrittenLimits},
};

/// Most digits of a number in `claims`: so many survive every reader of YAML.
const MOST_DIGITS: usize = 15;

/// Compiles `jwt` of a policy with this uid, whose references lie in `namespace`; errors are in the findings.
pub(super) fn compile_jwt(
    spec: &Jwt,
    (policy_uid, namespace): (&str, &str),
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<TokenRule> {
    let mark = findings.mark();
    token::judge_issuer(&spec.issuer, &at.key("issuer"), findings);
    let audiences = token::compile_audiences(&spec.audiences, (&at.key("audiences"), ""), token::judge_audience, context, findings);
    let keys = compile_keys(spec, namespace, at, context, findings);
    let algorithms = compile_algorithms(spec.algorithms.as_deref(), &at.key("algorithms"), findings);
    let claims = compile_claims(spec.claims.as_deref().unwrap_or_default(), &at.key("claims"), findings);
    let written = WrittenLimits {
        clock_skew: spec.clock_skew,
        max_lifetime: spec.max_lifetime,
        require_issued_at: spec.require_issued_at,
        token_reuse: spec.token_reuse,
    };
    let Limits { clock_skew_ms, max_lifetime_ms, require_issued_at, reuse } = token::compile_limits(written, None, at, context, findings);
    let keys = keys?;
    if findings.has_errors_since(mark) {
        return None;
    }
    Some(TokenRule {
        issuers: Issuers::one(context.share_text(&spec.issuer)),
        audiences: Audiences::new(audiences),
        reuse_scope: reuse_scope(policy_uid, keys.id()),
        keys,
        algorithms,
        clock_skew_ms,
        max_lifetime_ms,
        require_issued_at,
        claims: if claims.is_empty() { ClaimRule::Nothing } else { ClaimRule::Values(claims.into()) },
        reuse,
    })
}

/// The keys of exactly one place.
fn compile_keys(spec: &Jwt, namespace: &str, at: &Field<'_>, context: &mut Context<'_>, findings: &mut Findings<'_>) -> Option<KeySource> {
    let issuer: Box<str> = spec.issuer.as_str().into();
    match (&spec.open_id_configuration, &spec.jwks_uri, &spec.jwks) {
        (Some(url), None, None) => {
            let id = KeySetId::Discovery { issuer, url: url.as_str().into() };
            token::fetched_keys(id, &at.key("openIdConfiguration"), context, findings)
        }
        (None, Some(url), None) => token::fetched_keys(KeySetId::Jwks { issuer, url: url.as_str().into() }, &at.key("jwksUri"), context, findings),
        (None, None, Some(jwks)) => token::given_keys(&issuer, jwks, namespace, &at.key("jwks"), context, findings),
        (None, None, None) => {
            findings.invalid(at, "the issuer's keys are nowhere; name `openIdConfiguration`, `jwksUri` or `jwks`");
            None
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            findings.invalid(at, "keys come from `openIdConfiguration`, from `jwksUri` or from `jwks`: exactly one of the three");
            None
        }
    }
}

fn compile_algorithms(names: Option<&[String]>, at: &Field<'_>, findings: &mut Findings<'_>) -> AlgorithmSet {
    let default = [defaults::ALGORITHM.to_owned()];
    let names = names.unwrap_or(&default);
    if names.len() > Algorithm::ALL.len() {
        findings.invalid(at, format!("{} algorithms; there are {}", names.len(), Algorithm::ALL.len()));
    }
    let mut algorithms = Vec::new();
    for (index, name) in names.iter().enumerate().take(Algorithm::ALL.len()) {
        match Algorithm::from_name(name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let known = Algorithm::ALL.iter().map(|algorithm| format!("`{}`", algorithm.name())).collect::<Vec<_>>().join(", ");
                let why = if name.starts_with("HS") { "whoever can check such a token can also make one" } else { "it is not taken here" };
                findings.invalid(&at.index(index), format!("`{}`: {why}; take one of {known}", shown(name)));
            }
        }
    }
    AlgorithmSet::new(algorithms)
}

fn compile_claims(claims: &[ClaimMatch], at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<ClaimDemand> {
    if claims.len() > CLAIMS {
        findings.invalid(at, format!("{} claims; at most {CLAIMS} are read", claims.len()));
    }
    claims.iter().enumerate().take(CLAIMS).filter_map(|(index, claim)| compile_claim(claim, &at.index(index), findings)).collect()
}

fn compile_claim(ClaimMatch { name, values }: &ClaimMatch, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<ClaimDemand> {
    let claim = compile_name(name, &at.key("name"), findings);
    let at = at.key("values");
    if values.len() > CLAIM_VALUES {
        findings.invalid(&at, format!("{} values; at most {CLAIM_VALUES} are read", values.len()));
    }
    let compiled: Vec<_> =
        values.iter().enumerate().take(CLAIM_VALUES).filter_map(|(index, value)| compile_value(value, &at.index(index), findings)).collect();
    Some(ClaimDemand { claim: claim?, values: compiled.into() })
}

/// The name of a claim, or a JSON pointer to one; an error is in the findings.
pub(super) fn compile_name(name: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<ClaimName> {
    if name.is_empty() || name.len() > TEXT_LENGTH || name.chars().any(char::is_control) {
        findings.invalid(at, format!("a claim's name is 1 to {TEXT_LENGTH} bytes long, without control characters"));
        return None;
    }
    let compiled = ClaimName::new(name);
    if compiled.is_none() {
        let message = format!("`{}` begins with `/` and is no JSON pointer; write `~0` for `~` and `~1` for `/`", shown(name));
        findings.invalid(at, message);
    }
    compiled
}

fn compile_value(value: &api::ClaimValue, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<ClaimValue> {
    match value {
        api::ClaimValue::Bool(flag) => Some(ClaimValue::Bool(*flag)),
        api::ClaimValue::Text(text) if text.len() > CLAIM_VALUE_LENGTH => {
            findings.invalid(at, format!("a value is at most {CLAIM_VALUE_LENGTH} bytes long"));
            None
        }
        api::ClaimValue::Text(text) => Some(ClaimValue::Text(text.as_str().into())),
        api::ClaimValue::Number(number) => {
            let text = number.to_string();
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let is_exact = number.is_i64() || number.is_u64() || digits <= MOST_DIGITS;
            let compiled = Decimal::parse(&text).filter(|_| is_exact);
            if compiled.is_none() {
                findings.invalid(
                    at,
                    format!("`{text}` may not be the number that is written; a number with a fraction has at most {MOST_DIGITS} digits"),
                );
            }
            compiled.map(ClaimValue::Number)
        }
    }
}
