//! What the README shows of the demo is what the demo prints, ports, temporary names and times apart.

use std::process::Command;

use super::pages;

#[test]
fn the_readme_shows_the_demo() {
    let pages = pages();
    let mut blocks = pages.iter().filter(|page| page.path.ends_with("README.md")).flat_map(|page| &page.blocks);
    let shown = blocks.find(|block| block.text.starts_with("$ cargo run --release -- demo --once\n")).expect("the README shows the demo");
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).args(["demo", "--once"]).env("TMPDIR", "/tmp").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    let (_, shown) = shown.text.split_once('\n').unwrap();
    for (shown, printed) in shown.lines().zip(printed.lines()) {
        assert_eq!(plain(shown), plain(printed), "\n{shown}\n{printed}");
    }
    assert_eq!(shown.lines().count(), printed.lines().count(), "{printed}");
}

/// The words of a line, without those that differ from run to run.
fn plain(line: &str) -> Vec<&str> {
    let words: Vec<_> = line.split_whitespace().collect();
    let differs = |at: usize| {
        let is_time = words.get(at + 1) == Some(&"ms");
        is_time || ["127.0.0.1:", "/tmp/ringfence-demo-"].iter().any(|start| words[at].contains(start))
    };
    (0..words.len()).filter(|at| !differs(*at)).map(|at| words[at]).collect()
}
