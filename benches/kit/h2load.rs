//! The same question by nghttp2's `h2load`, beside the kit's own load: a second opinion about rates and about what a check costs.
//!
//! It sends one message again and again, so that it can only ask what is refused anyway.

use std::{fs, process::Command};

use ringfence::client::CHECK_PATH;

use crate::{
    decide::median,
    load::{self, BUSY},
    questions::Kind,
    rounds::Site,
    server::Server,
    table::Figure,
};

/// Rounds in which both take turns; the first does not count.
const ROUNDS: usize = 6;
/// Checks of a round.
const CHECKS: usize = 100_000;

/// Answers a second, and the server's CPU for each.
struct Measured {
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

pub fn run() -> Vec<Figure> {
    eprintln!("the same by h2load");
    let (site, program) = (Site::new(), Server::program());
    let server = Server::start(&program, site.folder());
    let messages = Kind::NoPolicy.ask(&site.issuer, CHECKS).messages;
    let file = site.folder().with_extension("message");
    fs::write(&file, &messages[0]).unwrap();
    let mut own = Measured { rates: Vec::new(), cpu: Vec::new() };
    let mut theirs = Measured { rates: Vec::new(), cpu: Vec::new() };
    for round in 0..ROUNDS {
        let outcome = load::run(server.grpc(), &messages, BUSY, || server.cpu());
        Kind::NoPolicy.expect(&outcome.answers);
        let before = server.cpu();
        let rate = ask(&server, &file.display().to_string());
        let cpu = server.cpu().since(&before) / CHECKS as f64;
        if round > 0 {
            own.rates.push(outcome.rate());
            own.cpu.push(outcome.cpu_per_call());
            theirs.rates.push(rate);
            theirs.cpu.push(cpu);
        }
    }
    fs::remove_file(&file).unwrap();
    let of = |values: Vec<f64>| median(values);
    vec![
        Figure::new("h2load.rate", "no policy: answers to h2load", of(theirs.rates), "/s"),
        Figure::new("h2load.own_rate", "no policy: answers to the kit's load", of(own.rates), "/s"),
        Figure::micros("h2load.cpu", "no policy: server CPU, asked by h2load", of(theirs.cpu) / 1e3),
        Figure::micros("h2load.own_cpu", "no policy: server CPU, asked by the kit's load", of(own.cpu) / 1e3),
    ]
}

/// Asks with as many connections and calls under way as [`BUSY`]; answers a second.
fn ask(server: &Server, message: &str) -> f64 {
    let number = |number: usize| number.to_string();
    let output = Command::new("h2load")
        .args(["-n", &number(CHECKS), "-c", &number(BUSY.connections), "-m", &number(BUSY.streams), "-t", "1", "-d", message])
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers", &format!("http://{}{CHECK_PATH}", server.grpc())])
        .output()
        .expect("h2load, of Debian's nghttp2-client");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains(&format!("{CHECKS} succeeded, 0 failed, 0 errored")), "{said}");
    said.split_once(" req/s").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok()).expect(&said)
}
