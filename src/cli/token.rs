//! `ringfence token`: a token from a running `ringfence issuer`, good or broken in a named way.

use anyhow::{Context, bail};
use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use reqwest::{Client, StatusCode};
use serde_json::json;

use super::{
    Outcome,
    issuer::{DEFAULT_LISTEN, read_base_url},
    output::{Format, Output, OutputFormat},
};
use crate::issuer::{Broken, TokenKind, TokenSpec};
use ringfence_core::api::Duration;

/// Ask a running `ringfence issuer` (or `ringfence demo`) for a token
///
/// Prints the token and nothing else, for `curl -H "Authorization: Bearer $(ringfence token callback)"`.
#[derive(Args, Debug)]
pub struct TokenCommand {
    /// What the token is for
    #[arg(value_name = "KIND")]
    kind: Kind,
    /// Issuer's URL
    #[arg(long, value_name = "URL", default_value_t = format!("http://{DEFAULT_LISTEN}"), value_parser = read_base_url)]
    issuer: String,
    /// Audience: the immutableResourceId in your policy
    #[arg(long, value_name = "GUID", default_value = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11")]
    audience: String,
    /// Break it in this way
    #[arg(long, value_name = "HOW", value_parser = broken_parser())]
    broken: Option<Broken>,
    /// How long it lives, such as `30s` or `2h`, if not as long as its kind does
    #[arg(long, value_name = "DURATION")]
    lifetime: Option<Duration>,
    /// How many tokens, each another one
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    count: u32,
    #[command(flatten)]
    output: OutputFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A webhook callback; lives for 5 minutes.
    Callback,
    /// A WebSocket connection; lives for 24 hours.
    #[value(name = "websocket")]
    WebSocket,
}

impl From<Kind> for TokenKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Callback => Self::Callback,
            Kind::WebSocket => Self::WebSocket,
        }
    }
}

/// Every way to break a token, with the reason that Ringfence refuses it for.
fn broken_parser() -> impl TypedValueParser<Value = Broken> {
    let values = Broken::ALL.iter().map(|broken| PossibleValue::new(broken.name()).help(format!("refused as {}", broken.reason())));
    PossibleValuesParser::new(values).try_map(|name| Broken::from_name(&name).ok_or("no such way"))
}

impl TokenCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// When there is no issuer, or it refuses.
    pub fn run(self) -> anyhow::Result<Outcome> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.fetch(&mut Output::stdout()))
    }

    async fn fetch(self, output: &mut Output) -> anyhow::Result<Outcome> {
        let Self { kind, issuer, audience, broken, lifetime, count, output: OutputFormat { format } } = self;
        let spec = TokenSpec {
            kind: kind.into(),
            audience,
            lifetime_seconds: lifetime.map(|lifetime| lifetime.as_millis() / 1000),
            broken,
            claims: serde_json::Map::new(),
        };
        let client = client(&issuer)?;
        for _ in 0..count {
            let token = mint(&client, &issuer, &spec).await?;
            match format {
                Format::Text => output.line(token)?,
                Format::Json => output.json(&json!({"token": token, "refusedAs": broken.map(|broken| broken.reason().code())}))?,
            }
        }
        Ok(Outcome::Yes)
    }
}

/// A client that goes straight to the issuer. Over plain http it needs no certificates, which a bare system may not have.
fn client(issuer: &str) -> anyhow::Result<Client> {
    let builder = Client::builder().no_proxy().timeout(std::time::Duration::from_secs(10));
    let builder = if issuer.starts_with("http:") { builder.tls_certs_only([]) } else { builder };
    Ok(builder.build()?)
}

async fn mint(client: &Client, issuer: &str, spec: &TokenSpec) -> anyhow::Result<String> {
    let unreachable = || format!("cannot reach an issuer at `{issuer}`; start one with `ringfence issuer`, or name another with `--issuer`");
    let response = client.post(format!("{issuer}/mint")).body(serde_json::to_vec(spec)?).send().await.with_context(unreachable)?;
    let status = response.status();
    let text = response.text().await.with_context(unreachable)?;
    if status != StatusCode::OK {
        bail!("`{issuer}` does not make tokens (status {}); only a `ringfence issuer` does", status.as_u16());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use clap::Parser;

    use super::*;
    use crate::issuer::{Issuer, IssuerOptions};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: TokenCommand,
    }

    fn parse(arguments: &[&str]) -> Result<TokenCommand, clap::Error> {
        Line::try_parse_from([&["token"], arguments].concat()).map(|line| line.command)
    }

    #[test]
    fn reads_every_way_to_break_a_token() {
        for broken in Broken::ALL {
            assert_eq!(parse(&["callback", "--broken", broken.name()]).unwrap().broken, Some(*broken));
        }
        assert!(parse(&["callback", "--broken", "somehow"]).is_err());
        assert!(parse(&["pigeon"]).is_err());
        assert!(parse(&["websocket", "--lifetime", "soon"]).is_err());
    }

    #[tokio::test]
    async fn fetches_what_was_asked_for() {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let client = client(issuer.url()).unwrap();
        let token = mint(&client, issuer.url(), &TokenSpec::websocket("a").broken(Broken::Truncated)).await.unwrap();
        assert_eq!(token.split('.').count(), 2);
        let line = ["callback", "--issuer", issuer.url(), "--count", "3", "--lifetime", "1m", "-o", "json"];
        assert_eq!(parse(&line).unwrap().fetch(&mut Output::to(Box::new(std::io::sink()), false)).await.unwrap(), Outcome::Yes);
    }

    #[tokio::test]
    async fn says_what_to_do_without_an_issuer() {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let error = mint(&client(&url).unwrap(), &url, &TokenSpec::callback("a")).await.unwrap_err();
        assert!(error.to_string().contains("start one with `ringfence issuer`"), "{error}");
    }
}
