//! The project's own table cases (`tests/cases`) through the compiler and `decide` and nothing else, so that `cargo mutants` on the core needs
//! no other crate. `tests/e2e/cases.rs` sends the same tables through every listener.
//!
//! What a case asks, what token it carries and what is expected are the service's own files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "../../../src/issuer/entra.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod entra;
#[path = "../../../src/cases/expectation.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod expectation;
#[path = "../../../src/issuer/key.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod key;
#[path = "../../../src/cases/request.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod request;
#[path = "../../../src/signed_url.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod signed_url;
#[path = "../../../src/issuer/token.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the service, of which a table needs less")]
mod token;
mod vectors;
mod yaml;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::{
    api::{Kind, Object, ObjectKey},
    compile::{self, ACS_ISSUER, Compiled, Options},
    decide::{
        Algorithm, Decided, FetchedKeys, KeyRing, Now, RawRequest, Request, ReuseAnswer, Step, StepOutcome, Trace, Unmatched, Verdict, Wire, decide,
        read_key_set,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    entra::Names,
    expectation::{Expectation, Outcome},
    key::SigningKey,
    request::CaseRequest,
    token::Broken,
};

/// Where the service keeps what a token is.
mod issuer {
    pub(crate) use crate::token::TokenSpec;
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerError {
    #[error("{0}")]
    Kind(Broken),
    #[error("the cryptographic library refused")]
    Crypto,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    config: PathBuf,
    #[serde(default)]
    unmatched: String,
    #[serde(default)]
    host_ownership: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    name: String,
    request: CaseRequest,
    expect: Expectation,
    #[serde(default)]
    wires: Vec<String>,
    #[serde(default)]
    times: usize,
}

/// When everything happens, in milliseconds since the Unix epoch.
const NOW_MS: i64 = 1_800_000_000_250;

/// The keys of every issuer, made when they are first needed.
static KEYS: LazyLock<Mutex<HashMap<Algorithm, Arc<SigningKey>>>> = LazyLock::new(Mutex::default);
/// A key that is never published.
static FOREIGN: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::RS256).unwrap());

fn signing_key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::clone(KEYS.lock().unwrap().entry(algorithm).or_insert_with(|| Arc::new(SigningKey::generate(algorithm).unwrap())))
}

fn mint(case: &Case, now_ms: i64) -> Option<String> {
    let spec = case.request.token.as_ref()?;
    let names = Names {
        acs: ACS_ISSUER.to_owned(),
        entra_v1: "https://sts.windows.net".to_owned(),
        entra_v2: "https://login.microsoftonline.com".to_owned(),
    };
    let key = signing_key(spec.algorithm.map_or(Algorithm::RS256, |algorithm| algorithm.0));
    Some(spec.mint(&names, u64::try_from(now_ms / 1000).unwrap(), &key, || Ok(&FOREIGN)).unwrap())
}

/// Every key under the name of every set that the policies want, fetched after every request that will ever come.
fn ring(compiled: &Compiled) -> KeyRing {
    let keys: Vec<_> = KEYS.lock().unwrap().values().map(|key| key.jwk()).collect();
    let reading = read_key_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert!(reading.rejected.is_empty());
    let (keys, fetch_began) = (Arc::new(reading.keys), Instant::now() + Duration::from_secs(1_000_000));
    KeyRing::new(compiled.key_sets.iter().map(|id| (Arc::clone(id), FetchedKeys { keys: Arc::clone(&keys), fetch_began })).collect())
}

fn object(raw: Value) -> Object {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = Kind::of(&text(&raw["apiVersion"]), &text(&raw["kind"])).unwrap();
    let namespace = match raw["metadata"]["namespace"].as_str() {
        Some(namespace) => namespace,
        None if kind.is_namespaced() => "default",
        None => "",
    };
    let key = ObjectKey { kind: kind.name().into(), namespace: namespace.into(), name: text(&raw["metadata"]["name"]).into() };
    Object {
        uid: key.to_string().into(),
        key,
        api_version: kind.api_version().into(),
        generation: 0,
        resource_version: raw.to_string().into(),
        created: None,
        raw: Arc::new(raw),
        origin: None,
    }
}

fn compile(folder: &Path, file: &File) -> Compiled {
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder.join(&file.config)).unwrap() {
        objects.extend(yaml::read(&fs::read_to_string(entry.unwrap().path()).unwrap()).into_iter().map(object));
    }
    let options = Options {
        unmatched: match file.unmatched.as_str() {
            "" | "deny" => Unmatched::Deny,
            "unavailable" => Unmatched::Unavailable,
            "allow" => Unmatched::Allow,
            other => panic!("{other}"),
        },
        hosts_are_granted: file.host_ownership == "granted",
        insecure_http_issuers: true,
        ..Options::default()
    };
    compile::compile(&objects, &options)
}

/// Every step, in words, and how it went.
#[derive(Default)]
struct Steps(Vec<(String, StepOutcome)>);

impl Trace for Steps {
    fn step(&mut self, step: Step<'_>) {
        let outcome = match step.outcome {
            StepOutcome::Pass => "passed",
            StepOutcome::Fail(reason) => reason.code(),
            StepOutcome::Note => "noted",
        };
        self.0.push((format!("{}: {outcome}: {}", step.stage, step.detail), step.outcome));
    }
}

/// The step with `KEY` for what names a key, which is another one each time.
fn without_key_ids(step: &str) -> String {
    let is_key_id = |word: &str| word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    step.split('`').map(|word| if is_key_id(word) { "KEY" } else { word }).collect::<Vec<_>>().join("`")
}

/// What a step says of anything: its words without what stands between backticks, and without numbers.
fn sentence(step: &str) -> String {
    let words: String = step.split('`').step_by(2).collect();
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What the service's shell makes of a request: one reuse store, an issuer that answers and has nothing new.
fn ask(raw: &RawRequest<'_>, compiled: &Compiled, keys: &KeyRing, now: Now, used: &mut HashSet<([u8; 32], Option<Box<str>>)>) -> (Verdict, Steps) {
    let mut steps = Steps::default();
    let request = match Request::new(raw) {
        Ok(request) => request,
        Err(reason) => return (Verdict::deny(reason), steps),
    };
    let verdict = match decide(&request, &compiled.policies, keys, now, &mut steps) {
        Decided::Final(verdict) => verdict,
        Decided::NeedsKey(wanted) => wanted.otherwise,
        Decided::NeedsTurn(pending) => pending.resolve(true),
        Decided::NeedsReuse(pending) => {
            let claim = pending.claim();
            assert!(claim.expires_ms > now.effective_ms, "a spent token must be remembered until it is over");
            let is_retried = claim.request_id.is_some() && used.contains(&(claim.key, claim.request_id.clone()));
            let is_known = used.iter().any(|(key, _)| *key == claim.key);
            used.insert((claim.key, claim.request_id.clone()));
            pending.resolve(if is_known && !is_retried { ReuseAnswer::Reused } else { ReuseAnswer::First })
        }
    };
    (verdict, steps)
}

#[test]
fn every_case_holds_in_decide() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
    let (mut failures, mut asked, mut seen, mut told) = (Vec::new(), 0, BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let document = yaml::read(&fs::read_to_string(&path).unwrap()).remove(0);
        let file: File = serde_path_to_error::deserialize(&document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let compiled = compile(&folder, &file);
        for mut case in file.cases.into_iter() {
            case.request = case.request.signed(NOW_MS).unwrap();
            for wire in Wire::ALL.iter().filter(|wire| case.wires.is_empty() || case.wires.iter().any(|name| name == wire.label())) {
                let token = mint(&case, NOW_MS);
                let lines = case.request.header_lines(token.as_deref());
                let (keys, mut used) = (ring(&compiled), HashSet::new());
                let (mut outcome, mut steps) = (Outcome::default(), Steps::default());
                for _ in 0..case.times.max(1) {
                    let raw = case.request.raw(*wire, &lines, Instant::now());
                    let (verdict, traced) = ask(&raw, &compiled, &keys, Now::settled(NOW_MS), &mut used);
                    (outcome, steps) = (Outcome::from(&verdict), traced);
                    asked += 1;
                }
                let label = format!("{} {} ({})", path.display(), case.name, wire.label());
                failures.extend(case.expect.mismatches(&outcome).iter().map(|mismatch| format!("{label}: {mismatch}")));
                seen.insert(outcome.reason.clone());
                told.extend(steps.0.iter().map(|(step, _)| without_key_ids(step)));
                failures.extend(untold(&outcome, &steps).map(|why| format!("{label}: {why}")));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(asked > 500 && seen.len() > 30, "{asked} {seen:?}");
    check_explanations(&told);
}

/// Holds what was told against `explanations.txt`, which has the first example of each sentence. With `RINGFENCE_TEST_REWRITE=1` that file
/// is written anew instead, for people to read.
fn check_explanations(told: &BTreeSet<String>) {
    let mut sentences = HashSet::new();
    let examples: String = told.iter().filter(|step| sentences.insert(sentence(step))).map(|step| format!("{step}\n")).collect();
    if std::env::var_os("RINGFENCE_TEST_REWRITE").is_some() {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/explanations.txt"), &examples).unwrap();
    } else {
        let expected: BTreeSet<&str> = include_str!("explanations.txt").lines().collect();
        let examples: BTreeSet<&str> = examples.lines().collect();
        let (missing, new): (Vec<_>, Vec<_>) = (expected.difference(&examples).collect(), examples.difference(&expected).collect());
        assert!(missing.is_empty() && new.is_empty(), "no longer told: {missing:#?}\ntold now: {new:#?}");
    }
}

/// Whoever traces a decision is told why: a refusal has a step that failed for its reason, or ends with a note that there is no policy.
fn untold(outcome: &Outcome, Steps(steps): &Steps) -> Option<String> {
    let is_refused = matches!(outcome.decision.as_str(), "denied" | "shadow_denied");
    let has_failed = steps.iter().any(|(_, step)| matches!(step, StepOutcome::Fail(reason) if reason.code() == outcome.reason));
    let is_noted = steps.last().is_none_or(|(_, step)| *step == StepOutcome::Note);
    // Reuse is judged after `decide`.
    (is_refused && !has_failed && !is_noted && outcome.reason != "token_reused").then(|| format!("no step says why: {steps:?}"))
}
