//! `ringfence check`: one request against a folder, and every step that leads to its verdict.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{ArgMatches, Args, ValueEnum};
use ringfence_core::{
    compile::{Finding, Severity},
    decide::{
        Decided, Decision, FetchedKeys, Headers, KeyRing, KeySet, Now, PolicySet, RawRequest, Reason, Request, ReuseAnswer, Step, StepOutcome, Trace,
        Verdict, Wire, decide, read_key_set,
    },
};
use serde::Serialize;

use super::{
    Outcome,
    output::{Format, Output, OutputFormat, Tone},
    policies::{self, FolderFlags, used_key_sets},
};
use crate::{
    cases::{self, CaseRequest, EdgeAnswer},
    clock::Clock,
    keys::{FetchKeys, Fetcher, SystemNames},
    listen::ClientAddressRule,
    settings::{ClientSettings, Settings},
    source::Published,
};

/// Ask a folder of policies about one request, and show every step that leads to the answer
///
/// The keys of the issuers that the policies name are fetched first, unless `--keys` gives them or `--no-fetch` forbids it. Nothing is
/// remembered: a token's reuse is not judged.
#[derive(Args, Debug)]
pub struct Check {
    /// URL of the request, with its query
    #[arg(value_name = "URL")]
    url: String,
    /// Method [default: POST, GET with --upgrade]
    #[arg(short = 'X', long, value_name = "METHOD", help_heading = "Request")]
    method: Option<String>,
    /// A header as `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header, help_heading = "Request")]
    headers: Vec<(String, String)>,
    /// The bearer token; `@FILE` reads it from a file, `@-` from standard input
    #[arg(long, value_name = "TOKEN", help_heading = "Request")]
    token: Option<String>,
    /// The body, where the proxy sends it; `@FILE` reads it from a file, `@-` from standard input
    #[arg(long, value_name = "BODY", help_heading = "Request")]
    body: Option<String>,
    /// The client's address; without it the source is read as the listener reads it, from `--peer` and the headers
    #[arg(long, value_name = "ADDRESS", help_heading = "Request")]
    source: Option<IpAddr>,
    /// The proxy's own peer, as the proxy reports it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "source", help_heading = "Request")]
    peer: Option<IpAddr>,
    /// Add the headers of a WebSocket upgrade
    #[arg(long, help_heading = "Request")]
    upgrade: bool,
    /// The policy that the route pins
    #[arg(long, value_name = "NAMESPACE/NAME", help_heading = "Request")]
    pin: Option<String>,
    /// Over which wire the request comes
    #[arg(long, value_enum, default_value = "grpc", value_name = "WIRE", help_heading = "Request")]
    wire: WireName,
    /// The time to judge by, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Request")]
    at: Option<i64>,
    /// A JWKS document that stands for the keys of every issuer
    #[arg(long, value_name = "FILE", conflicts_with = "no_fetch", help_heading = "Keys")]
    keys: Option<PathBuf>,
    /// Fetch no keys: a token's signature cannot be judged then
    #[arg(long, help_heading = "Keys")]
    no_fetch: bool,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    _clients: ClientSettings,
    #[command(flatten)]
    _folder: FolderFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WireName {
    Grpc,
    Nginx,
    Envoy,
}

impl From<WireName> for Wire {
    fn from(name: WireName) -> Self {
        match name {
            WireName::Grpc => Self::Grpc,
            WireName::Nginx => Self::Nginx,
            WireName::Envoy => Self::Envoy,
        }
    }
}

/// The answer and how it came about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained {
    steps: Vec<Explanation>,
    decision: String,
    reason: String,
    status: u16,
    policy: Option<String>,
    sender: Option<String>,
    set_headers: Vec<(String, String)>,
    removed_headers: Vec<String>,
    stripped_query: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<EdgeAnswer>,
    warnings: Vec<String>,
}

/// One step.
#[derive(Serialize)]
struct Explanation {
    outcome: &'static str,
    stage: &'static str,
    policy: Option<String>,
    sender: Option<String>,
    reason: Option<&'static str>,
    detail: String,
}

/// Keeps every step.
#[derive(Default)]
struct Steps(Vec<Explanation>);

impl Trace for Steps {
    fn step(&mut self, step: Step<'_>) {
        let (outcome, reason) = match step.outcome {
            StepOutcome::Pass => ("pass", None),
            StepOutcome::Fail(reason) => ("fail", Some(reason.code())),
            StepOutcome::Note => ("note", None),
        };
        self.0.push(Explanation {
            outcome,
            stage: step.stage,
            policy: step.policy.map(str::to_owned),
            sender: step.sender.map(str::to_owned),
            reason,
            detail: step.detail.to_string(),
        });
    }
}

impl Check {
    /// Runs the command.
    ///
    /// # Errors
    /// A folder, file or flag that cannot be used.
    pub fn run(mut self, matches: &ArgMatches) -> anyhow::Result<Outcome> {
        let settings = policies::settings(matches)?;
        let published = policies::load(&settings)?.current();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ring, mut warnings) = runtime.block_on(self.ring(&published, &settings))?;
        warnings.extend(findings(&published));
        let token = self.token.take().map(|token| read_argument(&token)).transpose()?.map(|token| token.trim().to_owned());
        let body = self.body.take().map(|body| read_argument(&body)).transpose()?;
        let request = body.iter().fold(self.request(), |request, body| request.body(body));
        let lines = request.header_lines(token.as_deref());
        let mut raw = request.raw(self.wire.into(), &lines, Instant::now());
        raw.source = self.source.map_or_else(|| self.client(&settings, &raw.headers), |source| Some(source.to_canonical()));
        let now = self.at.map_or_else(|| Clock::system().now(), Now::settled);
        let explained = explain(&raw, &published.policies, &ring, now, warnings);
        let mut output = Output::stdout();
        match self.output.format {
            Format::Json => output.json(&explained)?,
            Format::Text => print(&mut output, &request, raw.source, &explained)?,
        }
        let is_allowed = matches!(explained.decision.as_str(), "allowed" | "shadow_denied" | "handshake");
        Ok(if is_allowed { Outcome::Yes } else { Outcome::No })
    }

    fn request(&self) -> CaseRequest {
        let request = CaseRequest::new(&self.url).method(self.method.clone());
        let request = request.pin(self.pin.clone()).upgrade(self.upgrade);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The client's address as the listener of this wire reads it.
    fn client(&self, settings: &Settings, headers: &Headers<'_>) -> Option<IpAddr> {
        let ClientSettings { grpc_client_address, http_client_address, trusted_proxies } = &settings.listen.clients;
        let (found_in, peer) = match self.wire {
            WireName::Grpc => (grpc_client_address, self.peer),
            WireName::Nginx => (http_client_address, self.peer),
            // Envoy's http_service reports no peer.
            WireName::Envoy => (http_client_address, None),
        };
        ClientAddressRule::new(found_in.clone(), trusted_proxies).resolve(peer.map(|peer| peer.to_canonical()), headers)
    }

    /// The keys of every issuer that the policies name, and what could not be had of them.
    async fn ring(&self, published: &Published, settings: &Settings) -> anyhow::Result<(KeyRing, Vec<String>)> {
        let mut sets = HashMap::new();
        let mut warnings = Vec::new();
        if self.no_fetch {
            return Ok((KeyRing::default(), warnings));
        }
        let given = self.keys.as_ref().map(read_keys).transpose()?;
        let fetcher = Fetcher::new(&settings.fetch_rules()?, Arc::new(SystemNames))?;
        // Nobody asks again, so that an unknown key is unknown and not pending.
        let fetch_began = Instant::now() + Duration::from_secs(3600);
        for id in used_key_sets(&published.policies) {
            let keys = match &given {
                Some(keys) => Ok(Arc::clone(keys)),
                None => fetcher.fetch_keys(Arc::clone(&id)).await.map(|fresh| Arc::new(fresh.keys)),
            };
            match keys {
                Ok(keys) => drop(sets.insert(id, FetchedKeys { keys, fetch_began })),
                Err(failure) => warnings.push(format!("the keys of {id} cannot be had: {failure}")),
            }
        }
        Ok((KeyRing::new(sets), warnings))
    }
}

fn explain(raw: &RawRequest<'_>, policies: &PolicySet, ring: &KeyRing, now: Now, warnings: Vec<String>) -> Explained {
    let mut steps = Steps::default();
    let verdict = match Request::new(raw) {
        Ok(request) => match decide(&request, policies, ring, now, &mut steps) {
            Decided::Final(verdict) => verdict,
            Decided::NeedsKey(wanted) => wanted.otherwise,
            Decided::NeedsReuse(pending) => pending.resolve(ReuseAnswer::First),
            Decided::NeedsTurn(pending) => pending.resolve(true),
        },
        Err(reason) => {
            steps.step(Step {
                policy: None,
                sender: None,
                stage: "request",
                outcome: StepOutcome::Fail(reason),
                detail: format_args!("{}", note(reason)),
            });
            Verdict::deny(reason)
        }
    };
    let cases::Outcome { decision, reason, policy, sender, status, headers, removed, stripped, answer } = (&verdict).into();
    let hint = verdict.about.hidden_client.map(|source| {
        format!("{source} is no public address: a load balancer may hide the client; see docs/client-address.md for how to read the real one")
    });
    Explained {
        steps: steps.0,
        decision,
        reason,
        status,
        policy,
        sender,
        set_headers: headers.into_iter().collect(),
        removed_headers: removed.into_iter().collect(),
        stripped_query: stripped.into_iter().collect(),
        answer: matches!(verdict.decision, Decision::Answer(_)).then_some(answer),
        warnings: warnings.into_iter().chain(hint).collect(),
    }
}

fn note(reason: Reason) -> &'static str {
    if reason == Reason::AmbiguousHost { "the authority is not exactly one host" } else { "the method or the target cannot be read" }
}

fn print(output: &mut Output, request: &CaseRequest, source: Option<IpAddr>, explained: &Explained) -> std::io::Result<()> {
    let source = source.map_or_else(|| "an unknown source".to_owned(), |source| source.to_string());
    let path = request.target().split('?').next().unwrap_or_default();
    output.line(format!("{} {}{path} from {source}", request.method_name(), request.authority()))?;
    for Explanation { outcome, stage, policy, sender, reason, detail } in &explained.steps {
        let tone = match *outcome {
            "pass" => Tone::Good,
            "fail" => Tone::Bad,
            _ => Tone::Faint,
        };
        let who = [policy, sender].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" > ");
        let reason = reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
        let outcome = output.paint(tone, outcome);
        output.line(format!("  {outcome}  {stage:<8} {}{reason}{detail}", if who.is_empty() { who } else { format!("{who}: ") }))?;
    }
    let tone = if explained.decision == "denied" { Tone::Bad } else { Tone::Good };
    let verdict = output.paint(tone, format!("{} ({}, status {})", explained.decision, explained.reason, explained.status));
    output.line(verdict)?;
    for (name, value) in &explained.set_headers {
        output.line(format!("  sets    {name}: {value}"))?;
    }
    for name in &explained.removed_headers {
        output.line(format!("  removes {name}"))?;
    }
    for name in &explained.stripped_query {
        output.line(format!("  strips  query parameter {name}"))?;
    }
    if let Some(EdgeAnswer { body, headers }) = &explained.answer {
        for (name, value) in headers {
            output.line(format!("  answers {name}: {value}"))?;
        }
        output.line(format!("  answers {}", if body.is_empty() { "without a body" } else { body }))?;
    }
    for warning in &explained.warnings {
        let mark = output.paint(Tone::Warning, "warning");
        output.line(format!("{mark}: {warning}"))?;
    }
    Ok(())
}

/// What the compiler has to say, errors and warnings alike: either may be why the answer surprises.
fn findings(published: &Published) -> impl Iterator<Item = String> {
    published.reports.iter().flat_map(|report| {
        report.findings.iter().map(|Finding { severity, field, message, .. }| {
            let severity = match severity {
                Severity::Error => "has an error",
                Severity::Warning => "may not be meant so",
            };
            let place = if field.is_empty() { String::new() } else { format!(" at {field}") };
            format!("{} {severity}{place}: {message}", report.object)
        })
    })
}

fn read_keys(path: &PathBuf) -> anyhow::Result<Arc<KeySet>> {
    let document = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let reading = read_key_set(&document).with_context(|| format!("`{}` is no key set", path.display()))?;
    Ok(Arc::new(reading.keys))
}

/// A text itself, or with `@` before it where to read it from.
fn read_argument(text: &str) -> anyhow::Result<String> {
    match text.strip_prefix('@') {
        None => Ok(text.to_owned()),
        Some("-") => std::io::read_to_string(std::io::stdin()).context("cannot read standard input"),
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read `{file}`")),
    }
}

fn parse_header(header: &str) -> anyhow::Result<(String, String)> {
    let Some((name, value)) = header.split_once(':') else { bail!("write it as `name: value`") };
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// RFC 3339, in milliseconds since the Unix epoch.
fn parse_time(time: &str) -> anyhow::Result<i64> {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    let time = OffsetDateTime::parse(time, &Rfc3339).context("write it as 2026-11-22T12:00:00Z")?;
    Ok(i64::try_from(time.unix_timestamp_nanos() / 1_000_000)?)
}
