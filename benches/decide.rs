//! What `decide` costs beside the one thing it cannot do without: raw RS256-2048 verification of the same tokens.
//!
//! Raw and whole are measured in turn, in short rounds of the same process, so that the machine's drift cancels out; what
//! counts is CPU time. Every token is another one, so that no cache can help. The policies are compiled from the resources that people
//! write. Prints a line per figure, or with candidates' names those alone; `benches/run.sh` takes this file into its table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub, reason = "a benchmark")]

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::{
    api::{Object, ObjectKey},
    compile::{ACS_ISSUER, Options, Severity, compile},
    decide::*,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
const NOW_SECONDS: i64 = 1_800_000_000;
const TOKENS: usize = 512;
const ROUNDS: usize = 100;
/// Calls that are timed as one.
const BATCH: usize = 64;
/// Batches of one candidate in a round.
const BATCHES: usize = 3;
/// Policies of the large set.
const MANY: usize = 100_000;
/// The candidate that uses it.
const AMONG_MANY: &str = "good-among-100000";

struct Signer {
    key: RsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn token(&self, number: usize, audience: &str, expires: i64) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"bench-key-1","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"iss":"{ACS_ISSUER}","aud":"{audience}","iat":{NOW_SECONDS},"nbf":{NOW_SECONDS},"exp":{expires},"jti":"{number:032x}","appid":"4b1ee6e2-0000-4000-8000-000000000000"}}"#
        );
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The key as aws-lc holds it.
    fn parsed_key(&self) -> ParsedPublicKey {
        let der = self.key.public_key().as_der().unwrap();
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref()).unwrap()
    }

    fn verifying_key(&self) -> VerifyingKey {
        let der = self.key.public_key().as_der().unwrap();
        VerifyingKey::new(&[Algorithm::RS256], der.as_ref()).unwrap()
    }
}

/// The policies and the keys of their issuers.
struct Site {
    policies: PolicySet,
    ring: KeyRing,
}

impl Site {
    /// As many policies as there are objects, compiled.
    fn new(objects: &[Object], signer: &Signer) -> Self {
        let compiled = compile(objects, &Options::default());
        let errors: Vec<_> =
            compiled.reports.iter().flat_map(|report| &report.findings).filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let keys = Arc::new(KeySet::new(HashMap::from([("bench-key-1".into(), signer.verifying_key())])));
        let fetched = |id| (id, FetchedKeys { keys: Arc::clone(&keys), fetch_began: Instant::now() });
        Self { policies: compiled.policies, ring: KeyRing::new(compiled.key_sets.into_iter().map(fetched).collect()) }
    }
}

/// Policies as application teams write them, each for a host and a key of its own.
fn objects(count: usize) -> Vec<Object> {
    (0..count).map(object).collect()
}

fn object(number: usize) -> Object {
    let name = format!("policy-{number}");
    let key_digest: String = digest::digest(&digest::SHA256, api_key(number).as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let raw = json!({
        "apiVersion": "ringfence.dev/v1alpha1",
        "kind": "CallbackPolicy",
        "metadata": {"name": name, "namespace": "contoso"},
        "spec": {
            "match": {"hosts": [host(number)], "paths": [{"prefix": "/api/callbacks"}]},
            "senders": [{
                "name": "callbacks",
                "type": "CallAutomation",
                "callAutomation": {"audiences": [AUDIENCE]},
                "sources": {"sets": ["acs-callbacks"], "onMismatch": "Deny"},
                "apiKey": {"query": "key", "sha256": [key_digest]},
            }],
            "forward": {"headers": [{"name": "x-acs-audience", "claim": "aud"}]},
        },
    });
    Object {
        key: ObjectKey { kind: "CallbackPolicy".into(), namespace: "contoso".into(), name: name.as_str().into() },
        api_version: "ringfence.dev/v1alpha1".into(),
        uid: format!("CallbackPolicy/contoso/{name}").into(),
        generation: 1,
        resource_version: "1".into(),
        created: None,
        raw: Arc::new(raw),
        origin: None,
    }
}

fn host(number: usize) -> String {
    format!("callbacks-{number}.contoso.com")
}

fn api_key(number: usize) -> String {
    format!("callback-key-of-policy-{number:08}")
}

/// The shape of one request; everything else is as a good webhook has it.
#[derive(Clone)]
struct Shape {
    host: String,
    target: String,
    has_token: bool,
    source: &'static str,
}

impl Shape {
    /// A good webhook for one policy.
    fn good(number: usize) -> Self {
        Self { host: host(number), target: format!("/api/callbacks/42?key={}", api_key(number)), has_token: true, source: "52.112.10.20" }
    }
}

/// The headers that a real callback arrives with.
const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "Azure-Communication-Services/1.0"),
    ("content-type", "application/cloudevents-batch+json; charset=utf-8"),
    ("content-length", "842"),
    ("x-request-id", "5f1c1e0b-9ad3-4f1e-9c7a-1f2e3d4c5b6a"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "52.112.10.20"),
    ("x-ms-client-request-id", "0d3f7d5c-1e1b-4a6e-8a57-6f0c5a9e4b21"),
];

/// The request as a listener hands it over; building it is the listener's work and measured with the server.
fn raw_request<'a>(shape: &'a Shape, authorization: &'a str) -> RawRequest<'a> {
    let mut headers = Headers::new(false);
    for (name, value) in HEADERS {
        headers.push(*name, value.as_bytes());
    }
    if shape.has_token {
        headers.push("authorization", authorization.as_bytes());
    }
    RawRequest {
        arrived: Instant::now(),
        wire: Wire::Grpc,
        method: b"POST",
        host: Some(shape.host.as_bytes()),
        target: shape.target.as_bytes(),
        headers,
        source: Some(shape.source.parse().unwrap()),
        body: Body::Absent,
        pin: None,
        http2: true,
        id: Some("1234567890123456789".into()),
    }
}

/// A frame of its own, for profilers.
#[inline(never)]
fn decide_raw(raw: &RawRequest<'_>, site: &Site) -> Decided {
    let request = Request::new(raw).unwrap();
    decide(&request, &site.policies, &site.ring, Now::settled(NOW_SECONDS * 1000 + 5_000), &mut NoTrace)
}

fn reason(decided: &Decided) -> &'static str {
    match decided {
        Decided::Final(verdict) => verdict.reason_label(),
        Decided::NeedsKey(wanted) => wanted.otherwise.reason_label(),
        Decided::NeedsReuse(_) => "allowed",
        Decided::NeedsTurn(_) => "handshake",
    }
}

/// What each refusal is, and the token it comes with.
fn refusals(signer: &Signer) -> Vec<(&'static str, Shape, String)> {
    let with = |audience: &str, expires| format!("Bearer {}", signer.token(0, audience, expires));
    let good = || with(AUDIENCE, NOW_SECONDS + 300);
    vec![
        ("no_policy", Shape { host: "other.contoso.com".into(), ..Shape::good(0) }, good()),
        ("audience_mismatch", Shape::good(0), with("00000000-0000-4000-8000-000000000000", NOW_SECONDS + 300)),
        ("token_expired", Shape::good(0), with(AUDIENCE, NOW_SECONDS - 100)),
        ("source_denied", Shape { source: "203.0.113.9", ..Shape::good(0) }, good()),
        ("token_missing", Shape { has_token: false, ..Shape::good(0) }, String::new()),
    ]
}

/// One thing to measure: told the number of a batch, it prepares that batch and returns the CPU time of the calls alone.
type Candidate<'c> = (&'static str, Box<dyn FnMut(usize) -> Duration + 'c>);

/// Nanoseconds per call of one candidate, in each round.
pub type Rounds = Vec<f64>;

/// Nanoseconds per call of each candidate, in rounds in which all take turns.
fn measure(candidates: &mut [Candidate<'_>]) -> Vec<Rounds> {
    let mut rounds: Vec<Rounds> = vec![Vec::new(); candidates.len()];
    for round in 0..=ROUNDS {
        for ((_, run), figures) in candidates.iter_mut().zip(&mut rounds) {
            let took: Duration = (0..BATCHES).map(|batch| run(round * BATCHES + batch)).sum();
            if round > 0 {
                figures.push(took.as_nanos() as f64 / (BATCH * BATCHES) as f64);
            }
        }
    }
    rounds
}

/// The middle one of `figures`.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
    f64::midpoint(below, above)
}

/// The median of the ratios of what was measured in the same round.
pub fn median_ratio(above: &[f64], below: &[f64]) -> f64 {
    median(above.iter().zip(below).map(|(above, below)| above / below))
}

/// CPU time that this thread has used: what others do on the machine does not count, but for the caches they share.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Times `decide` over one batch of requests. Each is written out anew just before, as a server has just read what it decides: what is
/// measured is not how long its text has lain about.
fn time_batch<'r>(requests: impl Iterator<Item = (&'r Shape, &'r String)>, site: &Site) -> Duration {
    let arrived: Vec<(Shape, String)> = requests.map(|(shape, authorization)| (shape.clone(), authorization.clone())).collect();
    let requests: Vec<RawRequest<'_>> = arrived.iter().map(|(shape, authorization)| raw_request(shape, authorization)).collect();
    let began = cpu_time();
    for request in &requests {
        // As in the server, each answer is gone before the next question comes.
        drop(black_box(decide_raw(request, site)));
    }
    cpu_time() - began
}

/// What is measured in this process.
pub struct Report {
    /// Each candidate's rounds, by name.
    pub candidates: Vec<(&'static str, Rounds)>,
    /// How long the policies of the large set take to compile, each.
    pub compile_ns: f64,
}

impl Report {
    /// A candidate's rounds.
    pub fn rounds(&self, name: &str) -> &[f64] {
        &self.candidates.iter().find(|(candidate, _)| *candidate == name).unwrap().1
    }

    /// The rate of `decide` as a part of the raw rate.
    pub fn good_over_raw_rate(&self) -> f64 {
        median_ratio(self.rounds("raw"), self.rounds("good"))
    }

    /// A good decide among many policies beside one with a single policy.
    pub fn many_over_one(&self) -> f64 {
        median_ratio(self.rounds(AMONG_MANY), self.rounds("good"))
    }
}

/// Compiles a large set; and how many nanoseconds each policy took.
fn many(signer: &Signer, count: usize) -> (Site, f64) {
    let objects = objects(count);
    let began = cpu_time();
    let site = Site::new(&objects, signer);
    let took = cpu_time() - began;
    (site, took.as_nanos() as f64 / count as f64)
}

/// Measures everything, or the candidates that are named.
pub fn run(only: &[String]) -> Report {
    let signer = Signer { key: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), random: SystemRandom::new() };
    let raw_key = signer.parsed_key();
    let one = Site::new(&objects(1), &signer);
    // A profiler that looks at one candidate need not wait for what that one does not use.
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let needs_many = is_wanted(AMONG_MANY);
    let (many, compile_ns) = many(&signer, if needs_many { MANY } else { 1 });
    let good: Vec<String> = (0..TOKENS).map(|number| signer.token(number, AUDIENCE, NOW_SECONDS + 300)).collect();
    let parts: Vec<(Vec<u8>, Vec<u8>)> = good
        .iter()
        .map(|token| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            (signed.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();
    let bearer: Vec<String> = good.iter().map(|token| format!("Bearer {token}")).collect();
    let shapes: Vec<Shape> = (0..MANY).map(Shape::good).collect();
    let refusals = refusals(&signer);
    for (expected, shape, authorization) in &refusals {
        assert_eq!(reason(&decide_raw(&raw_request(shape, authorization), &one)), *expected);
    }
    assert_eq!(reason(&decide_raw(&raw_request(&shapes[0], &bearer[0]), &one)), "allowed");
    if needs_many {
        assert_eq!(reason(&decide_raw(&raw_request(&shapes[MANY - 1], &bearer[0]), &many)), "allowed");
    }

    let step = 7919; // a stride that visits the policies in no order that a cache knows
    let batch = |number: usize| number * BATCH..(number + 1) * BATCH;
    let mut candidates: Vec<Candidate<'_>> = vec![
        (
            "raw",
            Box::new(|number| {
                let arrived: Vec<(Vec<u8>, Vec<u8>)> = batch(number).map(|n| parts[n % TOKENS].clone()).collect();
                let began = cpu_time();
                arrived.iter().for_each(|(signed, signature)| assert!(raw_key.verify_sig(signed, signature).is_ok()));
                cpu_time() - began
            }),
        ),
        ("good", Box::new(|number| time_batch(batch(number).map(|n| (&shapes[0], &bearer[n % TOKENS])), &one))),
        (AMONG_MANY, Box::new(|number| time_batch(batch(number).map(|n| (&shapes[n * step % MANY], &bearer[n % TOKENS])), &many))),
    ];
    for (name, shape, authorization) in &refusals {
        let request = (shape, authorization);
        let one = &one;
        candidates.push((name, Box::new(move |number| time_batch(batch(number).map(|_| request), one))));
    }
    candidates.retain(|(name, _)| is_wanted(name));
    let rounds = measure(&mut candidates);
    let candidates = candidates.iter().map(|(name, _)| *name).zip(rounds).collect();
    Report { candidates, compile_ns }
}

fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let report = run(&only);
    for (name, rounds) in &report.candidates {
        println!("{name} {:.0}", median(rounds.iter().copied()));
    }
    if only.is_empty() {
        println!("good-over-raw-rate {:.3}", report.good_over_raw_rate());
        println!("among-100000-over-one {:.3}", report.many_over_one());
        println!("compile-ns-per-policy {:.0}", report.compile_ns);
    }
}
