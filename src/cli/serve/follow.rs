//! Follows the folder that policies come from, and reads it again when asked to.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, task::AbortHandle};

use crate::source::{
    Configuration, SourceError,
    files::{Folder, FolderSource},
};

/// The folder and what follows it. Ends when dropped.
#[derive(Debug)]
pub(super) struct Follow {
    dir: PathBuf,
    configuration: Arc<Configuration>,
    turn: Arc<Mutex<Turn>>,
}

/// Which follower counts. An older one may still be reading the folder, but what it read goes nowhere.
#[derive(Debug, Default)]
struct Turn {
    number: u64,
    follower: Option<AbortHandle>,
}

impl Follow {
    /// Follows the folder of `source`, which was read already and is in force in `configuration`.
    pub(super) fn new(source: FolderSource, configuration: Arc<Configuration>) -> Self {
        let follow = Self { dir: source.dir().to_owned(), configuration, turn: Arc::default() };
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
        if let Some(folder) = folder {
            put_in_force(&self.configuration, folder);
        }
        let (number, turns, configuration) = (turn.number, Arc::clone(&self.turn), Arc::clone(&self.configuration));
        let follower = source.watch(move |folder| {
            let turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turn.number == number {
                put_in_force(&configuration, folder);
            }
        });
        turn.follower = Handle::try_current().ok().map(|runtime| runtime.spawn(follower).abort_handle());
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(follower) = self.turn.lock().unwrap_or_else(PoisonError::into_inner).follower.take() {
            follower.abort();
        }
    }
}

fn put_in_force(configuration: &Configuration, folder: Result<Folder, Vec<SourceError>>) {
    match folder {
        Ok(Folder { objects, warnings }) => {
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            configuration.take(&objects);
        }
        Err(errors) => configuration.refuse(errors),
    }
}
