//! A JWKS document, held against RFC 7517 and our own bounds, written once more on top of `serde_json`.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, jwk::Jwk};
use ringfence_core::decide::{Algorithm, KeySetReading, MAX_JWKS, MAX_KEYS, VerifyingKey, read_key_set};
use serde_json::Value;

/// Panics where a key is usable that should not be, or where one goes missing.
pub fn check(document: &[u8]) {
    let Ok(KeySetReading { keys, rejected }) = read_key_set(document) else { return };
    assert!(document.len() <= MAX_JWKS);
    let tree: Value = serde_json::from_slice(document).expect("what is read is JSON");
    let entries = tree["keys"].as_array().expect("what is read is a key set");
    assert!(entries.len() <= MAX_KEYS);
    assert_eq!(entries.len(), keys.len() + rejected.len(), "each is usable, or is named with what is wrong");
    for kid in keys.kids() {
        let named: Vec<_> = entries.iter().filter(|entry| entry["kid"] == kid).collect();
        let [entry] = named.as_slice() else { panic!("{} keys are `{kid}`", named.len()) };
        assert_usable(entry, keys.get(kid).expect("it was listed"));
    }
}

fn assert_usable(entry: &Value, key: &VerifyingKey) {
    let member = |name: &str| entry.get(name).filter(|value| !value.is_null());
    assert!(member("use").is_none_or(|purpose| purpose == "sig"), "{entry}");
    assert!(member("key_ops").is_none_or(|operations| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))), "{entry}");
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(member(private).is_none() || private == "k", "{entry}");
    }
    let served: Vec<_> = Algorithm::ALL.iter().copied().filter(|algorithm| key.serves(*algorithm)).collect();
    assert!(!served.is_empty());
    if let Some(only) = member("alg") {
        assert_eq!(served.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>(), [only.as_str().unwrap_or_default()], "{entry}");
    }
    let (kind, curve) = (entry["kty"].as_str().unwrap_or_default(), entry["crv"].as_str().unwrap_or_default());
    for algorithm in &served {
        let fits = match algorithm.name() {
            "ES256" => (kind, curve) == ("EC", "P-256"),
            "ES384" => (kind, curve) == ("EC", "P-384"),
            "EdDSA" => (kind, curve) == ("OKP", "Ed25519"),
            _ => kind == "RSA",
        };
        assert!(fits, "{algorithm:?}: {entry}");
    }
    if kind == "RSA" {
        assert_sound_rsa(entry);
    }
    // Another library takes it for a key as well, as far as it knows the algorithm's name.
    if let Ok(jwk) = serde_json::from_value::<Jwk>(entry.clone()) {
        assert!(DecodingKey::from_jwk(&jwk).is_ok(), "{entry}");
    }
}

/// 2048 to 4096 bits, and 65537.
fn assert_sound_rsa(entry: &Value) {
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(entry[name].as_str().expect("a number")).expect("base64url");
        bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>()
    };
    assert_eq!(number("e"), [1, 0, 1]);
    let n = number("n");
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    assert!((2048..=4096).contains(&bits) && n.last().is_some_and(|last| last % 2 == 1), "{bits} bits: {entry}");
}
