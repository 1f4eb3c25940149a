//! An issuer of one's own that imitates Azure Communication Services, and Entra for Event Grid: the same URL paths, the same documents, the
//! same kinds of tokens, and every way in which each of them can go wrong.
//!
//! For the demo, for tests and for pipelines; its keys live and die with it. By default it names **itself** as the issuer (`http://host:port`),
//! never Microsoft: a policy for it overrides `issuer` and `openIdConfiguration`, and nothing it signs can be taken for a real token anywhere.
//!
//! Must not know Ringfence's policies or listeners.

mod entra;
mod fault;
mod key;
mod serve;
mod token;

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use ringfence_core::decide::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

pub use entra::{DEMO_TENANT, EVENT_GRID, EntraSpec, EntraVersion, Names};
pub use fault::Fault;
use key::SigningKey;
pub use token::{Broken, SigningAlgorithm, TokenKind, TokenSpec};

/// The path of the OpenID configuration, as the real issuer has it.
pub const DISCOVERY_PATH: &str = "/calling/.well-known/acsopenidconfiguration";
/// The path of the JWKS document, as the real issuer has it.
pub const KEYS_PATH: &str = "/calling/keys";

/// The path of a tenant's JWKS document below the tenant's id, as Entra has it; the keys are the same.
pub const ENTRA_KEYS_PATH: &str = "/discovery/v2.0/keys";

/// How the issuer is set up.
#[derive(Clone)]
pub struct IssuerOptions {
    /// Where it listens; port 0 = any free one.
    pub listen: SocketAddr,
    /// Where others reach it, `http://host:port`; `None` = where it listens.
    pub url: Option<String>,
    /// What its tokens and its OpenID configuration name as the issuer; `None` = its URL, for Entra's tokens with the tenant and the version.
    pub issuer: Option<Names>,
    /// How long its documents say they may be kept; `None` = they do not say.
    pub max_age: Option<Duration>,
    /// The clock that tokens are dated by.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// Any free port on loopback, an hour's lifetime, the system's clock.
impl Default for IssuerOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            url: None,
            issuer: None,
            max_age: Some(Duration::from_secs(3600)),
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl fmt::Debug for IssuerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, url, issuer, max_age, clock: _ } = self;
        f.debug_struct("IssuerOptions").field("listen", listen).field("url", url).field("issuer", issuer).field("max_age", max_age).finish()
    }
}

/// Why the issuer cannot do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It cannot listen.
    #[error("the issuer cannot listen on `{0}`; choose another address with `--listen`")]
    Listen(SocketAddr, #[source] io::Error),
    /// Only a token of Entra can be broken in this way.
    #[error("only a token of kind `event-grid` can be broken as `{0}`")]
    Kind(Broken),
    /// The cryptographic library refused.
    #[error("the issuer cannot make or use a key")]
    Crypto,
}

/// One of its two documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Document {
    /// The OpenID configuration.
    Discovery,
    /// The JWKS document.
    Keys,
}

/// How keys are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// A new key is published; tokens are still signed with the one before.
    Publish,
    /// Tokens are signed with the newest key: one that was published before, else a new one that nobody has seen. Older keys stay published.
    #[default]
    Sign,
    /// Like `Sign`, and older keys are withdrawn.
    Withdraw,
}

impl Rotation {
    /// Every way.
    pub const ALL: &'static [Self] = &[Self::Publish, Self::Sign, Self::Withdraw];

    /// Its name on command lines and in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Sign => "sign",
            Self::Withdraw => "withdraw",
        }
    }
}

/// A running issuer. It stops when this is dropped.
pub struct Issuer {
    state: Arc<State>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// What the server and the handle share.
struct State {
    url: String,
    names: Names,
    max_age: Option<Duration>,
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    keys: Mutex<Keys>,
    /// Keys for other algorithms than RS256, made and published when the first token asks for one.
    others: Mutex<Vec<Arc<SigningKey>>>,
    /// A key that is never published.
    foreign: OnceLock<SigningKey>,
    faults: Mutex<HashMap<Document, Fault>>,
    discovery_requests: AtomicUsize,
    keys_requests: AtomicUsize,
}

/// The published keys, oldest first, and which of them signs.
struct Keys {
    published: Vec<Arc<SigningKey>>,
    signing: Arc<SigningKey>,
}

impl Issuer {
    /// Makes a key and listens. Serves on the current runtime.
    ///
    /// # Errors
    /// [`IssuerError`] when the address cannot be bound or no key can be made.
    pub async fn start(options: IssuerOptions) -> Result<Self, IssuerError> {
        let IssuerOptions { listen, url, issuer, max_age, clock } = options;
        let failed = |error| IssuerError::Listen(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = url.map_or_else(|| format!("http://{address}"), |url| url.trim_end_matches('/').to_owned());
        let first = Arc::new(SigningKey::generate(Algorithm::RS256)?);
        let state = Arc::new(State {
            names: issuer.unwrap_or_else(|| Names::all(&url)),
            url,
            max_age,
            clock,
            keys: Mutex::new(Keys { published: vec![Arc::clone(&first)], signing: first }),
            others: Mutex::default(),
            foreign: OnceLock::new(),
            faults: Mutex::default(),
            discovery_requests: AtomicUsize::new(0),
            keys_requests: AtomicUsize::new(0),
        });
        let server = tokio::spawn(serve::serve(listener, Arc::clone(&state)));
        Ok(Self { state, address, server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where others reach it, `http://host:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// What its tokens name as `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.state.names.acs
    }

    /// The URL of its OpenID configuration.
    #[must_use]
    pub fn discovery_url(&self) -> String {
        format!("{}{DISCOVERY_PATH}", self.state.url)
    }

    /// The URL of its JWKS document.
    #[must_use]
    pub fn keys_url(&self) -> String {
        self.state.keys_url()
    }

    /// What a policy for it writes under `authority`, for `tenant`: the two issuers and the URL of the keys.
    #[must_use]
    pub fn authority(&self, tenant: &str) -> (String, String, String) {
        let Names { entra_v1, entra_v2, .. } = &self.state.names;
        (format!("{entra_v1}/{tenant}/"), format!("{entra_v2}/{tenant}/v2.0"), format!("{}/{tenant}{ENTRA_KEYS_PATH}", self.state.url))
    }

    /// Its JWKS document as it is now, for a ConfigMap.
    #[must_use]
    pub fn key_set(&self) -> Value {
        self.state.key_set()
    }

    /// The `kid` that tokens are signed with now.
    #[must_use]
    pub fn kid(&self) -> String {
        self.state.keys().signing.kid().to_owned()
    }

    /// Signs one token; each has a `jti` of its own.
    ///
    /// # Errors
    /// [`IssuerError::Crypto`].
    pub fn mint(&self, spec: &TokenSpec) -> Result<String, IssuerError> {
        self.state.mint(spec)
    }

    /// Signs `count` different tokens on all cores.
    ///
    /// # Errors
    /// [`IssuerError::Crypto`].
    pub fn mint_many(&self, spec: &TokenSpec, count: usize) -> Result<Vec<String>, IssuerError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = |thread: usize| (count + thread) / threads;
        std::thread::scope(|scope| {
            let minting: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || (0..share(thread)).map(|_| self.mint(spec)).collect::<Result<Vec<_>, _>>())).collect();
            minting.into_iter().try_fold(Vec::with_capacity(count), |mut tokens, minted| {
                tokens.extend(minted.join().map_err(|_| IssuerError::Crypto)??);
                Ok(tokens)
            })
        })
    }

    /// Rotates its keys. Returns the `kid` of the newest one. Takes the time that making an RSA key takes.
    ///
    /// # Errors
    /// [`IssuerError::Crypto`].
    pub fn rotate(&self, rotation: Rotation) -> Result<String, IssuerError> {
        self.state.rotate(rotation)
    }

    /// From now on `document` is answered with this fault; with `None`, properly.
    pub fn fail(&self, document: Document, fault: Option<Fault>) {
        let mut faults = self.state.faults.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) => faults.insert(document, fault),
            None => faults.remove(&document),
        };
    }

    /// How often `document` was asked for.
    #[must_use]
    pub fn requests(&self, document: Document) -> usize {
        self.state.counter(document).load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("address", &self.address).field("issuer", &self.state.names.acs).finish()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys_url(&self) -> String {
        format!("{}{KEYS_PATH}", self.url)
    }

    fn counter(&self, document: Document) -> &AtomicUsize {
        match document {
            Document::Discovery => &self.discovery_requests,
            Document::Keys => &self.keys_requests,
        }
    }

    /// The fault that `document` is answered with; counts the request.
    fn fault(&self, document: Document) -> Option<Fault> {
        self.counter(document).fetch_add(1, Ordering::Relaxed);
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).get(&document).cloned()
    }

    fn discovery(&self, issuer: &str) -> Value {
        json!({
            "issuer": issuer,
            "jwks_uri": self.keys_url(),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    fn key_set(&self) -> Value {
        let mut keys: Vec<_> = self.keys().published.iter().map(|key| key.jwk()).collect();
        keys.extend(self.others.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|key| key.jwk()));
        json!({ "keys": keys })
    }

    fn mint(&self, spec: &TokenSpec) -> Result<String, IssuerError> {
        let now = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let key = match spec.algorithm {
            None | Some(SigningAlgorithm(Algorithm::RS256)) => Arc::clone(&self.keys().signing),
            Some(SigningAlgorithm(other)) => self.other_key(other)?,
        };
        spec.mint(&self.names, now, &key, || self.foreign())
    }

    /// The key for an algorithm other than RS256. One is enough, however many ask at the same time.
    fn other_key(&self, algorithm: Algorithm) -> Result<Arc<SigningKey>, IssuerError> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = others.iter().find(|key| key.algorithm() == algorithm) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::generate(algorithm)?);
        others.push(Arc::clone(&key));
        Ok(key)
    }

    fn foreign(&self) -> Result<&SigningKey, IssuerError> {
        if let Some(key) = self.foreign.get() {
            return Ok(key);
        }
        let key = SigningKey::generate(Algorithm::RS256)?;
        Ok(self.foreign.get_or_init(|| key))
    }

    fn rotate(&self, rotation: Rotation) -> Result<String, IssuerError> {
        let newest_signs = {
            let keys = self.keys();
            keys.published.last().is_none_or(|newest| newest.kid() == keys.signing.kid())
        };
        let new = if newest_signs || rotation == Rotation::Publish { Some(Arc::new(SigningKey::generate(Algorithm::RS256)?)) } else { None };
        let mut keys = self.keys();
        keys.published.extend(new);
        let newest = keys.published.last().map_or_else(|| Arc::clone(&keys.signing), Arc::clone);
        match rotation {
            Rotation::Publish => {}
            Rotation::Sign => keys.signing = Arc::clone(&newest),
            Rotation::Withdraw => {
                keys.signing = Arc::clone(&newest);
                keys.published = vec![Arc::clone(&newest)];
            }
        }
        Ok(newest.kid().to_owned())
    }
}

#[cfg(test)]
mod tests;
