//! Tokens of ACS Call Automation: the issuer is built in, and shared by every ACS customer, so the audience is what makes a token ours.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        AudiencesFrom, CallAutomation, Duration, JwksFrom, Transport,
        bounds::{ALL_AUDIENCES, AUDIENCE_MAPS, TEXT_LENGTH},
    },
    decide::{
        Algorithm, AlgorithmSet, Audience, AudienceSet, Audiences, ClaimRule, Issuers, KeySetId, KeySource, TokenRule, parse_guid, reuse_scope,
    },
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    references::AudienceMap,
    token::{self, Limits, WrittenLimits},
};

/// `iss` of every ACS Call Automation token, whoever's resource it is.
pub const ACS_ISSUER: &str = "https://acscallautomation.communication.azure.com";
/// Where ACS publishes its OpenID configuration: not where the standard would have it.
pub const ACS_OPENID_CONFIGURATION: &str = "https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration";

const WEBHOOK_LIFETIME: Duration = Duration::from_secs(5 * 60);
const WEBSOCKET_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The key set that is kept whatever policies say.
pub(super) fn acs_key_set() -> KeySetId {
    KeySetId::Discovery { issuer: ACS_ISSUER.into(), url: ACS_OPENID_CONFIGURATION.into() }
}

/// Compiles `callAutomation` of a policy with this uid, whose references lie in `namespace`; errors are in the findings.
pub(super) fn compile_call_automation(
    spec: &CallAutomation,
    (policy_uid, namespace): (&str, &str),
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<TokenRule> {
    let CallAutomation {
        audiences,
        audiences_from,
        jwks,
        transport,
        issuer,
        open_id_configuration,
        clock_skew,
        max_lifetime,
        require_issued_at,
        token_reuse,
    } = spec;
    let mark = findings.mark();
    let audiences = compile_all_audiences(audiences.as_deref(), audiences_from.as_deref(), namespace, at, context, findings);
    let issuer = issuer.as_deref().unwrap_or(ACS_ISSUER);
    token::judge_issuer(issuer, &at.key("issuer"), findings);
    if issuer != ACS_ISSUER && open_id_configuration.is_none() && jwks.is_none() {
        findings.invalid(at, "ACS's keys are of ACS's issuer; with another `issuer`, name its `openIdConfiguration` or `jwks`, too");
    }
    let keys = compile_keys(issuer, open_id_configuration.as_deref(), jwks.as_ref(), namespace, at, context, findings);
    let cap = match transport.unwrap_or_default() {
        Transport::Webhook => WEBHOOK_LIFETIME,
        Transport::WebSocket => WEBSOCKET_LIFETIME,
    };
    let written =
        WrittenLimits { clock_skew: *clock_skew, max_lifetime: *max_lifetime, require_issued_at: *require_issued_at, token_reuse: *token_reuse };
    let Limits { clock_skew_ms, max_lifetime_ms, require_issued_at, reuse } = token::compile_limits(written, Some(cap), at, context, findings);
    let keys = keys?;
    if findings.has_errors_since(mark) {
        return None;
    }
    Some(TokenRule {
        issuers: Issuers::one(context.share_text(issuer)),
        audiences,
        reuse_scope: reuse_scope(policy_uid, keys.id()),
        keys,
        algorithms: AlgorithmSet::new([Algorithm::RS256]),
        clock_skew_ms,
        max_lifetime_ms,
        require_issued_at,
        claims: ClaimRule::Nothing,
        reuse,
    })
}

fn compile_keys(
    issuer: &str,
    open_id_configuration: Option<&str>,
    jwks: Option<&JwksFrom>,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<KeySource> {
    match (open_id_configuration, jwks) {
        (Some(_), Some(_)) => {
            findings.invalid(&at.key("jwks"), "keys come from `openIdConfiguration` or from `jwks`: at most one of the two");
            None
        }
        (url, None) => {
            let id = KeySetId::Discovery { issuer: issuer.into(), url: url.unwrap_or(ACS_OPENID_CONFIGURATION).into() };
            token::fetched_keys(id, &at.key("openIdConfiguration"), context, findings)
        }
        (None, Some(jwks)) => token::given_keys(issuer, jwks, namespace, &at.key("jwks"), context, findings),
    }
}

fn compile_all_audiences(
    inline: Option<&[String]>,
    maps: Option<&[AudiencesFrom]>,
    namespace: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Audiences {
    if inline.is_none() && maps.is_none() {
        let message =
            "there is no audience; every ACS customer's tokens have the same issuer, so name your resource's immutableResourceId in `audiences`";
        findings.invalid(at, message);
    }
    let mut shared = Vec::new();
    // Those with a name come first: of equal ones the first counts.
    let (maps, at_maps) = (maps.unwrap_or_default(), at.key("audiencesFrom"));
    if maps.len() > AUDIENCE_MAPS {
        findings.invalid(&at_maps, format!("{} ConfigMaps; at most {AUDIENCE_MAPS} are read", maps.len()));
    }
    for (index, map) in maps.iter().take(AUDIENCE_MAPS).enumerate() {
        let (at_map, name) = (at_maps.index(index), &map.config_map_ref.name);
        let at_map = at_map.key("configMapRef");
        if let Some(read) = context.references.audience_map(namespace, name, read_audience_map, &at_map, findings) {
            read.problems.iter().for_each(|problem| findings.error(&at_map, reasons::INVALID_CONFIG_MAP, problem.clone()));
            shared.push(read.audiences);
        }
    }
    let (at_inline, more) = (at.key("audiences"), "; `audiencesFrom` takes more");
    let own = token::compile_audiences(inline.unwrap_or_default(), (&at_inline, more), judge_audience, context, findings);
    let audiences = Audiences::with_shared(own, shared);
    if audiences.len() > ALL_AUDIENCES {
        findings.invalid(at, format!("{} audiences; at most {ALL_AUDIENCES} are read", audiences.len()));
    }
    audiences
}

/// Whether `text` can be an audience; what is wrong or doubtful is in the findings.
fn judge_audience(text: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> bool {
    if is_arm_id(text) {
        let message = format!(
            "`{}` is an ARM id, which no token carries; name the resource's immutableResourceId, a GUID \
             (`az communication list --query \"[].immutableResourceId\"`)",
            shown(text)
        );
        findings.invalid(at, message);
        return false;
    }
    if !token::judge_audience(text, at, findings) {
        return false;
    }
    if parse_guid(text).is_none() {
        let message = format!("`{}` is no GUID; ACS's tokens carry the resource's immutableResourceId, which is one", shown(text));
        findings.warning(at, reasons::LIKELY_MISTAKE, message);
    }
    true
}

fn is_arm_id(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.starts_with("/subscriptions/") || text.starts_with("subscriptions/") || text.contains("/providers/microsoft.communication/")
}

/// Reads a `ConfigMap` of GUIDs and the operator's names for them.
fn read_audience_map(values: &BTreeMap<String, String>) -> AudienceMap {
    /// Most entries that are complained about.
    const MOST: usize = 8;
    let mut problems = Vec::new();
    let mut audiences = Vec::with_capacity(values.len());
    for (guid, name) in values {
        let name = name.trim();
        let problem = if parse_guid(guid).is_none() {
            "is no GUID; each key is an immutableResourceId"
        } else if name.len() > TEXT_LENGTH || name.chars().any(char::is_control) {
            "has a name that is longer than 256 bytes or holds a control character"
        } else {
            let name: Option<Arc<str>> = (!name.is_empty()).then(|| name.into());
            audiences.push(Audience { value: guid.as_str().into(), name });
            continue;
        };
        if problems.len() < MOST {
            problems.push(format!("the key `{}` {problem}", shown(guid)));
        }
    }
    if values.is_empty() {
        problems.push("there is nothing in it; each key is an immutableResourceId, its value a name".to_owned());
    }
    AudienceMap { audiences: Arc::new(AudienceSet::new(audiences)), problems: problems.into() }
}
