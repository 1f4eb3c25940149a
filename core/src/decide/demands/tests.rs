#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn number(text: &str) -> ClaimValue {
    ClaimValue::Number(Decimal::parse(text).unwrap())
}

fn value(value: &Value) -> ClaimValue {
    match value {
        Value::String(text) => ClaimValue::Text(text.as_str().into()),
        Value::Bool(flag) => ClaimValue::Bool(*flag),
        other => number(&other.to_string()),
    }
}

/// What becomes of `payload` where `name` must be one of `values`.
fn judge(payload: &str, name: &str, values: &[ClaimValue]) -> Option<Reason> {
    let name = ClaimName::new(name).unwrap();
    match find(payload, &name.steps) {
        None => Some(Reason::ClaimMissing),
        Some(found) if is_one_of(found, values) => None,
        Some(_) => Some(Reason::ClaimMismatch),
    }
}

#[test]
fn numbers_are_compared_by_what_they_amount_to() {
    let same: &[&[&str]] = &[
        &["1", "1.0", "1e0", "10e-1", "0.1E1", "0.1e+1", "1.000"],
        &["0", "-0", "0.0", "0e9", "-0.0e-5"],
        &["-12.5", "-125e-1", "-1.25e1"],
        &["9007199254740993", "9007199254740993.0", "9.007199254740993e15"],
        &["123456789012345678901234567890"],
        &["9007199254740992"],
        &["1e-400"],
        &["12"],
        &["1.2"],
    ];
    for (one, spellings) in same.iter().enumerate() {
        for (other, others) in same.iter().enumerate() {
            for (a, b) in spellings.iter().flat_map(|a| others.iter().map(move |b| (a, b))) {
                assert_eq!(Decimal::parse(a).unwrap() == Decimal::parse(b).unwrap(), one == other, "{a} {b}");
            }
        }
    }
    for none in ["", "-", ".5", "+1", "1e", "1e99999999999", "x", "1 ", "0x1", "NaN", "--1"] {
        assert_eq!(Decimal::parse(none), None, "{none}");
    }
}

#[test]
fn values_are_compared_with_their_type() {
    let payload = r#"{"s":"1","n":1,"t":true,"e":"a\u0062","null":null,"o":{"x":1},"list":["a",2,false,["deep"],{"x":"in"}],"none":[]}"#;
    let text = |text: &str| ClaimValue::Text(text.into());
    let (missing, mismatch) = (Some(Reason::ClaimMissing), Some(Reason::ClaimMismatch));
    for (name, value, expected) in [
        ("s", text("1"), None),
        ("s", number("1"), mismatch),
        ("n", number("1.0"), None),
        ("n", text("1"), mismatch),
        ("n", ClaimValue::Bool(true), mismatch),
        ("t", ClaimValue::Bool(true), None),
        ("t", ClaimValue::Bool(false), mismatch),
        ("t", text("true"), mismatch),
        ("e", text("ab"), None),
        ("null", text("null"), mismatch),
        ("o", number("1"), mismatch),
        ("list", text("a"), None),
        ("list", number("2"), None),
        ("list", ClaimValue::Bool(false), None),
        ("list", text("deep"), mismatch),
        ("list", text("in"), mismatch),
        ("none", text("a"), mismatch),
        ("absent", text("a"), missing),
        ("S", text("1"), missing),
    ] {
        assert_eq!(judge(payload, name, std::slice::from_ref(&value)), expected, "{name} {value:?}");
        assert_eq!(judge(payload, name, &[text("other"), value.clone()]), expected, "{name} {value:?}");
    }
}

#[test]
fn pointers_lead_to_nested_claims() {
    let payload =
        r#" { "realm" : { "roles" : [ "admin" , "user" ] , "a/b" : { "c~d" : 1 , "" : 2 } } , "/x" : 3 , "https://a.example/r" : "v" , "m" : "" } "#;
    let text = |text: &str| ClaimValue::Text(text.into());
    let missing = Some(Reason::ClaimMissing);
    for (name, value, expected) in [
        ("/realm/roles", text("user"), None),
        ("/realm/roles/0", text("admin"), None),
        ("/realm/roles/1", text("admin"), Some(Reason::ClaimMismatch)),
        ("/realm/roles/2", text("admin"), missing),
        ("/realm/roles/00", text("admin"), missing),
        ("/realm/roles/-", text("admin"), missing),
        ("/realm/roles/+0", text("admin"), missing),
        ("/realm/roles/0/x", text("admin"), missing),
        ("/realm/a~1b/c~0d", number("1"), None),
        ("/realm/a~1b/", number("2"), None),
        ("/realm/a/b", number("1"), missing),
        ("/~1x", number("3"), None),
        ("realm/roles", text("user"), missing),
        ("https://a.example/r", text("v"), None),
        ("/https:~1~1a.example~1r", text("v"), None),
        ("/m/x", text(""), missing),
    ] {
        assert_eq!(judge(payload, name, &[value]), expected, "{name}");
    }
    for none in ["/a~", "/a~2b", "/~/x", "/a/~01~"] {
        assert_eq!(ClaimName::new(none), None, "{none}");
    }
    assert_eq!(*ClaimName::new("/~01").unwrap().steps, [Box::from("~1")]);
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[ -~]{0,6}".prop_map(Value::from)
    ]
}

proptest! {
    /// Held against a reader that builds the whole tree.
    #[test]
    fn what_the_library_finds_is_found(
        claims in proptest::collection::btree_map("[a-c/~0-1]{0,3}", prop_oneof![scalar(), proptest::collection::vec(scalar(), 0..3).prop_map(Value::from), proptest::collection::btree_map("[a-c~/]{0,2}", scalar(), 0..3).prop_map(|map| json!(map))], 0..5),
        name in prop_oneof!["[a-c]{1,2}", "(/[a-c0-1]{0,2}){1,2}", "(/[a-c]?(~0|~1)[a-c]?){1,2}"],
        wanted in scalar(),
    ) {
        let document = json!(claims);
        let theirs = if name.starts_with('/') { document.pointer(&name) } else { document.get(&name) };
        let expected = match theirs {
            None => Some(Reason::ClaimMissing),
            Some(Value::Array(items)) if items.contains(&wanted) => None,
            Some(found) if *found == wanted => None,
            Some(_) => Some(Reason::ClaimMismatch),
        };
        prop_assert_eq!(judge(&serde_json::to_string_pretty(&document).unwrap(), &name, &[value(&wanted)]), expected);
    }

    #[test]
    fn no_text_is_a_fault(text in r#"[-0-9eE.+]{0,12}"#, json in r#"[{}\[\]:,"ab\\u0-3e.+ tfn-]{0,24}"#, name in "/?[a-b~/0-1]{0,6}") {
        let _ = Decimal::parse(&text);
        if let Some(name) = ClaimName::new(&name) {
            let _ = find(&json, &name.steps).map(|found| is_one_of(found, &[ClaimValue::Bool(true)]));
        }
    }
}
