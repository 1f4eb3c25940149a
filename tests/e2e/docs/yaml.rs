//! YAML blocks through `ringfence validate`.

use std::{collections::BTreeMap, fs, process::Command};

use super::{Page, blocks::Task, pages};

#[test]
fn policies_in_the_documentation_are_valid() {
    for page in pages() {
        let mut folders: BTreeMap<String, Vec<(String, &str)>> = BTreeMap::new();
        for block in &page.blocks {
            match block.task() {
                Ok(Task::Valid { together }) => {
                    let folder = if together.is_empty() { format!("line {}", block.line) } else { together };
                    folders.entry(folder).or_default().push((page.place(block), &block.text));
                }
                Ok(Task::Invalid(words)) => {
                    let (accepted, said) = validate(&[(page.place(block), &block.text)]);
                    assert!(!accepted && said.contains(&words), "{}: should be refused with `{words}`:\n{said}", page.place(block));
                }
                _ => {}
            }
        }
        for blocks in folders.values() {
            accept(&page, blocks);
        }
    }
}

/// The policies that are said to be valid, in folders that belong together, with their places.
#[cfg(feature = "real-proxies")]
pub fn valid_policies() -> Vec<(String, Vec<String>)> {
    let mut folders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in pages() {
        for block in &page.blocks {
            if let Ok(Task::Valid { together }) = block.task() {
                let folder = if together.is_empty() { page.place(block) } else { format!("{} {together}", page.path.display()) };
                folders.entry(folder).or_default().push(block.text.clone());
            }
        }
    }
    folders.into_iter().collect()
}

fn accept(page: &Page, blocks: &[(String, &str)]) {
    let (accepted, said) = validate(blocks);
    assert!(accepted, "{}:\n{said}", page.path.display());
}

/// Whether the blocks are accepted in one folder, and what is said of them.
fn validate(blocks: &[(String, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    for (place, text) in blocks {
        fs::write(folder.path().join(place.replace(['/', ':'], "-") + ".yaml"), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("validate").arg(folder.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
