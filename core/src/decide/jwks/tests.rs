#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(kid: &str) -> Value {
    let key = RSA.public_key();
    json!({"kty": "RSA", "kid": kid, "n": b64(key.modulus().big_endian_without_leading_zero()), "e": "AQAB"})
}

/// An RSA key of any size: whether two primes multiply to it cannot be seen from outside.
fn rsa_jwk_of(bits: usize) -> Value {
    let mut modulus = vec![0xff; bits / 8];
    if !bits.is_multiple_of(8) {
        modulus.insert(0, (1 << (bits % 8)) - 1);
    }
    json!({"kty": "RSA", "kid": "a", "n": b64(modulus), "e": "AQAB"})
}

fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}

fn without(mut jwk: Value, member: &str) -> Value {
    jwk.as_object_mut().unwrap().remove(member);
    jwk
}

fn read(keys: &[Value]) -> KeySetReading {
    read_key_set(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn why(jwk: Value) -> String {
    let reading = read(&[jwk, rsa_jwk("good")]);
    assert!(reading.keys.get("good").is_some(), "one bad key spoiled another");
    assert_eq!(reading.keys.len(), 1);
    assert_eq!(reading.rejected.len(), 1);
    reading.rejected[0].why.clone()
}

#[test]
fn names_why_a_key_is_unusable() {
    let point = b64([1; 32]);
    let cases = [
        (json!("key"), "not a JSON object"),
        (json!({}), "no `kid`"),
        (without(rsa_jwk("a"), "kid"), "no `kid`"),
        (with(rsa_jwk("a"), "kid", json!(7)), "`kid` is not a string"),
        (with(rsa_jwk("a"), "kid", json!("")), "1 to 256 bytes"),
        (rsa_jwk(&"k".repeat(257)), "1 to 256 bytes"),
        (with(rsa_jwk("a"), "use", json!("enc")), "`use` is not `sig`"),
        (with(rsa_jwk("a"), "key_ops", json!(["sign"])), "do not hold `verify`"),
        (with(rsa_jwk("a"), "key_ops", json!([])), "do not hold `verify`"),
        (with(rsa_jwk("a"), "key_ops", json!("verify")), "not a list"),
        (with(rsa_jwk("a"), "alg", json!("HS256")), "`alg` is not"),
        (with(rsa_jwk("a"), "alg", json!("none")), "`alg` is not"),
        (with(rsa_jwk("a"), "alg", json!("ES256")), "`alg` is not"),
        (with(rsa_jwk("a"), "alg", json!("RSA-OAEP")), "`alg` is not"),
        (with(rsa_jwk("a"), "d", json!("AQAB")), "private part"),
        (with(rsa_jwk("a"), "kty", json!("rsa")), "`kty` is none of"),
        (without(rsa_jwk("a"), "kty"), "no `kty`"),
        (without(rsa_jwk("a"), "n"), "no `n`"),
        (with(rsa_jwk("a"), "n", json!("not base64url")), "not base64url"),
        (with(rsa_jwk("a"), "n", json!("")), "0 bits"),
        (with(rsa_jwk("a"), "e", json!("AQAB=")), "not base64url"),
        (with(rsa_jwk("a"), "e", json!("Aw")), "exponent is not 65537"),
        (with(rsa_jwk("a"), "e", json!("AQAAAAE")), "exponent is not 65537"),
        (rsa_jwk_of(1024), "has 1024 bits"),
        (rsa_jwk_of(2047), "has 2047 bits"),
        (rsa_jwk_of(4097), "has 4097 bits"),
        (rsa_jwk_of(8192), "has 8192 bits"),
        (json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"}), "symmetric"),
        (json!({"kty": "EC", "kid": "a", "crv": "secp256k1", "x": point, "y": point}), "`crv` is neither"),
        (json!({"kty": "EC", "kid": "a", "crv": "P-256", "x": point, "y": point}), "not a public key"),
        (json!({"kty": "EC", "kid": "a", "crv": "P-384", "x": point, "y": point}), "must have 48 bytes"),
        (json!({"kty": "OKP", "kid": "a", "crv": "X25519", "x": point}), "`crv` is not `Ed25519`"),
        (json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": "AQAB"}), "must have 32 bytes"),
    ];
    for (jwk, expected) in cases {
        let why = why(jwk.clone());
        assert!(why.contains(expected), "{jwk}: {why}");
    }
}

#[test]
fn a_key_that_is_not_taken_is_named_by_its_id() {
    let (longest, too_long) = ("k".repeat(MAX_KID), "k".repeat(MAX_KID + 1));
    for (kid, named) in [("a", Some("a")), (&longest, Some(&*longest)), (&too_long, None)] {
        let reading = read(&[with(rsa_jwk(kid), "use", json!("enc"))]);
        assert_eq!(reading.rejected[0].kid.as_deref(), named);
    }
}

#[test]
fn what_is_just_within_the_bounds_is_taken() {
    let longest = "k".repeat(MAX_KID);
    let document = json!({"keys": [rsa_jwk(&longest), with(rsa_jwk("a"), "key_ops", json!(["encrypt", "verify"]))]}).to_string();
    let document = format!("{document}{}", " ".repeat(MAX_JWKS - document.len()));
    let keys = read_key_set(document.as_bytes()).unwrap().keys;
    assert!(keys.get(&longest).is_some() && keys.get("a").is_some());
    assert_eq!(read_key_set(format!("{document} ").as_bytes()).unwrap_err(), JwksError::TooLarge);
}

#[test]
fn takes_rsa_keys_up_to_4096_bits() {
    for bits in [2048, 3072, 4096] {
        assert_eq!(read(&[rsa_jwk_of(bits)]).keys.len(), 1, "{bits}");
    }
}

#[test]
fn an_even_modulus_is_not_a_key() {
    let mut modulus = vec![0xff; 256];
    modulus[255] = 0xfe;
    assert!(why(json!({"kty": "RSA", "kid": "a", "n": b64(modulus), "e": "AQAB"})).contains("not a public key"));
}

#[test]
fn leading_zeros_of_a_modulus_change_nothing() {
    let n = RSA.public_key().modulus().big_endian_without_leading_zero().to_vec();
    assert_eq!(read(&[json!({"kty": "RSA", "kid": "a", "n": b64([vec![0], n].concat()), "e": "AAEAAQ"})]).keys.len(), 1);
}

#[test]
fn a_repeated_kid_makes_both_unusable() {
    let reading = read(&[rsa_jwk("a"), rsa_jwk("b"), with(rsa_jwk("a"), "use", json!("enc"))]);
    assert_eq!(reading.keys.kids().collect::<Vec<_>>(), ["b"]);
    assert_eq!(reading.rejected.len(), 2);
    assert!(reading.rejected[0].why.contains("that of another key"), "{:?}", reading.rejected);
}

/// Found by the fuzz target `key_set`: other readers take the first `kid` of two, or the last, and would find two keys of that name.
#[test]
fn a_kid_that_another_key_has_in_some_reading_makes_both_unusable() {
    for twice in [r#""kid":"b","kid":"a""#, r#""kid":"a","kid":"b""#] {
        let other = rsa_jwk("x").to_string().replacen(r#""kid":"x""#, twice, 1);
        let reading = read_key_set(format!(r#"{{"keys":[{},{other},{}]}}"#, rsa_jwk("a"), rsa_jwk("c")).as_bytes()).unwrap();
        assert_eq!(reading.keys.kids().collect::<Vec<_>>(), ["c"], "{twice}");
        assert_eq!(reading.rejected[0].why, "its `kid` is that of another key, too");
        assert!(reading.rejected[1].why.contains("`kid` is there more than once"), "{}", reading.rejected[1].why);
    }
}

#[test]
fn a_repeated_member_makes_a_key_unusable_and_names_only_known_members() {
    let jwk = rsa_jwk("a").to_string();
    for (again, expected) in
        [(r#""kid":"b""#, "`kid` is there more"), (r#""<b>":1,"<b>":1"#, "a member is there more"), (r#""use":"sig","use":"sig""#, "`use`")]
    {
        let document = format!(r#"{{"keys":[{},{}]}}"#, jwk.replacen('{', &format!("{{{again},"), 1), rsa_jwk("good"));
        let reading = read_key_set(document.as_bytes()).unwrap();
        assert_eq!(reading.keys.kids().collect::<Vec<_>>(), ["good"]);
        assert!(reading.rejected[0].why.contains(expected), "{:?}", reading.rejected);
    }
}

#[test]
fn an_explicit_null_says_nothing() {
    let jwk = with(with(with(rsa_jwk("a"), "use", Value::Null), "alg", Value::Null), "key_ops", Value::Null);
    assert_eq!(read(&[jwk]).keys.len(), 1);
}

#[test]
fn algorithms_follow_the_key() {
    use Algorithm::{PS512, RS256, RS384};
    let any = read(&[rsa_jwk("a")]);
    assert!(any.keys.get("a").is_some_and(|key| key.serves(RS256) && key.serves(PS512) && !key.serves(Algorithm::ES256)));
    let one = read(&[with(rsa_jwk("a"), "alg", json!("RS256"))]);
    assert!(one.keys.get("a").is_some_and(|key| key.serves(RS256) && !key.serves(RS384) && !key.serves(PS512)));
}

#[test]
fn refuses_what_is_no_key_set() {
    let many = json!({"keys": vec![json!({}); 10_000]}).to_string();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: &[(&[u8], JwksError)] = &[
        (b"", JwksError::Empty),
        (b" \r\n\t", JwksError::Empty),
        (b"\n<!DOCTYPE html><html>sign in</html>", JwksError::Markup),
        (b"{\"keys\":\n[}", JwksError::NotJson { line: 2, column: 2 }),
        (b"{\"keys\":[]} trailing", JwksError::NotJson { line: 1, column: 13 }),
        (b"{\"keys\":[\"\xff\"]}", JwksError::NotJson { line: 1, column: 11 }),
        (deep.as_bytes(), JwksError::NotJson { line: 1, column: 128 }),
        (b"[]", JwksError::NoKeys),
        (b"{}", JwksError::NoKeys),
        (b"{\"keys\":null}", JwksError::NoKeys),
        (b"{\"keys\":{}}", JwksError::NoKeys),
        (b"{\"keys\":[],\"keys\":[]}", JwksError::RepeatedMember),
        (many.as_bytes(), JwksError::TooManyKeys(10_000)),
        (&vec![b' '; MAX_JWKS + 1], JwksError::TooLarge),
    ];
    for (document, expected) in cases {
        let shown = String::from_utf8_lossy(&document[..document.len().min(40)]);
        assert_eq!(read_key_set(document).map(|_| ()), Err(expected.clone()), "{shown}");
    }
}

#[test]
fn a_set_of_unusable_keys_only_is_read_and_empty() {
    let reading = read(&vec![rsa_jwk_of(8192); MAX_KEYS]);
    assert!(reading.keys.is_empty());
    assert_eq!(reading.rejected.len(), MAX_KEYS);
}

/// Signs with `jsonwebtoken`, reads the public part as a JWK, verifies with [`VerifyingKey`].
fn assert_verifies(algorithm: Algorithm, signing: &EncodingKey, jwk: Value) {
    let alg: jsonwebtoken::Algorithm = algorithm.name().parse().unwrap();
    let token = jsonwebtoken::encode(&Header::new(alg), &json!({"aud": "7f0c"}), signing).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let reading = read(&[jwk]);
    let key = reading.keys.get("a").unwrap_or_else(|| panic!("{:?}", reading.rejected));
    assert!(key.verifies(algorithm, message.as_bytes(), &signature), "{algorithm:?}");
    assert!(!key.verifies(algorithm, token.as_bytes(), &signature), "{algorithm:?}");
    for other in Algorithm::ALL.iter().filter(|other| **other != algorithm) {
        assert!(!key.verifies(*other, message.as_bytes(), &signature), "{algorithm:?} passes as {other:?}");
    }
    signature[7] ^= 1;
    assert!(!key.verifies(algorithm, message.as_bytes(), &signature), "{algorithm:?}");
}

#[test]
fn verifies_what_jsonwebtoken_signs() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    // `jsonwebtoken` takes PKCS#1, which begins after the 26 bytes of the PKCS#8 header of a 2048-bit key.
    let rsa = EncodingKey::from_rsa_der(&RSA.as_der().unwrap().as_ref()[26..]);
    for algorithm in [RS256, RS384, RS512, PS256, PS384, PS512] {
        assert_verifies(algorithm, &rsa, rsa_jwk("a"));
        assert_verifies(algorithm, &rsa, with(rsa_jwk("a"), "alg", json!(algorithm.name())));
    }
    for (algorithm, curve, signing) in [(ES256, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING), (ES384, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)] {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "kid": "a", "crv": curve, "x": b64(x), "y": b64(y)});
        assert_verifies(algorithm, &EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), jwk);
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": b64(pair.public_key())});
    assert_verifies(EdDSA, &EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()), jwk);
}

proptest! {
    #[test]
    fn never_panics(document in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_key_set(&document);
    }

    #[test]
    fn never_panics_on_a_changed_key_set(at in 0usize..600, byte in any::<u8>()) {
        let mut document = json!({"keys": [rsa_jwk("a"), {"kty": "EC", "kid": "b", "crv": "P-256", "x": "AA", "y": "AA"}]}).to_string().into_bytes();
        let at = at % document.len();
        document[at] = byte;
        if let Ok(reading) = read_key_set(&document) {
            prop_assert!(reading.keys.len() <= 2);
        }
    }
}
