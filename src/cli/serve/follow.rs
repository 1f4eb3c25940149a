//! Follows the folder or the API server that policies come from; a folder is read again when asked to.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringfence_core::{api::Object, compile::Withheld, decide::KeySetId};
use tokio::{runtime::Handle, task::AbortHandle, time::timeout};

use crate::{
    keys::KeyKeeper,
    ready::Guard,
    source::{
        Configuration, SourceError,
        files::{Folder, FolderSource},
        kubernetes::{Cluster, KubernetesSource},
    },
};

/// How long new policies wait for the keys of issuers that are new.
const FIRST_FETCH: Duration = Duration::from_secs(2);

/// What follows the configuration. Ends when dropped.
#[derive(Debug)]
pub(super) enum Following {
    /// A folder.
    Folder(Follow),
    /// An API server.
    Kubernetes(FollowCluster),
}

impl Following {
    /// Reads everything now, whether it seems to have changed or not. Blocks on the file system.
    pub(super) fn reload(&self) {
        match self {
            Self::Folder(follow) => follow.reload(),
            Self::Kubernetes(follow) => follow.reload(),
        }
    }
}

/// What follows an API server. Ends when dropped.
#[derive(Debug)]
pub(super) struct FollowCluster(AbortHandle);

impl FollowCluster {
    /// Follows `source`; `configuration` holds once there is one.
    pub(super) fn new(source: KubernetesSource, target: Target, configuration: Guard) -> Self {
        let runtime = target.runtime.clone();
        let follower = source.follow(configuration, move |Cluster { objects, withheld }| target.take(&objects, &withheld));
        Self(runtime.spawn(follower).abort_handle())
    }

    /// There is nothing to do: the API server tells of every change.
    fn reload(&self) {
        tracing::info!(is_followed = !self.0.is_finished(), "asked to read the configuration again; the API server tells of every change by itself");
    }
}

impl Drop for FollowCluster {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The folder and what follows it. Ends when dropped.
#[derive(Debug)]
pub(super) struct Follow {
    dir: PathBuf,
    target: Target,
    turn: Arc<Mutex<Turn>>,
}

/// Where a folder that was read goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) configuration: Arc<Configuration>,
    pub(super) keeper: Arc<KeyKeeper>,
    pub(super) runtime: Handle,
}

/// Which follower counts. An older one may still be reading the folder, but what it read goes nowhere.
#[derive(Debug, Default)]
struct Turn {
    number: u64,
    follower: Option<AbortHandle>,
}

impl Follow {
    /// Follows the folder of `source`, which was read already and is in force in `target`.
    pub(super) fn new(source: FolderSource, target: Target) -> Self {
        let follow = Self { dir: source.dir().to_owned(), target, turn: Arc::default() };
        follow.take_over(source, None);
        follow
    }

    /// Reads the folder now, whether it seems to have changed or not. Blocks on the file system.
    pub(super) fn reload(&self) {
        let mut source = FolderSource::new(&self.dir);
        let folder = source.load();
        // What changes from here on, the new follower sees.
        self.take_over(source, Some(folder));
    }

    fn take_over(&self, source: FolderSource, folder: Option<Result<Folder, Vec<SourceError>>>) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = turn.follower.take() {
            before.abort();
        }
        turn.number += 1;
        let (number, turns, target) = (turn.number, Arc::clone(&self.turn), self.target.clone());
        let follower = source.watch(move |folder| {
            let turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.number == number {
                target.put_in_force(folder);
            }
        });
        // Followed first, so that a fault with this change is not the end of it; the lock keeps the follower waiting.
        turn.follower = Some(self.target.runtime.spawn(follower).abort_handle());
        if let Some(folder) = folder {
            self.target.put_in_force(folder);
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(follower) = self.turn.lock().unwrap_or_else(PoisonError::into_inner).follower.take() {
            follower.abort();
        }
    }
}

impl Target {
    /// Puts a folder in force, or says that it cannot be. Blocks for as long as keys that are new are fetched, within a bound.
    fn put_in_force(&self, folder: Result<Folder, Vec<SourceError>>) {
        match folder {
            // An emptied folder says no more than one that is gone: whoever means it starts anew.
            Ok(Folder { objects, .. }) if objects.is_empty() && !self.configuration.current().reports.is_empty() => {
                self.configuration.refuse(vec![emptied()]);
            }
            Ok(Folder { objects, warnings }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.take(&objects, &Withheld::default());
            }
            Err(errors) => self.configuration.refuse(errors),
        }
    }

    /// Puts objects in force. Blocks likewise.
    fn take(&self, objects: &[Object], withheld: &Withheld) {
        self.configuration.take_prepared(objects, withheld, |key_sets| self.fetch_first(key_sets));
    }

    /// Fetches keys that are wanted from now on, beside those that are still in use: else the first requests under the new policies would find
    /// none.
    fn fetch_first(&self, key_sets: &BTreeSet<Arc<KeySetId>>) {
        let in_use = self.configuration.current().key_sets;
        self.keeper.want(&in_use.union(key_sets).map(Arc::clone).collect());
        let attempted = self.runtime.block_on(async { timeout(FIRST_FETCH, self.keeper.first_attempted()).await });
        if attempted.is_err() {
            tracing::warn!("the keys of a new issuer are not there yet; the new policies are in force without them");
        }
    }
}

/// What is said of a folder that holds nothing any more.
fn emptied() -> SourceError {
    let message = "holds no resources any more; to serve none, start anew with the empty folder, or leave one that matches nothing".to_owned();
    SourceError { file: "the folder".into(), document: None, line: None, message }
}
