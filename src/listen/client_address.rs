//! Which address is the client's: what the wire says, the N-th from the right of `x-forwarded-for`, or one header.
//!
//! Must not know: who connected over TCP (that is the proxy).

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use ringfence_core::decide::{Header, Headers, RangeSet};

/// The header that proxies append their peer's address to.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where a listener finds the client's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Where the wire itself carries it: `attributes.source.address` over gRPC (`peer`), the URL of a dialect (`dialect`).
    Wire,
    /// `xff:N`: in `x-forwarded-for`, with this many trusted hops to its right.
    Forwarded {
        /// Trusted hops; 0 = the rightmost address.
        hops: usize,
    },
    /// `header:NAME`: in this header (lower case), which must be there once.
    Header(Box<str>),
}

/// A client address rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` does not say where the client's address is: write `{wire}`, `xff:N` (N trusted hops) or `header:NAME`")]
pub struct ClientAddressError {
    given: String,
    wire: &'static str,
}

impl ClientAddress {
    /// Reads `--grpc-client-address`: `peer`, `xff:N` or `header:NAME`.
    ///
    /// # Errors
    /// Says what may be written.
    pub fn from_grpc_flag(text: &str) -> Result<Self, ClientAddressError> {
        Self::from_flag(text, "peer")
    }

    /// Reads `--http-client-address`: `dialect`, `xff:N` or `header:NAME`.
    ///
    /// # Errors
    /// Says what may be written.
    pub fn from_http_flag(text: &str) -> Result<Self, ClientAddressError> {
        Self::from_flag(text, "dialect")
    }

    fn from_flag(text: &str, wire: &'static str) -> Result<Self, ClientAddressError> {
        let rule = match text.split_once(':') {
            None if text == wire => Some(Self::Wire),
            Some(("xff", hops)) if hops.len() <= 3 && hops.bytes().all(|byte| byte.is_ascii_digit()) => {
                hops.parse().ok().map(|hops| Self::Forwarded { hops })
            }
            Some(("header", name)) if is_header_name(name) => Some(Self::Header(name.to_ascii_lowercase().into())),
            _ => None,
        };
        rule.ok_or_else(|| ClientAddressError { given: text.to_owned(), wire })
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire => f.write_str("wire"),
            Self::Forwarded { hops } => write!(f, "xff:{hops}"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// RFC 9110 section 5.1, without `_`, which some proxies fold into `-`.
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// [`ClientAddress`] with the proxies that are believed.
#[derive(Debug)]
pub struct ClientAddressRule {
    found_in: ClientAddress,
    /// `None` = a forwarded address is believed whoever sent it.
    trusted: Option<RangeSet>,
}

impl ClientAddressRule {
    /// The rule; `trusted_proxies` empty = not restricted.
    #[must_use]
    pub fn new(found_in: ClientAddress, trusted_proxies: &[IpNet]) -> Self {
        Self { found_in, trusted: (!trusted_proxies.is_empty()).then(|| RangeSet::new(trusted_proxies)) }
    }

    /// The header that is read besides `x-forwarded-for`, if any.
    pub(super) fn header(&self) -> Option<&str> {
        match &self.found_in {
            ClientAddress::Wire => None,
            ClientAddress::Forwarded { .. } => Some(FORWARDED_FOR),
            ClientAddress::Header(name) => Some(name),
        }
    }

    /// The client's address, canonical; `None` = unknown. `peer` is what the wire itself says: the proxy's own peer.
    #[must_use]
    pub fn resolve(&self, peer: Option<IpAddr>, headers: &Headers<'_>) -> Option<IpAddr> {
        let believes = |address: IpAddr| self.trusted.as_ref().is_none_or(|trusted| trusted.contains(address));
        let peer_is_believed = match peer {
            Some(peer) => believes(peer),
            None => self.trusted.is_none(),
        };
        match &self.found_in {
            ClientAddress::Wire => peer,
            _ if !peer_is_believed => peer,
            ClientAddress::Forwarded { hops } => forwarded(headers, *hops, believes, peer),
            ClientAddress::Header(name) => match headers.one(name) {
                Header::One(value) => parse_address(value),
                Header::Absent | Header::Many => None,
            },
        }
    }
}

/// The address with `hops` addresses to its right, if each of those is believed; `peer` if one is not.
fn forwarded(headers: &Headers<'_>, hops: usize, believes: impl Fn(IpAddr) -> bool, peer: Option<IpAddr>) -> Option<IpAddr> {
    let lines: Vec<&[u8]> = headers.all(FORWARDED_FOR).collect();
    let mut from_right = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for _ in 0..hops {
        if !believes(parse_address(from_right.next()?)?) {
            return peer;
        }
    }
    parse_address(from_right.next()?)
}

/// Reads `ip`, `ip:port`, `[v6]` or `[v6]:port`, with spaces around it and without a zone. Canonical: no IPv4-mapped form.
pub(super) fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
        .or_else(|| text.split_once('%')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
