//! Every feed's objects, which feeds are wanted, and whether enough is known to go on.
//!
//! Secrets of a namespace are read as a whole where that is permitted, else one by one where at least that is. What a tenant does not permit is
//! not there, and is said to be withheld.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use ringfence_core::{
    api::{Kind, Object, ObjectKey},
    compile::Withheld,
};
use tokio::{
    sync::mpsc::Sender,
    task::{AbortHandle, spawn},
};

use super::{
    Cluster,
    client::Identity,
    feed::Feed,
    references::Named,
    watch::{self, News, Signal, Trouble},
};

/// Most ConfigMaps of one namespace that are read, and most Secrets that are read one by one: those that come first by name. Each is a watch,
/// and may have a mebibyte.
const MOST_NAMED: usize = 64;

/// Everything that is known of the API server's objects.
pub(super) struct Store {
    client: Client,
    tell: Sender<Signal>,
    resource_namespace: Box<str>,
    identity: Identity,
    feeds: BTreeMap<Feed, Held>,
    /// What is named beyond that.
    left_out: LeftOut,
}

#[derive(Debug, Default)]
struct LeftOut {
    secrets: BTreeSet<Name>,
    config_maps: BTreeSet<Name>,
}

/// Namespace and name.
type Name = (Box<str>, Box<str>);

/// One feed's objects.
#[derive(Debug)]
struct Held {
    objects: BTreeMap<ObjectKey, (Object, Named)>,
    state: State,
    watch: AbortHandle,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not listed yet, and why.
    Waiting(Option<Trouble>),
    /// Its objects were listed, and are followed.
    Listed,
    /// It may not be read, or there is no such thing.
    Refused,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Store {
    /// A store that watches our kinds, and tells of them by `tell`.
    pub(super) fn new(client: Client, tell: Sender<Signal>, namespaces: &[String], resource_namespace: Box<str>, identity: Identity) -> Self {
        let mut store = Self { client, tell, resource_namespace, identity, feeds: BTreeMap::new(), left_out: LeftOut::default() };
        for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_ours()) {
            if kind.is_namespaced() && !namespaces.is_empty() {
                namespaces.iter().for_each(|namespace| store.begin(Feed::Ours(kind, Some(namespace.as_str().into()))));
            } else {
                store.begin(Feed::Ours(kind, None));
            }
        }
        store
    }

    fn begin(&mut self, feed: Feed) {
        let watch = spawn(watch::watch(feed.clone(), self.client.clone(), self.tell.clone())).abort_handle();
        self.feeds.insert(feed, Held { objects: BTreeMap::new(), state: State::Waiting(None), watch });
    }

    /// Takes note of what happened; whether anything is different now.
    pub(super) fn take(&mut self, Signal { feed, news }: Signal) -> bool {
        // It may tell of the past of a feed that is not wanted any more.
        let Some(held) = self.feeds.get_mut(&feed) else { return false };
        let is_changed = held.take(&feed, news, &self.resource_namespace);
        // What else changes names nothing, and there may be many of them.
        if is_changed && (feed.is_ours() || matches!(feed, Feed::Secrets(_))) {
            self.follow_references();
        }
        is_changed
    }

    /// Watches what is named now, and nothing that is not.
    fn follow_references(&mut self) {
        let mut named = Named::default();
        for (_, held) in self.feeds.iter().filter(|(feed, _)| feed.is_ours()) {
            held.objects.values().for_each(|(_, names)| named.add(names.clone()));
        }
        let namespaces: BTreeSet<&str> = named.secrets.iter().map(|(namespace, _)| &**namespace).collect();
        let mut wanted: BTreeSet<Feed> = namespaces.into_iter().map(|namespace| Feed::Secrets(namespace.into())).collect();
        let one_by_one = named.secrets.iter().filter(|(namespace, _)| self.is_refused(&Feed::Secrets(namespace.clone())));
        let (secrets, more_secrets) = first_of_each_namespace(one_by_one.cloned());
        let (config_maps, more_config_maps) = first_of_each_namespace(named.config_maps.into_iter());
        self.left_out = LeftOut { secrets: more_secrets, config_maps: more_config_maps };
        wanted.extend(secrets.into_iter().map(|(namespace, name)| Feed::Secret(namespace, name)));
        wanted.extend(config_maps.into_iter().map(|(namespace, name)| Feed::ConfigMap(namespace, name)));
        self.feeds.retain(|feed, _| feed.is_ours() || wanted.contains(feed));
        for feed in wanted {
            if !self.feeds.contains_key(&feed) {
                self.begin(feed);
            }
        }
    }

    fn is_refused(&self, feed: &Feed) -> bool {
        self.feeds.get(feed).is_some_and(|held| held.state == State::Refused)
    }

    /// Whether every one of our kinds was listed.
    pub(super) fn is_listed(&self) -> bool {
        self.feeds.iter().all(|(feed, held)| !feed.is_ours() || held.state == State::Listed)
    }

    /// Whether everything that is named was listed or refused, too.
    pub(super) fn is_settled(&self) -> bool {
        self.feeds.values().all(|held| !matches!(held.state, State::Waiting(_)))
    }

    /// What is not known yet, why, and what to do.
    pub(super) fn lacking(&self) -> String {
        let lacking = self.feeds.iter().filter_map(|(feed, held)| match &held.state {
            State::Waiting(Some(Trouble::Forbidden)) => {
                Some(format!("{feed} may not be read: give {} the rule {}", self.identity.name(), feed.rule()))
            }
            State::Waiting(Some(Trouble::NoSuchKind)) => {
                Some(format!("{feed} is not known to the API server: install the definitions (`ringfence crds | kubectl apply --server-side -f -`)"))
            }
            State::Waiting(Some(trouble @ Trouble::TooMuch)) => Some(format!("{feed} were not read: {trouble}")),
            State::Waiting(Some(Trouble::Unreachable(why))) => Some(format!("{feed} could not be listed: {why}")),
            State::Waiting(None) => Some(format!("{feed} was not listed yet")),
            State::Listed | State::Refused => None,
        });
        lacking.collect::<Vec<_>>().join("; ")
    }

    /// Everything there is now.
    pub(super) fn cluster(&self) -> Cluster {
        let objects = self.feeds.values().flat_map(|held| held.objects.values().map(|(object, _)| object.clone())).collect();
        let refused = |kind| {
            let refused = self.feeds.iter().filter(move |(feed, held)| feed.kind() == kind && held.state == State::Refused);
            refused.filter_map(|(feed, _)| match feed {
                Feed::Secret(namespace, name) | Feed::ConfigMap(namespace, name) => Some((namespace.clone(), name.clone())),
                Feed::Ours(..) | Feed::Secrets(_) => None,
            })
        };
        let withheld = Withheld {
            secrets: refused(Kind::Secret).collect(),
            config_maps: refused(Kind::ConfigMap).collect(),
            left_out_secrets: self.left_out.secrets.clone(),
            left_out_config_maps: self.left_out.config_maps.clone(),
            reader: self.identity.to_string().into(),
        };
        Cluster { objects, withheld }
    }
}

impl Held {
    /// Takes note of it; whether anything is different now.
    fn take(&mut self, feed: &Feed, news: News, resource_namespace: &str) -> bool {
        let entry = |object: Object| {
            let named = Named::by(&object, resource_namespace);
            (object.key.clone(), (object, named))
        };
        match news {
            News::Listed(objects) => {
                let objects: BTreeMap<_, _> = objects.into_iter().map(entry).collect();
                let version = |(object, _): &(Object, Named)| (object.uid.clone(), object.resource_version.clone());
                let is_same = self.state == State::Listed
                    && self.objects.iter().map(|(key, held)| (key, version(held))).eq(objects.iter().map(|(key, held)| (key, version(held))));
                self.objects = objects;
                self.state = State::Listed;
                !is_same
            }
            News::Changed(object) => {
                let (key, value) = entry(object);
                // A status that is written changes nothing for us.
                let is_same = self.objects.get(&key).is_some_and(|(before, _)| is_same_for_us(before, &value.0));
                self.objects.insert(key, value);
                !is_same
            }
            News::Gone(key) => self.objects.remove(&key).is_some(),
            News::Troubled(trouble) => self.is_troubled(feed, trouble),
        }
    }

    fn is_troubled(&mut self, feed: &Feed, trouble: Trouble) -> bool {
        let is_refused = matches!(trouble, Trouble::Forbidden | Trouble::NoSuchKind | Trouble::TooMuch) && !feed.is_ours();
        if is_refused {
            // FAIL-CLOSED: a right that was taken away takes the key along.
            self.objects.clear();
            let is_new = std::mem::replace(&mut self.state, State::Refused) != State::Refused;
            if is_new && trouble == Trouble::TooMuch {
                tracing::warn!(watch = %feed, %trouble, "not read together; those that policies name are read, one by one");
            }
            return is_new;
        }
        tracing::warn!(watch = %feed, %trouble, "not read; what is known stays in force");
        if let State::Waiting(why) = &mut self.state {
            *why = Some(trouble);
        }
        false
    }
}

/// Whether two states of one object are the same to the compiler. Our kinds have a generation, which a status leaves alone.
fn is_same_for_us(before: &Object, now: &Object) -> bool {
    before.uid == now.uid && now.generation > 0 && before.generation == now.generation
}

/// The first names of each namespace, which are looked up, and the others.
fn first_of_each_namespace(names: impl Iterator<Item = Name>) -> (BTreeSet<Name>, BTreeSet<Name>) {
    let mut counts: BTreeMap<Box<str>, usize> = BTreeMap::new();
    let sorted: BTreeSet<Name> = names.collect();
    sorted.into_iter().partition(|(namespace, _)| {
        let count = counts.entry(namespace.clone()).or_default();
        *count += 1;
        *count <= MOST_NAMED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_does_not_name_without_end() {
        let names =
            |namespace: &str, count: usize| (0..count).map(|number| (Box::from(namespace), format!("n{number:04}").into())).collect::<Vec<Name>>();
        let all = [names("b", MOST_NAMED + 2), names("a", 1), names("c", MOST_NAMED)].concat();
        let (first, others) = first_of_each_namespace(all.into_iter());
        assert_eq!(first.len(), 1 + MOST_NAMED + MOST_NAMED);
        assert_eq!(others, BTreeSet::from([("b".into(), "n0064".into()), ("b".into(), "n0065".into())]));
    }
}
