#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    let mut documents = read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}

fn error(text: &str) -> YamlError {
    match read(text) {
        Ok(documents) => panic!("{text}: read as {documents:?}"),
        Err(error) => error,
    }
}

#[test]
fn scalars_mean_what_the_core_schema_says() {
    let cases: &[(&str, Value)] = &[
        ("null", Value::Null),
        ("~", Value::Null),
        ("true", json!(true)),
        ("False", json!(false)),
        ("12", json!(12)),
        ("-3", json!(-3)),
        ("+3", json!(3)),
        ("0", json!(0)),
        ("0x1F", json!(31)),
        // Whole numbers have one zero.
        ("-0", json!(0)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("\"12\"", json!("12")),
        ("'no'", json!("no")),
        ("!!str 12", json!("12")),
        ("30s", json!("30s")),
        ("7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11", json!("7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11")),
        ("2026-01-01", json!("2026-01-01")),
        ("nO", json!("nO")),
        ("north", json!("north")),
        ("10.0.0.0/8", json!("10.0.0.0/8")),
        ("e3", json!("e3")),
        ("1.2.3", json!("1.2.3")),
        ("tRue", json!("tRue")),
    ];
    for (text, expected) in cases {
        assert_eq!(value(&format!("v: {text}"))["v"], *expected, "{text}");
    }
    assert_eq!(value("v: |\n  a\n  b\n")["v"], json!("a\nb\n"));
}

#[test]
fn what_readers_disagree_about_is_refused() {
    let cases = [
        ("v: no", "truth value"),
        ("v: Yes", "truth value"),
        ("v: OFF", "truth value"),
        ("v: y", "truth value"),
        ("on: 1", "truth value"),
        ("v: 0123", "octal"),
        ("v: -07", "octal"),
        ("v: 0o17", "number to some"),
        ("v: 0b11", "number to some"),
        ("v: 1_000", "number to some"),
        ("v: -0x1F", "number to some"),
        ("v: .inf", "JSON"),
        ("v: .NaN", "JSON"),
        ("v: 99999999999999999999", "too large"),
        ("v: 1e999", "too large"),
        ("v: !!int 3", "tag"),
        ("v: !!binary aGk=", "tag"),
        ("v: !custom {a: 1}", "tag"),
        ("null: 1", "quotes"),
        ("1.10: 1", "quotes"),
        ("[a]: 1", "key must be plain text"),
        ("a: &a {b: 1}\nc: {<<: *a}", "merge keys"),
    ];
    for (text, expected) in cases {
        let error = error(text);
        assert!(error.message.contains(expected), "{text}: {}", error.message);
    }
    assert_eq!(value("1: a"), json!({"1": "a"}));
}

#[test]
fn positions_are_the_keys_lines() {
    let text = "# first\na: 1\n---\nkind: X\nspec:\n  hosts:\n    - one\n    - two\n  deep: {x: {w: 1},\n    z: 2}\n  a/b~c: 1\n";
    let documents = read(text).unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!((documents[0].number, documents[0].place.line), (1, 2));
    let place = &documents[1].place;
    let lines = [
        ("", 4),
        ("/spec", 5),
        ("/spec/hosts", 6),
        ("/spec/hosts/1", 8),
        ("/spec/hosts/7", 6),
        ("/spec/deep/x/w", 9),
        ("/spec/deep/z", 10),
        ("/spec/a~1b~0c", 11),
        ("/spec/nothing/here", 5),
    ];
    for (pointer, line) in lines {
        assert_eq!(place.line_of(pointer), line, "{pointer}");
    }
}

#[test]
fn empty_documents_are_counted_and_left_out() {
    let documents = read("---\n# nothing\n---\na: 1\n---\n---\nb: 2\n...\n").unwrap();
    assert_eq!(documents.iter().map(|document| document.number).collect::<Vec<_>>(), [2, 4]);
    assert!(read("").unwrap().is_empty());
    assert!(read("# only a comment\n").unwrap().is_empty());
}

#[test]
fn syntax_errors_say_where() {
    let broken = error("a: 1\n---\nb: 1\nc: [1, 2\nd: 3\n");
    assert_eq!(broken.document, 2);
    assert!(broken.line >= 4 && broken.message.starts_with("not YAML"), "{broken:?}");
    let duplicate = error("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n");
    assert_eq!((duplicate.line, duplicate.message.as_str()), (5, "the key `c` is there twice; keep one of them"));
    assert!(error("a: 1\n\"a\": 2\n").message.contains("twice"));
}

#[test]
fn depth_and_aliases_are_bounded() {
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    assert!(error(&deep).message.contains("nested deeper"));
    assert!(read(&format!("{}1{}", "[".repeat(60), "]".repeat(60))).is_ok());
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(error(&laughs).message.contains("more than"), "{:?}", error(&laughs));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 32].join(", "));
    assert!(error(&long).message.contains("aliases repeat too much"));
    assert!(error("a: &a [1, *a]\n").message.contains("alias"));
    assert!(error("a: &a 1\n---\nb: *a\n").message.contains("alias") || error("a: &a 1\n---\nb: *a\n").message.contains("anchor"));
    assert_eq!(value("a: &a {b: 1}\nc: *a\n"), json!({"a": {"b": 1}, "c": {"b": 1}}));
}

#[test]
fn json_is_yaml() {
    let text = "{\n\t\"a\": [1, 2.5, true, null, \"no\"],\n\t\"b\": {\"c\": \"\\u00e9\\n\\/\"}\n}\n";
    assert_eq!(value(text), serde_json::from_str::<Value>(text).unwrap());
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(text in "[ \\n\\t:\\-\\[\\]{}&*!|>'\"%@`#,?a-c0-9~<é]{0,80}") {
        // `read` would turn a panic of the parser into an error; here it is looked at without that net.
        let _ = Reader::new(&text).documents();
    }

    #[test]
    fn what_serde_writes_is_read_the_same(value in json_value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let documents = read(&text).unwrap();
        let read: Vec<_> = documents.into_iter().map(|document| document.value).collect();
        prop_assert_eq!(read, if value.is_null() { vec![] } else { vec![value] });
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~\\n\\té]{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[ -~]{0,8}", inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
