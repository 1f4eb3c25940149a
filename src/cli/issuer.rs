//! `ringfence issuer`: the embedded issuer on its own, for local work and pipelines.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Outcome,
    demo::folder::APPLICATION,
    output::{Format, Output, OutputFormat, Tone},
};
use crate::issuer::{DEMO_TENANT, Issuer, IssuerOptions, Names};

/// Where the issuer listens unless told otherwise, and where `ringfence token` looks for it.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:9005";

/// Run an issuer that imitates Azure Communication Services, for local work and tests
///
/// It serves an OpenID configuration and keys under the same paths as the real one, signs the same kinds of tokens with a key of its own,
/// and rotates its keys on demand. Whoever reaches it gets tokens: keep it on loopback, or inside a test network. By default it names itself
/// as the issuer, so a policy for it overrides `issuer` and `openIdConfiguration`; the lines to paste are printed. It runs until it is
/// interrupted.
#[derive(Args, Debug)]
pub struct IssuerCommand {
    /// Address to listen on; port 0 = any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// URL that others reach it by, if not `http://ADDRESS:PORT`
    #[arg(long, value_name = "URL", value_parser = read_base_url)]
    url: Option<String>,
    /// Issuer that tokens name, if not the URL
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Audience for the printed lines: your resource's immutableResourceId
    #[arg(long, value_name = "GUID", default_value = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11")]
    audience: String,
    #[command(flatten)]
    output: OutputFormat,
}

/// `http://host[:port]` without a slash at the end.
pub(super) fn read_base_url(text: &str) -> Result<String, String> {
    let explain = || "write `http://host:port`".to_owned();
    let url = url::Url::parse(text).map_err(|_| explain())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && bare { Ok(text.trim_end_matches('/').to_owned()) } else { Err(explain()) }
}

impl IssuerCommand {
    /// Runs the command until it is interrupted or terminated.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn run(self) -> anyhow::Result<Outcome> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.serve(&mut Output::stdout()))
    }

    async fn serve(self, output: &mut Output) -> anyhow::Result<Outcome> {
        let Self { listen, url, issuer, audience, output: OutputFormat { format } } = self;
        let issuer = Issuer::start(IssuerOptions { listen, url, issuer: issuer.as_deref().map(Names::all), ..IssuerOptions::default() }).await?;
        let mut terminated = signal(SignalKind::terminate())?;
        match format {
            Format::Text => print(&issuer, &audience, output)?,
            Format::Json => output.json(&json!({
                "url": issuer.url(),
                "issuer": issuer.issuer(),
                "openIdConfiguration": issuer.discovery_url(),
                "jwksUri": issuer.keys_url(),
                "kid": issuer.kid(),
            }))?,
        }
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }
        Ok(Outcome::Yes)
    }
}

fn print(issuer: &Issuer, audience: &str, output: &mut Output) -> std::io::Result<()> {
    let (url, iss, discovery) = (issuer.url(), issuer.issuer(), issuer.discovery_url());
    let heading = |output: &Output, text: &str| output.paint(Tone::Strong, text);
    output.line(format_args!("{} {url}", heading(output, "issuer at")))?;
    output.line(format_args!("  configuration  {discovery}"))?;
    output.line(format_args!("  keys           {}", issuer.keys_url()))?;
    output.line("")?;
    output.line(heading(output, "in a CallbackPolicy"))?;
    output.line("    - name: callbacks")?;
    output.line("      type: CallAutomation")?;
    output.line("      callAutomation:")?;
    output.line(format_args!("        audiences: [{audience}]"))?;
    output.line(format_args!("        issuer: {iss}"))?;
    output.line(format_args!("        openIdConfiguration: {discovery}"))?;
    output.line("")?;
    let (issuer_v1, issuer_v2, jwks_uri) = issuer.authority(DEMO_TENANT);
    output.line("    - name: incoming-call")?;
    output.line("      type: EventGrid")?;
    output.line("      eventGrid:")?;
    output.line(format_args!("        tenantId: {DEMO_TENANT}"))?;
    output.line(format_args!("        audiences: [\"{APPLICATION}\"]"))?;
    output.line("        authority:")?;
    output.line(format_args!("          issuerV1: {issuer_v1}"))?;
    output.line(format_args!("          issuerV2: {issuer_v2}"))?;
    output.line(format_args!("          jwksUri: {jwks_uri}"))?;
    output.line("")?;
    output.line(heading(output, "commands"))?;
    output.line("  ringfence serve --config DIR --insecure-http-issuers --allow-private-issuers   # a server that may fetch from here")?;
    output.line(format_args!("  ringfence token callback --issuer {url} --audience {audience}"))?;
    output.line(format_args!("  ringfence token event-grid --issuer {url}"))?;
    output.line(format_args!("  ringfence keys {discovery} --insecure-http-issuers --allow-private-issuers"))?;
    output.line(format_args!("  curl -X POST '{url}/rotate?how=sign'   # or publish: not signing yet; withdraw: the old keys go at once"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn prints_what_is_to_be_pasted() {
        #[derive(Clone, Default)]
        struct Page(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Page {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let page = Page::default();
        print(&issuer, "the-audience", &mut Output::to(Box::new(page.clone()), false)).unwrap();
        let page = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        for expected in [
            format!("\n        issuer: {}\n", issuer.issuer()),
            format!("\n        openIdConfiguration: {}\n", issuer.discovery_url()),
            "audiences: [the-audience]".to_owned(),
            format!("\n          jwksUri: {}/{DEMO_TENANT}/discovery/v2.0/keys\n", issuer.url()),
            format!("'{}/rotate?how=sign'", issuer.url()),
        ] {
            assert!(page.contains(&expected), "{page}");
        }
    }

    #[test]
    fn a_base_url_is_scheme_host_and_port() {
        assert_eq!(read_base_url("http://issuer:9005/").unwrap(), "http://issuer:9005");
        assert_eq!(read_base_url("https://issuer").unwrap(), "https://issuer");
        for bad in ["issuer:9005", "127.0.0.1:9005", "ftp://issuer", "http://issuer/path", "http://issuer?x", ""] {
            assert!(read_base_url(bad).is_err(), "{bad}");
        }
    }
}
