//! What can be watched, each as one list and one watch.

use std::fmt;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::watcher,
};
use ringfence_core::api::{API_VERSION, CALLBACK_KEY_TYPE, GROUP, Kind};

/// Secrets of one page of a list, each of which may have a mebibyte.
const PAGE: u32 = 16;
/// How long one watch lasts, in seconds. A right that was taken away is noticed when the next one begins.
const WATCH_SECONDS: u32 = 50;

/// One list and one watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Feed {
    /// Objects of one of our kinds: of a namespace, or all.
    Ours(Kind, Option<Box<str>>),
    /// The Secrets of a namespace that are meant for us.
    Secrets(Box<str>),
    /// A Secret by namespace and name, where no more may be read.
    Secret(Box<str>, Box<str>),
    /// A ConfigMap by namespace and name.
    ConfigMap(Box<str>, Box<str>),
}

impl Feed {
    /// Of which kind its objects are.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Ours(kind, _) => *kind,
            Self::Secrets(_) | Self::Secret(..) => Kind::Secret,
            Self::ConfigMap(..) => Kind::ConfigMap,
        }
    }

    /// Whether it is one of our kinds, without which nothing is known.
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(..))
    }

    /// Whether it holds what nobody may have named, and so only up to a bound.
    pub(super) const fn is_bounded(&self) -> bool {
        matches!(self, Self::Secrets(_))
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Ours(_, namespace) => namespace.as_deref(),
            Self::Secrets(namespace) | Self::Secret(namespace, _) | Self::ConfigMap(namespace, _) => Some(namespace),
        }
    }

    pub(super) fn api(&self, client: Client) -> Api<DynamicObject> {
        let resource = resource(self.kind());
        match self.namespace() {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    pub(super) fn selection(&self) -> watcher::Config {
        let config = watcher::Config::default().timeout(WATCH_SECONDS);
        match self {
            Self::Ours(..) => config,
            Self::Secrets(_) => config.fields(&format!("type={CALLBACK_KEY_TYPE}")).page_size(PAGE),
            Self::Secret(_, name) | Self::ConfigMap(_, name) => config.fields(&format!("metadata.name={name}")),
        }
    }

    /// The right that it takes, as a rule of a Role or ClusterRole.
    pub(super) fn rule(&self) -> String {
        let resource = resource(self.kind());
        let names = match self {
            Self::Secret(_, name) => format!(", resourceNames: [{name}]"),
            Self::Ours(..) | Self::Secrets(_) | Self::ConfigMap(..) => String::new(),
        };
        format!("{{apiGroups: [\"{}\"], resources: [{}]{names}, verbs: [get, list, watch]}}", resource.group, resource.plural)
    }
}

/// What a person calls it.
impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(kind, None) => write!(f, "{kind}"),
            Self::Ours(kind, Some(namespace)) => write!(f, "{kind} in namespace `{namespace}`"),
            Self::Secrets(namespace) => write!(f, "Secrets of type {CALLBACK_KEY_TYPE} in namespace `{namespace}`"),
            Self::Secret(namespace, name) => write!(f, "Secret `{namespace}/{name}`"),
            Self::ConfigMap(namespace, name) => write!(f, "ConfigMap `{namespace}/{name}`"),
        }
    }
}

/// Which kind's objects are asked for by a URL's path, if it is a list or a watch of one.
pub(super) fn kind_of(path: &str) -> Option<Kind> {
    let last = path.rsplit('/').next()?;
    Kind::ALL.iter().copied().find(|kind| resource(*kind).plural == last)
}

/// Where the API server keeps a kind.
fn resource(kind: Kind) -> ApiResource {
    let plural = match kind {
        Kind::CallbackPolicy => "callbackpolicies",
        Kind::ClusterCallbackPolicy => "clustercallbackpolicies",
        Kind::HostGrant => "hostgrants",
        Kind::SourceRangeSet => "sourcerangesets",
        Kind::Secret => "secrets",
        Kind::ConfigMap => "configmaps",
    };
    let api_version = kind.api_version();
    let (group, version) = if kind.is_ours() { (GROUP, API_VERSION.trim_start_matches(GROUP).trim_start_matches('/')) } else { ("", "v1") };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.name().to_owned(),
        plural: plural.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_what_is_needed() {
        let ours = Feed::Ours(Kind::CallbackPolicy, None);
        assert_eq!(ours.rule(), "{apiGroups: [\"ringfence.dev\"], resources: [callbackpolicies], verbs: [get, list, watch]}");
        let secret = Feed::Secret("contoso".into(), "key".into());
        assert_eq!(secret.rule(), "{apiGroups: [\"\"], resources: [secrets], resourceNames: [key], verbs: [get, list, watch]}");
        assert_eq!(resource(Kind::HostGrant).version, "v1alpha1");
    }

    #[test]
    fn a_path_tells_what_is_listed() {
        assert_eq!(kind_of("/apis/ringfence.dev/v1alpha1/hostgrants"), Some(Kind::HostGrant));
        assert_eq!(kind_of("/api/v1/namespaces/contoso/secrets"), Some(Kind::Secret));
        assert_eq!(kind_of("/apis/ringfence.dev/v1alpha1/hostgrants/contoso"), None);
        assert_eq!(kind_of("/apis/coordination.k8s.io/v1/namespaces/ringfence/leases"), None);
    }
}
