//! `ringfence token`: a token from a running `ringfence issuer`, good or broken in a named way.

use anyhow::{Context, bail};
use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::{
    Outcome,
    demo::folder::{APPLICATION, AUDIENCE},
    issuer::{DEFAULT_LISTEN, read_base_url},
    output::{Format, Output, OutputFormat},
};
use crate::issuer::{Broken, EntraSpec, EntraVersion, SigningAlgorithm, TokenKind, TokenSpec};
use ringfence_core::{api::Duration, decide::Algorithm};

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
    /// Audience in your policy: the immutableResourceId, for Event Grid the application's id or URI [default: the demo's]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Entra tenant [default: the demo's]
    #[arg(long, value_name = "GUID", help_heading = "Event Grid")]
    tenant: Option<String>,
    /// Version of Entra's token
    #[arg(long, value_name = "VERSION", value_enum, help_heading = "Event Grid")]
    entra_version: Option<Version>,
    /// Application that delivers [default: Event Grid's own in the public cloud]
    #[arg(long, value_name = "GUID", help_heading = "Event Grid")]
    application: Option<String>,
    /// Role in the token; may be repeated
    #[arg(long = "role", value_name = "ROLE", help_heading = "Event Grid")]
    roles: Vec<String>,
    /// What it is signed with
    #[arg(long, value_name = "ALGORITHM", default_value = "RS256", value_parser = algorithm_parser())]
    algorithm: Algorithm,
    /// Claim as `name=value`, the value as JSON or as plain text; may be repeated
    #[arg(long = "claim", value_name = "CLAIM", value_parser = read_claim)]
    claims: Vec<(String, Value)>,
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
    /// A delivery of Event Grid, as Entra issues it; lives for 24 hours and 5 minutes.
    EventGrid,
    /// Anything else; lives for an hour.
    Jwt,
}

/// The two forms of Entra's tokens.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Version {
    #[value(name = "1.0")]
    V1,
    #[value(name = "2.0")]
    V2,
}

impl From<Version> for EntraVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V1 => Self::V1,
            Version::V2 => Self::V2,
        }
    }
}

impl From<Kind> for TokenKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Callback => Self::Callback,
            Kind::WebSocket => Self::WebSocket,
            Kind::EventGrid => Self::EventGrid,
            Kind::Jwt => Self::Jwt,
        }
    }
}

/// Every way to break a token, with the reason that Ringfence refuses it for.
fn broken_parser() -> impl TypedValueParser<Value = Broken> {
    let values = Broken::ALL.iter().map(|broken| PossibleValue::new(broken.name()).help(format!("refused as {}", broken.reason())));
    PossibleValuesParser::new(values).try_map(|name| Broken::from_name(&name).ok_or("no such way"))
}

/// Every algorithm that is taken somewhere.
fn algorithm_parser() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(Algorithm::ALL.iter().map(|algorithm| algorithm.name()))
        .try_map(|name| Algorithm::from_name(&name).ok_or("no such algorithm"))
}

/// `name=value`; a value that is no JSON is text.
fn read_claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write it as `name=value`")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

impl TokenCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// When there is no issuer, or it refuses.
    pub fn run(self) -> anyhow::Result<Outcome> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.fetch(&mut Output::stdout()))
    }

    /// What only a token of Entra says; an error if another kind of token is to say it.
    fn entra(&self) -> anyhow::Result<Option<EntraSpec>> {
        let Self { tenant, entra_version, application, roles, .. } = self;
        let is_given = tenant.is_some() || entra_version.is_some() || application.is_some() || !roles.is_empty();
        match (self.kind, self.broken) {
            (Kind::EventGrid, _) => {
                let default = EntraSpec::default();
                Ok(Some(EntraSpec {
                    tenant: tenant.clone().unwrap_or(default.tenant),
                    version: entra_version.map(Into::into).unwrap_or_default(),
                    application: application.clone().unwrap_or(default.application),
                    roles: roles.clone(),
                }))
            }
            (Kind::Callback | Kind::WebSocket | Kind::Jwt, _) if is_given => {
                bail!("`--tenant`, `--entra-version`, `--application` and `--role` are for `ringfence token event-grid`")
            }
            (Kind::Callback | Kind::WebSocket | Kind::Jwt, Some(broken)) if broken.breaks_entra() => {
                bail!("only a token of `ringfence token event-grid` can be broken as `{broken}`")
            }
            (Kind::Callback | Kind::WebSocket | Kind::Jwt, _) => Ok(None),
        }
    }

    async fn fetch(self, output: &mut Output) -> anyhow::Result<Outcome> {
        let entra = self.entra()?;
        let Self { kind, issuer, audience, algorithm, claims, broken, lifetime, count, output: OutputFormat { format }, .. } = self;
        let demo = match kind {
            Kind::Callback | Kind::WebSocket | Kind::Jwt => AUDIENCE,
            Kind::EventGrid => APPLICATION,
        };
        let spec = TokenSpec {
            kind: kind.into(),
            audience: audience.unwrap_or_else(|| demo.to_owned()),
            entra,
            algorithm: Some(SigningAlgorithm(algorithm)),
            lifetime_seconds: lifetime.map(|lifetime| lifetime.as_millis() / 1000),
            broken,
            claims: claims.into_iter().collect(),
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
        assert!(parse(&["event-grid", "--entra-version", "3.0"]).is_err());
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
    async fn a_token_of_event_grid_is_entras() {
        let issuer = Issuer::start(IssuerOptions::default()).await.unwrap();
        let line = ["event-grid", "--issuer", issuer.url(), "--entra-version", "2.0", "--role", "a", "--role", "b", "--broken", "user-token"];
        let spec = parse(&line).unwrap().entra().unwrap().unwrap();
        assert_eq!((spec.version.name(), spec.roles.len(), spec.application.as_str()), ("2.0", 2, crate::issuer::EVENT_GRID));
        assert_eq!(parse(&line).unwrap().fetch(&mut Output::to(Box::new(std::io::sink()), false)).await.unwrap(), Outcome::Yes);
        for line in [["callback", "--tenant=x"], ["websocket", "--role=x"], ["callback", "--broken=user-token"]] {
            assert!(parse(&line).unwrap().entra().unwrap_err().to_string().contains("event-grid"), "{line:?}");
        }
    }

    #[tokio::test]
    async fn says_what_to_do_without_an_issuer() {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let error = mint(&client(&url).unwrap(), &url, &TokenSpec::callback("a")).await.unwrap_err();
        assert!(error.to_string().contains("start one with `ringfence issuer`"), "{error}");
    }
}
