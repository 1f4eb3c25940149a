//! A folder of YAML (or JSON) documents, sub-folders and symbolic links included: read whole, and within bounds.
//!
//! Must not know what the documents mean beyond their identity.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use ringfence_core::api::Object;

use super::{
    SourceError,
    document::{self, Gathered},
    yaml,
};

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Most bytes in one folder.
const MAX_FOLDER: u64 = 512 * 1024 * 1024;
/// Most files in one folder.
const MAX_FILES: usize = 200_000;
/// Deepest nesting of sub-folders.
const MAX_DEPTH: usize = 16;
/// How often a folder is read again that changed while it was read.
const MAX_ATTEMPTS: usize = 5;
/// Smallest unit in which file systems lose the rest of a file, in bytes.
const SMALLEST_BLOCK: usize = 1024;
/// A file may change twice within one tick of its file system's clock, and look the same both times.
const COARSEST_TICK: Duration = Duration::from_secs(2);

/// A folder as it was read.
#[derive(Debug)]
pub struct Folder {
    /// Every resource in it, in the order of files and documents.
    pub objects: Vec<Object>,
    /// What was passed over, and probably should not have been.
    pub warnings: Vec<SourceError>,
}

/// A folder that is read and followed ([`Self::watch`]).
#[derive(Debug)]
pub struct FolderSource {
    pub(super) dir: PathBuf,
    /// What the folder looked like when it was last read.
    pub(super) seen: Option<Listing>,
    /// A digest of what was read then.
    pub(super) content: Option<Content>,
}

/// SHA-256 over the names and contents of all files.
pub(super) type Content = [u8; 32];

impl FolderSource {
    /// The folder `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), seen: None, content: None }
    }

    /// Which folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads every `*.yaml`, `*.yml` and `*.json` file of the folder and its sub-folders, names that start with a dot left out. Blocks on the
    /// file system. A folder that changes meanwhile is read again, so that what is returned was there at one time.
    ///
    /// # Errors
    /// Everything that cannot be read; then nothing of the folder counts.
    pub fn load(&mut self) -> Result<Folder, Vec<SourceError>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            (self.seen, self.content) = (None, None);
            let listing = Listing::new(&self.dir).map_err(|error| vec![error])?;
            let (read, content) = read_files(&self.dir, &listing);
            let is_stable = Listing::new(&self.dir).is_ok_and(|after| after == listing);
            if is_stable || attempts == MAX_ATTEMPTS {
                // What changed during the last attempt shows in the next listing.
                self.seen = Some(listing);
                self.content = Some(content);
                return read;
            }
        }
    }
}

/// The files of a folder and what would change if one of them did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Device and inode of the folder itself.
    pub(super) root: (u64, u64),
    /// In the order of their paths.
    files: Vec<ListedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ListedFile {
    path: PathBuf,
    /// `None` = there is no file behind the name.
    stamp: Option<Stamp>,
}

/// What a file looks like from outside: of a link, the file it leads to. Times are seconds and nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    /// Device and inode.
    file: (u64, u64),
    /// In bytes.
    size: u64,
    changed: (i64, i64),
    entry_changed: (i64, i64),
}

impl Listing {
    /// Lists the folder `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self, SourceError> {
        let metadata = fs::metadata(dir).map_err(|error| cannot_read(dir, &error))?;
        if !metadata.is_dir() {
            return Err(whole(dir, "is not a folder"));
        }
        let mut listing = Self { root: (metadata.dev(), metadata.ino()), files: Vec::new() };
        listing.add_folder(dir, 0, &mut BTreeSet::new())?;
        Ok(listing)
    }

    /// Whether the last change was so long before `now` that a later one would look different.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let latest = self.files.iter().flat_map(|file| &file.stamp).map(|stamp| stamp.changed.max(stamp.entry_changed).0).max().unwrap_or_default();
        let settled = now.checked_sub(COARSEST_TICK).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        settled.is_some_and(|settled| i64::try_from(settled.as_secs()).is_ok_and(|settled| latest < settled))
    }

    /// Adds what is in `dir`. A folder that several links lead to counts once, so that a circle ends.
    fn add_folder(&mut self, dir: &Path, depth: usize, visited: &mut BTreeSet<(u64, u64)>) -> Result<(), SourceError> {
        let metadata = fs::metadata(dir).map_err(|error| cannot_read(dir, &error))?;
        if !visited.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(whole(dir, format!("is nested deeper than {MAX_DEPTH} folders")));
        }
        let entries = fs::read_dir(dir).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>());
        let mut entries = entries.map_err(|error| cannot_read(dir, &error))?;
        entries.sort_unstable();
        for path in entries {
            // Kubernetes keeps the files of a volume in `..<time>` folders and links to them from beside; editors keep theirs behind a dot, too.
            if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.add_folder(&path, depth + 1, visited)?,
                Ok(metadata) if metadata.is_file() && is_ours(&path) => self.add_file(path, Some(&metadata))?,
                // Whoever reads it says why it cannot be.
                Err(_) if is_ours(&path) => self.add_file(path, None)?,
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn add_file(&mut self, path: PathBuf, metadata: Option<&fs::Metadata>) -> Result<(), SourceError> {
        if self.files.len() == MAX_FILES {
            return Err(whole(&path, format!("is one file too many; a folder may hold {MAX_FILES}")));
        }
        let stamp = metadata.map(|metadata| Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            entry_changed: (metadata.ctime(), metadata.ctime_nsec()),
        });
        self.files.push(ListedFile { path, stamp });
        Ok(())
    }
}

fn is_ours(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|ours| extension.eq_ignore_ascii_case(ours)))
}

/// Reads the listed files, all of them, so that every error is found at once.
fn read_files(dir: &Path, listing: &Listing) -> (Result<Folder, Vec<SourceError>>, Content) {
    let mut gathered = Gathered::default();
    let mut budget = MAX_FOLDER;
    let mut content = digest::Context::new(&digest::SHA256);
    for ListedFile { path, .. } in &listing.files {
        let shown: Arc<str> = path.strip_prefix(dir).unwrap_or(path).display().to_string().into();
        let read = read_file(path, &mut budget);
        let text = read.as_ref().map_or_else(String::as_str, String::as_str);
        for part in [&*shown, text] {
            content.update(&part.len().to_le_bytes());
            content.update(part.as_bytes());
        }
        match read {
            Ok(text) => read_documents(&shown, &text, &mut gathered),
            Err(message) => gathered.errors.push(SourceError { file: shown, document: None, line: None, message }),
        }
    }
    let Gathered { objects, errors, warnings } = gathered;
    let mut sum = Content::default();
    sum.copy_from_slice(content.finish().as_ref());
    (if errors.is_empty() { Ok(Folder { objects, warnings }) } else { Err(errors) }, sum)
}

fn read_documents(file: &Arc<str>, text: &str, gathered: &mut Gathered) {
    match yaml::read(text) {
        Ok(documents) => documents.into_iter().for_each(|document| document::gather(file, document, gathered)),
        Err(yaml::YamlError { document, line, message }) => {
            gathered.errors.push(SourceError { file: Arc::clone(file), document: Some(document), line: Some(line), message });
        }
    }
}

/// Reads one file; at most one byte more than is allowed, whatever its size is said to be.
fn read_file(path: &Path, budget: &mut u64) -> Result<String, String> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    let read = u64::try_from(read).unwrap_or(u64::MAX);
    if read > MAX_FILE {
        return Err(format!("is larger than {} MiB; split it", MAX_FILE >> 20));
    }
    if is_cut_off(&bytes) {
        let what = if bytes.is_empty() { "is empty" } else { "ends within a line" };
        return Err(format!("{what}, as if the disk had been full when it was written; write it again and end it with a line feed, or remove it"));
    }
    *budget = budget.checked_sub(read).ok_or_else(|| format!("the folder holds more than {} MiB", MAX_FOLDER >> 20))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// Whether a file looks like one of which only the beginning was written, which happens in whole blocks: what is left of a policy may be a policy
/// that demands less. A whole file without a line feed at its end seldom has such a length.
fn is_cut_off(bytes: &[u8]) -> bool {
    // FAIL-CLOSED: a_file_that_looks_cut_off_is_not_read
    bytes.len().is_multiple_of(SMALLEST_BLOCK) && bytes.last() != Some(&b'\n')
}

fn cannot_read(path: &Path, error: &io::Error) -> SourceError {
    whole(path, format!("cannot be read: {error}"))
}

fn whole(path: &Path, message: impl Into<String>) -> SourceError {
    SourceError { file: path.display().to_string().into(), document: None, line: None, message: message.into() }
}

#[cfg(test)]
mod tests;
