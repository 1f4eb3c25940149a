//! `HostGrant`: which namespaces may speak for a host.

use crate::{
    api::{HostGrantSpec, Object, bounds::GRANTED},
    decide::Grants,
};

use super::{
    findings::{Field, Findings, shown},
    matches::read_host,
    section, spec,
};

/// Adds what `object` grants; errors are in the findings.
pub(super) fn compile_host_grant(object: &Object, grants: &mut Grants, findings: &mut Findings<'_>) {
    let envelope_is_whole = spec::check_envelope(object, findings);
    let Some(spec) = section::read_spec::<HostGrantSpec>(object, findings) else {
        // FAIL-CLOSED: a host of which nobody knows who may speak for it is not left to a wider grant.
        let hosts = object.raw.pointer("/spec/hosts").and_then(|hosts| hosts.as_array()).into_iter().flatten();
        hosts.filter_map(|host| read_host(host.as_str()?, false).ok()).for_each(|host| grants.reserve(&host));
        return;
    };
    let HostGrantSpec { hosts, namespaces } = spec;
    let (at_hosts, at_namespaces) = (Field::SPEC.key("hosts"), Field::SPEC.key("namespaces"));
    for (at, count) in [(&at_hosts, hosts.len()), (&at_namespaces, namespaces.len())] {
        if count > GRANTED {
            findings.invalid(at, format!("{count} entries; at most {GRANTED} are read; write a second HostGrant"));
        }
    }
    let is_namespace = |name: &str| super::names::is_sender_name(name);
    for (index, name) in namespaces.iter().enumerate().filter(|(_, name)| !is_namespace(name)) {
        findings.invalid(&at_namespaces.index(index), format!("`{}` is no namespace", shown(name)));
    }
    for (index, host) in hosts.iter().take(GRANTED).enumerate() {
        match read_host(host, false) {
            Ok(host) => {
                grants.reserve(&host);
                let granted = namespaces.iter().take(GRANTED).filter(|name| envelope_is_whole && is_namespace(name));
                granted.for_each(|namespace| grants.add(&host, namespace));
            }
            Err(message) => findings.invalid(&at_hosts.index(index), message),
        }
    }
}
