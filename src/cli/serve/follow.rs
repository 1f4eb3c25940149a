//! Follows the folder that policies come from, and reads it again when asked to.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ringfence_core::decide::KeySetId;
use tokio::{runtime::Handle, task::AbortHandle, time::timeout};

use crate::{
    keys::KeyKeeper,
    source::{
        Configuration, SourceError,
        files::{Folder, FolderSource},
    },
};

/// How long new policies wait for the keys of issuers that are new.
const FIRST_FETCH: Duration = Duration::from_secs(2);

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
            Ok(Folder { objects, warnings }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.configuration.take_prepared(&objects, |key_sets| self.fetch_first(key_sets));
            }
            Err(errors) => self.configuration.refuse(errors),
        }
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
