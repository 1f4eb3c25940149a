//! `ringfence sign-url`: a callback URL that is good for one host and path, and for a while.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use ringfence_core::api::Duration;
use serde_json::json;

use super::{
    Outcome, callback_key,
    output::{Format, Output, OutputFormat},
};
use crate::{clock::Clock, signed_url};

/// Sign a callback URL, as your application would
///
/// Prints the URL with a parameter that holds its expiry and an HMAC-SHA256 over host, path and expiry, made with one of the keys that the
/// policy names in `apiKey.signed.secretRefs`. The key is read from a file or standard input, never from the command line.
#[derive(Args, Debug)]
pub struct SignUrl {
    /// URL to sign, as ACS will call it
    #[arg(value_name = "URL")]
    url: String,
    /// File that holds the key; `-` or nothing = standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Query parameter, as `apiKey.signed.query` names it
    #[arg(long, value_name = "NAME", default_value = "sig")]
    query: String,
    /// How long the URL is good, such as `30m` or `2h`; the policy's `maxAge` is the most
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    lifetime: Duration,
    /// When it expires instead, in seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with = "lifetime")]
    expires: Option<u64>,
    #[command(flatten)]
    output: OutputFormat,
}

impl SignUrl {
    /// Runs the command.
    ///
    /// # Errors
    /// When the key cannot be read or is none, or the URL cannot be signed.
    pub fn run(self) -> anyhow::Result<Outcome> {
        let Self { url, file, query, lifetime, expires, output: OutputFormat { format } } = self;
        let expires = match expires {
            Some(expires) => expires,
            None => now().saturating_add(lifetime.as_millis() / 1000),
        };
        let key = callback_key::read(file.as_deref())?;
        let signed = match signed_url::sign(&url, &query, key.as_bytes(), expires) {
            Ok(signed) => signed,
            Err(error) => bail!("cannot sign the URL: {error}"),
        };
        let output = &mut Output::stdout();
        match format {
            Format::Text => output.line(&signed.url)?,
            Format::Json => output.json(&json!({"url": signed.url, "parameter": query, "value": signed.value, "expires": expires}))?,
        }
        Ok(Outcome::Yes)
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    u64::try_from(Clock::system().wall_ms() / 1000).unwrap_or_default()
}
