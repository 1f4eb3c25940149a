#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::decide::Algorithm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
}

fn refusal(token: &str) -> Option<Reason> {
    Token::parse(token.as_bytes()).and_then(|token| token.with_signature(|_| ())).err()
}

fn audiences<'t>(token: &'t Token<'_>) -> Vec<&'t str> {
    token.claims.audiences.iter().map(|audience| audience.of(token.payload())).collect()
}

const HEADER: &str = r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#;
const PAYLOAD: &str = r#"{"iss":"i","aud":"a","exp":1800000000.5,"nbf":1e9,"iat":0,"data":{"x":[1,null,true,"y"]}}"#;

#[test]
fn a_good_token_is_read() {
    let text = token(HEADER, PAYLOAD);
    let token = Token::parse(text.as_bytes()).unwrap();
    assert_eq!((token.signed.algorithm, token.kid(), token.with_signature(<[u8]>::to_vec)), (Algorithm::RS256, "k", Ok(b"signature".to_vec())));
    assert_eq!(token.signed.message, &text.as_bytes()[..text.rfind('.').unwrap()]);
    assert_eq!(token.issuer(), Some("i"));
    assert_eq!(audiences(&token), ["a"]);
    assert_eq!(
        (token.claims.expires_ms, token.claims.not_before_ms, token.claims.issued_at_ms),
        (Some(1_800_000_000_500), Some(1_000_000_000_000), Some(0))
    );
    assert_eq!(token.claim("data").unwrap()["x"][3], "y");
    assert_eq!(token.claim("absent"), None);
}

#[test]
fn headers_are_strict() {
    for (header, expected) in [
        (r#"{"alg":"none","kid":"k"}"#, Reason::AlgorithmRefused),
        (r#"{"alg":"HS256","kid":"k"}"#, Reason::AlgorithmRefused),
        (r#"{"alg":"rs256","kid":"k"}"#, Reason::AlgorithmRefused),
        (r#"{"alg":"RS256"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":""}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":7}"#, Reason::TokenMalformed),
        (r#"{"alg":["RS256"],"kid":"k"}"#, Reason::TokenMalformed),
        (r#"{"kid":"k"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","alg":"none","kid":"k"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","\u006bid":"l"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","crit":["exp"]}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","b64":false}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","zip":"DEF"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","jwk":{}}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","jku":"https://x"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","x5u":"https://x"}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k","x5c":[]}"#, Reason::TokenMalformed),
        (r#"{"alg":"RS256","kid":"k"} x"#, Reason::TokenMalformed),
        (r#"["RS256"]"#, Reason::TokenMalformed),
        ("", Reason::TokenMalformed),
        ("null", Reason::TokenMalformed),
    ] {
        assert_eq!(refusal(&token(header, PAYLOAD)), Some(expected), "{header}");
    }
    assert_eq!(refusal(&token(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257)), PAYLOAD)), Some(Reason::TokenMalformed));
    assert_eq!(refusal(&token(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(256)), PAYLOAD)), None);
}

#[test]
fn payloads_are_strict() {
    for payload in [
        r#"{"iss":1}"#,
        r#"{"iss":null}"#,
        r#"{"aud":1}"#,
        r#"{"aud":["a",1]}"#,
        r#"{"aud":{}}"#,
        r#"{"exp":"1800000000"}"#,
        r#"{"exp":null}"#,
        r#"{"exp":-1}"#,
        r#"{"exp":1e400}"#,
        r#"{"exp":253402300800}"#,
        r#"{"exp":true}"#,
        r#"{"exp":1,"exp":2}"#,
        r#"{"exp":1,"exp" :2}"#,
        r#"{"exp" :1,"exp":2}"#,
        r#"{"jti":"a","jti":"b"}"#,
        r#"{"sub":"a","iss":"i","sub"	: "a"}"#,
        r#"{"aud":"a","\u0061ud":"b"}"#,
        r#"{"x":{"y":1,"y":2}}"#,
        r#"{"x":[{"y":1,"y":2}]}"#,
        r#"{"iss":"i",}"#,
        r#"{"iss":"\ud800"}"#,
        "[]",
        "",
    ] {
        assert_eq!(refusal(&token(HEADER, payload)), Some(Reason::TokenMalformed), "{payload}");
    }
    let many = |count: usize| format!("{{{}}}", (0..count).map(|number| format!("\"m{number}\":0")).collect::<Vec<_>>().join(","));
    assert_eq!((refusal(&token(HEADER, &many(64))), refusal(&token(HEADER, &many(65)))), (None, Some(Reason::TokenMalformed)));
    let known = r#""iss":"i","sub":"s","aud":"a","exp":1,"nbf":1,"iat":1,"jti":"j","":0"#;
    let with_known = |count: usize| many(count).replacen('{', &format!("{{{known},"), 1);
    assert_eq!((refusal(&token(HEADER, &with_known(56))), refusal(&token(HEADER, &with_known(57)))), (None, Some(Reason::TokenMalformed)));
    let doubled = |name: &str| with_known(40).replacen("\"m39\"", name, 1);
    for (name, expected) in [
        ("\"m40\"", None),
        ("\"m0\"", Some(Reason::TokenMalformed)),
        ("\"m38\"", Some(Reason::TokenMalformed)),
        ("\"\"", Some(Reason::TokenMalformed)),
    ] {
        assert_eq!(refusal(&token(HEADER, &doubled(name))), expected, "{name}");
    }
    // A name without letters beside names that are not kept.
    assert_eq!(refusal(&token(HEADER, r#"{"iss":"i","p":0,"":0}"#)), None);
    assert_eq!(refusal(&token(HEADER, r#"{"iss":"i","":0,"":0}"#)), Some(Reason::TokenMalformed));
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(4000), "]".repeat(4000));
    assert_eq!(refusal(&token(HEADER, &deep)), Some(Reason::TokenMalformed));
    let not_utf8 = format!("{}.{}.c2ln", encode(HEADER), URL_SAFE_NO_PAD.encode(b"{\"iss\":\"\xff\"}"));
    assert_eq!(refusal(&not_utf8), Some(Reason::TokenMalformed));
}

#[test]
fn the_compact_form_is_strict() {
    let good = token(HEADER, PAYLOAD);
    let parts: Vec<&str> = good.split('.').collect();
    for broken in [
        String::new(),
        "..".into(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}."),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        good.replace('.', ".."),
        format!("{}+.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}/.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}?.{}", parts[0], parts[1], parts[2]),
        // Loose bits in the last character: a second spelling of the same bytes.
        format!("{}.{}.QQ", parts[0], parts[1]).replace("QQ", "QR"),
    ] {
        assert_eq!(refusal(&broken), Some(Reason::TokenMalformed), "{broken:?}");
    }
}

#[test]
fn the_scheme_is_bearer_and_one_space() {
    let ok: &[&str] = &["Bearer t", "bearer t", "BEARER t"];
    for value in ok {
        assert_eq!(bearer(Header::One(value.as_bytes())), Ok(b"t".as_slice()), "{value}");
    }
    for (value, expected) in [
        ("", Reason::TokenMissing),
        ("Bearer", Reason::TokenMissing),
        ("Basic dTpw", Reason::TokenMissing),
        ("Bearert", Reason::TokenMissing),
        ("Bearer\tt", Reason::TokenMissing),
        (" Bearer t", Reason::TokenMissing),
        ("Bearer ", Reason::TokenMalformed),
    ] {
        assert_eq!(bearer(Header::One(value.as_bytes())), Err(expected), "{value:?}");
    }
    assert_eq!(bearer(Header::Absent), Err(Reason::TokenMissing));
    assert_eq!(bearer(Header::Many), Err(Reason::DuplicateCredential));
    let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
    assert_eq!(bearer(Header::One(long.as_bytes())), Err(Reason::TokenMalformed));
}

/// A JSON text as an attacker writes it: sound, nearly sound, or sound to some readers only.
fn json() -> impl Strategy<Value = String> {
    let odd = [
        "0",
        "-0",
        "-0.0",
        "1",
        "1800000000",
        "1800000000.25",
        "18e8",
        "1E+9",
        "1e-3",
        "-1",
        "01",
        "+1",
        ".5",
        "1.",
        "0x10",
        "1e400",
        "-1e400",
        "NaN",
        "1_0",
        "253402300799",
        "253402300799.999",
        "253402300800",
        "18446744073709551616",
        "9223372036854775808.5",
        "1.7976931348623157e308",
        "null",
        "true",
        "\"\"",
        "\"a\"",
        "\"k\"",
        "\"RS256\"",
        "\"none\"",
        "\"rs256\"",
        "\"RS\\u0032\\u0035\\u0036\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"\u{e9}\"",
        "\"\\x\"",
        "\"\t\"",
        "[]",
        "[\"a\"]",
        "[\"a\",\"b\"]",
        "[\"a\",1]",
        "[[\"a\"]]",
        "[\"a\",]",
        "{}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":[1,{}]}}",
        "'a'",
        "undefined",
    ];
    let name = prop_oneof![
        8 => proptest::sample::select(vec!["alg", "kid", "iss", "aud", "exp", "nbf", "iat", "sub", "jti", "typ", "x"]).prop_map(str::to_owned),
        1 => proptest::sample::select(vec!["\\u0061ud", "ALG", "", "crit", "\u{212a}id", "exp\\u0000"]).prop_map(str::to_owned),
    ];
    let space = proptest::sample::select(vec!["", " ", "\n", "\r\t ", "\u{a0}", "/**/"]);
    let member =
        (name, proptest::sample::select(odd.to_vec()), space).prop_map(|(name, value, space)| format!("{space}\"{name}\"{space}:{space}{value}"));
    let ends =
        proptest::sample::select(vec![("{", "}"), ("{", "}"), ("{", "}"), (" {", "}\n"), ("{", ",}"), ("{", "}}"), ("[", "]"), ("\u{feff}{", "}")]);
    (proptest::collection::vec(member, 0..5), ends).prop_map(|(members, (open, close))| format!("{open}{}{close}", members.join(",")))
}

/// What `serde_json`, of other authors, reads under a name, if it is a date.
fn date_of(payload: &Value, name: &str) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "within the range of dates")]
    payload.get(name).map(|value| (value.as_f64().unwrap() * 1000.0) as i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// What is read here, other libraries read as well, and alike: nobody can show us one token and them another.
    #[test]
    fn what_is_read_others_read_alike(header in prop_oneof![Just(HEADER.to_owned()), json()], payload in prop_oneof![Just(PAYLOAD.to_owned()), json()]) {
        let text = token(&header, &payload);
        if let Ok(token) = Token::parse(text.as_bytes()) {
            let theirs = jsonwebtoken::decode_header(&text).unwrap();
            prop_assert_eq!(format!("{:?}", theirs.alg), token.signed.algorithm.name());
            prop_assert_eq!(theirs.kid.as_deref(), Some(token.kid()));
            match serde_json::from_str::<Value>(&payload) {
                Ok(value) => {
                    prop_assert_eq!(value.get("iss").map(|issuer| issuer.as_str().unwrap()), token.issuer());
                    let expected = match value.get("aud") {
                        None => vec![],
                        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().unwrap()).collect(),
                        Some(one) => vec![one.as_str().unwrap()],
                    };
                    prop_assert_eq!(expected, audiences(&token));
                    prop_assert_eq!(date_of(&value, "exp"), token.claims.expires_ms);
                    prop_assert_eq!(date_of(&value, "nbf"), token.claims.not_before_ms);
                    prop_assert_eq!(date_of(&value, "iat"), token.claims.issued_at_ms);
                    prop_assert_eq!(value.get("x").cloned(), token.claim("x"));
                }
                // Half a character, in a claim that nobody measures: then no claim of it is passed on.
                Err(_) => {
                    prop_assert!(payload.contains("\\ud800"), "{}", payload);
                    prop_assert_eq!(token.claim("x"), Some(Value::Null));
                }
            }
        }
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in ".{0,40}", payload in ".{0,80}") {
        let _ = Token::parse(&bytes);
        let _ = Token::parse(token(&header, &payload).as_bytes());
    }
}

#[test]
fn tokens_and_signatures_may_be_so_long_and_no_longer() {
    let bearer_of = |length: usize| bearer(Header::One(format!("Bearer {}", "a".repeat(length)).as_bytes())).map(<[u8]>::len);
    assert_eq!([1, 16_384, 16_385].map(bearer_of), [Ok(1), Ok(16_384), Err(Reason::TokenMalformed)]);
    assert_eq!(bearer_of(0), Err(Reason::TokenMalformed));
    let signed = |length: usize| format!("{}.{}.{}", encode(HEADER), encode(PAYLOAD), URL_SAFE_NO_PAD.encode(vec![7; length]));
    assert_eq!([1, 511, 512].map(|length| refusal(&signed(length))), [None, None, None]);
    // Refused before anything is decoded into a room that is too small.
    for length in [0, 513, 1024] {
        assert_eq!(Token::parse(signed(length).as_bytes()).map(|_| ()), Err(Reason::TokenMalformed), "{length}");
    }
}

/// By the policy's spelling of the audience, if it is another.
#[test]
fn a_token_says_whose_it_is_and_for_whom() {
    let text = token(HEADER, r#"{"iss":"i","aud":["a","B"],"exp":1800000000}"#);
    let facts = |audience: Option<&str>| {
        let facts = Token::parse(text.as_bytes()).unwrap().take_facts(audience);
        (facts.issuer().map(str::to_owned), facts.audience().map(str::to_owned), facts.kid().map(str::to_owned))
    };
    for (audience, told) in [(None, "a"), (Some("a"), "a"), (Some("B"), "B"), (Some("b"), "b")] {
        assert_eq!(facts(audience), (Some("i".into()), Some(told.into()), Some("k".into())), "{audience:?}");
    }
}

#[test]
fn what_is_shown_of_a_token_cannot_be_used() {
    let text = token(HEADER, PAYLOAD);
    let shown = format!("{:?}", Token::parse(text.as_bytes()).unwrap());
    assert!(shown.contains("RS256") && shown.contains("\"k\"") && !shown.contains(&encode("signature")), "{shown}");
}

#[test]
fn a_claim_is_found_by_its_name_or_by_a_pointer() {
    let text = token(HEADER, PAYLOAD);
    let token = Token::parse(text.as_bytes()).unwrap();
    assert_eq!(token.claim("/data/x/3").unwrap(), "y");
    assert_eq!((token.claim("/iss").unwrap(), token.claim("iss").unwrap()), ("i".into(), "i".into()));
    assert_eq!((token.claim("data/x"), token.claim("/data/z")), (None, None));
    let mut names = Vec::new();
    let whole = token.read_claims(|name, scanner| {
        names.push(name.to_owned());
        scanner.skip()
    });
    assert!(whole.is_some());
    assert_eq!(names, ["iss", "aud", "exp", "nbf", "iat", "data"]);
    assert_eq!(token.read_claims(|_, _| None), None);
}
