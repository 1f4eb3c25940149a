//! From a key set's identity to its keys: the OpenID configuration where there is one, then the JWKS document.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use ringfence_core::decide::{JwksError, KeySet, KeySetId, KeySetReading, MAX_JWKS, read_key_set};
use serde::Deserialize;

use super::{FetchFailure, Fetcher};

/// Keys that were fetched just now; at least one.
#[derive(Debug)]
pub struct FreshKeys {
    /// The usable keys.
    pub keys: KeySet,
    /// How many others the document has.
    pub rejected: usize,
    /// How long the document may be kept, if its server said so.
    pub max_age: Option<Duration>,
}

/// Fetches the keys of a key set.
pub trait FetchKeys: Send + Sync {
    /// The keys of `id` as they are now, within a bounded time.
    fn fetch_keys(&self, id: Arc<KeySetId>) -> BoxFuture<'static, Result<FreshKeys, FetchFailure>>;
}

impl FetchKeys for Fetcher {
    fn fetch_keys(&self, id: Arc<KeySetId>) -> BoxFuture<'static, Result<FreshKeys, FetchFailure>> {
        let fetcher = self.clone();
        Box::pin(async move {
            let time_limit = fetcher.time_limit();
            tokio::time::timeout(time_limit, fetch_keys(&fetcher, &id)).await.unwrap_or(Err(FetchFailure::Timeout))
        })
    }
}

async fn fetch_keys(fetcher: &Fetcher, id: &KeySetId) -> Result<FreshKeys, FetchFailure> {
    let jwks = match id {
        KeySetId::Discovery { issuer, url } => {
            let discovery = Discovery::read(&fetcher.get(url, MAX_JWKS).await?.body)?;
            if discovery.issuer != **issuer {
                return Err(FetchFailure::IssuerMismatch);
            }
            fetcher.get(&discovery.jwks_uri, MAX_JWKS).await?
        }
        KeySetId::Jwks { url, .. } => fetcher.get(url, MAX_JWKS).await?,
        // Nobody asks for these: they come with the policies.
        KeySetId::ConfigMap { .. } => return Err(FetchFailure::BadUrl),
    };
    let KeySetReading { keys, rejected } = read_key_set(&jwks.body)?;
    if keys.is_empty() {
        return Err(FetchFailure::NoUsableKeys);
    }
    Ok(FreshKeys { keys, rejected: rejected.len(), max_age: jwks.max_age })
}

/// What is needed of an OpenID configuration (OpenID Connect Discovery 1.0 section 3). Other members are not looked at; a repeated one of
/// these is an error.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Discovery {
    /// The issuer it speaks for.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
}

impl Discovery {
    /// Reads the document.
    ///
    /// # Errors
    /// `not_json` or `not_discovery`.
    pub fn read(document: &[u8]) -> Result<Self, FetchFailure> {
        // Looked at first: the library passes over bytes that are no text in members that it skips.
        let document = std::str::from_utf8(document).map_err(|_| FetchFailure::NotJson)?;
        let read = serde_json::from_str(document).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => FetchFailure::NotDiscovery,
            serde_json::error::Category::Io | serde_json::error::Category::Syntax | serde_json::error::Category::Eof => FetchFailure::NotJson,
        })?;
        // It takes a list as well, for the members in the order in which they are declared above.
        if document.trim_ascii_start().starts_with('{') { Ok(read) } else { Err(FetchFailure::NotDiscovery) }
    }
}

impl From<JwksError> for FetchFailure {
    fn from(error: JwksError) -> Self {
        match error {
            JwksError::TooLarge => Self::TooLarge,
            JwksError::Empty | JwksError::Markup | JwksError::NotJson { .. } => Self::NotJson,
            JwksError::NoKeys | JwksError::RepeatedMember | JwksError::TooManyKeys(_) => Self::NotKeySet,
        }
    }
}

#[cfg(test)]
mod tests;
