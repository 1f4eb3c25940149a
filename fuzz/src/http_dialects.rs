//! A request of each HTTP dialect: nothing of it is lost or made up, and nothing is allowed without a credential.

use std::{sync::LazyLock, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Request, request::Parts};
use ringfence::listen::{
    Dialect,
    fuzzing::{Question, Subject, question},
};
use ringfence_core::{
    compile::Compiled,
    decide::{Body, Headers, KeyRing, Now, RawRequest, Reason, Wire},
};
use serde_json::json;

use crate::world::{self, HOST, NOW_MS, UNKNOWN_DIGEST};

static POLICIES: LazyLock<Compiled> = LazyLock::new(|| {
    world::sound(&[world::policy(HOST, &json!([{"name": "s", "type": "NoToken", "apiKey": {"header": "x-key", "sha256": [UNKNOWN_DIGEST]}}]))])
});

/// Lines: `METHOD target`, then one for each header, `name: value`.
pub fn check(data: &[u8]) {
    let Some(head) = head(data) else { return };
    let raw_target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let Some(Question { dialect, pin, rest, asked }) = question(&head, raw_target) else { return };
    assert!(raw_target.starts_with(&format!("/auth/{}/", dialect.name())) && raw_target.ends_with(rest), "{raw_target}");
    if let Some(pin) = pin {
        assert!(raw_target.contains(&format!("/by/{pin}")) && pin.matches('/').count() == 1, "{raw_target}");
    }
    match asked {
        Ok(subject) => {
            assert_faithful(dialect, &head, rest, &subject);
            assert_denied(dialect, &head, pin, &subject);
        }
        Err(reason) => assert!(matches!(reason, Reason::AmbiguousPath | Reason::AmbiguousHost | Reason::MalformedRequest), "{reason}"),
    }
}

fn head(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, target) = world::split(lines.next()?, b' ');
    let mut request = Request::builder().method(method).uri(target).body(()).ok()?;
    for line in lines {
        let (name, value) = world::split(line, b':');
        let name = HeaderName::from_bytes(name).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value.trim_ascii()).ok()?);
    }
    Some(request.into_parts().0)
}

/// The only line of a header, if there is exactly one.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let [line] = lines.as_slice() else { return None };
    std::str::from_utf8(line.as_bytes()).ok()
}

/// Put together again, the parts are what the proxy sent.
fn assert_faithful(dialect: Dialect, head: &Parts, rest: &str, subject: &Subject<'_>) {
    let Subject { method, host, target, address } = subject;
    assert!(address.is_none_or(|address| address.to_canonical() == address), "{address:?}");
    let is_host = |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:[]-".contains(&byte));
    match dialect {
        Dialect::Nginx | Dialect::Haproxy => {
            let inner = rest.strip_prefix('/').and_then(|rest| rest.strip_suffix("/.end")).expect("the end closes it");
            let (_, asked) = inner.split_once('/').expect("an address");
            let host = host.expect("a host");
            assert_eq!(asked, format!("{method}/{host}{target}"));
            assert!(is_host(host) && target.starts_with('/') && !method.contains('/'), "{rest}");
        }
        Dialect::IngressNginx => {
            let (url, host) = (only(&head.headers, "x-original-url").expect("one URL"), host.expect("a host"));
            assert!(["http", "https"].iter().any(|scheme| url == format!("{scheme}://{host}{target}")), "{url}");
            assert!(is_host(host) && target.starts_with('/'), "{url}");
            assert_eq!(only(&head.headers, "x-original-method"), Some(*method));
        }
        Dialect::Traefik | Dialect::Caddy => {
            for (name, value) in [("x-forwarded-method", Some(*method)), ("x-forwarded-host", *host), ("x-forwarded-uri", Some(*target))] {
                assert_eq!(only(&head.headers, name), value, "{name}");
            }
            assert!(head.headers.get_all("x-forwarded-for").iter().count() <= 1);
            if dialect == Dialect::Caddy {
                let routed = head.uri.authority().map(http::uri::Authority::as_str).or(only(&head.headers, "host"));
                assert_eq!(routed, *host, "the host that Caddy routes by");
            }
        }
        Dialect::Envoy => {
            assert_eq!((*method, *target), (head.method.as_str(), rest));
            assert!(host.is_none_or(|host| only(&head.headers, "host") == Some(host) || head.uri.authority().is_some_and(|named| named == host)));
        }
    }
}

fn assert_denied(dialect: Dialect, head: &Parts, pin: Option<&str>, subject: &Subject<'_>) {
    let mut headers = Headers::new(dialect == Dialect::Envoy);
    for (name, value) in &head.headers {
        headers.push(name.as_str(), value.as_bytes());
    }
    let wire = Wire::ALL.iter().copied().find(|wire| wire.label() == dialect.name()).expect("each dialect is a wire");
    let raw = RawRequest {
        arrived: Instant::now(),
        wire,
        method: subject.method.as_bytes(),
        host: subject.host.map(str::as_bytes),
        target: subject.target.as_bytes(),
        headers,
        source: subject.address,
        body: Body::Absent,
        pin: pin.map(Into::into),
        http2: false,
        id: None,
    };
    world::assert_denied(&world::verdict(&raw, &POLICIES, &KeyRing::default(), Now::settled(NOW_MS)));
}
