//! The guarded client: it fetches documents from URLs that tenants may have written.
//!
//! https only, allowed origins only, public addresses only (each is vetted and only a vetted one is dialled), no redirect, no cookie, no
//! decompression, no referrer, no proxy but the operator's, a bounded time and a bounded size, and no idle connection that would outlive the
//! vetting. Must not know what the documents mean.

use std::{error::Error, fmt, io, iter, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, header};
use reqwest::{
    Certificate, Client, ClientBuilder, Proxy,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect, retry,
};
use url::{Host, Url};

use super::{FetchFailure, address::is_global};

/// What may be fetched, and how.
#[derive(Clone)]
pub struct FetchRules {
    /// `--issuer-origins`: `scheme://host[:port]` that may be fetched from; `None` = any.
    pub origins: Option<Vec<Box<str>>>,
    /// `--allow-private-issuers`: addresses that are not global are dialled, too.
    pub allow_private: bool,
    /// `--insecure-http-issuers`: `http` is taken, too.
    pub allow_http: bool,
    /// `--egress-proxy`: all goes through it. It resolves the names then, and which addresses it dials is the operator's to bound.
    pub proxy: Option<Url>,
    /// `--issuer-ca`: PEM certificates that are trusted beside the system's.
    pub extra_roots: Vec<u8>,
    /// The longest a fetch may take, all in all.
    pub time_limit: Duration,
}

impl FetchRules {
    /// The longest a fetch may take unless a test says otherwise.
    pub const TIME_LIMIT: Duration = Duration::from_secs(10);
}

/// The strictest rules, for any origin.
impl Default for FetchRules {
    fn default() -> Self {
        Self { origins: None, allow_private: false, allow_http: false, proxy: None, extra_roots: Vec::new(), time_limit: Self::TIME_LIMIT }
    }
}

/// Without the proxy's URL: it may hold a password.
impl fmt::Debug for FetchRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origins, allow_private, allow_http, proxy, extra_roots, time_limit } = self;
        f.debug_struct("FetchRules")
            .field("origins", origins)
            .field("allow_private", allow_private)
            .field("allow_http", allow_http)
            .field("proxy", &proxy.as_ref().and_then(Url::host_str))
            .field("extra_roots", &extra_roots.len())
            .field("time_limit", time_limit)
            .finish()
    }
}

/// Rules that make no client.
#[derive(Debug, thiserror::Error)]
pub enum FetchRulesError {
    /// An origin cannot be read.
    #[error("`{0}` is not an origin; write `https://host` or `https://host:port`, without a path")]
    Origin(Box<str>),
    /// The extra certificates cannot be read.
    #[error("the issuer certificates (`--issuer-ca`) cannot be read; they must be PEM")]
    Roots,
    /// The proxy cannot be used.
    #[error("the egress proxy cannot be used; write `http://host:port`")]
    Proxy(#[source] reqwest::Error),
    /// The client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Turns names into addresses.
pub trait Lookup: Send + Sync {
    /// All addresses of `host`.
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Lookup for SystemNames {
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// A document that was fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub body: Vec<u8>,
    /// How long it may be kept, if the server said so; zero for `no-store` and `no-cache`.
    pub max_age: Option<Duration>,
}

/// Without the body: it belongs in no log.
impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("bytes", &self.body.len()).field("max_age", &self.max_age).finish()
    }
}

/// The guarded client. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    origins: Option<Arc<[String]>>,
    allow_private: bool,
    allow_http: bool,
    time_limit: Duration,
}

/// Without the client, which knows the proxy's password.
impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, origins, allow_private, allow_http, time_limit } = self;
        f.debug_struct("Fetcher")
            .field("origins", origins)
            .field("allow_private", allow_private)
            .field("allow_http", allow_http)
            .field("time_limit", time_limit)
            .finish()
    }
}

impl Fetcher {
    /// A client under `rules` that resolves by `names`.
    ///
    /// # Errors
    /// [`FetchRulesError`] for rules that cannot be followed.
    pub fn new(rules: &FetchRules, names: Arc<dyn Lookup>) -> Result<Self, FetchRulesError> {
        let origins = rules.origins.as_ref().map(|origins| origins.iter().map(|origin| read_origin(origin)).collect()).transpose()?;
        let client = build_client(rules, names)?;
        Ok(Self { client, origins, allow_private: rules.allow_private, allow_http: rules.allow_http, time_limit: rules.time_limit })
    }

    /// The longest a fetch may take.
    #[must_use]
    pub const fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Fetches `url`, at most `limit` bytes, within the time limit.
    ///
    /// # Errors
    /// [`FetchFailure`], whatever went wrong: the URL, the address, the connection, the status, the size, the time.
    pub async fn get(&self, url: &str, limit: usize) -> Result<Fetched, FetchFailure> {
        let url = self.vet(url)?;
        tokio::time::timeout(self.time_limit, self.get_vetted(url, limit)).await.unwrap_or(Err(FetchFailure::Timeout))
    }

    /// Judges what can be seen in the URL itself. An address as host has to be judged here: no resolver is ever asked for it.
    fn vet(&self, url: &str) -> Result<Url, FetchFailure> {
        let url = Url::parse(url).map_err(|_| FetchFailure::BadUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(FetchFailure::Insecure),
            _ => return Err(FetchFailure::BadUrl),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchFailure::BadUrl);
        }
        if self.origins.as_ref().is_some_and(|origins| !origins.contains(&url.origin().ascii_serialization())) {
            return Err(FetchFailure::BlockedOrigin);
        }
        let literal = match url.host() {
            None => return Err(FetchFailure::BadUrl),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        };
        if literal.is_some_and(|address| !self.allow_private && !is_global(address)) {
            return Err(FetchFailure::BlockedAddress);
        }
        Ok(url)
    }

    async fn get_vetted(&self, url: Url, limit: usize) -> Result<Fetched, FetchFailure> {
        let mut response = self.client.get(url).send().await.map_err(|error| classify(&error))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchFailure::Redirect),
            status => return Err(FetchFailure::Status(status.as_u16())),
        }
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(FetchFailure::TooLarge);
        }
        let max_age = read_max_age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(FetchFailure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age })
    }
}

/// `scheme://host[:port]` as browsers write it (RFC 6454).
fn read_origin(origin: &str) -> Result<String, FetchRulesError> {
    let bad = || FetchRulesError::Origin(origin.into());
    let url = Url::parse(origin).map_err(|_| bad())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if bare && matches!(url.scheme(), "http" | "https") { Ok(url.origin().ascii_serialization()) } else { Err(bad()) }
}

fn build_client(rules: &FetchRules, names: Arc<dyn Lookup>) -> Result<Client, FetchRulesError> {
    let roots = Certificate::from_pem_bundle(&rules.extra_roots).map_err(|_| FetchRulesError::Roots)?;
    if roots.is_empty() && !rules.extra_roots.is_empty() {
        return Err(FetchRulesError::Roots);
    }
    let proxy = rules.proxy.as_ref().map(|proxy| Proxy::all(proxy.clone())).transpose().map_err(FetchRulesError::Proxy)?;
    let proxy_host = rules.proxy.as_ref().and_then(|proxy| proxy.host_str()).map(str::to_ascii_lowercase);
    let resolver = Arc::new(GuardedResolver { names, allow_private: rules.allow_private, proxy_host });
    let builder = || {
        let builder = Client::builder()
            .user_agent(concat!("ringfence/", env!("CARGO_PKG_VERSION")))
            .https_only(!rules.allow_http)
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .dns_resolver(Arc::clone(&resolver));
        proxy.iter().cloned().fold(builder, ClientBuilder::proxy)
    };
    match builder().tls_certs_merge(roots.clone()).build() {
        Ok(client) => Ok(client),
        // A system without any certificate: what is fetched over https fails, and everything else works.
        Err(_) => builder().tls_certs_only(roots).build().map_err(FetchRulesError::Client).inspect(|_| {
            tracing::warn!("this system has no certificates of authorities, so no issuer can be trusted; install `ca-certificates`");
        }),
    }
}

/// Resolves, and lets nothing through unless every address is global: a name that also leads inside is not to be trusted with the other half.
struct GuardedResolver {
    names: Arc<dyn Lookup>,
    allow_private: bool,
    /// With a proxy this is the only name that is ever resolved here, and the operator's own.
    proxy_host: Option<String>,
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum ResolveError {
    #[error("no address")]
    NoAddress,
    #[error("an address that is not global")]
    NotGlobal,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let unvetted = self.allow_private || self.proxy_host.as_deref() == Some(name.as_str());
        let lookup = self.names.lookup(name.as_str());
        Box::pin(async move {
            let addresses = lookup.await.map_err(|_| ResolveError::NoAddress)?;
            if addresses.is_empty() {
                return Err(ResolveError::NoAddress.into());
            }
            if !unvetted && !addresses.iter().copied().all(is_global) {
                return Err(ResolveError::NotGlobal.into());
            }
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Names what went wrong without its text, which may hold an address.
fn classify(error: &reqwest::Error) -> FetchFailure {
    if let Some(resolve) = causes(error).find_map(|cause| cause.downcast_ref::<ResolveError>()) {
        return match resolve {
            ResolveError::NoAddress => FetchFailure::Dns,
            ResolveError::NotGlobal => FetchFailure::BlockedAddress,
        };
    }
    if causes(error).any(is_tls) {
        FetchFailure::Tls
    } else if error.is_timeout() {
        FetchFailure::Timeout
    } else if error.is_connect() {
        FetchFailure::Connect
    } else {
        FetchFailure::Broken
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(Some(error as &(dyn Error + 'static)), |error| (*error).source())
}

/// Whether the cause is rustls' own, also inside I/O errors (whose `source` skips what they wrap).
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls(wrapped))
}

/// RFC 9111 section 5.2.2, as far as it bounds how long an answer may be kept.
fn read_max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    if directives.iter().any(|directive| directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")) {
        return Some(Duration::ZERO);
    }
    let seconds = |directive: &&str| {
        let (name, value) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok()).flatten()
    };
    directives.iter().filter_map(seconds).min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
