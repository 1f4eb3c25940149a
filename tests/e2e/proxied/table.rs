//! One table of requests through every proxy: what the client gets, what the application sees, what is counted and logged.

use std::collections::BTreeSet;

use ringfence_core::decide::Reason;
use serde_json::Value;

use super::{
    bytes::not_quite_http_through,
    cases::{Case, cases, unreachable},
};
use crate::support::{
    doors::{ALL, Door, ENVOY_GRPC, ENVOY_GRPC_MAP, ENVOY_HTTP, Outcome, WITH_CONTROL_PLANE},
    http::{Answer, Ask},
    policies::{AUDIENCE, HOST, KEY},
    stand::Stand,
    upstream::Seen,
    wait_for,
};

for_each_door!(play);

/// Plays the table against one proxy and collects every surprise.
async fn play(door: &Door) {
    play_with(door, &[], |_| true).await;
}

for_each_door!(unmatched_allow_opens_nothing_that_is_claimed);

/// The tricks with paths, hosts and headers, where everything that no policy claims is let by.
async fn unmatched_allow_opens_nothing_that_is_claimed(door: &Door) {
    play_with(door, &["--unmatched=allow"], |case| is_refused_where_unmatched_is_allowed(door, case)).await;
}

/// Whether it is refused there, too, whatever was asked before it.
pub fn is_refused_where_unmatched_is_allowed(door: &Door, case: &Case) -> bool {
    case.outcome(door) != Outcome::Refused(Reason::TokenReused) && case.is_claimed && case.is_refused(door)
}

/// What Envoys are told where failures are to be let by: nothing of the table is one to them. However busy the machine, no check may come late.
const LENIENT: &[(&str, &str)] = &[("failure_mode_allow: false", "failure_mode_allow: true"), ("timeout: 0.5s", "timeout: 20s")];

#[tokio::test]
async fn nothing_fails_open_where_envoy_lets_failures_by() {
    for door in [&ENVOY_GRPC, &ENVOY_GRPC_MAP, &ENVOY_HTTP] {
        let stand = Stand::start_with(door, &[], LENIENT).await;
        play_through(door, &stand, |_| true).await;
        not_quite_http_through(door, &stand).await;
    }
}

/// The cases of the table that `is_played` picks.
pub async fn play_with(door: &Door, flags: &[&str], is_played: impl Fn(&Case) -> bool) {
    play_through(door, &Stand::start_with(door, flags, &[]).await, is_played).await;
}

for_each_door!(a_target_of_another_host_opens_nothing);

/// Two hosts in one request, and everything let by that no policy claims: whichever of them is judged, it is the one that the application sees.
async fn a_target_of_another_host_opens_nothing(door: &Door) {
    let stand = Stand::start_with(door, &["--unmatched=allow"], &[]).await;
    another_hosts_target_through(door, &stand).await;
}

/// The same where everything runs already.
pub async fn another_hosts_target_through(door: &Door, stand: &Stand) {
    const OTHER: &str = "fabrikam.com";
    let before = stand.application.seen().len();
    for (target, host) in [(OTHER, HOST), (HOST, OTHER), (HOST, ""), ("callbacks.contoso.com:8443", OTHER), ("CALLBACKS.contoso.com.", OTHER)] {
        let ask = Ask::new("POST", &format!("http://{target}/api/callbacks?key={KEY}")).header("Host", host);
        let status = ask.send(stand.proxy.address).await.status;
        assert!(status == 200 || (400..500).contains(&status), "{}: {target} {host}: {status}", door.name);
    }
    let seen = stand.application.seen().split_off(before);
    let is_claimed = |text: &str| text.to_ascii_lowercase().contains(HOST);
    assert!(!seen.iter().any(|seen| is_claimed(&seen.values("host").concat()) || is_claimed(&seen.target)), "{}: {seen:?}", door.name);
}

/// The same where everything runs already.
pub async fn play_through(door: &Door, stand: &Stand, is_played: impl Fn(&Case) -> bool) {
    let mut surprises = Vec::new();
    for case in cases(&stand.issuer).into_iter().filter(is_played) {
        if let Err(surprise) = play_case(door, stand, &case).await {
            surprises.push(format!("{}: {surprise}", case.name));
        }
    }
    assert!(surprises.is_empty(), "{}:\n{}", door.name, surprises.join("\n"));
}

async fn play_case(door: &Door, stand: &Stand, case: &Case) -> Result<(), String> {
    let outcome = case.outcome(door);
    let (decided, seen) = (stand.ringfence.decisions().len(), stand.application.seen().len());
    let answer = case.ask.send(stand.proxy.address).await;
    let expected = status(door, outcome);
    if answer.status != expected {
        let decisions = stand.ringfence.decisions().split_off(decided);
        return Err(format!("the client got {} and not {expected}: {}; {decisions:?}", answer.status, answer.text()));
    }
    if let Outcome::Proxy(_) = outcome {
        return none_new("decisions", decided, stand.ringfence.decisions().len());
    }
    let decision = wait_for(&format!("the decision on {}", case.name), async || stand.ringfence.decisions().into_iter().nth(decided)).await;
    check_decision(outcome, &decision)?;
    match outcome {
        Outcome::Refused(reason) => {
            check_denial(door, reason, &answer)?;
            if answer.text().contains("alert(1)") {
                return Err(format!("the request comes back: {answer:?}"));
            }
            none_new("requests to the application", seen, stand.application.seen().len())
        }
        Outcome::Answered(body) => {
            check_answer(body, &answer)?;
            none_new("requests to the application", seen, stand.application.seen().len())
        }
        _ => check_upstream(door, case, &Seen::from_report(&answer.body)),
    }
}

/// What Ringfence says of it in its log.
pub fn check_decision(outcome: Outcome, decision: &Value) -> Result<(), String> {
    let (label, reason) = match outcome {
        Outcome::Refused(reason) => ("denied", reason.code()),
        Outcome::Shadowed(reason) => ("shadow_denied", reason.code()),
        Outcome::Answered(_) => ("handshake", "allowed"),
        Outcome::Allowed | Outcome::AllowedAs(_) | Outcome::Proxy(_) => ("allowed", "allowed"),
    };
    if decision["decision"] != label || decision["reason"] != reason {
        return Err(format!("should be {label} for {reason}: {decision}"));
    }
    Ok(())
}

fn none_new(what: &str, before: usize, now: usize) -> Result<(), String> {
    if before == now { Ok(()) } else { Err(format!("there are {} {what} and should be none", now - before)) }
}

/// What the client gets to see of an outcome.
pub fn status(door: &Door, outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Allowed | Outcome::AllowedAs(_) | Outcome::Answered(_) | Outcome::Shadowed(_) => 200,
        Outcome::Proxy(status) => status,
        Outcome::Refused(reason) if reason.is_undecided() => door.relays.undecided,
        Outcome::Refused(reason) if reason.status() == 400 => door.relays.malformed,
        Outcome::Refused(reason) => reason.status(),
    }
}

/// What every denial tells the client, and what it does not.
pub fn check_denial(door: &Door, reason: Reason, answer: &Answer) -> Result<(), String> {
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
    if door.relays.body && answer.header("content-type") != Some("application/problem+json") {
        return Err(format!("no problem document: {answer:?}"));
    }
    Ok(())
}

/// What an answer in the application's place says, and that nobody keeps it.
fn check_answer(body: &str, answer: &Answer) -> Result<(), String> {
    let is_marked = answer.header("cache-control") == Some("no-store") && answer.header("x-content-type-options") == Some("nosniff");
    let allows_origin = answer.header("webhook-allowed-origin") == Some("eventgrid.azure.net");
    if answer.text() != body || !is_marked || allows_origin != body.is_empty() {
        return Err(format!("should answer `{body}`: {answer:?}"));
    }
    Ok(())
}

/// The request as the application got it.
fn check_upstream(door: &Door, case: &Case, seen: &Seen) -> Result<(), String> {
    let door_does = &door.upstream;
    let sorted = case.sorted_target.as_ref().filter(|_| door_does.sorts_query);
    let stripped = sorted.or(case.upstream_target.as_ref()).filter(|_| door_does.strips_query_key);
    let query = case.ask.target.split_once('?').map_or("", |(_, query)| query);
    let target = match case.outcome(door) {
        Outcome::AllowedAs(path) if door_does.strips_query_key => path.to_owned(),
        Outcome::AllowedAs(path) => format!("{path}?{query}"),
        _ => stripped.unwrap_or(&case.ask.target).clone(),
    };
    let body = String::from_utf8_lossy(&case.ask.body);
    let expected = (case.ask.method.as_str(), target.as_str(), body.as_ref());
    if expected != (seen.method.as_str(), seen.target.as_str(), seen.body.as_str()) {
        return Err(format!("the application saw another request than {expected:?}: {seen:?}"));
    }
    let removed = if door_does.removes_headers { case.removed_headers.as_slice() } else { &[] };
    for (header, value) in case.upstream_headers.iter().chain(removed) {
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
        let in_table = cases.iter().any(|case| doors().any(|door| case.outcome(door) == Outcome::Refused(*reason)));
        assert_ne!(in_table, unreachable(*reason).is_some(), "`{reason}` should be in the table, or it should be said why it is not");
    }
}

/// What docs/front-doors.md says of every door: what its client sees of each class of requests, and what it can do. The doors are held to the same
/// data by the tests above.
#[tokio::test]
async fn the_documentation_shows_what_every_client_sees() {
    let issuer = ringfence::issuer::Issuer::start(ringfence::issuer::IssuerOptions::default()).await.unwrap();
    let cases = cases(&issuer);
    let mut classes: Vec<&str> = Vec::new();
    for case in &cases {
        if !classes.contains(&case.class) {
            classes.push(case.class);
        }
    }
    let yes = |can: bool| if can { "yes" } else { "no" }.to_owned();
    let mut rows = vec![row("", doors().map(|door| door.name.to_owned())), format!("|--|{}", "--|".repeat(doors().count()))];
    rows.extend(classes.iter().map(|class| row(class, doors().map(|door| statuses(door, cases.iter().filter(|case| case.class == *class))))));
    let in_body = |door: &Door| door.with_bodies().map(|door| statuses(&door, cases.iter().filter(|case| case.needs_body)));
    rows.push(row("the handshakes told by a body, with the example's line that shows bodies", doors().map(|door| in_body(door).unwrap_or_default())));
    rows.push(row("Ringfence is down", doors().map(|door| door.relays.down.to_string())));
    rows.push(row("relays the problem document", doors().map(|door| yes(door.relays.body))));
    rows.push(row("takes the key out of the query", doors().map(|door| yes(door.upstream.strips_query_key))));
    rows.push(row("removes every header it is told to", doors().map(|door| yes(door.upstream.removes_headers))));
    rows.push(row("WebSockets over HTTP/2", doors().map(|door| yes(door.shows.extended_connect))));
    let table = rows.join("\n");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/front-doors.md")).unwrap();
    assert!(page.contains(&table), "docs/front-doors.md should say:\n{table}");
}

/// Every door, those with a control plane included.
fn doors() -> impl Iterator<Item = &'static Door> {
    ALL.iter().chain(WITH_CONTROL_PLANE).copied()
}

fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// The statuses that clients of `door` get, each once.
fn statuses<'c>(door: &Door, cases: impl Iterator<Item = &'c Case>) -> String {
    let statuses: BTreeSet<u16> = cases.map(|case| status(door, case.outcome(door))).collect();
    statuses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn every_exception_of_a_door_names_a_case() {
    let issuer = ringfence::issuer::Issuer::start(ringfence::issuer::IssuerOptions::default()).await.unwrap();
    let cases = cases(&issuer);
    for door in ALL.iter().chain(WITH_CONTROL_PLANE) {
        for (exception, _) in door.exceptions {
            assert_eq!(cases.iter().filter(|case| case.name == *exception).count(), 1, "{}: `{exception}`", door.name);
        }
    }
}

#[tokio::test]
async fn nothing_secret_is_written_anywhere() {
    for door in ALL {
        let stand = Stand::start(door).await;
        for case in cases(&stand.issuer) {
            case.ask.send(stand.proxy.address).await;
        }
        check_logs(door, &stand);
    }
}

/// After the table: the logs say what was asked and decided, and nothing that could be used.
pub fn check_logs(door: &Door, stand: &Stand) {
    let written = [stand.ringfence.output(), stand.proxy.output().lines_from(0).join("\n")].concat();
    assert!(written.contains(HOST) && written.contains(AUDIENCE), "{} should log requests", door.name);
    for secret in ["current-key", "previous-key", "signing-key", "wrong-key", "eyJ", "key="] {
        let line = written.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{}: `{secret}` is in a log", door.name);
    }
}
