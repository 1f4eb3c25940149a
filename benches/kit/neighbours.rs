//! What one tenant's issuers cost the callbacks of another: latency of good webhooks, alone and beside key documents that are slow, endless or
//! too large, whose keys are asked for all the while.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use prost::Message;
use ringfence::{
    cases::CaseRequest,
    client,
    issuer::{Document, Fault, Issuer, TokenSpec},
};
use serde_json::json;

use crate::{
    decide::{median, median_ratio},
    load,
    questions::{Kind, Questions},
    rounds::Site,
    server::Server,
    table::{Bound, Figure},
};

/// Webhooks of a round, one after the other.
const CALLS: usize = 4_000;
/// Rounds in which both servers take turns.
const ROUNDS: usize = 5;
/// How long the other tenant's callers wait between two requests.
const PAUSE: Duration = Duration::from_millis(2);
const HOST: &str = "hooks.fabrikam.com";

/// A server for one tenant, and one for two, in turn. The other tenant's callers ask while the second is measured.
pub fn run() -> Vec<Figure> {
    eprintln!("one tenant beside another whose issuers are hostile");
    let (alone, beside) = (Site::new(), Site::new());
    let hostile = Hostile::new(&beside);
    let program = Server::program();
    let (lonely, crowded) = (Server::start(&program, alone.folder()), Server::start(&program, beside.folder()));
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(p99(&lonely, &Kind::Good.ask(&alone.issuer, CALLS)));
        let (questions, over) = (Kind::Good.ask(&beside.issuer, CALLS), AtomicBool::new(false));
        with.push(thread::scope(|scope| {
            scope.spawn(|| hostile.ask(&crowded, &over));
            let time = p99(&crowded, &questions);
            over.store(true, Ordering::Relaxed);
            time
        }));
    }
    let ratio = median_ratio(&with, &without);
    let (without, with) = (median(without), median(with));
    vec![
        Figure::micros("latency.alone", "p99 of a good webhook, alone", without),
        Figure::micros("latency.beside", "p99 of a good webhook beside hostile issuers", with),
        Figure::ratio("latency.ratio", "the latter / the former", ratio).bound(Bound::AtMost(2.0)),
    ]
}

/// The 99th of a hundred, in microseconds. Every answer is an allow.
fn p99(server: &Server, questions: &Questions) -> f64 {
    let (answers, mut times) = load::one_by_one(server.grpc(), &questions.messages);
    Kind::Good.expect(&answers);
    times.sort_unstable();
    times[times.len() * 99 / 100].as_secs_f64() * 1e6
}

/// Issuers of another tenant, and requests with their tokens.
struct Hostile {
    _issuers: Vec<Issuer>,
    messages: Vec<Bytes>,
}

impl Hostile {
    fn new(site: &Site) -> Self {
        let modulus = format!("w{}", "A".repeat(1365));
        let large = |number: usize| json!({"kty": "RSA", "kid": number.to_string(), "alg": "RS256", "n": modulus, "e": "AQAB"});
        let small = |number: usize| json!({"kty": "oct", "kid": number.to_string(), "k": "AA"});
        let faults = [
            Fault::Body(json!({"keys": (0..40).map(large).collect::<Vec<_>>()}).to_string()),
            Fault::Body(json!({"keys": (0..10_000).map(small).collect::<Vec<_>>()}).to_string()),
            Fault::Endless { announced: None },
            Fault::Endless { announced: Some(1 << 40) },
            Fault::Trickle,
            Fault::Slow(Duration::from_secs(3600)),
            Fault::Down,
        ];
        let issuers: Vec<_> = faults.into_iter().map(|fault| site.issuer_with(Document::Keys, fault)).collect();
        let mut policies = String::new();
        let mut messages = Vec::new();
        for (number, issuer) in issuers.iter().enumerate() {
            policies.push_str(&policy(number, issuer));
            let token = issuer.mint(&TokenSpec::callback(AUDIENCE)).unwrap();
            let request = CaseRequest::new(&format!("https://{HOST}/{number}")).source("203.0.113.9".parse().ok());
            messages.push(client::frame(&client::check_request(&request, &request.header_lines(Some(&token)), false)));
        }
        fs::write(site.folder().join("fabrikam.yaml"), policies).unwrap();
        Self { _issuers: issuers, messages }
    }

    /// Asks about them again and again.
    fn ask(&self, server: &Server, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            for message in &self.messages {
                let (answers, _) = load::one_by_one(server.grpc(), std::slice::from_ref(message));
                let outcome = client::outcome(&CheckResponse::decode(&answers[0].0[5..]).unwrap());
                assert_eq!(outcome.status, 503, "nobody has these keys: {outcome:?}");
                thread::sleep(PAUSE);
            }
        }
    }
}

const AUDIENCE: &str = "0b7f0c2c-6d1f-4f0a-9b7e-2f6b8f0d5a22";

fn policy(number: usize, issuer: &Issuer) -> String {
    format!(
        "---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: hostile-{number}, namespace: fabrikam}}
spec:
  match: {{hosts: [{HOST}], paths: [{{exact: /{number}}}]}}
  senders:
  - name: callbacks
    type: CallAutomation
    callAutomation:
      audiences: [{AUDIENCE}]
      issuer: {}
      openIdConfiguration: {}
",
        issuer.issuer(),
        issuer.discovery_url()
    )
}
