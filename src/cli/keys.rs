//! `ringfence keys URL`: what an issuer serves, and which of its keys can be used.

use std::{sync::Arc, time::Duration};

use clap::{ArgMatches, Args};
use ringfence_core::decide::{Algorithm, JwksError, KeySetReading, MAX_JWKS, read_key_set};
use serde_json::{Value, json};

use super::{
    Outcome,
    output::{Format, Output, OutputFormat, Tone},
    policies::{self, FetchFlags},
};
use crate::keys::{Discovery, FetchFailure, Fetcher, SystemNames};

/// Show what an issuer serves and which of its keys can be used
///
/// Fetches an OpenID configuration, or a JWKS document, in the same guarded way as the server does: what works here works there, with the
/// same flags. Exits with 1 if there is no usable key.
#[derive(Args, Debug)]
pub struct KeysCommand {
    /// URL of an OpenID configuration or of a JWKS document
    #[arg(value_name = "URL", default_value = "https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration")]
    url: String,
    /// Issuer that the OpenID configuration must name, as the policy writes it
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    _fetching: FetchFlags,
}

/// What was found.
#[derive(Debug)]
struct Finding {
    discovery: Option<Discovery>,
    max_age: Option<Duration>,
    reading: KeySetReading,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Fetch(#[from] FetchFailure),
    #[error("{0}")]
    Jwks(#[from] JwksError),
    #[error("the document is neither an OpenID configuration nor a JWKS document")]
    Neither,
    #[error("the document names the issuer `{}` instead of `{expected}`; a policy must name the document's", found.escape_debug())]
    Issuer { found: String, expected: String },
}

impl Problem {
    fn label(&self) -> &'static str {
        match self {
            Self::Fetch(failure) => failure.label(),
            Self::Jwks(error) => FetchFailure::from(error.clone()).label(),
            Self::Neither => FetchFailure::NotDiscovery.label(),
            Self::Issuer { .. } => FetchFailure::IssuerMismatch.label(),
        }
    }
}

impl KeysCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// When the flags cannot be followed. What is wrong with the issuer is printed, and the outcome is no.
    pub fn run(self, matches: &ArgMatches) -> anyhow::Result<Outcome> {
        let fetcher = Fetcher::new(&policies::settings(matches)?.fetch_rules()?, Arc::new(SystemNames))?;
        let found = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.find(&fetcher));
        self.print(&found, &mut Output::stdout())?;
        let usable = found.is_ok_and(|found| !found.reading.keys.is_empty());
        Ok(if usable { Outcome::Yes } else { Outcome::No })
    }

    async fn find(&self, fetcher: &Fetcher) -> Result<Finding, Problem> {
        let first = fetcher.get(&self.url, MAX_JWKS).await?;
        match read_key_set(&first.body) {
            Ok(reading) => return Ok(Finding { discovery: None, max_age: first.max_age, reading }),
            Err(JwksError::NoKeys) => {}
            Err(error) => return Err(error.into()),
        }
        let discovery = Discovery::read(&first.body).map_err(|_| Problem::Neither)?;
        if let Some(expected) = self.issuer.as_ref().filter(|expected| **expected != discovery.issuer) {
            return Err(Problem::Issuer { found: discovery.issuer, expected: expected.clone() });
        }
        let second = fetcher.get(&discovery.jwks_uri, MAX_JWKS).await?;
        Ok(Finding { discovery: Some(discovery), max_age: second.max_age, reading: read_key_set(&second.body)? })
    }

    fn print(&self, found: &Result<Finding, Problem>, output: &mut Output) -> std::io::Result<()> {
        match (found, self.output.format) {
            (Ok(found), Format::Text) => found.print(output),
            (Ok(found), Format::Json) => output.json(&found.to_json(&self.url)),
            (Err(problem), Format::Text) => {
                let label = output.paint(Tone::Bad, problem.label());
                output.line(format_args!("{label}: {problem}"))
            }
            (Err(problem), Format::Json) => output.json(&json!({"url": self.url, "result": problem.label(), "message": problem.to_string()})),
        }
    }
}

impl Finding {
    /// The usable keys with their algorithms, by `kid`.
    fn usable(&self) -> Vec<(&str, Vec<&'static str>)> {
        let keys = &self.reading.keys;
        let algorithms = |kid| Algorithm::ALL.iter().filter(move |algorithm| keys.get(kid).is_some_and(|key| key.serves(**algorithm)));
        let mut usable: Vec<_> = keys.kids().map(|kid| (kid, algorithms(kid).map(|algorithm| algorithm.name()).collect())).collect();
        usable.sort();
        usable
    }

    /// What comes from the issuer is escaped: it may hold control characters.
    fn print(&self, output: &mut Output) -> std::io::Result<()> {
        if let Some(Discovery { issuer, jwks_uri }) = &self.discovery {
            output.line(format_args!("issuer   {}", issuer.escape_debug()))?;
            output.line(format_args!("keys at  {}", jwks_uri.escape_debug()))?;
        }
        if let Some(max_age) = self.max_age {
            output.line(format_args!("kept for {} s, says the server", max_age.as_secs()))?;
        }
        for (kid, algorithms) in self.usable() {
            let usable = output.paint(Tone::Good, "usable  ");
            output.line(format_args!("{usable} `{}` with {}", kid.escape_debug(), algorithms.join(", ")))?;
        }
        for rejected in &self.reading.rejected {
            let unusable = output.paint(Tone::Bad, "unusable");
            let kid = rejected.kid.as_deref().map_or_else(|| "a key without a name".to_owned(), |kid| format!("`{}`", kid.escape_debug()));
            output.line(format_args!("{unusable} {kid}: {}", rejected.why))?;
        }
        output.line(format_args!("{} usable, {} not", self.reading.keys.len(), self.reading.rejected.len()))
    }

    fn to_json(&self, url: &str) -> Value {
        let usable: Vec<_> = self.usable().into_iter().map(|(kid, algorithms)| json!({"kid": kid, "algorithms": algorithms})).collect();
        let unusable: Vec<_> = self.reading.rejected.iter().map(|rejected| json!({"kid": rejected.kid, "why": rejected.why})).collect();
        let result = if usable.is_empty() { FetchFailure::NoUsableKeys.label() } else { "ok" };
        json!({
            "url": url,
            "result": result,
            "issuer": self.discovery.as_ref().map(|discovery| &discovery.issuer),
            "jwksUri": self.discovery.as_ref().map(|discovery| &discovery.jwks_uri),
            "maxAgeSeconds": self.max_age.map(|max_age| max_age.as_secs()),
            "usable": usable,
            "unusable": unusable,
        })
    }
}

#[cfg(test)]
mod tests;
