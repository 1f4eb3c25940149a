//! The HTTP check listener: one dialect per URL, each reading only what its own proxy sets.
//!
//! Check URLs are `/auth/<dialect>/any` or, pinned, `/auth/<dialect>/by/<namespace>/<name>`, then what the dialect says.
//!
//! Must not know: how a decision is made.

use std::{
    borrow::Cow,
    cell::Cell,
    convert::Infallible,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use prometheus::IntGaugeVec;
use ringfence_core::decide::{Body, Headers, RawRequest, Reason, Verdict};
use tokio::io::{AsyncRead, AsyncWrite};

use self::{render::Renderer, request_lines::Watched};
use super::{
    Decide, Dialect, HttpListenerSettings, ListenAddress, ListenError,
    accept::{Door, Protocol},
    client_address::ClientAddressRule,
    connection::{Closable, Life, SameThread},
    socket::Socket,
    tls::Tls,
};

mod caddy;
mod envoy;
mod forwarded;
#[cfg(feature = "fuzzing")]
pub(in crate::listen) mod fuzzing;
mod haproxy;
mod ingress_nginx;
mod nginx;
mod render;
mod request_lines;
mod traefik;

/// How long an HTTP/1 peer may take to send its next request, idle time included; nginx keeps idle connections for 60 s.
const NEXT_REQUEST: Duration = Duration::from_secs(75);
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 1024;
/// Requests over HTTP/2 that were given up before they were taken; one more ends the connection, and with it the requests of other clients.
const MAX_GIVEN_UP: usize = MAX_STREAMS as usize;
/// Bytes of one request's headers; hyper reads up to twice as many over HTTP/1.
const MAX_HEADER_BYTES: u16 = u16::MAX;
/// How often a silent HTTP/2 connection is probed, and how long it may take to answer.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of a body is read and dropped, and for how long, so that the proxy gets to read the answer.
const MAX_DROPPED: usize = 1024 * 1024;
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Headers that speak of the connection between the proxy and us, not of the client's request.
const HOP_HEADERS: [&str; 7] = ["connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "transfer-encoding"];
/// What the names of headers start with that decisions read: their spelling with `_`, which some proxies fold into `-`, is refused.
const READ_PREFIXES: [&str; 7] = ["x-forwarded-", "x-original-", "x-real-ip", "x-envoy-", "sec-websocket-", "aeg-", "webhook-"];

/// The HTTP check listener, bound and not yet served.
#[derive(Debug)]
pub struct HttpListener {
    socket: Socket,
    settings: HttpListenerSettings,
    tls: Option<Arc<Tls>>,
}

impl HttpListener {
    /// Binds the socket and reads the certificate. `certificate_expiry` has the one label `listener`.
    ///
    /// # Errors
    /// Says which address or file is wrong and what to do.
    pub fn bind(settings: HttpListenerSettings, certificate_expiry: &IntGaugeVec) -> Result<Self, ListenError> {
        let tls = Tls::of(&settings.connections, &[b"h2", b"http/1.1"], certificate_expiry, "http")?;
        Ok(Self { socket: Socket::bind(&settings.address)?, settings, tls })
    }

    /// The address that is really listened on.
    #[must_use]
    pub fn address(&self) -> ListenAddress {
        self.socket.address().unwrap_or_else(|_| self.settings.address.clone())
    }

    /// The parts a server needs.
    pub(super) fn open<D: Decide>(self, decide: Arc<D>) -> (Socket, Door, Option<Arc<Tls>>, HttpProtocol<D>) {
        let Self { socket, settings, tls } = self;
        let HttpListenerSettings { address: _, connections, dialects, client_address, trusted_proxies, reason_header } = settings;
        let client_address = ClientAddressRule::new(client_address, &trusted_proxies);
        let protocol = HttpProtocol { decide, dialects, client_address, renderer: Renderer::new(reason_header) };
        (socket, Door::new("http", &connections, tls.clone()), tls, protocol)
    }
}

/// What every connection of the listener shares.
#[derive(Debug)]
pub(super) struct HttpProtocol<D> {
    decide: Arc<D>,
    dialects: Vec<Dialect>,
    client_address: ClientAddressRule,
    renderer: Renderer,
}

impl<D: Decide> Protocol for HttpProtocol<D> {
    fn serve<IO>(self: Arc<Self>, io: IO, life: &Rc<Life>) -> impl Closable
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let fragment_seen = Rc::new(Cell::new(false));
        let io = TokioIo::new(Watched::new(io, Rc::clone(&fragment_seen)));
        let connection = Rc::new((self, Rc::clone(life), fragment_seen));
        let service = service_fn(move |request: Request<Incoming>| {
            let connection = Rc::clone(&connection);
            async move {
                let (protocol, life, fragment_seen) = &*connection;
                let http1 = request.version() < Version::HTTP_2;
                life.http1.set(http1);
                let mut answer = protocol.answer(request, fragment_seen.get()).await;
                if http1 && (life.closing.get() || answer.last) {
                    answer.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer.response)
            }
        });
        let mut builder = auto::Builder::new(SameThread);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST).max_buf_size(MAX_HEADER_BYTES.into());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_GIVEN_UP)
            .max_header_list_size(MAX_HEADER_BYTES.into())
            .keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_TIMEOUT);
        builder.serve_connection(io, service).into_owned()
    }
}

/// A response, and whether it is the last of its connection.
struct Answer {
    response: Response<Full<Bytes>>,
    last: bool,
}

impl<D: Decide> HttpProtocol<D> {
    async fn answer(&self, request: Request<Incoming>, fragment_seen: bool) -> Answer {
        let arrived = Instant::now();
        let (head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let raw_target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let Some(url) = CheckUrl::parse(raw_target).filter(|url| self.dialects.contains(&url.dialect)) else {
            return Answer { response: not_found(), last: has_body };
        };
        let deciding = AssertUnwindSafe(self.decide(arrived, &head, &url, fragment_seen)).catch_unwind();
        let response = match deciding.await {
            Ok(response) => response,
            Err(_) => self.refuse_after_panic(arrived, url.dialect),
        };
        match url.dialect {
            // A body that nginx announces never comes. What came after a `#` cannot be told apart from the next request.
            Dialect::Nginx | Dialect::IngressNginx | Dialect::Haproxy => Answer { response, last: has_body || fragment_seen },
            Dialect::Traefik | Dialect::Caddy | Dialect::Envoy => {
                drop_body(body).await;
                Answer { response, last: false }
            }
        }
    }

    async fn decide(&self, arrived: Instant, head: &http::request::Parts, url: &CheckUrl<'_>, fragment_seen: bool) -> Response<Full<Bytes>> {
        let verdict = match what_is_asked(head, url, fragment_seen).and_then(|asked| Ok((asked, self.client_headers(&head.headers, url.dialect)?))) {
            Ok((asked, headers)) => self.check(arrived, url, &asked, headers).await,
            Err(reason) => self.decide.refuse(url.dialect.wire(), arrived, reason),
        };
        self.renderer.render(url.dialect, &verdict)
    }

    async fn check<'a>(&self, arrived: Instant, url: &CheckUrl<'a>, asked: &Asked<'a>, headers: Headers<'a>) -> Verdict {
        let raw = RawRequest {
            arrived,
            wire: url.dialect.wire(),
            method: asked.method.as_bytes(),
            host: asked.host.map(str::as_bytes),
            target: asked.target.as_bytes(),
            source: self.client_address.resolve(asked.address, &headers),
            headers,
            body: Body::Absent,
            pin: url.pin.map(Cow::Borrowed),
            http2: false, // what the client speaks does not reach us
            id: None,
        };
        self.decide.check(&raw, None).await
    }

    /// The client's headers.
    ///
    /// # Errors
    /// `malformed_request` for a header that decisions read, spelt with `_`.
    fn client_headers<'a>(&self, headers: &'a HeaderMap, dialect: Dialect) -> Result<Headers<'a>, Reason> {
        // Envoy joins repeated headers before it asks; the others pass them on as they came.
        let mut client = Headers::new(dialect == Dialect::Envoy);
        for (name, value) in headers {
            let name = name.as_str();
            if name.contains('_') && self.is_read(&name.replace('_', "-")) {
                return Err(Reason::MalformedRequest);
            }
            if !HOP_HEADERS.contains(&name) {
                client.push(name, value.as_bytes());
            }
        }
        Ok(client)
    }

    fn is_read(&self, name: &str) -> bool {
        READ_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || self.client_address.header() == Some(name)
    }

    fn refuse_after_panic(&self, arrived: Instant, dialect: Dialect) -> Response<Full<Bytes>> {
        // FAIL-CLOSED: a_panic_is_an_explicit_denial
        let counted = catch_unwind(AssertUnwindSafe(|| {
            let verdict = self.decide.refuse(dialect.wire(), arrived, Reason::Internal);
            self.renderer.render(dialect, &verdict)
        }));
        counted.unwrap_or_else(|_| self.renderer.denial(dialect, Reason::Internal))
    }
}

/// What `url` and the proxy's own headers ask about. `fragment_seen`: a request line of the connection held a `#`.
///
/// # Errors
/// What the dialect says.
fn what_is_asked<'a>(head: &'a http::request::Parts, url: &CheckUrl<'a>, fragment_seen: bool) -> Result<Asked<'a>, Reason> {
    match url.dialect {
        // FAIL-CLOSED: a_fragment_cannot_hide_the_end_of_an_nginx_url
        Dialect::Nginx | Dialect::Haproxy if fragment_seen || head.version >= Version::HTTP_2 => Err(Reason::AmbiguousPath),
        Dialect::Nginx => nginx::from_url(url.rest),
        Dialect::Haproxy => haproxy::from_url(url.rest),
        Dialect::IngressNginx => ingress_nginx::from_headers(&head.headers),
        Dialect::Traefik => traefik::from_headers(&head.headers),
        Dialect::Caddy => caddy::from_head(head),
        Dialect::Envoy => Ok(envoy::from_head(head, url.rest)),
    }
}

/// What a dialect says was asked.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
struct Asked<'a> {
    method: &'a str,
    host: Option<&'a str>,
    target: &'a str,
    address: Option<IpAddr>,
}

/// A check URL, cut after its own part.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
struct CheckUrl<'a> {
    dialect: Dialect,
    /// `namespace/name`.
    pin: Option<&'a str>,
    /// What the dialect reads: starts with `/` if there is any.
    rest: &'a str,
}

impl<'a> CheckUrl<'a> {
    /// Reads a raw path and query; `None` if it is no check URL.
    fn parse(raw: &'a str) -> Option<Self> {
        let (dialect, rest) = raw.strip_prefix("/auth/")?.split_once('/')?;
        let url = Self::cut(dialect.parse().ok()?, rest)?;
        let fits = match url.dialect {
            Dialect::Nginx | Dialect::Haproxy | Dialect::Envoy => !url.rest.starts_with('?'),
            Dialect::Traefik | Dialect::Caddy => is_empty_but_for_a_query(url.rest),
            // FAIL-CLOSED: ingress_nginx_is_always_pinned (the host that it shows may be another than it routes by)
            Dialect::IngressNginx => is_empty_but_for_a_query(url.rest) && url.pin.is_some(),
        };
        fits.then_some(url)
    }

    fn cut(dialect: Dialect, rest: &'a str) -> Option<Self> {
        if let Some(pinned) = rest.strip_prefix("by/") {
            let query = pinned.find('?').unwrap_or(pinned.len());
            let end = pinned.match_indices('/').nth(1).map_or(query, |(at, _)| at.min(query));
            let (pin, rest) = pinned.split_at_checked(end)?;
            let (namespace, name) = pin.split_once('/')?;
            return (is_name(namespace) && is_name(name)).then_some(Self { dialect, pin: Some(pin), rest });
        }
        let rest = rest.strip_prefix("any")?;
        (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(Self { dialect, pin: None, rest })
    }
}

/// Caddy appends the client's query to its check URL. Nothing of it is read.
fn is_empty_but_for_a_query(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('?')
}

/// A name as Kubernetes gives them (RFC 1123).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.')
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(
        "no such check URL: it is `/auth/<dialect>/any` or `/auth/<dialect>/by/<namespace>/<name>`, and the dialect must be served\n",
    ));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Reads what is left of a body, within bounds.
async fn drop_body(mut body: Incoming) {
    let reading = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > MAX_DROPPED {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DROP_TIMEOUT, reading).await;
}

#[cfg(test)]
mod tests;
