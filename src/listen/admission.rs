//! The admission listener: HTTPS for the API server alone, on a port of its own. It bounds what is asked and how long an answer takes.
//!
//! Must not know: what an object means; that is for whoever reviews it. What goes wrong in here is an error that the API server treats as its
//! webhook configuration says (`failurePolicy`).

use std::{collections::VecDeque, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    select,
    sync::{Semaphore, watch},
    task::{AbortHandle, spawn_blocking},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    ConnectionSettings, ListenAddress, ListenError, TlsSettings,
    connection::{Phase, reached},
    socket::Socket,
    tls::{self, Tls},
};

/// Protocols that are offered: the API server needs no more.
const PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
/// Connections at a time; for one more the oldest is closed. The API server keeps a few open.
const MAX_CONNECTIONS: usize = 64;
/// Longest review, in bytes: the new and the old object, of which etcd keeps 1.5 MiB each, and what is said about them.
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Reviews that are read and judged at a time.
const AT_A_TIME: usize = 8;
/// How long one may take from its first byte to its answer: less than the 3 s that the API server waits.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long a TLS handshake may take, and how long a connection may be idle.
const HANDSHAKE: Duration = Duration::from_secs(5);
const NEXT_REQUEST: Duration = Duration::from_secs(120);
/// How long to wait after an accept that failed.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Who reviews.
pub trait Review: Send + Sync + 'static {
    /// The answer to a review, and whether it allows; else what is wrong with the question.
    ///
    /// # Errors
    /// A message for whoever asked.
    fn review(&self, body: &[u8]) -> Result<(Vec<u8>, bool), String>;
}

/// A certificate that is handed over.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenCertificate {
    /// The chain, PEM, leaf first.
    pub certificate: Vec<u8>,
    /// Its private key, PEM.
    pub key: Vec<u8>,
}

/// Shows nothing of the key.
impl std::fmt::Debug for GivenCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GivenCertificate(redacted)")
    }
}

/// Where the listener's certificate comes from.
#[derive(Clone, Debug)]
pub enum AdmissionCertificate {
    /// Files that are read again when they change.
    Files(TlsSettings),
    /// Whoever makes it hands over the newest one. Without any, no connection comes about.
    Given(watch::Receiver<Option<GivenCertificate>>),
}

/// The admission listener, bound and not yet served.
#[derive(Debug)]
pub struct AdmissionListener {
    socket: Socket,
    address: SocketAddr,
    certificate: Certificate,
    reviews: IntCounterVec,
}

/// The certificate in force.
#[derive(Clone, Debug)]
enum Certificate {
    Files(Arc<Tls>),
    Given(Arc<Given>, watch::Receiver<Option<GivenCertificate>>),
}

/// The one that was handed over last and can be used.
#[derive(Debug)]
struct Given {
    current: ArcSwapOption<ServerConfig>,
    expiry: IntGauge,
}

impl AdmissionListener {
    /// Binds the socket and reads the certificate's files, if it comes from files. `expiry` has the one label `listener`.
    ///
    /// # Errors
    /// Says what is wrong with the address or the files and what to do.
    pub fn bind(address: SocketAddr, certificate: AdmissionCertificate, expiry: &IntGaugeVec) -> Result<Self, ListenError> {
        let certificate = match certificate {
            AdmissionCertificate::Files(settings) => {
                let settings = ConnectionSettings { tls: Some(settings), ..ConnectionSettings::default() };
                let tls = Tls::of(&settings, PROTOCOLS, expiry, "admission")?;
                let missing = || ListenError::Certificate { file: String::new(), problem: "there is none".to_owned() };
                Certificate::Files(tls.ok_or_else(missing)?)
            }
            AdmissionCertificate::Given(newest) => {
                let given = Given { current: ArcSwapOption::empty(), expiry: expiry.with_label_values(&["admission"]) };
                Certificate::Given(Arc::new(given), newest)
            }
        };
        let socket = Socket::bind(&ListenAddress::Tcp(address))?;
        let address = match socket.address() {
            Ok(ListenAddress::Tcp(bound)) => bound,
            Ok(ListenAddress::Unix(_)) | Err(_) => address,
        };
        let reviews = Opts::new("ringfence_admission_reviews_total", "Questions of the API server, by what became of them.");
        let reviews = IntCounterVec::new(reviews, &["result"]).map_err(|error| ListenError::Workers(std::io::Error::other(error)))?;
        Ok(Self { socket, address, certificate, reviews })
    }

    /// The address that is really listened on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on the current runtime until the end.
    pub(super) fn serve<R: Review>(self, review: Arc<R>, registry: &Registry, phases: watch::Receiver<Phase>) -> Result<(), ListenError> {
        let Self { socket, address, certificate, reviews } = self;
        let Socket::Tcp(listener) = socket else { return Ok(()) };
        let failed = |source: std::io::Error| ListenError::Bind { address: address.to_string(), problem: source.to_string(), source };
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        if registry.register(Box::new(reviews.clone())).is_err() {
            tracing::error!("the admission listener's metrics are registered already");
        }
        match &certificate {
            Certificate::Files(tls) => drop(tokio::spawn(Arc::clone(tls).keep_fresh("admission", phases.clone()))),
            Certificate::Given(given, newest) => drop(tokio::spawn(Arc::clone(given).take(newest.clone(), phases.clone()))),
        }
        let desk = Arc::new(Desk { review, certificate, reviews, room: Arc::new(Semaphore::new(AT_A_TIME)), phases: phases.clone() });
        tokio::spawn(accept(listener, desk, phases));
        Ok(())
    }
}

impl Given {
    /// Puts each certificate that is handed over in force, if it can be used.
    async fn take(self: Arc<Self>, mut newest: watch::Receiver<Option<GivenCertificate>>, mut phases: watch::Receiver<Phase>) {
        loop {
            let given = newest.borrow_and_update().clone();
            if let Some(GivenCertificate { certificate, key }) = given {
                match tls::of_given("the admission listener's own certificate", certificate, key, PROTOCOLS) {
                    Ok((config, expires)) => {
                        self.current.store(Some(Arc::new(config)));
                        self.expiry.set(expires);
                        tracing::info!(listener = "admission", expires, "the new certificate is in force");
                    }
                    Err(error) => tracing::error!(listener = "admission", %error, "the new certificate is not usable; the old one stays in force"),
                }
            }
            select! {
                () = reached(&mut phases, Phase::Closed) => return,
                changed = newest.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Certificate {
    async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        match self {
            Self::Files(tls) => tls.accept(stream).await,
            Self::Given(given, _) => match given.current.load_full() {
                Some(config) => TlsAcceptor::from(config).accept(stream).await,
                None => Err(std::io::Error::new(std::io::ErrorKind::NotConnected, "there is no certificate yet")),
            },
        }
    }
}

/// What all connections share.
struct Desk<R> {
    review: Arc<R>,
    certificate: Certificate,
    reviews: IntCounterVec,
    room: Arc<Semaphore>,
    phases: watch::Receiver<Phase>,
}

async fn accept<R: Review>(listener: tokio::net::TcpListener, desk: Arc<Desk<R>>, mut phases: watch::Receiver<Phase>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        select! {
            () = reached(&mut phases, Phase::Draining) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.retain(|connection| !connection.is_finished());
                    if open.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    open.push_back(tokio::spawn(serve(stream, Arc::clone(&desk))).abort_handle());
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for admission");
                    sleep(BACK_OFF).await;
                }
            },
        }
    }
}

async fn serve<R: Review>(stream: TcpStream, desk: Arc<Desk<R>>) {
    let stream = match timeout(HANDSHAKE, desk.certificate.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(listener = "admission", %error, "a connection did not come about");
            return;
        }
        Err(_) => return,
    };
    let (mut draining, mut closed) = (desk.phases.clone(), desk.phases.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    select! {
        _ = connection.as_mut() => return,
        () = reached(&mut draining, Phase::Draining) => connection.as_mut().graceful_shutdown(),
    }
    select! {
        _ = connection => {}
        () = reached(&mut closed, Phase::Closed) => {}
    }
}

impl<R: Review> Desk<R> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "an AdmissionReview is sent with POST\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let (result, response) = match timeout(PATIENCE, self.judge(request.into_body())).await {
            Ok(answer) => answer,
            Err(_) => ("failed", text(StatusCode::SERVICE_UNAVAILABLE, "it took too long; ask again\n")),
        };
        self.reviews.with_label_values(&[result]).inc();
        response
    }

    /// The `result` label and the answer.
    async fn judge(&self, body: Incoming) -> (&'static str, Response<Full<Bytes>>) {
        let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return ("failed", text(StatusCode::SERVICE_UNAVAILABLE, "closed\n")) };
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return ("unreadable", text(StatusCode::PAYLOAD_TOO_LARGE, format!("a review has at most {MAX_BODY} bytes\n")));
            }
            Err(_) => return ("unreadable", text(StatusCode::BAD_REQUEST, "the body did not come whole\n")),
        };
        let review = Arc::clone(&self.review);
        // A fault in it ends the task alone. One that nobody waits for any more still has its place.
        let reviewed = spawn_blocking(move || {
            let _place = place;
            review.review(&body)
        });
        match reviewed.await {
            Ok(Ok((answer, is_allowed))) => {
                let mut response = Response::new(Full::from(answer));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                (if is_allowed { "allowed" } else { "refused" }, response)
            }
            Ok(Err(problem)) => ("unreadable", text(StatusCode::BAD_REQUEST, format!("{problem}\n"))),
            Err(_) => {
                tracing::error!("a review met a fault inside ringfence");
                ("failed", text(StatusCode::INTERNAL_SERVER_ERROR, "a fault inside ringfence; see its log\n"))
            }
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
