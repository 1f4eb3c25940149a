//! What an operator may choose about the listeners, as plain values; `crate::settings` fills them from flags.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ringfence_core::decide::Wire;

use super::ClientAddress;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 = any free one.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

/// An address that cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address to listen on: write `IP:PORT` (`127.0.0.1:9001`, `[::]:9001`) or `unix:PATH`")]
pub struct ListenAddressError(String);

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        text.parse().map(Self::Tcp).map_err(|_| ListenAddressError(text.to_owned()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Certificate files of a check listener.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The certificate chain, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Clients must show a certificate of one of these authorities (PEM); `None` = no client certificates.
    pub client_ca: Option<PathBuf>,
    /// With `client_ca`: DNS or URI names, one of which a client's certificate must carry as a subject alternative name; empty = any.
    pub client_names: Vec<String>,
    /// How often the files are looked at again.
    pub reload_every: Duration,
}

/// What both check listeners have in common.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// TCP peers that may connect; Unix sockets are guarded by their file mode.
    pub allow_from: Vec<IpNet>,
    /// TLS; `None` = plain text. Unix sockets are always plain.
    pub tls: Option<TlsSettings>,
    /// Connections at a time, or fewer where the limit of file descriptors is low; one more is closed at once.
    pub max_connections: usize,
    /// How long a connection lives, give or take a fifth, before its peer is asked to open another.
    pub max_age: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            allow_from: Self::private_networks(),
            tls: None,
            max_connections: 4096,
            max_age: Duration::from_secs(300),
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

impl ConnectionSettings {
    /// Loopback, the private ranges (RFC 1918, RFC 4193) and the shared range (RFC 6598): the default of `allow_from`.
    #[must_use]
    pub fn private_networks() -> Vec<IpNet> {
        let v4 = |a, b, length| Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), length).into();
        let v6 = |first, length| Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), length).into();
        vec![
            v4(127, 0, 8),
            v4(10, 0, 8),
            v4(172, 16, 12),
            v4(192, 168, 16),
            v4(100, 64, 10),
            IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            v6(0xfc00, 7),
        ]
    }
}

/// The gRPC check listener.
#[derive(Clone, Debug)]
pub struct GrpcListenerSettings {
    /// Where to listen.
    pub address: ListenAddress,
    /// Who may connect, and how.
    pub connections: ConnectionSettings,
    /// Which address is the client's; [`ClientAddress::Wire`] is `attributes.source.address`.
    pub client_address: ClientAddress,
    /// If not empty: a forwarded address counts only when every hop after it is one of these.
    pub trusted_proxies: Vec<IpNet>,
    /// Tell the client the reason code in `x-ringfence-reason`.
    pub reason_header: bool,
    /// Decisions that Envoy is told of as dynamic metadata.
    pub metadata: ToldDecisions,
}

/// Decisions that Envoy is told of besides the answer. To take it in costs Envoy more than anything else that an allow says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToldDecisions {
    /// None.
    Off,
    /// Refusals, also those that Shadow lets pass, and handshakes.
    #[default]
    Denied,
    /// All.
    All,
}

/// A choice of decisions that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no choice of decisions: write `off`, `denied` or `all`")]
pub struct ToldDecisionsError(String);

impl FromStr for ToldDecisions {
    type Err = ToldDecisionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "denied" => Ok(Self::Denied),
            "all" => Ok(Self::All),
            _ => Err(ToldDecisionsError(text.to_owned())),
        }
    }
}

/// The HTTP check listener.
#[derive(Clone, Debug)]
pub struct HttpListenerSettings {
    /// Where to listen.
    pub address: ListenAddress,
    /// Who may connect, and how.
    pub connections: ConnectionSettings,
    /// The dialects that are served; others are 404.
    pub dialects: Vec<Dialect>,
    /// Which address is the client's; [`ClientAddress::Wire`] is what the dialect's URL carries.
    pub client_address: ClientAddress,
    /// If not empty: a forwarded address counts only when every hop after it is one of these.
    pub trusted_proxies: Vec<IpNet>,
    /// Tell the client the reason code in `x-ringfence-reason`.
    pub reason_header: bool,
}

/// How one kind of proxy asks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// nginx `auth_request`.
    Nginx,
    /// ingress-nginx' `auth-url`.
    IngressNginx,
    /// Traefik's `ForwardAuth`.
    Traefik,
    /// Caddy's `forward_auth`.
    Caddy,
    /// HAProxy with our Lua action.
    Haproxy,
    /// Envoy's ext_authz `http_service`.
    Envoy,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &'static [Self] = &[Self::Nginx, Self::IngressNginx, Self::Traefik, Self::Caddy, Self::Haproxy, Self::Envoy];

    /// Its name in URLs and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.wire().label()
    }

    /// Its name for the decision.
    #[must_use]
    pub const fn wire(self) -> Wire {
        match self {
            Self::Nginx => Wire::Nginx,
            Self::IngressNginx => Wire::IngressNginx,
            Self::Traefik => Wire::Traefik,
            Self::Caddy => Wire::Caddy,
            Self::Haproxy => Wire::Haproxy,
            Self::Envoy => Wire::Envoy,
        }
    }
}

/// A dialect that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no HTTP dialect: write `nginx`, `ingress-nginx`, `traefik`, `caddy`, `haproxy` or `envoy`")]
pub struct DialectError(String);

impl FromStr for Dialect {
    type Err = DialectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|dialect| dialect.name() == text).ok_or_else(|| DialectError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses_read_as_they_print() {
        for text in ["127.0.0.1:9001", "[::]:0", "unix:/run/ringfence/check.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", "9001", "localhost:9001", "unix:", "127.0.0.1"] {
            assert!(text.parse::<ListenAddress>().unwrap_err().to_string().contains(text), "{text}");
        }
    }

    #[test]
    fn dialects_read_by_name() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse(), Ok(*dialect));
        }
        assert!("Nginx".parse::<Dialect>().is_err());
    }

    #[test]
    fn private_networks_are_the_default_and_public_ones_are_not() {
        let networks = ConnectionSettings::default().allow_from;
        let allowed = |address: &str| networks.iter().any(|network| network.contains(&address.parse::<IpAddr>().unwrap()));
        for address in ["127.0.0.1", "10.255.0.1", "172.31.255.255", "192.168.1.1", "100.127.0.1", "::1", "fd00::1"] {
            assert!(allowed(address), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "169.254.169.254", "52.112.0.1"] {
            assert!(!allowed(address), "{address}");
        }
    }
}
