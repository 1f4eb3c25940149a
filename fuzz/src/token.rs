//! A token: what is read of it, `jsonwebtoken` and `serde_json` read as well, and what is allowed, `jsonwebtoken` allows as well.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation};
use ringfence_core::{
    compile::Compiled,
    decide::{Decision, KeyRing, Now, Verdict},
};
use serde_json::{Value, json};

use crate::world::{self, Ask, HOST};

const ISSUER: &str = "https://idp.example";
const AUDIENCE: &str = "callbacks";
const KID: &str = "k";

/// A key, and a policy that believes it.
struct World {
    key: EcdsaKeyPair,
    policies: Compiled,
    keys: KeyRing,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let (x, y) = coordinates(&key);
    let key_set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": KID, "use": "sig", "x": x, "y": y}]});
    let jwt = json!({"issuer": ISSUER, "jwksUri": "https://idp.example/keys", "algorithms": ["ES256"], "audiences": [AUDIENCE], "maxLifetime": "1h"});
    let policies = world::sound(&[world::policy(HOST, &json!([{"name": "s", "type": "JWT", "jwt": jwt}]))]);
    let keys = world::ring(&policies, &key_set);
    World { key, policies, keys }
});

/// The two halves of the public point, encoded.
fn coordinates(key: &EcdsaKeyPair) -> (String, String) {
    let point = key.public_key().as_ref();
    (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]))
}

/// The first byte says what follows: a token as it comes, or a header, a line feed and a payload, which are then signed with the good key.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = if kind % 2 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else { return };
        text.to_owned()
    } else {
        let (header, payload) = world::split(rest, b'\n');
        sign(header, payload)
    };
    let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis()).expect("a date");
    let authorization = format!("Bearer {text}");
    let ask = Ask { headers: &[("authorization", authorization.as_bytes())], ..Ask::default() };
    let verdict = ask.of(&WORLD.policies, &WORLD.keys, Now::settled(now_ms));
    assert_read_alike(&text, &verdict);
    match verdict.decision {
        Decision::Allow(_) => assert_allowed_elsewhere(&text, kind % 2 == 1),
        Decision::Deny(_) => {}
        Decision::Answer(_) => panic!("{verdict:?}"),
    }
}

fn sign(header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = WORLD.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Whatever was read of the token, nobody reads otherwise.
fn assert_read_alike(text: &str, verdict: &Verdict) {
    let Some(facts) = &verdict.about.token else { return };
    let header = jsonwebtoken::decode_header(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(header.kid.as_deref(), facts.kid());
    let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).expect("a payload")).expect("base64url");
    // Half a character, in a claim that nobody measures, is nothing that `serde_json` reads.
    let Ok(claims) = serde_json::from_slice::<Value>(&payload) else { return };
    assert_eq!(claims.get("iss").map(|issuer| issuer.as_str().expect("a text")), facts.issuer());
    let audiences = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::Array(all)) => all.iter().map(|one| one.as_str().expect("a text")).collect(),
        Some(one) => vec![one.as_str().expect("a text")],
    };
    let reported = facts.audience();
    assert!(reported.is_none_or(|audience| audiences.contains(&audience)) && reported.is_none() == audiences.is_empty(), "{text}");
}

/// Only what we signed passes, and `jsonwebtoken` lets it pass under the same demands.
fn assert_allowed_elsewhere(text: &str, is_signed_here: bool) {
    assert!(is_signed_here, "a signature that nobody made: {text}");
    let (x, y) = coordinates(&WORLD.key);
    let key = DecodingKey::from_ec_components(&x, &y).expect("a key");
    let mut demands = Validation::new(jsonwebtoken::Algorithm::ES256);
    demands.set_audience(&[AUDIENCE]);
    demands.set_issuer(&[ISSUER]);
    demands.set_required_spec_claims(&["exp", "iss", "aud"]);
    demands.leeway = 30;
    demands.validate_nbf = true;
    if let Err(error) = jsonwebtoken::decode::<Value>(text, &key, &demands) {
        let payload = URL_SAFE_NO_PAD.decode(text.split('.').nth(1).expect("a payload")).expect("base64url");
        assert!(serde_json::from_slice::<Value>(&payload).is_err(), "{error}: {}", String::from_utf8_lossy(&payload));
    }
}
