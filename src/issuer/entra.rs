//! What Entra's tokens for Event Grid say, in both versions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::token::{Broken, remove, set};

/// The tenant that tokens are of unless they say otherwise.
pub const DEMO_TENANT: &str = "11111111-2222-3333-4444-555555555555";
/// Event Grid's own application in the public cloud.
pub const EVENT_GRID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";
/// Another customer's tenant.
const OTHER_TENANT: &str = "99999999-2222-3333-4444-555555555555";
/// Another application.
const OTHER_APPLICATION: &str = "00000000-0000-4000-8000-00000000beef";

/// What tokens name as their issuer: Call Automation's, and Entra's up to the tenant's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `iss` of Call Automation's tokens.
    pub acs: String,
    /// What stands before `/<tenant>/` in version 1.0.
    pub entra_v1: String,
    /// What stands before `/<tenant>/v2.0` in version 2.0.
    pub entra_v2: String,
}

impl Names {
    /// The same name for all.
    #[must_use]
    pub fn all(name: &str) -> Self {
        Self { acs: name.to_owned(), entra_v1: name.to_owned(), entra_v2: name.to_owned() }
    }

    fn entra(&self, version: EntraVersion, tenant: &str) -> String {
        match version {
            EntraVersion::V1 => format!("{}/{tenant}/", self.entra_v1),
            EntraVersion::V2 => format!("{}/{tenant}/v2.0", self.entra_v2),
        }
    }
}

/// Which form a token of Entra has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntraVersion {
    /// `sts.windows.net`, `appid`.
    #[default]
    #[serde(rename = "1.0")]
    V1,
    /// `login.microsoftonline.com`, `azp`.
    #[serde(rename = "2.0")]
    V2,
}

impl EntraVersion {
    /// `ver`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::V1 => Self::V2,
            Self::V2 => Self::V1,
        }
    }

    /// The claim that holds the application's id.
    const fn application_claim(self) -> &'static str {
        match self {
            Self::V1 => "appid",
            Self::V2 => "azp",
        }
    }
}

/// What a token of Entra says beyond what all tokens say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct EntraSpec {
    /// `tid`, and part of `iss`.
    pub tenant: String,
    /// `ver`, and part of `iss`.
    pub version: EntraVersion,
    /// `appid` or `azp`.
    pub application: String,
    /// `roles`; none = the claim is absent.
    pub roles: Vec<String>,
}

/// Event Grid's, in the demo's tenant.
impl Default for EntraSpec {
    fn default() -> Self {
        Self { tenant: DEMO_TENANT.to_owned(), version: EntraVersion::default(), application: EVENT_GRID.to_owned(), roles: Vec::new() }
    }
}

impl EntraSpec {
    /// Sets the claims as Entra does.
    pub(super) fn describe(&self, names: &Names, claims: &mut Value) {
        let Self { tenant, version, application, roles } = self;
        set(claims, "iss", json!(names.entra(*version, tenant)));
        set(claims, "tid", json!(tenant));
        set(claims, "ver", json!(version.name()));
        set(claims, version.application_claim(), json!(application));
        if !roles.is_empty() {
            set(claims, "roles", json!(roles));
        }
    }

    /// Sets one of them wrong.
    pub(super) fn misdescribe(&self, broken: Broken, names: &Names, claims: &mut Value) {
        let (own, others) = (self.version.application_claim(), self.version.other().application_claim());
        match broken {
            Broken::WrongTenant => Self { tenant: OTHER_TENANT.to_owned(), ..self.clone() }.describe(names, claims),
            Broken::WrongApplication => set(claims, own, json!(OTHER_APPLICATION)),
            Broken::NoApplication => remove(claims, own),
            Broken::SwappedApplication => {
                remove(claims, own);
                set(claims, others, json!(self.application));
            }
            Broken::TwoApplications => set(claims, others, json!(OTHER_APPLICATION)),
            Broken::UserToken => set(claims, "scp", json!("user_impersonation")),
            Broken::WrongVersion => set(claims, "ver", json!(self.version.other().name())),
            _ => {}
        }
    }
}
