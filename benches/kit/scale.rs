//! The server with 100,000 policies, each for a host of its own: how long it takes to be ready, what it holds in memory, and what a good check for
//! any of them costs it.

use std::fmt::Write;

use ringfence::{
    cli::demo::folder::{AUDIENCE, HOST},
    issuer::Issuer,
};

use crate::{
    decide::{median, median_ratio},
    load::{self, BUSY},
    questions::Kind,
    rounds::Site,
    server::Server,
    table::Figure,
};

/// Policies beside the demo's, whose Secret they share.
const POLICIES: usize = 100_000;
/// Policies of a file.
const PER_FILE: usize = 2_000;
/// Rounds in which both servers take turns; the first does not count.
const ROUNDS: usize = 6;
/// Good checks of a round.
const CHECKS: usize = 4_800;

/// A stride that visits the policies in no order that a cache knows, and none twice.
const STRIDE: usize = 7919;

/// A server with one such policy, and one with many, in turn.
pub fn run() -> Vec<Figure> {
    eprintln!("the server with {POLICIES} policies");
    let (one, many) = (Site::new(), Site::new());
    for file in 0..POLICIES / PER_FILE {
        let mut text = String::new();
        (0..PER_FILE).for_each(|number| policy(&mut text, file * PER_FILE + number, &many.issuer));
        std::fs::write(many.folder().join(format!("many-{file}.yaml")), text).unwrap();
    }
    let mut text = String::new();
    policy(&mut text, 0, &one.issuer);
    std::fs::write(one.folder().join("one.yaml"), text).unwrap();
    let program = Server::program();
    let (small, large) = (Server::start(&program, one.folder()), Server::start(&program, many.folder()));
    let (mut alone, mut among) = (Vec::new(), Vec::new());
    // What a policy costs at its first allow alone, such as its account of used tokens. One token is good for each of them once.
    let all = Kind::Good.ask_each(&Kind::Good.tokens(&many.issuer, 1), (0..POLICIES).map(host));
    Kind::Good.expect(&load::run(large.grpc(), &all, BUSY, || ()).answers);
    for round in 0..ROUNDS {
        let first = round * CHECKS;
        let times = (good(&small, &one.issuer, |_| 0), good(&large, &many.issuer, |number| (first + number) * STRIDE % POLICIES));
        if round > 0 {
            alone.push(times.0);
            among.push(times.1);
        }
    }
    vec![
        Figure::new("scale.ready", "100,000 policies: start to ready", large.ready_after.as_secs_f64(), "s"),
        Figure::new("scale.memory", "100,000 policies: resident memory, once each has allowed", large.resident(), "MiB"),
        Figure::new("scale.reading", "100,000 policies: the most that was resident, while their files were read", large.most_resident(), "MiB"),
        Figure::micros("scale.good", "100,000 policies: server CPU, good webhook for any of them", median(among.iter().copied()) / 1e3),
        Figure::ratio("scale.ratio", "good webhook, any of 100,000 policies / one", median_ratio(&among, &alone)),
    ]
}

/// CPU of the server for each of so many good checks, the numbers of whose policies are given.
fn good(server: &Server, issuer: &Issuer, policy: impl Fn(usize) -> usize) -> f64 {
    let messages = Kind::Good.ask_each(&Kind::Good.tokens(issuer, CHECKS), (0..CHECKS).map(|number| host(policy(number))));
    let outcome = load::run(server.grpc(), &messages, BUSY, || server.cpu());
    Kind::Good.expect(&outcome.answers);
    outcome.cpu_per_call()
}

/// The host of a policy.
fn host(number: usize) -> String {
    format!("h{number}.{HOST}")
}

/// A policy like the demo's callbacks for a host of its own.
fn policy(text: &mut String, number: usize, issuer: &Issuer) {
    let (name, discovery) = (issuer.issuer(), issuer.discovery_url());
    writeln!(
        text,
        "---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: p{number}, namespace: contoso}}
spec:
  match: {{hosts: [h{number}.{HOST}], paths: [{{prefix: /api/callbacks}}]}}
  senders:
  - name: callbacks
    type: CallAutomation
    callAutomation: {{audiences: [{AUDIENCE}], issuer: '{name}', openIdConfiguration: '{discovery}', tokenReuse: Deny}}
    sources: {{sets: [acs-callbacks], onMismatch: Deny}}
    apiKey: {{query: key, secretRefs: [{{name: callback-key, key: current}}]}}
  forward: {{headers: [{{name: x-acs-audience, claim: aud}}]}}"
    )
    .unwrap();
}
