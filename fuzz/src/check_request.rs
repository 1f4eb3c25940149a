//! A `CheckRequest`: read as prost reads it, and never allowed without a credential.

use std::{sync::LazyLock, time::Instant};

use ringfence::listen::fuzzing::{assert_read_as_prost_does, read_check_request};
use ringfence_core::{
    compile::Compiled,
    decide::{KeyRing, Now},
};
use serde_json::json;

use crate::world::{self, HOST, NOW_MS, UNKNOWN_DIGEST};

static POLICIES: LazyLock<Compiled> = LazyLock::new(|| {
    world::sound(&[world::policy(HOST, &json!([{"name": "s", "type": "NoToken", "apiKey": {"header": "x-key", "sha256": [UNKNOWN_DIGEST]}}]))])
});

/// Panics where the message is read otherwise than by prost, or where what it asks is allowed.
pub fn check(message: &[u8]) {
    assert_read_as_prost_does(message);
    read_check_request(message, Instant::now(), |raw| {
        assert!(raw.source.is_none_or(|source| source.to_canonical() == source), "an address in a second spelling: {:?}", raw.source);
        world::assert_denied(&world::verdict(raw, &POLICIES, &KeyRing::default(), Now::settled(NOW_MS)));
    });
}
