//! Why keys could not be had, as one of a fixed list: what a status, a metric or a log may say, never a body or an address.

/// Why a fetch brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// The URL cannot be used.
    #[error("the URL is not one that can be fetched; write `https://host/path` without a user name")]
    BadUrl,
    /// The URL is not https.
    #[error("the URL is not https; `--insecure-http-issuers` permits http")]
    Insecure,
    /// The URL lies outside the allowed origins.
    #[error("the URL lies outside the allowed origins; `--issuer-origins` lists them")]
    BlockedOrigin,
    /// The host is, or resolves to, an address that is not global.
    #[error("the host leads to an address that is not a public one; `--allow-private-issuers` permits those")]
    BlockedAddress,
    /// The host does not resolve.
    #[error("the host's name does not resolve")]
    Dns,
    /// No connection came about.
    #[error("no connection to the host (or to the egress proxy) came about")]
    Connect,
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("the TLS handshake failed; if the issuer's certificate is of an authority of your own, name it with `--issuer-ca`")]
    Tls,
    /// It took too long.
    #[error("the answer was not complete in time")]
    Timeout,
    /// The connection broke off, or what came was not HTTP.
    #[error("the answer broke off or was not HTTP")]
    Broken,
    /// The answer is a redirect; none is followed.
    #[error("the answer is a redirect, and none is followed; configure the URL it leads to")]
    Redirect,
    /// The answer has another status than 200.
    #[error("the answer has the status {0} instead of 200")]
    Status(u16),
    /// The body is larger than permitted.
    #[error("the answer is larger than permitted")]
    TooLarge,
    /// The body is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// The discovery document lacks what it must hold.
    #[error("the document is not an OpenID configuration: it needs one `issuer` and one `jwks_uri`")]
    NotDiscovery,
    /// The discovery document names another issuer.
    #[error("the document names another issuer than the configured one")]
    IssuerMismatch,
    /// The document is not a key set, or one with too many keys.
    #[error("the document is not a key set that can be read")]
    NotKeySet,
    /// No key in the set can be used.
    #[error("the key set holds no usable key")]
    NoUsableKeys,
    /// A fault inside Ringfence.
    #[error("a fault inside Ringfence")]
    Internal,
}

impl FetchFailure {
    /// Every label, for those who must know them all.
    pub const LABELS: &'static [&'static str] = &[
        "bad_url",
        "insecure",
        "blocked_origin",
        "blocked_address",
        "dns",
        "connect",
        "tls",
        "timeout",
        "broken",
        "redirect",
        "status",
        "too_large",
        "not_json",
        "not_discovery",
        "issuer_mismatch",
        "not_key_set",
        "no_usable_keys",
        "internal",
    ];

    /// The `result` label of metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadUrl => "bad_url",
            Self::Insecure => "insecure",
            Self::BlockedOrigin => "blocked_origin",
            Self::BlockedAddress => "blocked_address",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Redirect => "redirect",
            Self::Status(_) => "status",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::NotDiscovery => "not_discovery",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::NotKeySet => "not_key_set",
            Self::NoUsableKeys => "no_usable_keys",
            Self::Internal => "internal",
        }
    }
}
