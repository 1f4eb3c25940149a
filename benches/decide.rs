//! What `decide` costs beside the one thing it cannot do without: raw RS256-2048 verification of the same tokens.
//!
//! Raw and whole are measured in turn, in short rounds of the same process, so that the machine's drift cancels out; every token is
//! another one, so that no cache can help. Prints a line per figure; `benches/run.sh` puts them beside the bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::{
    collections::HashMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::decide::*;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
const ISSUER: &str = "https://acscallautomation.communication.azure.com";
const NOW_SECONDS: i64 = 1_800_000_000;
const TOKENS: usize = 512;
const ROUNDS: usize = 100;
/// Calls that are timed as one.
const BATCH: usize = 64;
/// Batches of one candidate in a round.
const BATCHES: usize = 3;

struct Signer {
    key: RsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    fn token(&self, number: usize, audience: &str, expires: i64) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"bench-key-1","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{audience}","iat":{NOW_SECONDS},"nbf":{NOW_SECONDS},"exp":{expires},"jti":"{number:032x}","appid":"4b1ee6e2-0000-4000-8000-000000000000"}}"#
        );
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

struct Bench {
    signer: Signer,
    raw: VerifyingKey,
    ring: KeyRing,
    key_set: Arc<KeySetId>,
}

impl Bench {
    fn new() -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.public_key().as_der().unwrap();
        let verifying = || VerifyingKey::new(&[Algorithm::RS256], der.as_ref()).unwrap();
        let key_set =
            Arc::new(KeySetId::Discovery { issuer: ISSUER.into(), url: format!("{ISSUER}/calling/.well-known/acsopenidconfiguration").into() });
        let keys = Arc::new(KeySet::new(HashMap::from([("bench-key-1".into(), verifying())])));
        let ring = KeyRing::new(HashMap::from([(Arc::clone(&key_set), FetchedKeys { keys, fetch_began: Instant::now() })]));
        Self { signer: Signer { key, random: SystemRandom::new() }, raw: verifying(), ring, key_set }
    }

    fn policies(&self, count: usize) -> PolicySet {
        let ranges = Arc::new(RangeSet::new(&["52.112.0.0/14", "52.122.0.0/15", "2603:1063::/38"].map(|range| range.parse().unwrap())));
        let holders = (0..count).map(|number| Arc::new(self.policy(number, &ranges))).collect();
        PolicySet::new(PolicySetParts { holders, ..PolicySetParts::default() })
    }

    fn policy(&self, number: usize, ranges: &Arc<RangeSet>) -> Policy {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, api_key(number).as_bytes());
        let sender = Sender {
            name: "callbacks".into(),
            paths: Box::new([]),
            methods: MethodRule::OneOf(Arc::new(["POST".into()])),
            checks: Ok(SenderChecks {
                sources: Some(SourceRule { ranges: [Arc::clone(ranges)].into(), on_mismatch: OnMismatch::Deny }),
                api_key: Some(ApiKeyRule {
                    carrier: ApiKeyCarrier::Query("key".into()),
                    digests: Box::new([digest.as_ref().try_into().unwrap()]),
                    strip: true,
                }),
                token: Some(TokenRule {
                    issuer: ISSUER.into(),
                    audiences: Audiences::new([Audience { value: AUDIENCE.into(), name: None }]),
                    keys: KeySource::Fetched(Arc::clone(&self.key_set)),
                    algorithms: AlgorithmSet::new([Algorithm::RS256]),
                    clock_skew_ms: 30_000,
                    max_lifetime_ms: Some(300_000),
                    require_issued_at: false,
                    reuse: ReuseMode::Observe,
                    reuse_scope: reuse_scope(&format!("uid-{number}"), &self.key_set),
                }),
            }),
        };
        Policy {
            id: Arc::new(PolicyId::new(PolicyKind::CallbackPolicy, "contoso", &format!("policy-{number}"), &format!("uid-{number}"))),
            mode: Mode::Enforce,
            matches: Match {
                hosts: Box::new([HostPattern::Exact(host(number).into())]),
                paths: Box::new([PathPattern::prefix("/api/callbacks")]),
                ignore_path_case: false,
            },
            rules: Rules::Senders {
                senders: Box::new([sender]),
                forward: Arc::new(Forward {
                    headers: Box::new([("x-acs-audience".into(), "aud".into())]),
                    remove: Box::new(["x_acs_audience".into()]),
                    strip_query: Box::new(["key".into()]),
                }),
            },
        }
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
    token: Option<String>,
    source: &'static str,
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
    if shape.token.is_some() {
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

fn decide_raw(raw: &RawRequest<'_>, policies: &PolicySet, ring: &KeyRing) -> Decided {
    let request = Request::new(raw).unwrap();
    decide(&request, policies, ring, Now::settled(NOW_SECONDS * 1000 + 5_000), &mut NoTrace)
}

fn reason(decided: &Decided) -> &'static str {
    match decided {
        Decided::Final(verdict) => verdict.reason_label(),
        Decided::NeedsKey(wanted) => wanted.otherwise.reason_label(),
        Decided::NeedsReuse(_) => "allowed",
    }
}

/// One thing to measure: told the number of a batch, it prepares that batch and returns how long the calls alone took.
type Candidate<'c> = (&'static str, Box<dyn FnMut(usize) -> Duration + 'c>);

/// Nanoseconds per call of each candidate: the median over rounds in which all take turns.
fn measure(candidates: &mut [Candidate<'_>]) -> Vec<f64> {
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); candidates.len()];
    for round in 0..=ROUNDS {
        for ((_, run), figures) in candidates.iter_mut().zip(&mut rounds) {
            let took: Duration = (0..BATCHES).map(|batch| run(round * BATCHES + batch)).sum();
            if round > 0 {
                figures.push(took.as_nanos() as f64 / (BATCH * BATCHES) as f64);
            }
        }
    }
    rounds
        .iter_mut()
        .map(|figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        })
        .collect()
}

/// Times `decide` over one batch of requests that were built beforehand.
fn time_batch<'r>(requests: impl Iterator<Item = RawRequest<'r>>, policies: &PolicySet, ring: &KeyRing) -> Duration {
    let requests: Vec<RawRequest<'r>> = requests.collect();
    let mut answers = Vec::with_capacity(requests.len());
    let began = Instant::now();
    for request in &requests {
        answers.push(black_box(decide_raw(request, policies, ring)));
    }
    began.elapsed()
}

fn main() {
    let bench = Bench::new();
    let one = bench.policies(1);
    let many_count = 100_000;
    let many = bench.policies(many_count);
    let good: Vec<String> = (0..TOKENS).map(|number| bench.signer.token(number, AUDIENCE, NOW_SECONDS + 300)).collect();
    let parts: Vec<(Vec<u8>, Vec<u8>)> = good
        .iter()
        .map(|token| {
            let (signed, signature) = token.rsplit_once('.').unwrap();
            (signed.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(signature).unwrap())
        })
        .collect();
    let bearer: Vec<String> = good.iter().map(|token| format!("Bearer {token}")).collect();
    let shape = Shape { host: host(0), target: format!("/api/callbacks/42?key={}", api_key(0)), token: Some(String::new()), source: "52.112.10.20" };
    let shapes: Vec<Shape> = (0..many_count)
        .map(|number| Shape { host: host(number), target: format!("/api/callbacks/42?key={}", api_key(number)), ..shape.clone() })
        .collect();
    let with = |audience: &str, expires| format!("Bearer {}", bench.signer.token(0, audience, expires));
    let refusals: Vec<(&str, Shape, String)> = vec![
        ("no_policy", Shape { host: "other.contoso.com".into(), ..shape.clone() }, bearer[0].clone()),
        ("audience_mismatch", shape.clone(), with("00000000-0000-4000-8000-000000000000", NOW_SECONDS + 300)),
        ("token_expired", shape.clone(), with(AUDIENCE, NOW_SECONDS - 100)),
        ("source_denied", Shape { source: "203.0.113.9", ..shape.clone() }, bearer[0].clone()),
        ("token_missing", Shape { token: None, ..shape.clone() }, String::new()),
    ];
    for (expected, shape, authorization) in &refusals {
        assert_eq!(reason(&decide_raw(&raw_request(shape, authorization), &one, &bench.ring)), *expected);
    }
    assert_eq!(reason(&decide_raw(&raw_request(&shape, &bearer[0]), &one, &bench.ring)), "allowed");

    let step = 7919; // a stride that visits the policies in no order that a cache knows
    let batch = |number: usize| number * BATCH..(number + 1) * BATCH;
    let mut candidates: Vec<Candidate<'_>> = vec![
        (
            "raw",
            Box::new(|number| {
                let began = Instant::now();
                batch(number).for_each(|n| assert!(bench.raw.verifies(Algorithm::RS256, &parts[n % TOKENS].0, &parts[n % TOKENS].1)));
                began.elapsed()
            }),
        ),
        ("good", Box::new(|number| time_batch(batch(number).map(|n| raw_request(&shape, &bearer[n % TOKENS])), &one, &bench.ring))),
        (
            "good-among-100000",
            Box::new(|number| {
                time_batch(batch(number).map(|n| raw_request(&shapes[n * step % many_count], &bearer[n % TOKENS])), &many, &bench.ring)
            }),
        ),
    ];
    for (name, shape, authorization) in &refusals {
        candidates.push((name, Box::new(|number| time_batch(batch(number).map(|_| raw_request(shape, authorization)), &one, &bench.ring))));
    }
    if let Some(only) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        candidates.retain(|(name, _)| *name == only);
        println!("{only} {:.0}", measure(&mut candidates)[0]);
        return;
    }
    let figures = measure(&mut candidates);
    for ((name, _), nanoseconds) in candidates.iter().zip(&figures) {
        println!("{name} {nanoseconds:.0}");
    }
    println!("good-over-raw-rate {:.3}", figures[0] / figures[1]);
    println!("among-100000-over-one {:.3}", figures[2] / figures[1]);
}
