#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

const GRANT: &str = "apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {name: NAME}\nspec: {hosts: [a.example], namespaces: [a]}\n";

fn grant(name: &str) -> String {
    GRANT.replace("NAME", name)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn load(dir: &TempDir) -> Result<Folder, Vec<SourceError>> {
    FolderSource::new(dir.path()).load()
}

fn names(folder: &Folder) -> Vec<String> {
    folder.objects.iter().map(|object| object.key.to_string()).collect()
}

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    load(&folder(files)).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_document_of_every_file_is_read() {
    let two = format!("{}---\n{}", grant("b"), grant("c"));
    let dir = folder(&[
        ("z.yaml", &grant("z")),
        ("a.yml", &two),
        ("sub/deep/d.YAML", &grant("d")),
        ("e.json", "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"e\"}}"),
        ("notes.txt", "not: [yaml"),
        (".hidden.yaml", "not: [yaml"),
        ("empty.yaml", "# nothing\n"),
    ]);
    let read = load(&dir).unwrap();
    assert_eq!(names(&read), ["HostGrant/b", "HostGrant/c", "Secret/default/e", "HostGrant/d", "HostGrant/z"]);
    let location = read.objects[1].origin.as_ref().unwrap().locate("/spec/hosts/0");
    assert_eq!((location.file.as_ref(), location.document, location.line), ("a.yml", 2, 9));
    assert_eq!(read.objects[2].origin.as_ref().unwrap().locate("/nowhere").file.as_ref(), "e.json");
}

#[test]
fn volumes_of_kubernetes_are_read_once() {
    let dir = folder(&[("..2026_01/a.yaml", &grant("a"))]);
    symlink("..2026_01", dir.path().join("..data")).unwrap();
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    symlink(".", dir.path().join("circle")).unwrap();
    assert_eq!(names(&load(&dir).unwrap()), ["HostGrant/a"]);
}

#[test]
fn lists_are_taken_apart() {
    let items = format!("  - {}", grant("a").trim_end().replace('\n', "\n    "));
    let dir = folder(&[("list.yaml", &format!("apiVersion: v1\nkind: List\nitems:\n{items}\n{}\n", items.replace("name: a", "name: b")))]);
    let read = load(&dir).unwrap();
    assert_eq!(names(&read), ["HostGrant/a", "HostGrant/b"]);
    assert_eq!(read.objects[1].origin.as_ref().unwrap().locate("/spec").line, 11);
}

#[test]
fn what_is_none_of_ours_is_passed_over_aloud() {
    let dir = folder(&[("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")]);
    let read = load(&dir).unwrap();
    assert!(read.objects.is_empty());
    assert_eq!(read.warnings[0].to_string(), "a.yaml:2 (document 1): `Deployment` of `apps/v1` is passed over: it is none of ours");
}

#[test]
fn identities_that_cannot_be_read_are_errors() {
    let head = "apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\n";
    let cases: &[(String, &str)] = &[
        ("- a\n".to_owned(), "a.yaml:1 (document 1): a document must be a mapping"),
        ("kind: X\n".to_owned(), "`apiVersion` is missing; our resources say `ringfence.dev/v1alpha1`"),
        ("apiVersion: v1\n".to_owned(), "`kind` is missing"),
        (
            head.replace("CallbackPolicy", "CalbackPolicy"),
            "a.yaml:2 (document 1): `CalbackPolicy` is no kind of `ringfence.dev/v1alpha1`; there are `Call",
        ),
        (head.replace("v1alpha1", "v1"), "a.yaml:1 (document 1): `ringfence.dev/v1` is not known; write `ringfence.dev/v1alpha1`"),
        (head.to_owned(), "`metadata` with a `name` is missing"),
        (format!("{head}metadata: {{namespace: x}}\n"), "`metadata.name` is missing"),
        (format!("{head}metadata: {{name: Big}}\n"), "`Big` is no name"),
        (format!("{head}metadata: {{name: 12}}\n"), "`12` is no name: it is a number; put it in quotes"),
        (format!("{head}metadata: {{name: a, namespace: null}}\n"), "`null` is no namespace"),
        (format!("{head}metadata: {{name: a, namespace: a.b}}\n"), "`a.b` is no namespace"),
        (grant("a").replace("{name: a}", "{name: a, namespace: b}"), "a `HostGrant` has no namespace"),
    ];
    for (text, expected) in cases {
        let errors = errors(&[("a.yaml", text)]);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{text}: {errors:?}");
    }
}

#[test]
fn every_error_of_a_folder_is_named() {
    let good = grant("good");
    let mut files: Vec<(String, &str)> = (0..8).map(|at| (format!("good-{at}.yaml"), "# nothing\n")).collect();
    files.push(("broken.yaml".to_owned(), "a: 1\nb: [1\n"));
    files.push(("good.yaml".to_owned(), &good));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let one = errors(&files);
    assert!(one.len() == 1 && one[0].starts_with("broken.yaml:") && one[0].contains("not YAML"), "{one:?}");
    let two = errors(&[("a.yaml", "a: {\n"), ("b.yaml", "a: 1\na: 2\n")]);
    assert_eq!(two.len(), 2);
    assert_eq!(two[1], "b.yaml:2 (document 1): the key `a` is there twice; keep one of them");
}

#[test]
fn files_that_are_no_text_or_too_large_are_errors() {
    let dir = folder(&[]);
    fs::write(dir.path().join("latin.yaml"), b"a: \xe9\n").unwrap();
    fs::File::create(dir.path().join("large.yaml")).unwrap().set_len(MAX_FILE + 1).unwrap();
    symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
    let mut errors: Vec<String> = load(&dir).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(errors.remove(0).starts_with("dangling.yaml: cannot be read: "));
    assert_eq!(errors, ["large.yaml: is larger than 16 MiB; split it", "latin.yaml: is not UTF-8"]);
}

#[test]
fn a_missing_folder_is_an_error() {
    let error = FolderSource::new("/nonexistent/ringfence").load().unwrap_err();
    assert!(error[0].to_string().starts_with("/nonexistent/ringfence: cannot be read: "), "{error:?}");
    let dir = folder(&[("a.yaml", "# nothing yet\n")]);
    assert!(FolderSource::new(dir.path().join("a.yaml")).load().unwrap_err()[0].message.contains("not a folder"));
}

#[test]
fn the_version_of_a_secret_tells_nothing_of_its_values() {
    let secret = |value: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{k: {value}}}\n");
    let version = |text: &str| load(&folder(&[("a.yaml", text)])).unwrap().objects[0].resource_version.clone();
    assert_eq!(version(&secret("one")), version(&secret("two")));
    assert_ne!(version(&secret("one")), version(&secret("one").replace("k:", "l:")));
    let map = |value: &str| secret(value).replace("Secret", "ConfigMap").replace("stringData", "data");
    assert_ne!(version(&map("one")), version(&map("two")));
}

#[test]
fn a_file_that_looks_cut_off_is_not_read() {
    let padded = |length: usize, end: &str| format!("{}#{}{end}", grant("a"), "x".repeat(length - grant("a").len() - 1 - end.len()));
    for text in [String::new(), padded(1024, ""), padded(4096, "")] {
        let errors = errors(&[("cut.yaml", &text), ("whole.yaml", &grant("b"))]);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("cut.yaml: ") && errors[0].contains("line feed"), "{errors:?}");
    }
    for text in [padded(1024, "\n"), padded(4096, "\n"), padded(1025, ""), "# nothing".to_owned()] {
        assert!(load(&folder(&[("whole.yaml", &text)])).is_ok(), "{text}");
    }
}
