//! `HostGrant`: which namespaces may speak for a host.

use serde_json::Value;

use crate::{
    api::{HostGrantSpec, Object, bounds::GRANTED},
    decide::{Grants, Host, HostPattern},
};

use super::{
    findings::{Field, Findings, shown},
    matches::read_host,
    names::is_sender_name,
    section, spec,
};

/// Adds what `object` grants; errors are in the findings.
pub(super) fn compile_host_grant(object: &Object, grants: &mut Grants, findings: &mut Findings<'_>) {
    let envelope_is_whole = spec::check_envelope(object, findings);
    let Some(spec) = section::read_spec::<HostGrantSpec>(object, findings) else {
        let hosts = match object.raw.pointer("/spec/hosts") {
            Some(Value::Array(hosts)) if !hosts.is_empty() => hosts.as_slice(),
            Some(host) => std::slice::from_ref(host),
            None => &[Value::Null],
        };
        hosts.iter().for_each(|host| grants.doubt(&guess_host(host.as_str().unwrap_or_default())));
        return;
    };
    let HostGrantSpec { hosts, namespaces } = spec;
    let (at_hosts, at_namespaces) = (Field::SPEC.key("hosts"), Field::SPEC.key("namespaces"));
    for (at, count) in [(&at_hosts, hosts.len()), (&at_namespaces, namespaces.len())] {
        if count > GRANTED {
            findings.invalid(at, format!("{count} entries; at most {GRANTED} are read; write a second HostGrant"));
        }
    }
    let (good, bad): (Vec<_>, Vec<_>) = namespaces.iter().enumerate().partition(|(_, name)| is_sender_name(name));
    for (index, name) in &bad {
        findings.invalid(&at_namespaces.index(*index), format!("`{}` is no namespace", shown(name)));
    }
    let is_whole = envelope_is_whole && bad.is_empty() && good.len() <= GRANTED;
    for (index, text) in hosts.iter().enumerate() {
        match read_host(text, false) {
            Ok(host) if index < GRANTED => {
                good.iter().take(GRANTED).filter(|_| envelope_is_whole).for_each(|(_, namespace)| grants.add(&host, namespace));
                if !is_whole {
                    grants.doubt(&host);
                }
            }
            Ok(host) => grants.doubt(&host),
            Err(message) => {
                findings.invalid(&at_hosts.index(index), message);
                grants.doubt(&guess_host(text));
            }
        }
    }
}

/// The host that somebody probably meant. FAIL-CLOSED: where that cannot be told, any.
fn guess_host(text: &str) -> HostPattern {
    let text = text.trim().split_once("://").map_or(text, |(_, rest)| rest);
    let authority = text.split('/').next().unwrap_or_default();
    let (name, is_suffix) = authority.strip_prefix("*.").map_or((authority, false), |suffix| (suffix, true));
    match Host::parse(name.as_bytes()) {
        Some(host) if is_suffix => HostPattern::Suffix(host.as_str().into()),
        Some(host) => HostPattern::Exact(host.as_str().into()),
        None => HostPattern::Any,
    }
}
