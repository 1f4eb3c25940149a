//! An authority and a request target: what passes means the same to a browser's library, to an upstream that decodes once more, and to us.

use std::{sync::LazyLock, time::Instant};

use ringfence_core::{
    compile::Compiled,
    decide::{Body, Headers, Host, KeyRing, Now, RawRequest, Request, Wire},
};
use serde_json::json;
use url::Url;

use crate::world::{self, HOST, NOW_MS, UNKNOWN_DIGEST};

static POLICIES: LazyLock<Compiled> = LazyLock::new(|| {
    world::sound(&[world::policy(HOST, &json!([{"name": "s", "type": "NoToken", "apiKey": {"query": "key", "sha256": [UNKNOWN_DIGEST]}}]))])
});

/// An authority, a line feed, a request target.
pub fn check(data: &[u8]) {
    let (authority, target) = world::split(data, b'\n');
    let raw = RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(authority),
        target,
        headers: Headers::default(),
        source: None,
        body: Body::Absent,
        pin: None,
        http2: false,
        id: None,
    };
    let Ok(request) = Request::new(&raw) else { return };
    assert_normal(request.host.as_str());
    if let Ok(path) = &request.target.path {
        assert_unambiguous(path.as_str(), target);
    }
    world::assert_denied(&world::verdict(&raw, &POLICIES, &KeyRing::default(), Now::settled(NOW_MS)));
}

/// Its normal form is its own, and a browser finds the same host in it.
fn assert_normal(host: &str) {
    assert_eq!(Host::parse(host.as_bytes()).map(|again| again.as_str().to_owned()).as_deref(), Some(host));
    assert!(!host.ends_with('.') && !host.bytes().any(|byte| byte.is_ascii_uppercase() || b",@/?#\\ ".contains(&byte)), "{host}");
    // Numbers are addresses to a browser, in spellings (`1`, `0x7f.1`) that no certificate and no route has.
    match Url::parse(&format!("http://{host}/")).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(url::Host::Domain(domain)) => assert_eq!(domain, host),
        Some(url::Host::Ipv6(address)) => assert_eq!(host.trim_matches(['[', ']']).parse(), Ok(address)),
        Some(url::Host::Ipv4(_)) | None => {}
    }
}

fn assert_unambiguous(path: &str, target: &[u8]) {
    assert!(target.windows(path.len()).any(|window| window == path.as_bytes()), "a path is passed on as it came");
    let once = world::decode(path.as_bytes());
    let text = std::str::from_utf8(&once).expect("a path is text, decoded or not");
    assert_eq!(world::decode(&once), once, "decoding twice is decoding once: {path}");
    assert_eq!(text.matches('/').count(), path.matches('/').count(), "no slash is hidden: {path}");
    assert!(!text.contains("//") && !text.contains(['\\', ';', '#', '?']) && !text.chars().any(char::is_control), "{path:?}");
    assert!(text.split('/').all(|segment| segment != "." && segment != ".."), "{path}");
    let url = Url::parse(&format!("http://{HOST}{path}")).expect("a sound path makes a URL");
    assert_eq!(world::decode(url.path().as_bytes()), once, "a browser goes elsewhere: {path}");
    assert!(url.query().is_none() && url.fragment().is_none() && url.host_str() == Some(HOST));
}
