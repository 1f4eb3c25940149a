//! A query that may hold an API key, held against the rules written once more without any care for speed.

use std::sync::LazyLock;

use ringfence_core::{
    compile::Compiled,
    decide::{Decision, KeyRing, Now, Reason},
};
use serde_json::json;

use crate::world::{self, Ask, HOST, NOW_MS};

/// What is looked for, and what it has to be: its SHA-256 is in the policy.
const NAME: &str = "key";
const KEY: &[u8] = b"0123456789abcdef";
const DIGEST: &str = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";

static POLICIES: LazyLock<Compiled> =
    LazyLock::new(|| world::sound(&[world::policy(HOST, &json!([{"name": "s", "type": "NoToken", "apiKey": {"query": NAME, "sha256": [DIGEST]}}]))]));

/// Panics where the answer is not the model's.
pub fn check(query: &[u8]) {
    let target = [b"/?", query].concat();
    let verdict = Ask { target: &target, ..Ask::default() }.of(&POLICIES, &KeyRing::default(), Now::settled(NOW_MS));
    let answer = match verdict.decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(reason),
        Decision::Answer(_) => panic!("{verdict:?}"),
    };
    assert_eq!(answer, model(query), "{}", String::from_utf8_lossy(query));
}

fn model(query: &[u8]) -> Result<(), Reason> {
    if query.len() + 2 > 16 * 1024 {
        return Err(Reason::MalformedRequest);
    }
    if query.iter().any(|byte| matches!(byte, b'#' | 0..=0x1f | 0x7f)) {
        return Err(Reason::AmbiguousPath);
    }
    let mut found = Vec::new();
    for parameter in query.split(|byte| *byte == b'&') {
        let pieces: Vec<_> = parameter.split(|byte| *byte == b';').collect();
        for piece in &pieces {
            let (name, value) = world::split(piece, b'=');
            if world::decode(name).to_ascii_lowercase() == NAME.as_bytes() {
                found.push((name == NAME.as_bytes() && pieces.len() == 1, world::decode(value)));
            }
        }
    }
    match found.as_slice() {
        [] => Err(Reason::ApiKeyMissing),
        [(true, value)] if value.is_empty() => Err(Reason::ApiKeyMissing),
        [(true, value)] if value == KEY => Ok(()),
        [(true, _)] => Err(Reason::ApiKeyInvalid),
        _ => Err(Reason::DuplicateCredential),
    }
}
