//! Resources of a Kubernetes API server: listed, then watched, gathered, and handed on as a whole.
//!
//! | file | what it knows |
//! |---|---|
//! | `client` | how the API server is reached, and who we are to it |
//! | `feed` | what can be watched: a kind, the Secrets of a namespace, one Secret or ConfigMap |
//! | `watch` | one feed as a stream of what became of its objects |
//! | `references` | which Secrets and ConfigMaps policies name |
//! | `store` | every feed's objects, which feeds are wanted, and whether enough is known |
//!
//! Must not know what a `spec` means beyond the names in it: one bad object is one bad policy, which the compiler says.

mod client;
mod feed;
mod references;
mod store;
mod watch;

use std::{future::pending, time::Duration};

use ringfence_core::{api::Object, compile::Withheld};
use tokio::{
    sync::mpsc,
    task,
    time::{Instant, sleep_until},
};

pub use self::client::{ClientError, client};
use self::{client::Identity, store::Store};
use crate::ready::Guard;

/// Changes are gathered until nothing happens for so long ...
const QUIET: Duration = Duration::from_millis(100);
/// ... but no longer than this.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a change waits for Secrets and ConfigMaps that it is the first to name. Without the wait, a policy that names a new key would be
/// without any for a moment.
const FOR_REFERENCES: Duration = Duration::from_secs(5);
/// The same at the start, counted from when our kinds are known: what one namespace holds back must not keep all the others waiting.
const FOR_FIRST_REFERENCES: Duration = Duration::from_secs(60);
/// Things that happened and were not looked at yet. A watch that tells more waits.
const TOLD: usize = 1_024;

/// Everything there is, as of now.
#[derive(Debug)]
pub struct Cluster {
    /// Our kinds' objects, and the Secrets and ConfigMaps that they name.
    pub objects: Vec<Object>,
    /// What they name and may not be read.
    pub withheld: Withheld,
}

/// The resources of one API server, for as long as they are followed.
pub struct KubernetesSource {
    client: kube::Client,
    namespaces: Vec<String>,
    resource_namespace: Box<str>,
}

impl KubernetesSource {
    /// Follows `CallbackPolicy`s of `namespaces` (none = of all), the cluster-scoped kinds, and what they name: that of cluster-scoped resources
    /// in `resource_namespace`.
    #[must_use]
    pub fn new(client: kube::Client, namespaces: Vec<String>, resource_namespace: &str) -> Self {
        Self { client, namespaces, resource_namespace: resource_namespace.into() }
    }

    /// What speaks to the API server: for whoever has something else to say to it.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Calls `on_change` with everything there is, on the blocking pool: first when every kind and all that is named was listed or refused, then
    /// after each change. `configuration` holds from the first time on, whatever becomes of the API server later. Goes on until it is dropped.
    pub async fn follow(self, configuration: Guard, on_change: impl FnMut(Cluster) + Send + 'static) {
        let (tell, mut told) = mpsc::channel(TOLD);
        let Self { client, namespaces, resource_namespace } = self;
        configuration.missing("the API server has not answered yet");
        let identity = Identity::ask(&client).await;
        let mut store = Store::new(client, tell, &namespaces, resource_namespace, identity);
        let mut pace = Pace::default();
        let mut on_change = on_change;
        loop {
            let due = async {
                match pace.due(store.is_settled()) {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                signal = told.recv() => {
                    let Some(signal) = signal else { return };
                    if store.take(signal) {
                        pace.changed(Instant::now(), store.is_listed());
                    }
                    if !pace.is_published {
                        configuration.missing(store.lacking());
                    }
                }
                () = due => {
                    let cluster = store.cluster();
                    on_change = match task::spawn_blocking(move || { on_change(cluster); on_change }).await {
                        Ok(on_change) => on_change,
                        Err(error) => {
                            tracing::error!(%error, "the configuration is no longer followed");
                            return;
                        }
                    };
                    pace.published();
                    configuration.met();
                }
            }
        }
    }
}

/// When what changed goes on.
#[derive(Debug, Default)]
struct Pace {
    /// The first and the last change that did not go on yet.
    waiting: Option<(Instant, Instant)>,
    /// Since when our kinds are known.
    listed: Option<Instant>,
    is_published: bool,
}

impl Pace {
    fn changed(&mut self, now: Instant, is_listed: bool) {
        if is_listed {
            self.listed.get_or_insert(now);
        }
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    fn published(&mut self) {
        *self = Self { waiting: None, is_published: true, ..*self };
    }

    /// When to go on with it; `None` = something must happen before.
    fn due(&self, is_settled: bool) -> Option<Instant> {
        let ((first, last), listed) = (self.waiting?, self.listed?);
        let gathered = (last + QUIET).min(first + LONGEST);
        Some(match (is_settled, self.is_published) {
            (true, _) => gathered,
            (false, true) => gathered.max(first + FOR_REFERENCES),
            (false, false) => gathered.max(listed + FOR_FIRST_REFERENCES),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_in_force_before_our_kinds_are_known() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.changed(now, false);
        assert_eq!([pace.due(true), pace.due(false)], [None, None]);
        pace.changed(now + SECOND, true);
        assert_eq!(pace.due(true), Some(now + LONGEST));
    }

    #[test]
    fn what_is_held_back_keeps_the_others_waiting_for_a_while_only() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.changed(now, true);
        assert_eq!([pace.due(true), pace.due(false)], [Some(now + QUIET), Some(now + FOR_FIRST_REFERENCES)]);
        // However much happens meanwhile.
        pace.changed(now + 30 * SECOND, true);
        assert_eq!(pace.due(false), Some(now + FOR_FIRST_REFERENCES));
        pace.published();
        assert_eq!(pace.due(false), None);
        let later = now + 100 * SECOND;
        pace.changed(later, true);
        assert_eq!([pace.due(true), pace.due(false)], [Some(later + QUIET), Some(later + FOR_REFERENCES)]);
    }
}
