#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// The public key of RFC 8037 appendix A.2.
const ED25519: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
    0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fn key() -> VerifyingKey {
    VerifyingKey::new(&[Algorithm::EdDSA], &ED25519).unwrap()
}

#[test]
fn algorithms_have_their_registered_names() {
    let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    assert_eq!(Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>(), names);
    assert!(Algorithm::ALL.iter().all(|algorithm| Algorithm::from_name(algorithm.name()) == Some(*algorithm)));
    assert_eq!(Algorithm::from_name("HS256"), None);
}

#[test]
fn a_set_of_algorithms_holds_what_it_is_made_of() {
    for one in Algorithm::ALL {
        for other in Algorithm::ALL {
            assert_eq!(AlgorithmSet::new([*one]).contains(*other), one == other);
        }
    }
    assert!(!AlgorithmSet::default().contains(Algorithm::RS256));
}

#[test]
fn a_key_set_is_known_by_where_it_comes_from() {
    let url = KeySetId::Jwks { issuer: "i".into(), url: "https://keys".into() };
    let map = KeySetId::ConfigMap { issuer: "j".into(), namespace: "n".into(), name: "m".into(), key: "k".into() };
    assert_eq!((url.issuer(), url.to_string()), ("i", "https://keys".to_owned()));
    assert_eq!((map.issuer(), map.to_string()), ("j", "configmap:n/m/k".to_owned()));
    let (url, map) = (Arc::new(url), Arc::new(map));
    assert_eq!(KeySource::Fetched(Arc::clone(&url)).id(), &url);
    assert_eq!(KeySource::Given(Arc::clone(&map), Arc::default()).id(), &map);
}

#[test]
fn keys_are_found_by_their_kid() {
    let empty = KeySet::default();
    assert_eq!((empty.len(), empty.is_empty(), empty.kids().count()), (0, true, 0));
    let two = KeySet::new(HashMap::from([("a".into(), key()), ("b".into(), key())]));
    let mut kids: Vec<_> = two.kids().collect();
    kids.sort_unstable();
    assert_eq!((two.len(), two.is_empty(), kids), (2, false, vec!["a", "b"]));
    assert!(two.get("a").is_some() && two.get("c").is_none());
    assert_eq!(format!("{:?}", key()), "[EdDSA]");
    assert!(key().serves(Algorithm::EdDSA) && !key().serves(Algorithm::RS256));
    assert!(VerifyingKey::new(&[], &ED25519).is_none());
}

#[test]
fn a_ring_is_changed_in_one_set() {
    let id = |url: &str| Arc::new(KeySetId::Jwks { issuer: "i".into(), url: url.into() });
    let keys = || FetchedKeys { keys: Arc::new(KeySet::new(HashMap::from([("a".into(), key())]))), fetch_began: Instant::now() };
    let ring = KeyRing::default().with(&id("one"), Some(keys())).with(&id("two"), Some(keys()));
    assert!(ring.get(&id("one")).is_some() && ring.get(&id("two")).is_some() && ring.get(&id("three")).is_none());
    let without = ring.with(&id("one"), None);
    assert!(without.get(&id("one")).is_none() && without.get(&id("two")).is_some());
}
