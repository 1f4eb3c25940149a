//! What a token of Microsoft Entra says of the application that sends: tenant, version, application, roles. Looked at once the signature is
//! known to be good; issuer, audience and time are measured before, in `claims`.
//!
//! Entra issues tokens in two versions, under two names and with two spellings of the application's id, and it is the receiving application's
//! manifest that says which: both are taken, each with its own claims only.

use std::sync::Arc;

use super::{Reason, parse_guid, token::Token};

/// What a token of one Entra tenant must say.
#[derive(Clone, Debug)]
pub struct EntraRule {
    /// `tid`.
    pub tenant: u128,
    /// `iss` of version 1.0 tokens; the other issuer of the sender goes with version 2.0.
    pub issuer_v1: Arc<str>,
    /// The applications that may send: `appid` (1.0) or `azp` (2.0) is one of these.
    pub applications: Box<[u128]>,
    /// One of these must be among `roles`; empty = none is asked for.
    pub roles: Box<[Box<str>]>,
}

/// What is wrong with a token's claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The claim that is missing or does not fit.
    pub(super) claim: &'static str,
    /// `claim_missing` or `claim_mismatch`.
    pub(super) reason: Reason,
}

impl Objection {
    const fn missing(claim: &'static str) -> Self {
        Self { claim, reason: Reason::ClaimMissing }
    }

    const fn mismatch(claim: &'static str) -> Self {
        Self { claim, reason: Reason::ClaimMismatch }
    }
}

/// The claims that are read here.
#[derive(Default)]
struct EntraClaims {
    version: Option<Box<str>>,
    tenant: Option<Box<str>>,
    application_v1: Option<Box<str>>,
    application_v2: Option<Box<str>>,
    kind: Option<Box<str>>,
    has_scopes: bool,
    roles: Vec<Box<str>>,
}

impl EntraClaims {
    /// `None` where one of them is not of its type.
    fn read(token: &Token<'_>) -> Option<Self> {
        let mut claims = Self::default();
        token.read_claims(|name, scanner| {
            match name {
                "ver" => claims.version = Some(scanner.string()?.into()),
                "tid" => claims.tenant = Some(scanner.string()?.into()),
                "appid" => claims.application_v1 = Some(scanner.string()?.into()),
                "azp" => claims.application_v2 = Some(scanner.string()?.into()),
                "idtyp" => claims.kind = Some(scanner.string()?.into()),
                "roles" => claims.roles = scanner.strings()?,
                "scp" => {
                    claims.has_scopes = true;
                    scanner.skip()?;
                }
                _ => scanner.skip()?,
            }
            Some(())
        })?;
        Some(claims)
    }
}

/// Measures a token whose issuer is one of the sender's.
pub(super) fn measure(token: &Token<'_>, rule: &EntraRule) -> Result<(), Objection> {
    let claims = EntraClaims::read(token).ok_or(Objection::mismatch("ver, tid, appid, azp, idtyp or roles"))?;
    // A person's token, which any application that this person signed in to can hold, names the same application.
    if claims.has_scopes {
        return Err(Objection::mismatch("scp"));
    }
    if claims.kind.as_deref().is_some_and(|kind| kind != "app") {
        return Err(Objection::mismatch("idtyp"));
    }
    let tenant = claims.tenant.as_deref().ok_or(Objection::missing("tid"))?;
    if parse_guid(tenant) != Some(rule.tenant) {
        return Err(Objection::mismatch("tid"));
    }
    measure_application(&claims, token.issuer() == Some(&*rule.issuer_v1), rule)?;
    match (rule.roles.is_empty(), claims.roles.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(Objection::missing("roles")),
        (false, false) if claims.roles.iter().any(|role| rule.roles.contains(role)) => Ok(()),
        (false, false) => Err(Objection::mismatch("roles")),
    }
}

/// The version goes with the issuer, and the application's id with the version.
fn measure_application(claims: &EntraClaims, is_issuer_v1: bool, rule: &EntraRule) -> Result<(), Objection> {
    let (application, name) = match (claims.version.as_deref(), is_issuer_v1) {
        (None, _) => return Err(Objection::missing("ver")),
        (Some("1.0"), true) => (&claims.application_v1, "appid"),
        (Some("2.0"), false) => (&claims.application_v2, "azp"),
        (Some(_), _) => return Err(Objection::mismatch("ver")),
    };
    if let (Some(first), Some(second)) = (&claims.application_v1, &claims.application_v2)
        && first != second
    {
        return Err(Objection::mismatch("appid and azp"));
    }
    let application = application.as_deref().ok_or(Objection::missing(name))?;
    let is_known = parse_guid(application).is_some_and(|application| rule.applications.contains(&application));
    if is_known { Ok(()) } else { Err(Objection::mismatch(name)) }
}
