//! Every setting with its name, its default and its help.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use ipnet::IpNet;
use ringfence_core::decide::Unmatched;

use super::values::{Withheld, duration, part};
use crate::{
    listen::{ClientAddress, Dialect, ListenAddress, ToldDecisions},
    telemetry::{LogFormat, LogPath, LoggedDecisions},
};

/// All settings of a server.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub policies: PolicySettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub cluster: ClusterSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub listen: ListenSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub admission: AdmissionSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub issuers: IssuerSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub reuse: ReuseSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub log: LogSettings,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub limits: LimitSettings,
    /// TOML file with settings, under the names of these flags without dashes before them
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub settings: Option<PathBuf>,
}

/// Where policies come from, and what they mean together.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Policies")]
pub struct PolicySettings {
    /// Folder with policies and what they name (YAML or JSON, sub-folders included), followed as it changes
    #[arg(long, value_name = "DIR")]
    pub config: Option<PathBuf>,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub rules: PolicyRules,
}

/// Where policies come from instead of a folder.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Policies")]
pub struct ClusterSettings {
    /// Take policies from the Kubernetes API server instead, as the pod's ServiceAccount or by a kubeconfig
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub kubernetes: bool,
    /// kubeconfig file that says where the API server is [default: KUBECONFIG, ~/.kube/config, else the pod's own]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespaces whose CallbackPolicies count [default: all]
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
}

/// What policies mean together.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Policies")]
pub struct PolicyRules {
    /// What happens to a request that no policy covers
    #[arg(long, value_name = "ANSWER", default_value = "deny")]
    pub unmatched: UnmatchedAnswer,
    /// Which policies may speak for a host [default: off; with --kubernetes granted]
    #[arg(long, value_name = "RULE")]
    pub host_ownership: Option<HostOwnership>,
    /// Namespace of the Secrets and ConfigMaps that cluster-wide resources name
    #[arg(long, value_name = "NAMESPACE", default_value = "ringfence")]
    pub resource_namespace: String,
}

/// `--unmatched`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnmatchedAnswer {
    /// It is answered 403
    Deny,
    /// It is answered 503, so that Event Grid tries again instead of dropping it
    Unavailable,
    /// It is let by if no policy claims its host, and answered 403 if one does
    Allow,
}

impl From<UnmatchedAnswer> for Unmatched {
    fn from(answer: UnmatchedAnswer) -> Self {
        match answer {
            UnmatchedAnswer::Deny => Self::Deny,
            UnmatchedAnswer::Unavailable => Self::Unavailable,
            UnmatchedAnswer::Allow => Self::Allow,
        }
    }
}

/// `--host-ownership`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostOwnership {
    /// Every policy
    Off,
    /// Those whose namespace a HostGrant names for the host
    Granted,
}

impl HostOwnership {
    /// Whether grants decide.
    #[must_use]
    pub const fn is_granted(self) -> bool {
        match self {
            Self::Off => false,
            Self::Granted => true,
        }
    }
}

/// The listeners, and who may ask.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listeners")]
pub struct ListenSettings {
    /// Address of the gRPC checks: `IP:PORT` or `unix:PATH`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    pub grpc_listen: ListenAddress,
    /// Address of the HTTP checks, once a dialect is named [default: 127.0.0.1:9002]
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<ListenAddress>,
    /// Proxies that ask over HTTP: `nginx`, `ingress-nginx`, `traefik`, `caddy`, `haproxy`, `envoy` (its http_service)
    #[arg(long, value_name = "DIALECTS", value_delimiter = ',')]
    pub http_dialects: Vec<Dialect>,
    /// Address of health and metrics
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9003")]
    pub metrics_listen: SocketAddr,
    /// Networks that may connect for checks [default: loopback, the private ranges, 100.64.0.0/10]
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub check_allow_from: Vec<IpNet>,
    /// Certificate chain of both check listeners (PEM, leaf first); a new one in the file is taken within seconds
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose client certificates may connect (PEM); without it none is asked for
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// DNS or URI names, one of which a client certificate must carry [default: any]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tls_client_names: Vec<String>,
    #[allow(missing_docs, reason = "the type says it")]
    #[command(flatten)]
    pub clients: ClientSettings,
    /// Tell the client the reason code in `x-ringfence-reason`
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub reason_header: bool,
    /// Decisions that Envoy is told of as dynamic metadata, for its access logs and rate limits: `off`, `denied`, `all`
    #[arg(long, value_name = "WHICH", default_value = "denied")]
    pub grpc_metadata: ToldDecisions,
}

/// What the API server asks about objects before it stores them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admission webhook")]
pub struct AdmissionSettings {
    /// Address of the admission webhook, which speaks TLS only [default: off]
    #[arg(long, value_name = "IP:PORT")]
    pub admission_listen: Option<SocketAddr>,
    /// Its certificate chain (PEM, leaf first); a new one in the file is taken within seconds
    #[arg(long, value_name = "FILE")]
    pub admission_tls_cert: Option<PathBuf>,
    /// Private key of its certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub admission_tls_key: Option<PathBuf>,
    /// Make the certificate instead: for this Service of `--resource-namespace`, kept in the Secret `SERVICE-tls`
    #[arg(long, value_name = "SERVICE")]
    pub admission_self_signed: Option<String>,
    /// ValidatingWebhookConfiguration that is to trust a certificate that is made
    #[arg(long, value_name = "NAME", default_value = "ringfence")]
    pub admission_webhook: String,
}

/// Which address is the client's.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listeners")]
pub struct ClientSettings {
    /// Where Envoy's question carries the client's address: `peer` (its own source address), `xff:N` (`x-forwarded-for` with N trusted hops
    /// from the right), `header:NAME`
    #[arg(long, value_name = "WHERE", default_value = "peer", value_parser = ClientAddress::from_grpc_flag)]
    pub grpc_client_address: ClientAddress,
    /// The same over HTTP: `dialect` (where the dialect carries it), `xff:N`, `header:NAME`
    #[arg(long, value_name = "WHERE", default_value = "dialect", value_parser = ClientAddress::from_http_flag)]
    pub http_client_address: ClientAddress,
    /// Proxies whose word about a client's address counts [default: any that may ask]
    #[arg(long, value_name = "CIDRS", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
}

/// What may be fetched from issuers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Issuers and tokens")]
pub struct IssuerSettings {
    /// Origins that keys may be fetched from, as `https://host[:port]` [default: any, since the folder is the operator's own; with --kubernetes those of ACS and Entra]
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    pub issuer_origins: Vec<String>,
    /// Fetch keys from addresses that are not on the public internet, too
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub allow_private_issuers: bool,
    /// Fetch keys over plain http, too: for tests only
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, value_parser = BoolishValueParser::new())]
    pub insecure_http_issuers: bool,
    /// Authorities that issuers' certificates are trusted from, beside the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub issuer_ca: Option<PathBuf>,
    /// Proxy for all fetches, as `http://host:port`; none is taken from the environment
    #[arg(long, value_name = "URL")]
    pub egress_proxy: Option<String>,
    /// Authorities that connections through the proxy are trusted from, beside the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub egress_ca: Option<PathBuf>,
}

/// Where used tokens are remembered.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Issuers and tokens")]
pub struct ReuseSettings {
    /// Where used tokens are remembered: `memory` (of each replica for itself), or a Redis or Valkey that all replicas share, as
    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, with `rediss://` over TLS
    #[arg(long, value_name = "STORE", default_value = "memory")]
    pub reuse_store: Withheld,
    /// Authorities that the store's certificate is trusted from, beside the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub reuse_store_ca: Option<PathBuf>,
}

/// What is logged.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Decisions that are logged, on standard output: `off`, `denied`, `all`
    #[arg(long, value_name = "WHICH", default_value = "denied")]
    pub decision_log: LoggedDecisions,
    /// Most lines per second for each reason of a denial; the rest is counted
    #[arg(long, value_name = "LINES", default_value = "100")]
    pub decision_log_rate: u32,
    /// Part of what is allowed that `--decision-log=all` logs, from 0 to 1
    #[arg(long, value_name = "PART", default_value = "1", value_parser = part)]
    pub decision_log_sample: f64,
    /// How much of a path is logged, always without its query: `full` (up to 256 characters), `matched` (the policy's pattern), `off`
    #[arg(long, value_name = "HOW", default_value = "full")]
    pub log_path: LogPath,
    /// Form of both logs: `json` or `text`
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// What the process says of itself, on standard error: `error`, `warn`, `info`, `debug`, `trace`, or a filter of tracing
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Bounds, and how the process leaves.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits and shutdown")]
pub struct LimitSettings {
    /// Most checks at a time; one more is answered 503 at once
    #[arg(long, value_name = "CHECKS", default_value = "1024")]
    pub max_in_flight: NonZeroUsize,
    /// Threads that answer checks [default: one for each processor]
    #[arg(long, value_name = "THREADS")]
    pub threads: Option<NonZeroUsize>,
    /// How long everything is still served after SIGTERM while health says no, so that proxies look elsewhere
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub shutdown_delay: Duration,
    /// How long checks in flight may take after that
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub drain: Duration,
}
