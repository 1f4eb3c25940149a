//! Health and metrics, on a port of their own: nothing asked here can reach a check.
//!
//! Must not know: checks.

use std::{collections::VecDeque, convert::Infallible, fmt::Write, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::{net::TcpStream, select, sync::watch, task::AbortHandle, time::sleep};

use crate::ready::Readiness;

use super::{
    ListenAddress, ListenError,
    connection::{Phase, reached},
    socket::Socket,
};

/// Connections at a time; for one more the oldest is closed, so that idle ones keep nobody from looking.
const MAX_CONNECTIONS: usize = 64;
/// How long a peer may take to send its next request.
const NEXT_REQUEST: Duration = Duration::from_secs(60);
/// How long to wait after an accept that failed.
const BACK_OFF: Duration = Duration::from_millis(50);
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The health and metrics listener, bound and not yet served.
#[derive(Debug)]
pub struct MetricsListener {
    socket: Socket,
    address: SocketAddr,
}

impl MetricsListener {
    /// Binds the socket.
    ///
    /// # Errors
    /// Says what is wrong with the address and what to do.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let socket = Socket::bind(&ListenAddress::Tcp(address))?;
        let bound = socket.address().ok();
        let address = if let Some(ListenAddress::Tcp(bound)) = bound { bound } else { address };
        Ok(Self { socket, address })
    }

    /// The address that is really listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on the current runtime until the end.
    pub(super) fn serve(self, registry: Registry, readiness: Readiness, phases: watch::Receiver<Phase>) -> Result<(), ListenError> {
        let Socket::Tcp(listener) = self.socket else { return Ok(()) };
        let failed = |source: std::io::Error| ListenError::Bind { address: self.address.to_string(), problem: source.to_string(), source };
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let health = Arc::new(Health { registry, readiness, phases: phases.clone() });
        tokio::spawn(accept(listener, health, phases));
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, health: Arc<Health>, mut phases: watch::Receiver<Phase>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        select! {
            () = reached(&mut phases, Phase::Closed) => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.retain(|connection| !connection.is_finished());
                    if open.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    open.push_back(tokio::spawn(serve(stream, Arc::clone(&health))).abort_handle());
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection for metrics");
                    sleep(BACK_OFF).await;
                }
            },
        }
    }
}

async fn serve(stream: TcpStream, health: Arc<Health>) {
    let mut phases = health.phases.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = health.answer(request.method(), request.uri().path(), request.uri().query());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(NEXT_REQUEST).serve_connection(TokioIo::new(stream), service);
    select! {
        _ = connection => {}
        () = reached(&mut phases, Phase::Closed) => {}
    }
}

/// What can be asked for.
#[derive(Debug)]
struct Health {
    registry: Registry,
    readiness: Readiness,
    phases: watch::Receiver<Phase>,
}

impl Health {
    fn answer(&self, method: &Method, path: &str, query: Option<&str>) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics(),
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(query.is_some_and(|query| query.split('&').any(|pair| pair == "verbose" || pair.starts_with("verbose=")))),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let encoder = TextEncoder::new();
        let mut encoded = Vec::new();
        if let Err(error) = encoder.encode(&self.registry.gather(), &mut encoded) {
            tracing::error!(%error, "cannot write the metrics");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n");
        }
        let mut response = text(StatusCode::OK, encoded);
        if let Ok(format) = HeaderValue::from_str(encoder.format_type()) {
            response.headers_mut().insert(CONTENT_TYPE, format);
        }
        response
    }

    /// Ready = every condition holds and the process does not leave. `verbose` names each condition.
    fn ready(&self, verbose: bool) -> Response<Full<Bytes>> {
        let leaving = *self.phases.borrow() != Phase::Serving;
        let mut report = self.readiness.report();
        report.push(("serving", leaving.then(|| "the process is leaving".to_owned())));
        let ready = report.iter().all(|(_, missing)| missing.is_none());
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut body = String::new();
        for (name, missing) in report.iter().filter(|(_, missing)| verbose || missing.is_some()) {
            let _ = match missing {
                None => writeln!(body, "[+] {name}: ok"),
                Some(why) if verbose => writeln!(body, "[-] {name}: {why}"),
                Some(_) => writeln!(body, "[-] {name}"),
            };
        }
        body.push_str(if ready { "ready\n" } else { "not ready\n" });
        text(status, body)
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
