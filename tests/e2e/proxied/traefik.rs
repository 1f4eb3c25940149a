//! Traefik: a real one where `TRAEFIK` names its program, else the requests that a real Traefik 3.7 was recorded to send. What it makes of tricks
//! with paths and hosts is left out: it rewrites some of them before it asks.

use std::{
    env,
    io::{self, Write},
};

use super::{
    cases::{Case, cases},
    table::{check_decision, check_denial, play_with, status},
};
use crate::support::{
    doors::{Outcome, TRAEFIK},
    http::{Answer, Ask},
    policies::policies,
    ringfence::Ringfence,
    wait_for,
};

#[tokio::test]
async fn the_table_holds() {
    if env::var_os("TRAEFIK").is_some() {
        say(b"Traefik: the real one that TRAEFIK names\n");
        play_with(&TRAEFIK, &[], is_recorded).await;
    } else {
        say(b"Traefik: the recorded requests of a real one, as TRAEFIK names no program\n");
        replay().await;
    }
}

/// Says it to whoever runs the tests, who sees nothing that a test prints unless it fails.
fn say(line: &[u8]) {
    io::stderr().write_all(line).unwrap();
}

fn is_recorded(case: &Case) -> bool {
    !case.class.contains("in two ways") && !matches!(case.outcome(&TRAEFIK), Outcome::Proxy(_)) && case.ask.target.starts_with('/')
}

async fn replay() {
    let issuer = ringfence::issuer::Issuer::start(ringfence::issuer::IssuerOptions::default()).await.unwrap();
    let ringfence = Ringfence::start(&policies(&issuer), TRAEFIK.serve_flags).await;
    let (mut surprises, mut played) = (Vec::new(), 0);
    for case in cases(&issuer).into_iter().filter(is_recorded) {
        let decided = ringfence.decisions().len();
        let answer = as_recorded(&case.ask).send(ringfence.address("http")).await;
        let decision = wait_for(&format!("the decision on {}", case.name), async || ringfence.decisions().into_iter().nth(decided)).await;
        let judged = check_decision(case.outcome(&TRAEFIK), &decision).and_then(|()| judge(&case, &answer));
        surprises.extend(judged.err().map(|surprise| format!("{}: {surprise}", case.name)));
        played += 1;
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    assert!(played > 40, "{played}");
}

/// What Traefik sends for `ask`: a GET of the configured URL, `X-Forwarded-*` of its own, and the client's headers but for those of the connection.
fn as_recorded(ask: &Ask) -> Ask {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let own: Vec<_> = ask.headers.iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    let host = own.iter().find(|(name, _)| name == "host").map(|(_, value)| text(value)).unwrap();
    let nominated: String = own.iter().filter(|(name, _)| name == "connection").map(|(_, value)| text(value).to_lowercase()).collect();
    let is_of_the_connection = |name: &str| {
        ["host", "connection", "upgrade", "te", "keep-alive"].contains(&name)
            || name.starts_with("x-forwarded-")
            || nominated.split(',').any(|nominated| nominated.trim() == name)
    };
    let mut asked = Ask::new("GET", "/auth/traefik/any").header("Host", "ringfence");
    for (name, value) in own.iter().filter(|(name, _)| !is_of_the_connection(name)) {
        asked = asked.header(name, value.as_slice());
    }
    asked
        .header("X-Forwarded-For", ask.from.to_string())
        .header("X-Forwarded-Host", host)
        .header("X-Forwarded-Method", ask.method.as_str())
        .header("X-Forwarded-Proto", "http")
        .header("X-Forwarded-Uri", ask.target.as_str())
}

/// What Traefik is answered: it relays a denial whole, and sets from an allow what its configuration lists.
fn judge(case: &Case, answer: &Answer) -> Result<(), String> {
    let outcome = case.outcome(&TRAEFIK);
    if answer.status != status(&TRAEFIK, outcome) {
        return Err(format!("{answer:?}"));
    }
    if let Outcome::Refused(reason) = outcome {
        return check_denial(&TRAEFIK, reason, answer);
    }
    for (name, values) in &case.upstream_headers {
        if answer.header(name).into_iter().collect::<Vec<_>>() != values.as_slice() {
            return Err(format!("{name} should be {values:?}: {answer:?}"));
        }
    }
    Ok(())
}
