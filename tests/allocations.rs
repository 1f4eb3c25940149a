//! How often one check asks for memory: beside the signature nothing else adds up so fast, and nothing comes in so unseen.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

use std::{fs, time::Instant};

use aws_lc_rs::digest::{SHA256, digest};
use ringfence::{
    cases::{CaseRequest, Rehearsal},
    check::Begun,
    issuer::{Broken, TokenSpec},
};
use ringfence_core::decide::{Unmatched, Verdict, Wire};

const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
const HOST: &str = "callbacks.contoso.com";
const KEY: &str = "callback-key-0001";
/// Checks of each kind. A table that grows meanwhile asks for memory at some of them, and never at most of them.
const CHECKS: usize = 41;

fn policy() -> String {
    let key_digest: String = digest(&SHA256, KEY.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: contact-center, namespace: contoso}}
spec:
  match: {{hosts: [{HOST}], paths: [{{prefix: /api/callbacks}}]}}
  senders:
  - name: callbacks
    type: CallAutomation
    callAutomation: {{audiences: [{AUDIENCE}], tokenReuse: Deny}}
    sources: {{sets: [acs-callbacks], onMismatch: Deny}}
    apiKey: {{query: key, sha256: [{key_digest}]}}
  forward:
    headers: [{{name: x-acs-audience, claim: aud}}]
"
    )
}

fn request(host: &str, source: &str) -> CaseRequest {
    let request = CaseRequest::new(&format!("https://{host}/api/callbacks/42?key={KEY}")).source(source.parse().ok());
    let headers = [("user-agent", "Azure-Communication-Services/1.0"), ("content-type", "application/json"), ("content-length", "842")];
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// How often a check that is decided for `reason` asks for memory, at most, in more than half of all.
fn median(rehearsal: &Rehearsal, request: &CaseRequest, token: Option<&TokenSpec>, reason: &str) -> u64 {
    let check = |_| {
        let token = token.map(|token| rehearsal.mint(token).unwrap());
        let lines = request.header_lines(token.as_deref());
        let raw = request.raw(Wire::Grpc, &lines, Instant::now());
        let counted = allocation_counter::measure(|| {
            let Begun::Decided(verdict) = rehearsal.checker().begin(&raw, None) else { panic!("it waits") };
            assert_eq!(Verdict::reason_label(&verdict), reason);
        });
        counted.count_total
    };
    let mut counts: Vec<u64> = (0..CHECKS).map(check).collect();
    counts.sort_unstable();
    counts.into_iter().nth(CHECKS / 2).unwrap()
}

#[tokio::test]
async fn a_check_asks_for_memory_only_so_often() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.yaml"), policy()).unwrap();
    let rehearsal = Rehearsal::new(folder.path(), Unmatched::Deny, false).await.unwrap();
    let good = TokenSpec::callback(AUDIENCE);
    let source = "52.112.10.20";
    let cases = [
        ("no_policy", request("other.contoso.com", source), Some(good.clone()), 0),
        ("token_missing", request(HOST, source), None, 1),
        ("source_denied", request(HOST, "203.0.113.9"), Some(good.clone()), 1),
        ("audience_mismatch", request(HOST, source), Some(good.clone().broken(Broken::WrongAudience)), 2),
        ("token_expired", request(HOST, source), Some(good.clone().broken(Broken::Expired)), 2),
        ("allowed", request(HOST, source), Some(good), 6),
    ];
    for (reason, request, token, most) in cases {
        let counted = median(&rehearsal, &request, token.as_ref(), reason);
        assert!(counted <= most, "{reason}: {counted} times, {most} at most");
    }
}
