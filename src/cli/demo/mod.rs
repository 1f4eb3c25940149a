//! `ringfence demo`: the whole product with nothing installed. An embedded issuer, a folder of policies, every listener, and a table of
//! requests that goes through the real gRPC listener.

pub mod folder;
mod table;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use clap::Args;

use self::{
    folder::{AUDIENCE, FILE, HOST, KEY, SOURCE},
    table::Asked,
};
use super::{
    Outcome,
    output::{Output, Tone},
    serve::{self, RunningServer, Server},
};
use crate::{
    client::GrpcClient,
    issuer::{Issuer, IssuerOptions, TokenSpec},
    listen::ListenAddress,
    settings::Settings,
};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Run everything in one process: an issuer that imitates Azure Communication Services and Entra, a policy, all listeners, and a table of requests
///
/// Every request of the table goes through the gRPC listener as Envoy would send it. Afterwards the demo stays up, with tokens and `curl`
/// lines to try against its HTTP listener; Ctrl-C ends it.
#[derive(Args, Debug)]
pub struct Demo {
    /// End after the table; exit code 1 if an answer is not the expected one
    #[arg(long)]
    once: bool,
}

impl Demo {
    /// Runs the command.
    ///
    /// # Errors
    /// A port, folder or key that cannot be had.
    pub fn run(self) -> anyhow::Result<Outcome> {
        serve::runtime().context("cannot start the runtime")?.block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<Outcome> {
        let issuer = Issuer::start(IssuerOptions::default()).await?;
        let folder = tempfile::Builder::new().prefix("ringfence-demo-").tempdir().context("cannot make a temporary folder")?;
        fs::write(folder.path().join(FILE), folder::policies(&issuer)).context("cannot write the demo's policies")?;
        let server = Server::start(settings(folder.path())?).await?;
        server.ready().await;
        let grpc = tcp(Some(server.grpc_addr())).context("the demo needs its gRPC listener")?;
        let mut output = Output::stdout();
        print_place(&mut output, &issuer, folder.path(), &server)?;
        let asked = table::ask_all(&issuer, &GrpcClient::connect(grpc, LIMIT).await?).await?;
        print_table(&mut output, &asked)?;
        let unexpected = asked.iter().filter(|asked| !asked.is_expected()).count();
        if !self.once {
            print_invitation(&mut output, &issuer, &server)?;
            tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        }
        server.shutdown().await;
        Ok(if unexpected == 0 { Outcome::Yes } else { Outcome::No })
    }
}

/// Everything on loopback and on free ports; the decision log is left out of the way.
fn settings(folder: &Path) -> anyhow::Result<Settings> {
    let config = folder.display().to_string();
    let flags = [
        "--config",
        &config,
        "--grpc-listen=127.0.0.1:0",
        "--http-listen=127.0.0.1:0",
        "--http-dialects=nginx",
        "--metrics-listen=127.0.0.1:0",
        "--insecure-http-issuers",
        "--allow-private-issuers",
        "--reason-header",
        "--decision-log=off",
        "--shutdown-delay=0s",
        "--drain=1s",
    ];
    Ok(Settings::from_flags(flags)?)
}

/// The address of a TCP listener.
fn tcp(address: Option<&ListenAddress>) -> Option<SocketAddr> {
    match address? {
        ListenAddress::Tcp(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    }
}

fn print_place(output: &mut Output, issuer: &Issuer, folder: &Path, server: &RunningServer) -> std::io::Result<()> {
    let address = |address: Option<&ListenAddress>| tcp(address).map_or_else(|| "off".to_owned(), |address| address.to_string());
    let heading = output.paint(Tone::Strong, "Ringfence demo");
    output.line(heading)?;
    output.line(format!("  policies   {}", folder.join(FILE).display()))?;
    output.line(format!("  issuer     {} (imitates Azure Communication Services and Entra)", issuer.url()))?;
    output.line(format!("  gRPC       {}", address(Some(server.grpc_addr()))))?;
    output.line(format!("  HTTP       {}", address(server.http_addr())))?;
    output.line(format!("  metrics    http://{}/metrics", server.metrics_addr()))?;
    output.line("")
}

fn print_table(output: &mut Output, asked: &[Asked]) -> std::io::Result<()> {
    for Asked { title, answer, status, took, expected } in asked {
        let is_expected = answer == expected;
        let tone = match (is_expected, answer.as_str()) {
            (false, _) => Tone::Bad,
            (true, "allowed" | "handshake") => Tone::Good,
            (true, _) => Tone::Warning,
        };
        let verdict = output.paint(tone, format!("{answer:<18}"));
        let surprise = if is_expected { String::new() } else { format!("  expected {expected}") };
        output.line(format!("  {title:<38} {status}  {verdict} {:>7.2} ms{surprise}", took.as_secs_f64() * 1000.0))?;
    }
    let expected = asked.iter().filter(|asked| asked.is_expected()).count();
    output.line(format!("  {expected} of {} answers are as expected", asked.len()))
}

fn print_invitation(output: &mut Output, issuer: &Issuer, server: &RunningServer) -> anyhow::Result<()> {
    let Some(http) = tcp(server.http_addr()) else { return Ok(()) };
    let token = issuer.mint(&TokenSpec::callback(AUDIENCE))?;
    let url = |path: &str| format!("http://{http}/auth/nginx/any/{SOURCE}/POST/{HOST}{path}/.end");
    let heading = output.paint(Tone::Strong, "Try it: ask as nginx would, with a token that is good for five minutes and for one call");
    output.line(format!("\n{heading}"))?;
    output.line(format!("  TOKEN={token}"))?;
    output.line(format!("  curl -i -H \"Authorization: Bearer $TOKEN\" '{}'", url(&format!("/api/callbacks?key={KEY}"))))?;
    output.line(format!("  curl -i '{}'", url(&format!("/api/callbacks?key={KEY}"))))?;
    output.line(format!("  curl -s 'http://{}/metrics' | grep ringfence_checks_total", server.metrics_addr()))?;
    output.line(format!("  ringfence token callback --issuer {} --audience {AUDIENCE}   # another token", issuer.url()))?;
    output.line(format!("  ringfence token event-grid --issuer {}   # a token of Event Grid's, for {}", issuer.url(), "/api/events"))?;
    output.line("\nCtrl-C ends the demo.")?;
    Ok(())
}
