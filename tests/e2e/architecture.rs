//! Who may know whom (`src/lib.rs` draws the rooms). Reads the sources as text, so that it judges what people read.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every room of the service, the rooms it may use besides itself, and the parts of the core it may use.
/// A room that is missing here may not exist.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("admission", &["clock", "listen"], &["api", "compile", "decide"]),
    ("cases", &["check", "clock", "issuer", "reuse", "signed_url", "source", "telemetry"], EVERY_PART),
    ("check", &["clock", "keys", "reuse", "telemetry"], &["decide"]),
    ("cli", EVERY_ROOM, EVERY_PART),
    ("client", &["cases"], &[]),
    ("clock", &["ready"], &["decide"]),
    ("issuer", &[], &["decide"]),
    ("keys", &["clock"], &["decide"]),
    ("listen", &["check", "ready", "telemetry"], &["decide"]),
    ("ready", &[], &[]),
    ("reuse", &["clock"], &["decide"]),
    ("settings", EVERY_ROOM, EVERY_PART),
    ("signed_url", &[], &["decide"]),
    ("source", &["ready"], &["api", "compile", "decide"]),
    ("status", &["clock", "source"], &["api", "compile"]),
    ("telemetry", &["clock"], &["compile", "decide"]),
];
const EVERY_ROOM: &[&str] = &[
    "admission",
    "cases",
    "check",
    "client",
    "clock",
    "issuer",
    "keys",
    "listen",
    "ready",
    "reuse",
    "settings",
    "signed_url",
    "source",
    "status",
    "telemetry",
];
const EVERY_PART: &[&str] = &["api", "compile", "decide"];

/// The parts of the core, and the other parts each may use.
const PARTS: &[(&str, &[&str])] = &[("api", &[]), ("compile", &["api", "decide"]), ("decide", &[])];

/// What the core may be built from. None of these does I/O, keeps time or starts a thread.
const CORE_CRATES: &[&str] =
    &["aws-lc-rs", "base64", "foldhash", "ipnet", "jsonwebtoken", "memchr", "schemars", "serde", "serde_json", "serde_path_to_error", "thiserror"];

/// Crates that one room keeps to itself.
const KEPT: &[(&str, &[&str])] = &[
    ("anyhow", &["cli"]),
    ("clap", &["cli", "settings"]),
    ("envoy_types", &["client", "listen"]),
    ("hyper", &["client", "issuer", "listen"]),
    ("notify", &["source"]),
    ("prometheus", &["cases", "keys", "listen", "reuse", "status", "telemetry"]),
    ("redis", &["reuse"]),
    ("reqwest", &["cli", "keys"]),
    ("saphyr_parser", &["source"]),
    ("tonic", &["listen"]),
];

#[test]
fn rooms_know_only_whom_they_may() {
    let known: Vec<_> = ROOMS.iter().map(|(room, ..)| *room).collect();
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let Some((_, rooms, parts)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` is not in tests/e2e/architecture.rs", source.file.display()));
            continue;
        };
        for used in source.used_from("crate", &known) {
            if used != room && !rooms.contains(&used.as_str()) {
                wrong.push(format!("{}: `{room}` must not know `{used}`", source.file.display()));
            }
        }
        for used in source.used_from("ringfence_core", EVERY_PART) {
            if !parts.contains(&used.as_str()) {
                wrong.push(format!("{}: `{room}` must not know the core's `{used}`", source.file.display()));
            }
        }
        for (library, rooms) in KEPT {
            if source.mentions(library) && !rooms.contains(&room) {
                wrong.push(format!("{}: `{library}` is kept to {rooms:?}", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_rule_and_every_rule_its_room() {
    let rooms: BTreeSet<_> = sources("src").iter().filter_map(|source| source.room().map(str::to_owned)).collect();
    let rules: BTreeSet<_> = ROOMS.iter().map(|(room, ..)| (*room).to_owned()).collect();
    assert_eq!(rooms, rules);
}

#[test]
fn parts_of_the_core_know_only_whom_they_may() {
    let mut wrong = Vec::new();
    for source in sources("core/src") {
        let Some(part) = source.room() else { continue };
        let (_, parts) = PARTS.iter().find(|(name, _)| *name == part).unwrap_or_else(|| panic!("the core's part `{part}` has no rule"));
        for used in source.used_from("crate", EVERY_PART) {
            if used != part && !parts.contains(&used.as_str()) {
                wrong.push(format!("{}: `{part}` must not know `{used}`", source.file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_has_no_clock_no_files_no_network_and_no_runtime() {
    let manifest: toml::Table = fs::read_to_string(root().join("core/Cargo.toml")).unwrap().parse().unwrap();
    let crates: Vec<_> = manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let strange: Vec<_> = crates.iter().filter(|name| !CORE_CRATES.contains(name)).collect();
    assert!(strange.is_empty(), "core/Cargo.toml must not name {strange:?}");
    let forbidden =
        ["SystemTime", "Instant::now", "std::fs", "std::net::Tcp", "std::net::Udp", "std::thread", "std::env", "std::process", "async fn"];
    for source in sources("core/src") {
        for word in forbidden {
            assert!(!source.text.contains(word), "{}: the core must do without `{word}`", source.file.display());
        }
    }
}

#[test]
fn the_time_of_day_is_passed_in() {
    // The clock; two defaults of a value that tests replace; and a comparison with the times of files.
    let readers = ["src/clock.rs", "src/issuer/mod.rs", "src/keys/keeper.rs", "src/source/follow.rs"];
    for source in sources("src") {
        let reads = source.text.contains("SystemTime::now");
        assert!(!reads || readers.iter().any(|reader| source.file == Path::new(reader)), "{}: the time of day is passed in", source.file.display());
    }
}

/// A source file without its comments and without its tests.
struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    fn read(file: PathBuf) -> Self {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let opens = |at: usize| text[at..].lines().nth(1).is_some_and(|line| line.ends_with('{'));
        let tests = text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at).find(|at| opens(*at)).unwrap_or(text.len());
        let code = text[..tests].lines().map(|line| line.find("//").map_or(line, |at| &line[..at]));
        let text = code.collect::<Vec<_>>().join("\n");
        Self { file, text }
    }

    /// The first name below the crate's root: `keys` for `src/keys.rs` and `src/keys/fetch.rs`. `None` for the root itself.
    fn room(&self) -> Option<&str> {
        let below = self.file.iter().skip_while(|part| *part != "src").nth(1)?.to_str()?;
        let name = below.strip_suffix(".rs").unwrap_or(below);
        (!matches!(name, "lib" | "main")).then_some(name)
    }

    /// How many modules deep the file is.
    fn depth(&self) -> usize {
        let below = self.file.iter().skip_while(|part| *part != "src").skip(1).count();
        if self.file.ends_with("mod.rs") { below - 1 } else { below }
    }

    /// Which of `names` are used as `root::name`, `root::{.., name, ..}`, or through enough `super`s.
    fn used_from(&self, root: &str, names: &[&str]) -> BTreeSet<String> {
        let supers = vec!["super"; self.depth()].join("::");
        let roots = [root, supers.as_str()];
        let heads = roots.iter().take(if root == "crate" { 2 } else { 1 });
        heads.flat_map(|head| children(&self.text, head)).filter(|name| names.contains(&name.as_str())).collect()
    }

    fn mentions(&self, library: &str) -> bool {
        !children(&self.text, library).is_empty()
    }
}

/// The names directly below `head` wherever a path in `text` starts with it.
fn children(text: &str, head: &str) -> Vec<String> {
    let mut found = Vec::new();
    let head = format!("{head}::");
    for (at, _) in text.match_indices(&head) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':') {
            continue;
        }
        let rest = &text[at + head.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level(group)),
            None => found.push(identifier(rest)),
        }
    }
    found
}

/// The first names of a use group's members, up to the brace that closes it.
fn top_level(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                names.push(identifier(group[start..at].trim()));
                start = at + 1;
                if character == '}' {
                    return names;
                }
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `folder`, but those that hold tests.
fn sources(folder: &str) -> Vec<Source> {
    let mut folders = vec![PathBuf::from(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if !matches!(name.as_str(), "tests" | "testing") {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !matches!(name.as_str(), "tests.rs" | "testing.rs") {
                found.push(Source::read(path));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

#[test]
fn this_test_sees_what_it_has_to() {
    let text = "use crate::{check::Checker, keys, listen::{grpc, http::{a, b}}};\nfn f(x: crate::reuse::Store, y: my_crate::source::X) {}";
    assert_eq!(children(text, "crate"), ["check", "keys", "listen", "reuse"]);
    let nested = Source { file: "src/keys/fetch.rs".into(), text: "use super::super::listen::X;\nuse super::check;".into() };
    assert_eq!(nested.used_from("crate", EVERY_ROOM), BTreeSet::from(["listen".to_owned()]));
    assert_eq!((nested.room(), nested.depth()), (Some("keys"), 2));
}
