//! The documentation does what it says: every YAML block is checked, every command is run.
//!
//! What is to be done with a fenced block stands in an HTML comment on the line before it, which readers never see:
//!
//! | comment | for | meaning |
//! |---|---|---|
//! | none | `yaml` with `apiVersion: ringfence.dev/...` | `ringfence validate` accepts it, alone in a folder |
//! | `<!-- test: together NAME -->` | `yaml` | validated in one folder with the page's other blocks of that NAME |
//! | `<!-- test: invalid WORDS -->` | `yaml` | `ringfence validate` refuses it, and says WORDS |
//! | `<!-- test: from PATH -->` | any | its lines stand in the file PATH, one after the other; indentation does not matter |
//! | `<!-- test: file PATH -->` | any | written to PATH in the page's folder, for later commands |
//! | `<!-- test: run -->` | `sh`, `console` | run with `bash -e`; must succeed |
//! | `<!-- test: run exit=N -->` | `sh`, `console` | the last command must exit with N |
//! | `<!-- test: serve URL -->` | `sh` | started and kept until the page ends; goes on when URL answers 2xx |
//! | `<!-- test: cluster -->` | `sh`, `console` | run on a whole cluster, empty at first, one block of the page after the other (`tests/e2e/node`) |
//! | `<!-- test: cluster serve ADDRESS -->` | `sh` | started there and kept until the page ends; goes on when ADDRESS answers |
//! | `<!-- test: elsewhere PATH -->` | any | PATH, a file of the tests, does what the block says |
//! | `<!-- test: other WHY -->` | any but `sh`, `console` | not ours (another product's file); WHY for the maintainer |
//!
//! A `yaml`, `sh` or `console` block without a comment that fits fails. In `console` blocks the lines after `$ ` are commands and the lines
//! below them their output, in which `...` stands for anything, also for several lines when alone. All blocks of a page run in one temporary
//! folder that shows the repository's top level; `ringfence` and `cargo run --release --` are the program under test. Commands are run only with the feature
//! `real-proxies`, as they may need what `tests/run.sh` installs.

mod blocks;
#[cfg(feature = "real-proxies")]
pub mod cluster;
#[cfg(feature = "real-proxies")]
mod commands;
mod demo;
mod links;
mod reference;
mod signed_urls;
mod yaml;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::blocks::{Block, Task};
#[cfg(feature = "real-proxies")]
pub use self::yaml::valid_policies;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page of documentation and its blocks.
struct Page {
    /// Its path in the repository.
    path: PathBuf,
    blocks: Vec<Block>,
}

impl Page {
    /// Where a block stands, for messages.
    fn place(&self, block: &Block) -> String {
        format!("{}:{}", self.path.display(), block.line)
    }
}

/// README.md, everything below docs/ and deploy/.
fn pages() -> Vec<Page> {
    let mut found = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs"), root().join("deploy")];
    while let Some(folder) = folders.pop() {
        // A folder that does not exist has no pages.
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let existing = found.into_iter().filter(|path| path.exists());
    let pages = existing.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_owned();
        let blocks = blocks::parse(&text).unwrap_or_else(|error| panic!("{}:{error}", path.display()));
        Page { path, blocks }
    });
    pages.collect()
}

#[test]
fn every_block_says_how_it_is_tested() {
    let mut wrong = Vec::new();
    for page in pages() {
        for block in &page.blocks {
            if let Err(problem) = block.task() {
                wrong.push(format!("{}: {problem}", page.place(block)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_quoted_file_says_what_is_quoted() {
    for page in pages() {
        for block in &page.blocks {
            match block.task() {
                Ok(Task::From(path)) => {
                    let file = fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {path}: {error}", page.place(block)));
                    assert!(blocks::quotes(&file, &block.text), "{}: {path} does not say this", page.place(block));
                }
                Ok(Task::Elsewhere(path)) => assert!(root().join(&path).is_file(), "{}: there is no {path}", page.place(block)),
                _ => {}
            }
        }
    }
}
