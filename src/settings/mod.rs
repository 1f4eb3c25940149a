//! What an operator may choose, each under one name: as a flag, a `RINGFENCE_*` variable or in a settings file.
//!
//! | file | what it knows |
//! |---|---|
//! | `flags` | every setting, its default and its help |
//! | `layers` | which of the places that name a setting counts |
//! | `values`, `nearest` | values that only settings have; what somebody probably meant |
//!
//! Must not know what the rooms do with their settings.

mod flags;
mod layers;
mod nearest;
#[cfg(test)]
mod tests;
mod values;

pub use flags::{
    AdmissionSettings, ClientSettings, ClusterSettings, HostOwnership, IssuerSettings, LimitSettings, ListenSettings, LogSettings, PolicyRules,
    PolicySettings, ReuseSettings, Settings, UnmatchedAnswer,
};
pub use values::Withheld;

use std::{
    ffi::OsString,
    fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use ringfence_core::compile::Options;
use url::Url;

use crate::{
    keys::{DEFAULT_ISSUER_ORIGINS, FetchRules},
    listen::{ConnectionSettings, GrpcListenerSettings, HttpListenerSettings, ShutdownTimes, TlsSettings},
    reuse::{SharedStoreSettings, StoreAddress},
    telemetry::{DecisionLogOptions, LoggedDecisions},
};

/// Where HTTP checks are listened for once a dialect is named.
const HTTP_LISTEN: &str = "127.0.0.1:9002";
/// Settings that do nothing without another one. An image sets their variables for whoever runs it, and whoever runs it says whether they matter.
const READY: &[(&str, &str)] = &[("http-listen", "http-dialects")];
/// `--reuse-store` of each replica for itself.
const MEMORY: &str = "memory";
/// How often certificate files are looked at again.
const CERTIFICATE_RELOAD: Duration = Duration::from_secs(10);

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no such setting.
    #[error("{place}: there is no setting `{name}`{}; `ringfence serve --help` lists all", .suggestion.as_ref().map(|near| format!(", did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// Where it is named.
        place: String,
        /// The name.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value cannot be read.
    #[error("{place}: `{name}`: {problem}")]
    Invalid {
        /// Where it is given.
        place: String,
        /// Of which setting.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Two settings cannot work together, or one needs another.
    #[error("`--{one}` and `--{other}`: {problem}")]
    Together {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A setting's value cannot be used.
    #[error("`--{name}`: {problem}")]
    Unusable {
        /// Of which setting.
        name: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that a setting names cannot be read.
    #[error("`{}` cannot be read: {source}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The settings file is no TOML.
    #[error("{}:{line}: this is no TOML: {problem}", .file.display())]
    NotToml {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The values cannot be read together.
    #[error(transparent)]
    Flags(#[from] clap::Error),
}

impl Settings {
    /// The settings that `matches` (of a command that has all or some of them as flags), `environment` and the settings file they name amount
    /// to. So what counts for `serve` counts for the commands beside it.
    ///
    /// # Errors
    /// Names the setting and the place it was given at.
    pub fn read(matches: &ArgMatches, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, SettingsError> {
        let flags = layers::merge(&command(), matches, environment, READY)?;
        Self::from_flags(flags)
    }

    /// The settings of these flags alone (`--name=value`), the defaults for the rest.
    ///
    /// # Errors
    /// A flag that is unknown, or a value that cannot be read or used.
    pub fn from_flags(flags: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, SettingsError> {
        let settings = Self::from_arg_matches(&command().try_get_matches_from(flags)?)?;
        settings.check()?;
        Ok(settings)
    }

    /// Whether the settings work together.
    fn check(&self) -> Result<(), SettingsError> {
        let Self { policies, cluster, listen, admission, issuers, limits: _, log, reuse, settings: _ } = self;
        let together = |wrong: bool, one, other, problem| if wrong { Err(SettingsError::Together { one, other, problem }) } else { Ok(()) };
        together(
            policies.config.is_some() && cluster.kubernetes,
            "config",
            "kubernetes",
            "policies come from a folder or from the API server: give one of the two",
        )?;
        together(
            cluster.kubeconfig.is_some() && !cluster.kubernetes,
            "kubeconfig",
            "kubernetes",
            "nothing is asked of an API server without `--kubernetes`: give it, too",
        )?;
        together(
            !cluster.watch_namespace.is_empty() && !cluster.kubernetes,
            "watch-namespace",
            "kubernetes",
            "a folder has no namespaces to choose from: give `--kubernetes`, or take the setting out",
        )?;
        together(
            listen.tls_cert.is_some() != listen.tls_key.is_some(),
            "tls-cert",
            "tls-key",
            "a certificate and its key go together: give both or none",
        )?;
        together(
            listen.tls_client_ca.is_some() && listen.tls_cert.is_none(),
            "tls-client-ca",
            "tls-cert",
            "client certificates need TLS: give `--tls-cert` and `--tls-key`, too",
        )?;
        together(
            !listen.tls_client_names.is_empty() && listen.tls_client_ca.is_none(),
            "tls-client-names",
            "tls-client-ca",
            "names are read from client certificates: give the authority that signs them, too",
        )?;
        together(
            listen.http_listen.is_some() && listen.http_dialects.is_empty(),
            "http-listen",
            "http-dialects",
            "nothing is served over HTTP until a dialect is named: `--http-dialects=nginx`",
        )?;
        together(
            admission.admission_tls_cert.is_some() != admission.admission_tls_key.is_some(),
            "admission-tls-cert",
            "admission-tls-key",
            "a certificate and its key go together: give both",
        )?;
        together(
            admission.admission_tls_cert.is_some() && admission.admission_self_signed.is_some(),
            "admission-tls-cert",
            "admission-self-signed",
            "the certificate comes from files or is made: give one of the two",
        )?;
        together(
            admission.admission_listen.is_some() != (admission.admission_tls_cert.is_some() || admission.admission_self_signed.is_some()),
            "admission-listen",
            "admission-tls-cert",
            "the API server asks over TLS only: give an address and a certificate (`--admission-self-signed` makes one), or neither",
        )?;
        together(
            admission.admission_self_signed.is_some() && !cluster.kubernetes,
            "admission-self-signed",
            "kubernetes",
            "a certificate that is made is kept in a Secret: give `--kubernetes`, too, or a certificate's files",
        )?;
        together(
            issuers.egress_ca.is_some() && issuers.egress_proxy.is_none(),
            "egress-ca",
            "egress-proxy",
            "the authority is for the proxy's connections; for an issuer's own certificate there is `--issuer-ca`",
        )?;
        together(
            log.decision_log_sample < 1.0 && log.decision_log != LoggedDecisions::All,
            "decision-log-sample",
            "decision-log",
            "only what is allowed is sampled, and that is logged with `--decision-log=all` alone",
        )?;
        let is_tls = self.store_address()?.is_some_and(|address| address.is_tls());
        together(
            reuse.reuse_store_ca.is_some() && !is_tls,
            "reuse-store-ca",
            "reuse-store",
            "an authority is for a store's certificate: give a store as `rediss://`, too",
        )?;
        self.egress_proxy().map(drop)
    }

    /// How resources are compiled.
    #[must_use]
    pub fn compile_options(&self) -> Options {
        let PolicyRules { unmatched, host_ownership, resource_namespace } = &self.policies.rules;
        Options {
            unmatched: (*unmatched).into(),
            hosts_are_granted: host_ownership.map_or(self.cluster.kubernetes, HostOwnership::is_granted),
            resource_namespace: resource_namespace.as_str().into(),
            issuer_origins: self.issuer_origins(),
            insecure_http_issuers: self.issuers.insecure_http_issuers,
            reuse_per_replica: self.cluster.kubernetes && self.reuse.reuse_store.reveal() == MEMORY,
        }
    }

    fn issuer_origins(&self) -> Option<Vec<Box<str>>> {
        let origins = &self.issuers.issuer_origins;
        if origins.is_empty() && self.cluster.kubernetes {
            return Some(DEFAULT_ISSUER_ORIGINS.iter().copied().map(Into::into).collect());
        }
        (!origins.is_empty()).then(|| origins.iter().map(|origin| origin.as_str().into()).collect())
    }

    /// What may be fetched. Reads the certificate files.
    ///
    /// # Errors
    /// [`SettingsError::File`].
    pub fn fetch_rules(&self) -> Result<FetchRules, SettingsError> {
        let mut extra_roots = Vec::new();
        for file in [&self.issuers.issuer_ca, &self.issuers.egress_ca].into_iter().flatten() {
            extra_roots.extend(read(file)?);
            extra_roots.push(b'\n');
        }
        Ok(FetchRules {
            origins: self.issuer_origins(),
            allow_private: self.issuers.allow_private_issuers,
            allow_http: self.issuers.insecure_http_issuers,
            proxy: self.egress_proxy()?,
            extra_roots,
            time_limit: FetchRules::TIME_LIMIT,
        })
    }

    /// The store that replicas share, if they share one. Reads the certificate file.
    ///
    /// # Errors
    /// [`SettingsError::File`], [`SettingsError::Unusable`].
    pub fn shared_store(&self) -> Result<Option<SharedStoreSettings>, SettingsError> {
        let Some(address) = self.store_address()? else { return Ok(None) };
        let extra_roots = self.reuse.reuse_store_ca.as_deref().map(read).transpose()?.unwrap_or_default();
        // Whoever waits for the store takes a place of those in flight.
        Ok(Some(SharedStoreSettings { address, extra_roots, most_asked: (self.limits.max_in_flight.get() / 4).max(1) }))
    }

    /// Read here and not by its flag, whose error would repeat the password that may stand in it.
    fn store_address(&self) -> Result<Option<StoreAddress>, SettingsError> {
        match self.reuse.reuse_store.reveal() {
            MEMORY => Ok(None),
            text => StoreAddress::parse(text)
                .map(Some)
                .map_err(|problem| SettingsError::Unusable { name: "reuse-store", problem: format!("{problem}, or `{MEMORY}`") }),
        }
    }

    /// Read here and not by its flag, whose error would repeat the password that may stand in it.
    fn egress_proxy(&self) -> Result<Option<Url>, SettingsError> {
        let Some(proxy) = &self.issuers.egress_proxy else { return Ok(None) };
        match Url::parse(proxy) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Some(url)),
            Ok(_) | Err(_) => {
                let problem = "this is no proxy: write `http://host:port` or `https://host:port`".to_owned();
                Err(SettingsError::Unusable { name: "egress-proxy", problem })
            }
        }
    }

    /// The gRPC check listener.
    #[must_use]
    pub fn grpc_listener(&self) -> GrpcListenerSettings {
        let listen = &self.listen;
        GrpcListenerSettings {
            address: listen.grpc_listen.clone(),
            connections: self.connections(),
            client_address: listen.clients.grpc_client_address.clone(),
            trusted_proxies: listen.clients.trusted_proxies.clone(),
            reason_header: listen.reason_header,
            metadata: listen.grpc_metadata,
        }
    }

    /// The HTTP check listener, if there is one.
    #[must_use]
    pub fn http_listener(&self) -> Option<HttpListenerSettings> {
        let listen = &self.listen;
        let address = listen.http_listen.clone().or_else(|| HTTP_LISTEN.parse().ok())?;
        (!listen.http_dialects.is_empty()).then(|| HttpListenerSettings {
            address,
            connections: self.connections(),
            dialects: listen.http_dialects.clone(),
            client_address: listen.clients.http_client_address.clone(),
            trusted_proxies: listen.clients.trusted_proxies.clone(),
            reason_header: listen.reason_header,
        })
    }

    /// Where health and metrics are listened for.
    #[must_use]
    pub const fn metrics_listen(&self) -> SocketAddr {
        self.listen.metrics_listen
    }

    /// Where the admission webhook listens, if it is served, and its certificate's files unless it is made.
    #[must_use]
    pub fn admission_listener(&self) -> Option<(SocketAddr, Option<TlsSettings>)> {
        let AdmissionSettings { admission_listen, admission_tls_cert, admission_tls_key, .. } = &self.admission;
        let files = admission_tls_cert.clone().zip(admission_tls_key.clone()).map(|(certificate, key)| TlsSettings {
            certificate,
            key,
            client_ca: None,
            client_names: Vec::new(),
            reload_every: CERTIFICATE_RELOAD,
        });
        Some(((*admission_listen)?, files))
    }

    /// The Service that certificates are made for, and the webhook configuration that is to trust them, if they are made.
    #[must_use]
    pub fn admission_certificates(&self) -> Option<(String, String)> {
        Some((self.admission.admission_self_signed.clone()?, self.admission.admission_webhook.clone()))
    }

    fn connections(&self) -> ConnectionSettings {
        let ListenSettings { tls_cert, tls_key, tls_client_ca, tls_client_names, check_allow_from, .. } = &self.listen;
        let tls = tls_cert.clone().zip(tls_key.clone()).map(|(certificate, key)| TlsSettings {
            certificate,
            key,
            client_ca: tls_client_ca.clone(),
            client_names: tls_client_names.clone(),
            reload_every: CERTIFICATE_RELOAD,
        });
        let defaults = ConnectionSettings::default();
        let allow_from = if check_allow_from.is_empty() { defaults.allow_from.clone() } else { check_allow_from.clone() };
        ConnectionSettings { allow_from, tls, ..defaults }
    }

    /// The decision log.
    #[must_use]
    pub fn decision_log(&self) -> DecisionLogOptions {
        let LogSettings { decision_log, decision_log_rate, decision_log_sample, log_path, log_format, log_level: _ } = &self.log;
        DecisionLogOptions { decisions: *decision_log, rate: *decision_log_rate, sample: *decision_log_sample, path: *log_path, format: *log_format }
    }

    /// How the process leaves.
    #[must_use]
    pub const fn shutdown_times(&self) -> ShutdownTimes {
        ShutdownTimes { announce: self.limits.shutdown_delay, drain: self.limits.drain }
    }

    /// How many threads answer checks.
    #[must_use]
    pub fn threads(&self) -> NonZeroUsize {
        self.limits.threads.unwrap_or_else(values::processors)
    }
}

/// A command whose arguments are all settings and nothing else.
fn command() -> Command {
    Settings::augment_args(Command::new("settings").no_binary_name(true).disable_help_flag(true))
}

fn read(file: &Path) -> Result<Vec<u8>, SettingsError> {
    fs::read(file).map_err(|source| SettingsError::File { file: file.to_owned(), source })
}
