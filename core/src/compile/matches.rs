//! Hosts and paths: which requests a policy or a sender speaks for.

use crate::{
    api::{
        PathMatch,
        bounds::{HOSTS, PATH_LENGTH, PATHS},
    },
    decide::{Grants, Host, HostPattern, Match, Path, PathPattern},
};

use super::{
    findings::{Field, Findings, reasons, shown},
    spec::MatchReading,
};

/// A `match`, compiled as far as it goes.
#[derive(Debug)]
pub(super) struct CompiledMatch {
    /// The hosts and paths that can be read, less the hosts that are not granted. No hosts = it speaks for nothing.
    pub(super) matches: Match,
    /// All of it could be read, granted or not.
    pub(super) is_whole: bool,
}

/// Which hosts a policy may name.
#[derive(Clone, Copy, Debug)]
pub(super) enum HostScope<'g> {
    /// Any.
    All,
    /// Any, and `*` for every host.
    Floor,
    /// Those whose most specific grant names this namespace.
    Granted(&'g Grants, &'g str),
}

/// Compiles a `match`.
pub(super) fn compile_match(reading: &MatchReading, scope: HostScope<'_>, findings: &mut Findings<'_>) -> CompiledMatch {
    let at = Field::SPEC.key("match");
    let (mut hosts, hosts_are_whole) = compile_hosts(&reading.hosts, scope, &at.key("hosts"), findings);
    let (mut paths, mut paths_are_whole) = (Vec::new(), true);
    if let Some(written) = &reading.paths {
        let written = written.iter().map(|(index, path)| (*index, path));
        (paths, paths_are_whole) = compile_paths(written, &at.key("paths"), findings);
        // FAIL-CLOSED: where no path can be read, that is not every path.
        if paths.is_empty() {
            hosts.clear();
        }
    }
    CompiledMatch {
        matches: Match { hosts: hosts.into(), paths: paths.into(), ignore_path_case: reading.ignore_path_case },
        is_whole: reading.is_whole && hosts_are_whole && paths_are_whole,
    }
}

/// Compiles `match.hosts`. The flag says whether all of them could be read.
fn compile_hosts(hosts: &[(usize, String)], scope: HostScope<'_>, at: &Field<'_>, findings: &mut Findings<'_>) -> (Vec<HostPattern>, bool) {
    // FAIL-CLOSED: what names no host is not about nothing.
    let mut is_whole = !hosts.is_empty();
    if hosts.len() > HOSTS {
        findings.invalid(at, format!("{} hosts; at most {HOSTS} are read", hosts.len()));
        is_whole = false;
    }
    let mut patterns = Vec::with_capacity(hosts.len());
    for (index, host) in hosts.iter().take(HOSTS) {
        let at = at.index(*index);
        match read_host(host, matches!(scope, HostScope::Floor)) {
            Err(message) => {
                findings.invalid(&at, message);
                is_whole = false;
            }
            Ok(pattern) => match scope {
                HostScope::Granted(grants, namespace) if !grants.permits_pattern(&pattern, namespace) => {
                    findings.error(&at, reasons::HOST_NOT_GRANTED, explain_grant(&host.to_ascii_lowercase(), namespace));
                }
                HostScope::All | HostScope::Floor | HostScope::Granted(..) => {
                    if !patterns.contains(&pattern) {
                        patterns.push(pattern);
                    }
                }
            },
        }
    }
    (patterns, is_whole)
}

/// Reads an exact host, `*.suffix`, or, for floors, `*`.
///
/// # Errors
/// What is wrong with it and what to write instead.
pub(super) fn read_host(text: &str, takes_any: bool) -> Result<HostPattern, String> {
    if text == "*" {
        return if takes_any {
            Ok(HostPattern::Any)
        } else {
            Err("`*` is for a ClusterCallbackPolicy with `applies: Always`; name the host, or `*.suffix`".to_owned())
        };
    }
    let (name, is_suffix) = text.strip_prefix("*.").map_or((text, false), |suffix| (suffix, true));
    if !name.is_ascii() {
        return Err(format!("`{}` must be written in its ASCII form (punycode, `xn--...`)", shown(text)));
    }
    if name.contains('*') {
        return Err(format!("`{}`: a `*` may only stand first, as in `*.contoso.com`", shown(text)));
    }
    let name = name.to_ascii_lowercase();
    let is_host = !name.starts_with('[') && Host::parse(name.as_bytes()).is_some_and(|host| host.as_str() == name);
    match (is_host, is_suffix) {
        (true, false) => Ok(HostPattern::Exact(name.into())),
        (true, true) => Ok(HostPattern::Suffix(name.into())),
        (false, _) => Err(format!("`{}` is no host name; write it without scheme, port, path and trailing dot", shown(text))),
    }
}

/// What an operator would apply to let `namespace` speak for `host`.
fn explain_grant(host: &str, namespace: &str) -> String {
    let name = format!("{namespace}-{}", host.replace('*', "any").replace('_', "-"));
    format!(
        "namespace `{namespace}` may not speak for this host; who owns it grants it with \
         `{{apiVersion: ringfence.dev/v1alpha1, kind: HostGrant, metadata: {{name: {name}}}, spec: {{hosts: [\"{host}\"], namespaces: [{namespace}]}}}}`"
    )
}

/// Compiles a list of paths with their places. The flag says whether all of them could be read.
pub(super) fn compile_paths<'p>(
    paths: impl ExactSizeIterator<Item = (usize, &'p PathMatch)>,
    at: &Field<'_>,
    findings: &mut Findings<'_>,
) -> (Vec<PathPattern>, bool) {
    let mut is_whole = true;
    if paths.len() > PATHS {
        findings.invalid(at, format!("{} paths; at most {PATHS} are read", paths.len()));
        is_whole = false;
    }
    let mut patterns = Vec::with_capacity(paths.len());
    for (index, path) in paths.take(PATHS) {
        match compile_path(path, &at.index(index), findings) {
            Some(pattern) => patterns.push(pattern),
            None => is_whole = false,
        }
    }
    (patterns, is_whole)
}

fn compile_path(path: &PathMatch, at: &Field<'_>, findings: &mut Findings<'_>) -> Option<PathPattern> {
    let (name, text, pattern): (_, _, fn(&str) -> PathPattern) = match (&path.prefix, &path.exact) {
        (Some(prefix), None) => ("prefix", prefix, PathPattern::prefix),
        (None, Some(exact)) => ("exact", exact, PathPattern::exact),
        (Some(_), Some(_)) | (None, None) => {
            findings.invalid(at, "a path is either a `prefix` or `exact`: exactly one of the two");
            return None;
        }
    };
    let at = at.key(name);
    if text.len() > PATH_LENGTH {
        findings.invalid(&at, format!("a path is at most {PATH_LENGTH} bytes long"));
        return None;
    }
    if !text.starts_with('/') {
        findings.invalid(&at, format!("`{}` must start with `/`", shown(text)));
        return None;
    }
    if text.contains('?') {
        findings.invalid(&at, format!("`{}` holds a `?`; a path is matched without its query", shown(text)));
        return None;
    }
    if let Err(why) = Path::parse(text.as_bytes()) {
        findings.invalid(&at, format!("`{}` can never match: it holds {why}, and such requests are refused", shown(text)));
        return None;
    }
    if text.contains('*') {
        let message = format!("the `*` in `{}` stands for itself; a `prefix` covers everything below it", shown(text));
        findings.warning(&at, reasons::LIKELY_MISTAKE, message);
    }
    Some(pattern(text))
}

/// Whether everything that `inner` matches is matched by one of `outer` (none = every path).
pub(super) fn is_within(inner: &PathPattern, outer: &Match) -> bool {
    let text = |(PathPattern::Exact { path, .. } | PathPattern::Prefix { path, .. }): &PathPattern| {
        if outer.ignore_path_case { path.to_ascii_lowercase() } else { path.to_string() }
    };
    let wanted = text(inner);
    let covers = |pattern: &PathPattern| {
        let covering = text(pattern);
        match (pattern, inner) {
            (PathPattern::Exact { .. }, PathPattern::Exact { .. }) => covering == wanted,
            (PathPattern::Exact { .. }, PathPattern::Prefix { .. }) => false,
            (PathPattern::Prefix { .. }, PathPattern::Exact { .. } | PathPattern::Prefix { .. }) => {
                wanted.strip_prefix(&*covering).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    };
    outer.paths.is_empty() || outer.paths.iter().any(covers)
}
