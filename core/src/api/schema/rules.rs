//! What must hold between the fields of one object, in CEL, which the API server evaluates: unions, and what makes no sense together.
//!
//! A field that is null counts as there: it is stored, and the compiler refuses it by name.

use schemars::Schema;
use serde_json::{Value, json};

/// Adds a rule to a schema; `message` is what a person is told when it does not hold.
pub(super) fn demand(schema: &mut Schema, rule: &str, message: &str) {
    add(schema, json!({"rule": rule, "message": message}));
}

/// The same about one member.
fn demand_of(schema: &mut Schema, member: &str, rule: &str, message: &str) {
    add(schema, json!({"rule": rule, "message": message, "fieldPath": format!(".{member}")}));
}

fn add(schema: &mut Schema, rule: Value) {
    let rules = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    if let Value::Array(rules) = rules {
        rules.push(rule);
    }
}

pub(in super::super) fn policy(schema: &mut Schema) {
    demand_of(
        schema,
        "match.hosts",
        "!('*' in self.match.hosts)",
        "`*` is for a ClusterCallbackPolicy with `applies: Always`; name the host, or `*.suffix`",
    );
}

pub(in super::super) fn cluster_policy(schema: &mut Schema) {
    const ALWAYS: &str = "(has(self.applies) && self.applies == 'Always')";
    demand_of(
        schema,
        "match.hosts",
        &format!("{ALWAYS} || !('*' in self.match.hosts)"),
        "`*` is for `applies: Always`; name the host, or `*.suffix`",
    );
    demand(schema, &format!("{ALWAYS} || has(self.senders)"), "there is no sender; name at least one, or say `applies: Always`");
    demand(schema, &format!("!{ALWAYS} || has(self.sources)"), "a floor needs `sources`; there is nothing else for it to ask");
    demand(schema, &format!("{ALWAYS} || !has(self.sources)"), "`sources` is for `applies: Always`; a Fallback has them in its senders");
    for member in ["senders", "forward"] {
        let message = format!("`{member}` has no place where `applies: Always` is; a floor asks for `sources` only");
        demand(schema, &format!("!{ALWAYS} || !has(self.{member})"), &message);
    }
}

pub(in super::super) fn path(schema: &mut Schema) {
    demand(schema, "has(self.prefix) != has(self.exact)", "a path is either a `prefix` or `exact`: exactly one of the two");
}

pub(in super::super) fn sender(schema: &mut Schema) {
    let members = [("CallAutomation", "callAutomation"), ("EventGrid", "eventGrid"), ("JWT", "jwt"), ("NoToken", "noToken")];
    for (owner, member) in members {
        let message = format!("`{member}` belongs to a sender of type `{owner}` and to no other; take it out");
        demand(schema, &format!("self.type == '{owner}' || !has(self.{member})"), &message);
        if owner != "NoToken" {
            demand(schema, &format!("self.type != '{owner}' || has(self.{member})"), &format!("a sender of type `{owner}` needs `{member}`"));
        }
    }
    demand(
        schema,
        "self.type != 'NoToken' || has(self.apiKey) || has(self.sources)",
        "a sender without a token needs an `apiKey`, `sources`, or both",
    );
    let by_address = "self.type == 'NoToken' && !has(self.apiKey) && has(self.sources)";
    demand(
        schema,
        &format!("!({by_address}) || (has(self.noToken) && has(self.noToken.acknowledgeWeak) && self.noToken.acknowledgeWeak)"),
        "an address alone is no identity (the ranges are shared by every ACS customer); add an `apiKey`, or say `acknowledgeWeak: true` in `noToken`",
    );
    demand(
        schema,
        &format!("!({by_address}) || self.sources.onMismatch == 'Deny'"),
        "`sources.onMismatch` must be `Deny` for a sender that is known by its address alone: with `Observe` it would let everybody in",
    );
    demand(
        schema,
        "!has(self.eventGrid) || !has(self.eventGrid.token) || self.eventGrid.token != 'None' || has(self.apiKey)",
        "without a token anybody may deliver; add an `apiKey` to the sender, which Event Grid sends with its endpoint's URL",
    );
}

pub(in super::super) fn call_automation(schema: &mut Schema) {
    demand(
        schema,
        "has(self.audiences) || has(self.audiencesFrom)",
        "there is no audience; name the resource's immutableResourceId in `audiences`, or a ConfigMap in `audiencesFrom`",
    );
    demand(
        schema,
        "!has(self.jwks) || !has(self.openIdConfiguration)",
        "keys come from `openIdConfiguration` or from `jwks`: at most one of the two",
    );
    demand(
        schema,
        "!has(self.issuer) || self.issuer == 'https://acscallautomation.communication.azure.com' || has(self.openIdConfiguration) || has(self.jwks)",
        "ACS's keys are of ACS's issuer; with another `issuer`, name its `openIdConfiguration` or `jwks`, too",
    );
}

pub(in super::super) fn event_grid(schema: &mut Schema) {
    const NO_TOKEN: &str = "(has(self.token) && self.token == 'None')";
    demand(
        schema,
        &format!("{NO_TOKEN} || has(self.tenantId)"),
        "there is no `tenantId`; name the Entra tenant of the application that the subscription delivers for",
    );
    demand(
        schema,
        &format!("{NO_TOKEN} || has(self.audiences)"),
        "there is no audience; name the client id or App ID URI of the application that the subscription delivers for in `audiences`",
    );
    demand(
        schema,
        &format!("{NO_TOKEN} || !has(self.cloud) || self.cloud != 'China' || has(self.applicationIds)"),
        "the id of Event Grid's application in this cloud is not known here; name it in `applicationIds`",
    );
}

pub(in super::super) fn jwt(schema: &mut Schema) {
    demand(
        schema,
        "[has(self.openIdConfiguration), has(self.jwksUri), has(self.jwks)].filter(given, given).size() == 1",
        "keys come from `openIdConfiguration`, from `jwksUri` or from `jwks`: exactly one of the three",
    );
}

pub(in super::super) fn sources(schema: &mut Schema) {
    demand(schema, "has(self.sets) || has(self.cidrs)", "name `sets` or `cidrs`");
}

pub(in super::super) fn api_key(schema: &mut Schema) {
    demand(
        schema,
        "!has(self.signed) || !(has(self.query) || has(self.header) || has(self.secretRefs) || has(self.sha256))",
        "`signed` stands alone: a request carries a key or a signature; take one out",
    );
    demand(
        schema,
        "has(self.signed) || has(self.query) != has(self.header)",
        "a key travels in a `query` parameter or in a `header`: exactly one of the two",
    );
    demand(schema, "has(self.signed) || has(self.secretRefs) || has(self.sha256)", "there is no key; name `secretRefs` or `sha256`");
}

pub(in super::super) fn source_range_set(schema: &mut Schema) {
    demand(
        schema,
        "has(self.cidrs) || has(self.configMapRef) || has(self.microsoft365) || has(self.serviceTags)",
        "the set is empty; give it `cidrs` or a `configMapRef`",
    );
}
