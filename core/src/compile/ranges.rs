//! Named sets of address ranges: the two that are built in, and every `SourceRangeSet`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipnet::IpNet;

use crate::{
    api::{Object, SourceRangeSetSpec, bounds::CIDRS},
    decide::RangeSet,
};

use super::{
    findings::{Field, Findings, reasons, shown},
    network::{covers_everything, read_cidr},
    references::References,
    section, spec,
};

/// The built-in sets: what Microsoft publishes for Call Automation (and as Microsoft 365 endpoint sets 12 and 11), as of late 2026.
pub const BUILT_IN_RANGES: &[(&str, &[&str])] = &[
    (
        "acs-callbacks",
        &[
            "52.112.0.0/14",
            "52.122.0.0/15",
            "2603:1027::/48",
            "2603:1037::/48",
            "2603:1047::/48",
            "2603:1057::/48",
            "2603:1063::/38",
            "2620:1ec:6::/48",
            "2620:1ec:40::/42",
        ],
    ),
    ("acs-media", &["52.112.0.0/14", "52.122.0.0/15", "2603:1063::/38"]),
];

/// The sets by name; `None` = it is there, and cannot be used.
#[derive(Debug)]
pub(super) struct NamedRanges(HashMap<Box<str>, Option<Arc<RangeSet>>>);

impl NamedRanges {
    /// The built-in sets.
    pub(super) fn built_in() -> Self {
        let read = |(name, cidrs): &(&str, &[&str])| {
            let networks: Vec<IpNet> = cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect();
            (Box::from(*name), Some(Arc::new(RangeSet::new(&networks))))
        };
        Self(BUILT_IN_RANGES.iter().map(read).collect())
    }

    /// Adds the set that `object` describes.
    pub(super) fn add(&mut self, object: &Object, references: &References<'_>, namespace: &str, findings: &mut Findings<'_>) {
        let name = &*object.key.name;
        if BUILT_IN_RANGES.iter().any(|(built_in, _)| *built_in == name) {
            findings.invalid(&Field::OBJECT.key("metadata").key("name"), format!("`{name}` is built in; choose another name"));
            return;
        }
        let mark = findings.mark();
        let networks = compile_set(object, references, namespace, findings);
        let set = (!findings.has_errors_since(mark)).then(|| Arc::new(RangeSet::new(&networks)));
        self.0.insert(name.into(), set);
    }

    /// How many ranges the set of this name has, if it can be used.
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.as_ref().map(|set| set.len())
    }

    /// How many ranges each set has; 0 for one that cannot be used.
    pub(super) fn sizes(&self) -> BTreeMap<Box<str>, usize> {
        self.0.iter().map(|(name, set)| (name.clone(), set.as_ref().map_or(0, |set| set.len()))).collect()
    }

    /// The set of this name; an error is in the findings.
    pub(super) fn get(&self, name: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<Arc<RangeSet>> {
        match self.0.get(name) {
            Some(Some(set)) => Some(Arc::clone(set)),
            Some(None) => {
                let message = format!("the SourceRangeSet `{name}` cannot be used; its own errors say why");
                findings.error(at, reasons::INVALID_RANGE_SET, message);
                None
            }
            None => {
                let message = format!("there is no SourceRangeSet `{}`; `acs-callbacks` and `acs-media` are built in", shown(name));
                findings.error(at, reasons::RANGE_SET_NOT_FOUND, message);
                None
            }
        }
    }
}

fn compile_set(object: &Object, references: &References<'_>, namespace: &str, findings: &mut Findings<'_>) -> Vec<IpNet> {
    spec::check_envelope(object, findings);
    let Some(spec) = section::read_spec::<SourceRangeSetSpec>(object, findings) else { return Vec::new() };
    let SourceRangeSetSpec { cidrs, config_map_ref, microsoft_365, service_tags } = spec;
    for (feed, is_there) in [("microsoft365", microsoft_365.is_some()), ("serviceTags", service_tags.is_some())] {
        if is_there {
            let message = format!("`{feed}` is not supported yet; list the ranges under `cidrs` or in a ConfigMap");
            findings.error(&Field::SPEC.key(feed), reasons::NOT_SUPPORTED, message);
        } else if cidrs.is_none() && config_map_ref.is_none() && microsoft_365.is_none() && service_tags.is_none() {
            findings.invalid(&Field::SPEC, "the set is empty; give it `cidrs` or a `configMapRef`");
            break;
        }
    }
    let mut networks = cidrs.map(|cidrs| compile_cidrs(&cidrs, &Field::SPEC.key("cidrs"), findings)).unwrap_or_default();
    if let Some(reference) = config_map_ref {
        let at = Field::SPEC.key("configMapRef");
        if let Some(text) = references.config_value(namespace, &reference.name, &reference.key, &at, findings) {
            networks.extend(read_lines(text, &at, findings));
        }
    }
    networks
}

/// Reads inline `cidrs`; errors are in the findings.
pub(super) fn compile_cidrs(cidrs: &[String], at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<IpNet> {
    if cidrs.len() > CIDRS {
        findings.invalid(at, format!("{} ranges; at most {CIDRS} are read here; a SourceRangeSet takes more from a ConfigMap", cidrs.len()));
    }
    let mut networks = Vec::with_capacity(cidrs.len().min(CIDRS));
    for (index, text) in cidrs.iter().take(CIDRS).enumerate() {
        let at = at.index(index);
        match read_cidr(text) {
            Ok(network) => {
                if covers_everything(&network) {
                    findings.warning(&at, reasons::LIKELY_MISTAKE, format!("`{network}` is every address: it keeps nobody out"));
                }
                networks.push(network);
            }
            Err(why) => findings.invalid(&at, format!("`{}`: {why}", shown(text))),
        }
    }
    networks
}

/// Reads one range a line; blank lines and what follows a `#` are left out.
fn read_lines(text: &str, at: &Field<'_>, findings: &mut Findings<'_>) -> Vec<IpNet> {
    /// Most lines that are complained about.
    const MOST: usize = 8;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate().filter(|(_, line)| !line.is_empty());
    let (mut networks, mut bad) = (Vec::new(), 0);
    for (index, line) in lines {
        match read_cidr(line) {
            Ok(network) => networks.push(network),
            Err(why) => {
                bad += 1;
                if bad <= MOST {
                    findings.error(at, reasons::INVALID_CONFIG_MAP, format!("line {}: `{}`: {why}", index + 1, shown(line)));
                }
            }
        }
    }
    if networks.is_empty() && bad == 0 {
        findings.error(at, reasons::INVALID_CONFIG_MAP, "there is no range in it; write one a line");
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ranges_are_sound() {
        for (name, cidrs) in BUILT_IN_RANGES {
            for cidr in *cidrs {
                assert!(read_cidr(cidr).is_ok(), "{name}: {cidr}");
            }
        }
    }
}
