//! Follows a folder: told by the file system where it can be, by looking every few seconds where not, and by looking now and then in any case
//! (a link may lead to where nobody watches).
//!
//! Must not know what is done about a change.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    time::{Duration, SystemTime},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind, event::AccessMode};
use tokio::{
    sync::mpsc,
    task,
    time::{Instant, sleep, timeout_at},
};

use super::{
    SourceError,
    files::{Folder, FolderSource, Listing},
};

/// How eagerly a folder is followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Whether the file system is asked to tell.
    watched: bool,
    /// Changes are gathered until nothing happens for so long ...
    quiet: Duration,
    /// ... but no longer than this.
    longest: Duration,
    /// How often to look where the file system tells.
    look_watched: Duration,
    /// How often to look where it does not.
    look_unwatched: Duration,
}

const PACE: Pace = Pace {
    watched: true,
    quiet: Duration::from_millis(100),
    longest: Duration::from_secs(1),
    look_watched: Duration::from_secs(10),
    look_unwatched: Duration::from_secs(2),
};

impl FolderSource {
    /// Calls `on_change` with the whole folder after each change since the last [`Self::load`], on the blocking pool. Changes are gathered for
    /// 100 ms, at most 1 s. Goes on until it is dropped, also where `on_change` panics.
    pub async fn watch(self, on_change: impl FnMut(Result<Folder, Vec<SourceError>>) + Send + 'static) {
        self.watch_at(PACE, on_change).await;
    }

    async fn watch_at(self, pace: Pace, on_change: impl FnMut(Result<Folder, Vec<SourceError>>) + Send + 'static) {
        let (tell, mut told) = mpsc::channel(1);
        let mut follower = Follower { source: self, on_change, pace, tell, watching: None, gone: None, was_refused: false };
        let mut was_told = false;
        loop {
            follower = match task::spawn_blocking(move || follower.look(was_told)).await {
                Ok(follower) => follower,
                Err(error) => {
                    tracing::error!(%error, "the configuration is no longer followed");
                    return;
                }
            };
            let interval = if follower.watching.is_some() { pace.look_watched } else { pace.look_unwatched };
            was_told = tokio::select! {
                _ = told.recv() => true,
                () = sleep(interval) => false,
            };
            if was_told {
                gather(&mut told, pace).await;
            }
        }
    }
}

/// Waits until no change came for a while.
async fn gather(told: &mut mpsc::Receiver<()>, pace: Pace) {
    let latest = Instant::now() + pace.longest;
    while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + pace.quiet), told.recv()).await {}
}

/// What is kept between two looks.
struct Follower<F> {
    source: FolderSource,
    on_change: F,
    pace: Pace,
    tell: mpsc::Sender<()>,
    /// The watcher, and the folder (device, inode) it watches: another one may take its place under the same name.
    watching: Option<(RecommendedWatcher, (u64, u64))>,
    /// Why the folder could not be listed the last time.
    gone: Option<SourceError>,
    /// It was said that the file system does not tell.
    was_refused: bool,
}

impl<F: FnMut(Result<Folder, Vec<SourceError>>)> Follower<F> {
    /// Looks once, and hands on what changed.
    fn look(mut self, was_told: bool) -> Self {
        match Listing::new(&self.source.dir) {
            Ok(listing) => {
                // The watcher first, so that no change falls between the look and the watch.
                let is_new = self.watch_root(&listing);
                let looks_the_same = self.source.seen.as_ref() == Some(&listing) && listing.is_settled(SystemTime::now());
                if was_told || is_new || !looks_the_same {
                    self.read();
                }
            }
            Err(error) => self.miss(error),
        }
        self
    }

    /// Reads the folder, and hands it on unless it holds what it held.
    fn read(&mut self) {
        let before = self.source.content;
        match self.source.load() {
            // It went away since it was listed.
            Err(errors) if self.source.seen.is_none() => errors.into_iter().for_each(|error| self.miss(error)),
            folder => {
                if self.gone.take().is_some() || self.source.content != before {
                    self.hand_on(folder);
                }
            }
        }
    }

    /// Says once that the folder cannot be listed.
    fn miss(&mut self, error: SourceError) {
        self.watching = None;
        (self.source.seen, self.source.content) = (None, None);
        if self.gone.as_ref() != Some(&error) {
            self.gone = Some(error.clone());
            self.hand_on(Err(vec![error]));
        }
    }

    /// A change that meets a fault must not be the last one that is followed.
    fn hand_on(&mut self, folder: Result<Folder, Vec<SourceError>>) {
        if panic::catch_unwind(AssertUnwindSafe(|| (self.on_change)(folder))).is_err() {
            tracing::error!("the changed configuration met a fault inside ringfence; the last good one stays in force");
        }
    }

    /// Sees to it that this folder is watched. Says whether it was not before.
    fn watch_root(&mut self, listing: &Listing) -> bool {
        if !self.pace.watched || self.watching.as_ref().is_some_and(|(_, root)| *root == listing.root) {
            return false;
        }
        self.watching = None;
        match start(&self.source.dir, self.tell.clone()) {
            Ok(watcher) => {
                self.watching = Some((watcher, listing.root));
                true
            }
            Err(error) => {
                if !self.was_refused {
                    tracing::warn!(%error, "the folder cannot be watched; it is looked at every {} s instead", self.pace.look_unwatched.as_secs());
                    self.was_refused = true;
                }
                false
            }
        }
    }
}

fn start(dir: &Path, tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading opens files, too. A full channel means that a look is due already.
        if event.is_ok_and(|event| !is_change(event.kind)) {
            return;
        }
        let _ = tell.try_send(());
    })?;
    watcher.watch(dir, RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests;
