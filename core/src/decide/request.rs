//! What was asked, normalised once: the listener hands over the raw parts, and everything after this file works on one unambiguous form.
//!
//! Must not know: which proxy asked (beyond what its wire can carry), and any policy.

use std::{borrow::Cow, fmt, net::IpAddr, time::Instant};

use super::{Path, Reason, path::fold, scan};

/// Longest request target that is read, in bytes.
const MAX_TARGET: usize = 16 * 1024;
/// Longest method that is read, in bytes.
const MAX_METHOD: usize = 32;
/// Longest host name, in bytes (RFC 1035).
const MAX_HOST: usize = 253;

/// Over which wire the question came: what the proxy behind it can show and can relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// Envoy's gRPC service: everything is visible, an answer at the edge and query changes are possible.
    Grpc,
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
    /// Envoy's `http_service`.
    Envoy,
}

impl Wire {
    /// Every wire.
    pub const ALL: &'static [Self] = &[Self::Grpc, Self::Nginx, Self::IngressNginx, Self::Traefik, Self::Caddy, Self::Haproxy, Self::Envoy];

    /// The metric label and log field.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Nginx => "nginx",
            Self::IngressNginx => "ingress-nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Whether the proxy strips `Upgrade`, so that an upgrade shows by its `Sec-WebSocket-*` headers alone.
    #[must_use]
    pub const fn strips_upgrade(self) -> bool {
        match self {
            Self::Grpc | Self::Caddy => false,
            Self::Nginx | Self::IngressNginx | Self::Traefik | Self::Haproxy | Self::Envoy => true,
        }
    }

    /// Whether a 2xx answer with a body can be given to the client in the upstream's place.
    #[must_use]
    pub const fn answers_at_edge(self) -> bool {
        match self {
            Self::Grpc => true,
            Self::Nginx | Self::IngressNginx | Self::Traefik | Self::Caddy | Self::Haproxy | Self::Envoy => false,
        }
    }
}

/// What the proxy sent of the request's body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing: the proxy does not send bodies.
    Absent,
    /// The beginning only.
    Partial(&'a [u8]),
    /// All of it.
    Complete(&'a [u8]),
}

/// Shows how long it is.
impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Partial(body) => write!(f, "Partial({} bytes)", body.len()),
            Self::Complete(body) => write!(f, "Complete({} bytes)", body.len()),
        }
    }
}

/// A header as a credential has to be read: more than one is never the first one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Header<'a> {
    /// Not there.
    #[default]
    Absent,
    /// There once.
    One(&'a [u8]),
    /// There more than once, or joined by a comma on a wire that joins.
    Many,
}

impl<'a> Header<'a> {
    /// This and one more of the same name.
    const fn and(self, another: &'a [u8]) -> Self {
        match self {
            Self::Absent => Self::One(another),
            Self::One(_) | Self::Many => Self::Many,
        }
    }
}

/// Shows how long it is: it may be a credential.
impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::One(value) => write!(f, "One({} bytes)", value.len()),
            Self::Many => f.write_str("Many"),
        }
    }
}

/// The request's headers in wire order, under their names as they came: names are compared without regard to case (RFC 9110 section 5.1).
/// Pseudo-headers may be among them, under names with a colon, which no policy can ask for.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    entries: Vec<(&'a [u8], &'a [u8])>,
    joined: bool,
    /// One bit per name that is there, by its length and ends: a name whose bit is not set is absent, which spares the search.
    marks: u64,
    /// The one that nearly every policy asks for, seen as the headers are handed over. `Many` only counts lines, not what is joined in one.
    authorization: Header<'a>,
}

/// Shows the names: the values may be credentials.
impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

impl<'a> Headers<'a> {
    /// No headers yet. `joined`: the wire may join repeated headers with a comma (Envoy).
    #[must_use]
    pub fn new(joined: bool) -> Self {
        Self::of(Vec::new(), joined)
    }

    /// These names and values.
    #[must_use]
    pub fn of(entries: Vec<(&'a [u8], &'a [u8])>, joined: bool) -> Self {
        let (mut marks, mut authorization) = (0, Header::Absent);
        for &(name, value) in &entries {
            marks |= mark(name);
            if is_authorization(name) {
                authorization = authorization.and(value);
            }
        }
        Self { entries, joined, marks, authorization }
    }

    /// Adds one header.
    pub fn push(&mut self, name: &'a (impl AsRef<[u8]> + ?Sized), value: &'a [u8]) {
        let name = name.as_ref();
        self.marks |= mark(name);
        if is_authorization(name) {
            self.authorization = self.authorization.and(value);
        }
        self.entries.push((name, value));
    }

    /// The header of this name, for a credential or anything else of which there may be only one.
    #[must_use]
    pub fn one(&self, name: &str) -> Header<'a> {
        self.unless_joined(self.all(name).fold(Header::Absent, Header::and))
    }

    /// The same for `Authorization`, without a search.
    #[must_use]
    pub fn authorization(&self) -> Header<'a> {
        self.unless_joined(self.authorization)
    }

    /// One line may be several headers where the wire joins them.
    fn unless_joined(&self, header: Header<'a>) -> Header<'a> {
        match header {
            Header::One(value) if self.joined && memchr::memchr(b',', value).is_some() => Header::Many,
            header => header,
        }
    }

    /// Every value of this name, in wire order; joined ones as they came.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'a, 's> {
        let name = name.as_bytes();
        self.maybe_named(name).iter().filter(move |(entry, _)| entry.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Where a header of this name must be sought: nowhere, if its mark was never set.
    fn maybe_named(&self, name: &[u8]) -> &[(&'a [u8], &'a [u8])] {
        if self.marks & mark(name) == 0 { &[] } else { &self.entries }
    }

    /// Every name, as it came, and value, in wire order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.entries.iter().copied()
    }
}

fn is_authorization(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"authorization")
}

/// One of 64 bits for a name, the same in either case.
fn mark(name: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(byte.to_ascii_lowercase()));
    1 << ((name.len() + end(name.first()) * 7 + end(name.last()) * 31) % 64)
}

/// The parts of a request as a listener took them from its wire, before anything is believed.
#[derive(Clone)]
pub struct RawRequest<'a> {
    /// When it arrived, on the monotonic clock.
    pub arrived: Instant,
    /// Over which wire.
    pub wire: Wire,
    /// The client's method.
    pub method: &'a [u8],
    /// The authority the proxy routes by; `None` if there was none.
    pub host: Option<&'a [u8]>,
    /// The request target with its query, undecoded.
    pub target: &'a [u8],
    /// The client's headers.
    pub headers: Headers<'a>,
    /// The client's address, canonical (no IPv4-mapped form); `None` if unknown.
    pub source: Option<IpAddr>,
    /// What the proxy sent of the body.
    pub body: Body<'a>,
    /// The policy the operator pinned for this route, `namespace/name`.
    pub pin: Option<Cow<'a, str>>,
    /// Whether the client speaks HTTP/2 or later, as far as the wire tells.
    pub http2: bool,
    /// The proxy's own id of this request, the same on a retried check; `None` where the wire has none.
    pub id: Option<Cow<'a, str>>,
}

/// Without the target, which may hold a key.
impl fmt::Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wire, headers, source, body, pin, http2, id, .. } = self;
        let host = self.host.map(String::from_utf8_lossy);
        f.debug_struct("RawRequest")
            .field("wire", wire)
            .field("method", &String::from_utf8_lossy(self.method))
            .field("host", &host)
            .field("headers", headers)
            .field("source", source)
            .field("body", body)
            .field("pin", pin)
            .field("http2", http2)
            .field("id", id)
            .finish_non_exhaustive()
    }
}

/// A request whose host is one host. Its path may still be ambiguous: whether that matters depends on who claims the host.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// When it arrived, on the monotonic clock.
    pub arrived: Instant,
    /// Over which wire.
    pub wire: Wire,
    /// The method, printable ASCII, case kept (methods are case-sensitive, RFC 9110).
    pub method: &'a str,
    /// The host, normalised.
    pub host: Host<'a>,
    /// Path and query.
    pub target: Target<'a>,
    /// The headers.
    pub headers: &'a Headers<'a>,
    /// The client's address, if known.
    pub source: Option<IpAddr>,
    /// The body, as far as it was sent.
    pub body: Body<'a>,
    /// The pinned policy, `namespace/name`.
    pub pin: Option<&'a str>,
    /// Whether the client speaks HTTP/2 or later, as far as the wire tells.
    pub http2: bool,
    /// The proxy's id of the request.
    pub id: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Normalises `raw`.
    ///
    /// # Errors
    /// `malformed_request` for an unreadable method or an oversized target, `ambiguous_host` for a host that is not exactly one host.
    pub fn new(raw: &'a RawRequest<'a>) -> Result<Self, Reason> {
        let method = parse_method(raw.method)?;
        if raw.target.len() > MAX_TARGET {
            return Err(Reason::MalformedRequest);
        }
        let host = Host::parse(raw.host.ok_or(Reason::AmbiguousHost)?).ok_or(Reason::AmbiguousHost)?;
        let target = Target::parse(raw.target, &host)?;
        Ok(Self {
            arrived: raw.arrived,
            wire: raw.wire,
            method,
            host,
            target,
            headers: &raw.headers,
            source: raw.source,
            body: raw.body,
            pin: raw.pin.as_deref(),
            http2: raw.http2,
            id: raw.id.as_deref(),
        })
    }
}

/// RFC 9110 section 5.6.2: a method is a token.
fn parse_method(method: &[u8]) -> Result<&str, Reason> {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(token) {
        return Err(Reason::MalformedRequest);
    }
    std::str::from_utf8(method).map_err(|_| Reason::MalformedRequest)
}

/// A host in lower case, without port and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a>(Cow<'a, str>);

impl<'a> Host<'a> {
    /// Reads an authority: `name[.][:port]` or `[v6][:port]`. `None` when it is not exactly one host.
    #[must_use]
    pub fn parse(authority: &'a [u8]) -> Option<Self> {
        let authority = std::str::from_utf8(authority).ok()?;
        let name = strip_port(authority)?;
        let name = if name.starts_with('[') { name } else { name.strip_suffix('.').unwrap_or(name) };
        let sound = match name.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').is_some_and(|literal| literal.parse::<std::net::Ipv6Addr>().is_ok()),
            None => name.len() <= MAX_HOST && has_sound_labels(name),
        };
        sound.then(|| Self(fold(name)))
    }

    /// The host's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Cuts off `:port`. `None` for an empty or non-numeric port.
fn strip_port(authority: &str) -> Option<&str> {
    let after_literal = memchr::memrchr(b']', authority.as_bytes()).map_or(0, |end| end + 1);
    let Some(colon) = scan::find(b':', authority.as_bytes().get(after_literal..)?) else { return Some(authority) };
    let (name, port) = authority.split_at_checked(after_literal + colon)?;
    let port = port.strip_prefix(':')?;
    (!port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Labels of 1 to 63 letters, digits, `-` and `_`, separated by dots.
fn has_sound_labels(name: &str) -> bool {
    let mut length = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => length += 1,
            b'.' if length > 0 => length = 0,
            _ => return false,
        }
        if length > 63 {
            return false;
        }
    }
    length > 0
}

/// Path and query of a request.
#[derive(Clone)]
pub struct Target<'a> {
    /// The path, or what makes it ambiguous.
    pub path: Result<Path<'a>, &'static str>,
    /// The query without its `?`, undecoded.
    pub query: Option<&'a [u8]>,
    /// The query is one parameter at most, which stands there as it is meant: nothing in it separates or encodes.
    pub(super) is_one_parameter: bool,
}

/// Without the query, which may hold a key.
impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Target<'a> {
    /// Splits a request target. An absolute form (RFC 9112 section 3.2.2) must name the same host.
    fn parse(target: &'a [u8], host: &Host<'_>) -> Result<Self, Reason> {
        let target = match target.first() {
            Some(b'/') | None => target,
            Some(_) => strip_origin(target, host)?,
        };
        let (path, query) = match scan::find(b'?', target) {
            Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
            None => (target, None),
        };
        let is_unsound = |query: &[u8]| query.iter().fold(false, |found, byte| found | (*byte == b'#') | (*byte < 0x20) | (*byte == 0x7f));
        let is_one_parameter = query.is_some_and(scan::is_plain);
        if !is_one_parameter && query.is_some_and(is_unsound) {
            return Ok(Self { path: Err("a `#` or a control character in the query"), query, is_one_parameter });
        }
        Ok(Self { path: Path::parse(path), query, is_one_parameter })
    }
}

/// Takes `scheme://authority` off an absolute-form target.
fn strip_origin<'a>(target: &'a [u8], host: &Host<'_>) -> Result<&'a [u8], Reason> {
    let Some(scheme_end) = target.windows(3).position(|window| window == b"://") else {
        return Ok(target); // `*` or an authority: the path rules refuse it
    };
    let rest = target.get(scheme_end + 3..).unwrap_or_default();
    let authority_end = rest.iter().position(|byte| *byte == b'/' || *byte == b'?').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(authority_end).unwrap_or((rest, &[]));
    match Host::parse(authority) {
        Some(named) if named == *host => Ok(path),
        _ => Err(Reason::AmbiguousHost),
    }
}

#[cfg(test)]
mod tests;
