//! Event Grid's deliveries: tokens of one Entra tenant, in both versions, and the validation handshake.
//!
//! | cloud | `iss` of version 1.0 | `iss` of version 2.0 and the keys | handshake |
//! |---|---|---|---|
//! | Public | sts.windows.net | login.microsoftonline.com | eventgrid.azure.net |
//! | USGovernment | sts.windows.net | login.microsoftonline.us | eventgrid.azure.us |
//! | China | sts.chinacloudapi.cn | login.partner.microsoftonline.cn | eventgrid.azure.cn |

use crate::{
    api::{
        ApiKey, Authority, Duration, EventGrid, EventGridCloud, EventGridToken, Handshake, TokenReuse,
        bounds::{APPLICATION_IDS, ROLES, SUBSCRIPTION_NAMES, TEXT_LENGTH},
        defaults,
    },
    decide::{
        Algorithm, AlgorithmSet, Audiences, ClaimRule, EntraRule, EventGridRule, HandshakeMode, Issuers, KeySetId, TokenRule, parse_guid, reuse_scope,
    },
};

use super::{
    context::Context,
    findings::{Field, Findings, reasons, shown},
    token::{self, Limits, WrittenLimits},
};

/// Event Grid's tokens live for a day and five minutes.
const LIFETIME: Duration = Duration::from_secs(25 * 3600);
/// What Entra's endpoints for every tenant are called: their tokens are of anybody.
const EVERY_TENANT: &[&str] = &["common", "organizations", "consumers"];

/// What differs from cloud to cloud.
struct Cloud {
    sts: &'static str,
    login: &'static str,
    /// What Event Grid calls itself in a handshake.
    origin: &'static str,
    /// Event Grid's own application.
    application: Option<u128>,
}

impl Cloud {
    const fn of(cloud: EventGridCloud) -> Self {
        match cloud {
            EventGridCloud::Public => Self {
                sts: "https://sts.windows.net",
                login: "https://login.microsoftonline.com",
                origin: "eventgrid.azure.net",
                application: Some(0x4962_773b_9cdb_44cf_a8bf_2378_46a0_0ab7),
            },
            EventGridCloud::USGovernment => Self {
                sts: "https://sts.windows.net",
                login: "https://login.microsoftonline.us",
                origin: "eventgrid.azure.us",
                application: Some(0x5431_6b56_3481_47f9_8f30_0300_f554_2a7b),
            },
            EventGridCloud::China => Self {
                sts: "https://sts.chinacloudapi.cn",
                login: "https://login.partner.microsoftonline.cn",
                origin: "eventgrid.azure.cn",
                application: None,
            },
        }
    }
}

/// What a sender of type `EventGrid` demands.
#[derive(Debug)]
pub(super) struct CompiledEventGrid {
    /// `None` = no token is asked for.
    pub(super) token: Option<TokenRule>,
    pub(super) rule: EventGridRule,
}

/// Compiles `eventGrid` of a policy with this uid, whose sender has this `api_key`; errors are in the findings.
pub(super) fn compile_event_grid(
    spec: &EventGrid,
    policy_uid: &str,
    api_key: Option<&ApiKey>,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<CompiledEventGrid> {
    let mark = findings.mark();
    let cloud = Cloud::of(spec.cloud.unwrap_or_default());
    let handshake = match spec.handshake.unwrap_or_default() {
        Handshake::Answer => HandshakeMode::Answer,
        Handshake::RequireToken => HandshakeMode::Deliver,
        Handshake::PassThrough => HandshakeMode::PassThrough,
    };
    let subscriptions = compile_texts(spec.subscription_names.as_deref(), SUBSCRIPTION_NAMES, &at.key("subscriptionNames"), findings);
    let subscriptions = subscriptions.into_iter().map(|name| name.to_ascii_lowercase().into()).collect();
    let rule = EventGridRule { handshake, origins: [cloud.origin.into()].into(), subscriptions };
    let token = match spec.token.unwrap_or_default() {
        EventGridToken::Required => Some(compile_token(spec, &cloud, policy_uid, at, context, findings)),
        EventGridToken::None => {
            judge_no_token(spec, api_key, at, findings);
            None
        }
    };
    // FAIL-CLOSED: a token that is asked for and did not come out whole is never waived.
    let token = token.map_or(Some(None), |token| token.map(Some))?;
    (!findings.has_errors_since(mark)).then_some(CompiledEventGrid { token, rule })
}

/// Without a token the API key is all that tells Event Grid from everybody else.
fn judge_no_token(spec: &EventGrid, api_key: Option<&ApiKey>, at: &Field<'_>, findings: &mut Findings<'_>) {
    let at_token = at.key("token");
    if api_key.is_none() {
        findings
            .invalid(&at_token, "without a token anybody may deliver; add an `apiKey` to the sender, which Event Grid sends with its endpoint's URL");
    }
    let EventGrid { tenant_id, audiences, cloud: _, application_ids, token: _, roles, .. } = spec;
    let EventGrid { authority, clock_skew, max_lifetime, require_issued_at, token_reuse, subscription_names: _, handshake: _, .. } = spec;
    let unused = [
        ("tenantId", tenant_id.is_some()),
        ("audiences", audiences.is_some()),
        ("applicationIds", application_ids.is_some()),
        ("roles", roles.is_some()),
        ("authority", authority.is_some()),
        // An API server writes defaults into what it stores.
        ("clockSkew", clock_skew.is_some_and(|skew| skew != defaults::CLOCK_SKEW)),
        ("maxLifetime", max_lifetime.is_some()),
        ("requireIssuedAt", *require_issued_at == Some(true)),
        ("tokenReuse", token_reuse.is_some_and(|reuse| reuse != TokenReuse::default())),
    ];
    for (field, _) in unused.into_iter().filter(|(_, is_given)| *is_given) {
        let message = format!("`{field}` is about a token, which `token: None` does not look at; take one of the two out");
        findings.warning(&at.key(field), reasons::LIKELY_MISTAKE, message);
    }
}

fn compile_token(
    spec: &EventGrid,
    cloud: &Cloud,
    policy_uid: &str,
    at: &Field<'_>,
    context: &mut Context<'_>,
    findings: &mut Findings<'_>,
) -> Option<TokenRule> {
    let tenant = compile_tenant(spec.tenant_id.as_deref(), at, findings);
    if spec.audiences.is_none() {
        let message = "there is no audience; name the client id or App ID URI of the application that the subscription delivers for in `audiences`";
        findings.invalid(at, message);
    }
    let at_audiences = at.key("audiences");
    let audiences = spec.audiences.as_deref().unwrap_or_default();
    let audiences = Audiences::new(token::compile_audiences(audiences, (&at_audiences, ""), token::judge_audience, context, findings));
    let applications = compile_applications(spec.application_ids.as_deref(), cloud, at, findings);
    let roles = compile_texts(spec.roles.as_deref(), ROLES, &at.key("roles"), findings).into_iter().map(Into::into).collect();
    let written = WrittenLimits {
        clock_skew: spec.clock_skew,
        max_lifetime: spec.max_lifetime,
        require_issued_at: spec.require_issued_at,
        token_reuse: spec.token_reuse,
    };
    let Limits { clock_skew_ms, max_lifetime_ms, require_issued_at, reuse } = token::compile_limits(written, Some(LIFETIME), at, context, findings);
    let tenant = tenant?;
    let Authority { issuer_v1, issuer_v2, jwks_uri } = compile_authority(spec.authority.as_ref(), cloud, tenant, &at.key("authority"), findings);
    let id = KeySetId::Jwks { issuer: issuer_v2.as_str().into(), url: jwks_uri.into() };
    let keys = token::fetched_keys(id, &at.key("authority").key("jwksUri"), context, findings)?;
    let issuer_v1 = context.share_text(&issuer_v1);
    Some(TokenRule {
        issuers: Issuers::either(issuer_v1.clone(), context.share_text(&issuer_v2)),
        audiences,
        reuse_scope: reuse_scope(policy_uid, keys.id()),
        keys,
        algorithms: AlgorithmSet::new([Algorithm::RS256]),
        clock_skew_ms,
        max_lifetime_ms,
        require_issued_at,
        claims: ClaimRule::Entra(Box::new(EntraRule { tenant, issuer_v1, applications, roles })),
        reuse,
    })
}

fn compile_tenant(tenant: Option<&str>, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<u128> {
    let Some(tenant) = tenant else {
        findings.invalid(at, "there is no `tenantId`; name the Entra tenant of the application that the subscription delivers for");
        return None;
    };
    let guid = parse_guid(tenant);
    if guid.is_none() {
        let why = if EVERY_TENANT.contains(&tenant) { "stands for every tenant; whoever has one could deliver" } else { "is no GUID" };
        findings.invalid(&at.key("tenantId"), format!("`{}` {why}; name your own tenant's (`az account show --query tenantId`)", shown(tenant)));
    }
    guid
}

/// The issuers' names and the keys' place: those of the cloud, or what is written instead.
fn compile_authority(written: Option<&Authority>, cloud: &Cloud, tenant: u128, at: &Field<'_>, findings: &mut Findings<'_>) -> Authority {
    if let Some(authority) = written {
        let Authority { issuer_v1, issuer_v2, jwks_uri } = authority;
        for (field, issuer) in [("issuerV1", issuer_v1), ("issuerV2", issuer_v2)] {
            token::judge_issuer(issuer, &at.key(field), findings);
        }
        for (field, text) in [("issuerV1", issuer_v1), ("issuerV2", issuer_v2), ("jwksUri", jwks_uri)] {
            if text.contains(['{', '}']) || text.split('/').any(|segment| EVERY_TENANT.contains(&segment.to_ascii_lowercase().as_str())) {
                let message = format!("`{}` is that of every tenant; write your own tenant's id in its place", shown(text));
                findings.invalid(&at.key(field), message);
            }
        }
        return authority.clone();
    }
    let Cloud { sts, login, .. } = cloud;
    let tenant = format_guid(tenant);
    Authority {
        issuer_v1: format!("{sts}/{tenant}/"),
        issuer_v2: format!("{login}/{tenant}/v2.0"),
        jwks_uri: format!("{login}/{tenant}/discovery/v2.0/keys"),
    }
}

/// A GUID as Entra writes it.
fn format_guid(guid: u128) -> String {
    let mut text = format!("{guid:032x}");
    for at in [20, 16, 12, 8] {
        text.insert(at, '-');
    }
    text
}

fn compile_applications(written: Option<&[String]>, cloud: &Cloud, at: &Field<'_>, findings: &mut Findings<'_>) -> Box<[u128]> {
    let at_ids = at.key("applicationIds");
    let Some(ids) = written else {
        if cloud.application.is_none() {
            findings.invalid(at, "the id of Event Grid's application in this cloud is not known here; name it in `applicationIds`");
        }
        return cloud.application.into_iter().collect();
    };
    if ids.len() > APPLICATION_IDS {
        findings.invalid(&at_ids, format!("{} applications; at most {APPLICATION_IDS} are read", ids.len()));
    }
    let mut applications = Vec::with_capacity(ids.len().min(APPLICATION_IDS));
    for (index, id) in ids.iter().take(APPLICATION_IDS).enumerate() {
        match parse_guid(id) {
            Some(guid) => applications.push(guid),
            None => findings.invalid(&at_ids.index(index), format!("`{}` is no application id, which is a GUID", shown(id))),
        }
    }
    applications.into()
}

/// Names without control characters or blanks at their ends.
fn compile_texts<'t>(texts: Option<&'t [String]>, most: usize, at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<&'t str> {
    let texts = texts.unwrap_or_default();
    if texts.len() > most {
        findings.invalid(at, format!("{} names; at most {most} are read", texts.len()));
    }
    for (index, text) in texts.iter().take(most).enumerate() {
        let is_plain = (1..=TEXT_LENGTH).contains(&text.len()) && text.trim().len() == text.len() && !text.chars().any(char::is_control);
        if !is_plain {
            findings.invalid(&at.index(index), format!("a name is 1 to {TEXT_LENGTH} characters, without blanks first or last"));
        }
    }
    texts.iter().take(most).map(String::as_str).collect()
}
