//! The definitions that are shipped are those that the program prints.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ringfence::cli::crds;
use serde_json::Value;

/// Where the definitions are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds")
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence")).arg("crds").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_shipped_is_what_the_program_prints() {
    let shipped: BTreeMap<_, _> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    let made: BTreeMap<_, _> = crds::files().into_iter().collect();
    let differ = shipped != made;
    assert!(!differ, "deploy/crds is not what the types say; make it anew with `cargo run -- crds --dir deploy/crds`");
}

#[test]
fn every_way_to_print_them_says_the_same() {
    let made = tempfile::tempdir().unwrap();
    let folder = made.path().join("new/crds");
    let said = run(&["--dir", &folder.display().to_string()]);
    assert_eq!(said.lines().count(), 4, "{said}");
    let mut all = String::new();
    for (name, text) in crds::files() {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), text);
        all += &text.replace(text.lines().next().unwrap(), "---");
    }
    assert_eq!(run(&[]), all);
    let list: Value = serde_json::from_str(&run(&["-o", "json"])).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
}

/// Calls `look` with every schema below this one, and where it stands.
fn walk(schema: &Value, at: &str, look: &mut impl FnMut(&Value, &str)) {
    look(schema, at);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        walk(member, &format!("{at}.{name}"), look);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{at}[]"), look);
    }
}

#[test]
fn nothing_that_is_written_is_dropped_and_everything_is_bounded_and_explained() {
    let list: Value = serde_json::from_str(&run(&["-o", "json"])).unwrap();
    let (mut objects, mut optional) = (0, 0);
    for definition in list["items"].as_array().unwrap() {
        let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        walk(&root["properties"]["spec"], &format!("{kind}.spec"), &mut |schema, at| {
            let kept = schema["x-kubernetes-preserve-unknown-fields"] == true;
            match schema["type"].as_str() {
                Some("object") => {
                    objects += 1;
                    assert!(kept, "{at} drops what it does not know");
                    let required = schema["required"].as_array().cloned().unwrap_or_default();
                    for (name, member) in schema["properties"].as_object().unwrap() {
                        let is_required = required.iter().any(|required| required == name);
                        assert_eq!(member["nullable"] == true, !is_required, "{at}.{name}: exactly what may be left out keeps a null");
                        assert!(member["description"].as_str().is_some_and(|text| text.len() > 5), "{at}.{name} is not explained");
                        optional += usize::from(!is_required);
                    }
                }
                Some("array") => assert!(schema["maxItems"].is_u64() && schema["minItems"] == 1, "{at} is not bounded"),
                Some("string") => assert!(schema["maxLength"].is_u64() || schema["enum"].is_array(), "{at} is not bounded"),
                Some("integer") => assert!(schema["maximum"].is_u64(), "{at} is not bounded"),
                Some("boolean") => {}
                None => assert!(kept, "{at} has no type"),
                Some(other) => panic!("{at}: {other}"),
            }
        });
        assert_eq!(root["x-kubernetes-preserve-unknown-fields"], true);
    }
    assert!(objects > 30 && optional > 80, "{objects} {optional}");
}
