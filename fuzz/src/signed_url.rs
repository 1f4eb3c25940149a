//! A signature over a URL: only what the signer wrote passes, as it wrote it, for as long as it said and is allowed.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use ringfence_core::{
    compile::Compiled,
    decide::{Decision, Host, KeyRing, Now, Path, Reason, SigningKey},
};
use serde_json::json;

use crate::world::{self, Ask, HOST, NOW_MS};

const SECRET: &str = "example-signing-key-0001-9f3c1b7a52e8";
const PATH: &str = "/api/calls/42";
/// `maxAge`, and the clocks' tolerated difference, in seconds.
const MAX_AGE: i64 = 7200;
const SKEW: i64 = 30;

static POLICIES: LazyLock<Compiled> = LazyLock::new(|| {
    let signed = json!({"query": "sig", "secretRefs": [{"name": "url-key", "key": "current"}], "bind": "Path", "maxAge": "2h"});
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "url-key", "namespace": "n"},
        "type": "ringfence.dev/callback-key", "data": {"current": STANDARD.encode(SECRET)}
    });
    let policy = world::policy(HOST, &json!([{"name": "s", "type": "NoToken", "apiKey": {"signed": signed}}]));
    world::sound(&[policy, world::object(secret)])
});

/// The first byte says what follows: a signature as it comes, or an expiry and changes of the signature that the signer makes with it.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    if kind % 2 == 0 { check_any(rest) } else { check_changed(rest) }
}

/// Whatever passes is what the signer writes for the expiry in it.
fn check_any(value: &[u8]) {
    if value.iter().any(|byte| matches!(byte, b'&' | b';' | b'#' | b'%' | 0..=0x20 | 0x7f)) {
        return;
    }
    let answer = ask(value);
    let text = String::from_utf8_lossy(value).into_owned();
    let expires = text.strip_prefix("v1.").and_then(|rest| rest.split_once('.')).and_then(|(expires, _)| expires.parse::<u64>().ok());
    let is_signed = expires.and_then(sign).is_some_and(|signed| signed == text);
    match answer {
        Ok(()) => assert!(is_signed && is_timely(expires.unwrap_or_default()), "{text}"),
        Err(Reason::UrlExpired) => assert!(is_signed && !is_timely(expires.unwrap_or_default()), "{text}"),
        Err(reason) => {
            assert!(!is_signed && matches!(reason, Reason::UrlSignatureInvalid | Reason::ApiKeyMissing | Reason::MalformedRequest), "{reason} {text}")
        }
    }
}

/// What the signer makes is good within its time, and nothing that differs from it ever is.
fn check_changed(data: &[u8]) {
    let (Some(offset), Some(changes)) = (data.first_chunk::<4>(), data.get(4..)) else { return };
    // The second 0 has no spelling: a signature's expiry begins with another digit.
    let expires = u64::try_from(NOW_MS / 1000 + i64::from(i32::from_le_bytes(*offset))).unwrap_or_default().max(1);
    let Some(signed) = sign(expires) else { return };
    assert_eq!(ask(signed.as_bytes()), if is_timely(expires) { Ok(()) } else { Err(Reason::UrlExpired) }, "{signed}");
    let mut changed = signed.clone().into_bytes();
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % changed.len();
        // Bytes that end a value or stand for another one are the query's business.
        if !matches!(change[1], b'&' | b';' | b'#' | b'%' | 0..=0x20 | 0x7f..) {
            changed[at] = change[1];
        }
    }
    if changed != signed.as_bytes() && ask(&changed) == Ok(()) {
        check_any(&changed);
    }
}

fn ask(value: &[u8]) -> Result<(), Reason> {
    let target = [PATH.as_bytes(), b"?sig=", value].concat();
    let verdict = Ask { target: &target, ..Ask::default() }.of(&POLICIES, &KeyRing::default(), Now::settled(NOW_MS));
    match verdict.decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(reason),
        Decision::Answer(_) => panic!("{verdict:?}"),
    }
}

fn sign(expires: u64) -> Option<String> {
    let (host, path) = (Host::parse(HOST.as_bytes())?, Path::parse(PATH.as_bytes()).ok()?);
    SigningKey::new(SECRET.as_bytes()).sign(&host, &path, expires)
}

fn is_timely(expires: u64) -> bool {
    let (now, expires) = (NOW_MS / 1000, i64::try_from(expires).unwrap_or(i64::MAX));
    now < expires + SKEW && expires <= now + MAX_AGE + SKEW
}
