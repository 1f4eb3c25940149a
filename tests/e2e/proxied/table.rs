//! One table of requests through every proxy: what the client gets, what the application sees, what is counted and logged.

use ringfence_core::decide::Reason;

use super::cases::{Case, Outcome, cases, unreachable};
use crate::support::{
    http::Answer,
    policies::{AUDIENCE, HOST},
    proxies::Kind,
    stand::Stand,
    upstream::Seen,
    wait_for,
};

#[tokio::test]
async fn through_envoy_over_grpc() {
    play(Kind::EnvoyGrpc).await;
}

#[tokio::test]
async fn through_envoy_over_grpc_with_joined_headers() {
    play(Kind::EnvoyGrpcMap).await;
}

#[tokio::test]
async fn through_envoy_over_http() {
    play(Kind::EnvoyHttp).await;
}

#[tokio::test]
async fn through_nginx() {
    play(Kind::Nginx).await;
}

/// Plays the table against one proxy and collects every surprise.
async fn play(kind: Kind) {
    let stand = Stand::start(kind).await;
    let mut surprises = Vec::new();
    for case in cases(&stand.issuer) {
        if let Err(surprise) = play_case(kind, &stand, &case).await {
            surprises.push(format!("{}: {surprise}", case.name));
        }
    }
    assert!(surprises.is_empty(), "{kind:?}:\n{}", surprises.join("\n"));
}

async fn play_case(kind: Kind, stand: &Stand, case: &Case) -> Result<(), String> {
    let outcome = case.outcome(kind);
    let (decided, seen) = (stand.ringfence.decisions().len(), stand.application.seen().len());
    let answer = case.ask.send(stand.proxy.address).await;
    let expected = status(kind, outcome);
    if answer.status != expected {
        let decisions = stand.ringfence.decisions().split_off(decided);
        return Err(format!("the client got {} and not {expected}: {}; {decisions:?}", answer.status, answer.text()));
    }
    if let Outcome::Proxy(_) = outcome {
        return none_new("decisions", decided, stand.ringfence.decisions().len());
    }
    let decision = wait_for(&format!("the decision on {}", case.name), async || stand.ringfence.decisions().into_iter().nth(decided)).await;
    let (label, reason) = match outcome {
        Outcome::Refused(reason) => ("denied", reason.code()),
        Outcome::Shadowed(reason) => ("shadow_denied", reason.code()),
        Outcome::Allowed | Outcome::Proxy(_) => ("allowed", "allowed"),
    };
    if decision["decision"] != label || decision["reason"] != reason {
        return Err(format!("should be {label} for {reason}: {decision}"));
    }
    match outcome {
        Outcome::Refused(reason) => {
            check_denial(kind, reason, &answer)?;
            none_new("requests to the application", seen, stand.application.seen().len())
        }
        _ => check_upstream(kind, case, &Seen::from_report(&answer.body)),
    }
}

fn none_new(what: &str, before: usize, now: usize) -> Result<(), String> {
    if before == now { Ok(()) } else { Err(format!("there are {} {what} and should be none", now - before)) }
}

/// What the client gets to see of an outcome.
fn status(kind: Kind, outcome: Outcome) -> u16 {
    match (outcome, kind) {
        (Outcome::Allowed | Outcome::Shadowed(_), _) => 200,
        (Outcome::Proxy(status), _) => status,
        // Envoy takes 5xx over HTTP for a fault of the authorizer.
        (Outcome::Refused(reason), Kind::EnvoyHttp) if reason.is_undecided() => 429,
        // nginx relays no 400.
        (Outcome::Refused(reason), Kind::Nginx) if reason.status() == 400 => 403,
        (Outcome::Refused(reason), _) => reason.status(),
    }
}

/// What every denial tells the client, and what it does not.
fn check_denial(kind: Kind, reason: Reason, answer: &Answer) -> Result<(), String> {
    let challenged = answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer"));
    if challenged != (reason.status() == 401) {
        return Err(format!("a challenge belongs to 401 and to nothing else: {answer:?}"));
    }
    if reason.is_undecided() != answer.header("retry-after").is_some() {
        return Err(format!("Retry-After belongs to what is not decided and to nothing else: {answer:?}"));
    }
    if format!("{:?} {}", answer.headers, answer.text()).contains(reason.code()) {
        return Err("the reason must not be told to the client".to_owned());
    }
    // nginx shows pages of its own.
    if kind != Kind::Nginx && answer.header("content-type") != Some("application/problem+json") {
        return Err(format!("no problem document: {answer:?}"));
    }
    Ok(())
}

/// The request as the application got it.
fn check_upstream(kind: Kind, case: &Case, seen: &Seen) -> Result<(), String> {
    let over_grpc = matches!(kind, Kind::EnvoyGrpc | Kind::EnvoyGrpcMap);
    let sorted = case.sorted_target.as_ref().filter(|_| over_grpc);
    let target = sorted.or(case.upstream_target.as_ref()).unwrap_or(&case.ask.target);
    let body = String::from_utf8_lossy(&case.ask.body);
    let expected = (case.ask.method.as_str(), target.as_str(), body.as_ref());
    if expected != (&seen.method, &seen.target, &seen.body) {
        return Err(format!("the application saw another request than {expected:?}: {seen:?}"));
    }
    let over_grpc = if over_grpc { case.grpc_upstream_headers.as_slice() } else { &[] };
    for (header, value) in case.upstream_headers.iter().chain(over_grpc) {
        if seen.values(header) != value.as_slice() {
            return Err(format!("the application should see {header} as {value:?}: {seen:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_table_reaches_every_reason_that_can_be_reached() {
    let issuer = ringfence::issuer::Issuer::start(ringfence::issuer::IssuerOptions::default()).await.unwrap();
    let cases = cases(&issuer);
    for reason in Reason::ALL {
        let in_table = cases
            .iter()
            .any(|case| case.outcome(Kind::EnvoyGrpc) == Outcome::Refused(*reason) || case.outcome(Kind::Nginx) == Outcome::Refused(*reason));
        assert_ne!(in_table, unreachable(*reason).is_some(), "`{reason}` should be in the table, or it should be said why it is not");
    }
}

#[tokio::test]
async fn nothing_secret_is_written_anywhere() {
    for kind in Kind::ALL {
        let stand = Stand::start(kind).await;
        for case in cases(&stand.issuer) {
            case.ask.send(stand.proxy.address).await;
        }
        let written = [stand.ringfence.output(), stand.proxy.output().lines_from(0).join("\n")].concat();
        assert!(written.contains(HOST) && written.contains(AUDIENCE), "{kind:?} should log requests");
        for secret in ["current-key", "previous-key", "wrong-key", "eyJ", "key="] {
            let line = written.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{kind:?}: `{secret}` is in a log");
        }
    }
}
