//! The test vectors of docs/signed-urls.md, against the program's own signing. Their other origins are the snippets of that page, which
//! `commands` runs.

use std::fs;

use ringfence_core::decide::{Host, Path, SigningKey};

use super::root;

#[test]
fn test_vectors_are_what_the_program_signs() {
    let page = fs::read_to_string(root().join("docs/signed-urls.md")).unwrap();
    let section = page.split("\n## Test vectors\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let key = section.split('`').nth(1).unwrap();
    let mut vectors = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let [expires, host, path, value] = cells[..] else { panic!("{row}") };
        let (host, path) = (Host::parse(host.as_bytes()).unwrap(), Path::parse(path.as_bytes()).unwrap());
        let signed = SigningKey::new(key.as_bytes()).sign(&host, &path, expires.parse().unwrap());
        assert_eq!(signed.as_deref(), Some(value), "{row}");
        vectors += 1;
    }
    assert!(vectors >= 5, "{vectors}");
}
