//! Policies to decide under, made by the real compiler, and requests to decide.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ringfence_core::{
    api::{Kind, Object, ObjectKey},
    compile::{self, Compiled, Options},
    decide::{
        Body, Decided, Decision, FetchedKeys, Headers, KeyRing, NoTrace, Now, RawRequest, Request, ReuseAnswer, Verdict, Wire, decide, read_key_set,
    },
};
use serde_json::{Value, json};

/// The host that policies here speak for.
pub(crate) const HOST: &str = "a.example";
/// The time it is, unless another library reads the clock as well.
pub(crate) const NOW_MS: i64 = 1_800_000_000_000;
/// A path that is under policy with an API key of 32 random bytes' digest, which nobody knows.
pub(crate) const UNKNOWN_DIGEST: &str = "5d1c0b7f0e9a4c3b8f6e2d1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c";

/// An object as an API server or a folder has it.
pub(crate) fn object(raw: Value) -> Object {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = Kind::of(&text(&raw["apiVersion"]), &text(&raw["kind"])).expect("a known kind");
    let namespace = if kind.is_namespaced() { "n" } else { "" };
    let key = ObjectKey { kind: kind.name().into(), namespace: namespace.into(), name: text(&raw["metadata"]["name"]).into() };
    Object {
        uid: key.to_string().into(),
        key,
        api_version: kind.api_version().into(),
        generation: 0,
        resource_version: "1".into(),
        created: None,
        raw: Arc::new(raw),
        origin: None,
    }
}

/// A policy for `host` with these senders.
pub(crate) fn policy(host: &str, senders: &Value) -> Object {
    let spec = json!({"match": {"hosts": [host]}, "senders": senders});
    object(json!({"apiVersion": "ringfence.dev/v1alpha1", "kind": "CallbackPolicy", "metadata": {"name": host, "namespace": "n"}, "spec": spec}))
}

/// What `objects` come to; there is nothing wrong with them.
pub(crate) fn sound(objects: &[Object]) -> Compiled {
    let compiled = compile::compile(objects, &Options { insecure_http_issuers: true, ..Options::default() });
    let findings: Vec<_> = compiled.reports.iter().flat_map(|report| &report.findings).collect();
    assert!(findings.is_empty(), "{findings:?}");
    compiled
}

/// `keys` under the name of every set that is wanted.
pub(crate) fn ring(compiled: &Compiled, key_set: &Value) -> KeyRing {
    let reading = read_key_set(key_set.to_string().as_bytes()).expect("a key set");
    assert!(reading.rejected.is_empty(), "{:?}", reading.rejected);
    let (keys, fetch_began) = (Arc::new(reading.keys), Instant::now() + Duration::from_secs(10_000_000));
    let sets = compiled.key_sets.iter().map(|id| (Arc::clone(id), FetchedKeys { keys: Arc::clone(&keys), fetch_began }));
    KeyRing::new(sets.collect::<HashMap<_, _>>())
}

/// A request in the terms that matter here.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a [u8],
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    pub(crate) source: Option<IpAddr>,
    pub(crate) body: Body<'a>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { method: "POST", host: HOST, target: b"/", headers: &[], source: None, body: Body::Absent }
    }
}

impl Ask<'_> {
    /// What becomes of it.
    pub(crate) fn of(&self, compiled: &Compiled, keys: &KeyRing, now: Now) -> Verdict {
        let mut headers = Headers::new(false);
        for (name, value) in self.headers {
            headers.push(*name, *value);
        }
        let raw = RawRequest {
            arrived: Instant::now(),
            wire: Wire::Grpc,
            method: self.method.as_bytes(),
            host: Some(self.host.as_bytes()),
            target: self.target,
            headers,
            source: self.source,
            body: self.body,
            pin: None,
            http2: false,
            id: None,
        };
        verdict(&raw, compiled, keys, now)
    }
}

/// What the service's shell makes of a request whose token was never used before, and whose issuer has no newer keys.
pub(crate) fn verdict(raw: &RawRequest<'_>, compiled: &Compiled, keys: &KeyRing, now: Now) -> Verdict {
    let request = match Request::new(raw) {
        Ok(request) => request,
        Err(reason) => return Verdict::deny(reason),
    };
    match decide(&request, &compiled.policies, keys, now, &mut NoTrace) {
        Decided::Final(verdict) => verdict,
        Decided::NeedsKey(wanted) => wanted.otherwise,
        Decided::NeedsTurn(pending) => pending.resolve(true),
        Decided::NeedsReuse(pending) => pending.resolve(ReuseAnswer::First),
    }
}

/// Panics if the request is let through or answered.
pub(crate) fn assert_denied(verdict: &Verdict) {
    assert!(matches!(verdict.decision, Decision::Deny(_)), "{verdict:?}");
}

/// Percent-decodes once; a `%` without two digits stays.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        match after {
            [high, low, tail @ ..] if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let pair = [*high, *low];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&pair).expect("ASCII"), 16).expect("two digits"));
                rest = tail;
            }
            _ => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

/// JSON as `serde_json` reads it. Half a character (`\ud800`), which it refuses and a reader that skips it does not, counts as an `A`.
pub(crate) fn json(document: &[u8]) -> serde_json::Result<Value> {
    let mut text = document.to_vec();
    let halves: Vec<_> =
        (0..text.len().saturating_sub(5)).filter(|at| text[*at..].starts_with(b"\\u") && text[at + 2].eq_ignore_ascii_case(&b'd')).collect();
    for at in halves {
        if text[at + 3..at + 6].iter().all(u8::is_ascii_hexdigit) {
            text[at + 2..at + 6].copy_from_slice(b"0041");
        }
    }
    serde_json::from_slice(document).or_else(|_| serde_json::from_slice(&text))
}

/// What stands before and after the first `byte`; all of it and nothing, if it is not there.
pub(crate) fn split(data: &[u8], byte: u8) -> (&[u8], &[u8]) {
    data.iter().position(|at| *at == byte).map_or((data, &[]), |at| (&data[..at], &data[at + 1..]))
}
