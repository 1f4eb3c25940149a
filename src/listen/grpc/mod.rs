//! Envoy's authorization service over gRPC, and `grpc.health.v1` beside it.
//!
//! Every outcome of a check is an OK call with an explicit allow or deny: Envoy may let by what ends in an error.
//!
//! Must not know: how a decision is made.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use prometheus::IntGaugeVec;
use ringfence_core::decide::{Reason, Wire};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower_service::Service;

use crate::ready::Readiness;

use self::{
    frame::{Answer, NoMessage, read_message, timeout_of},
    render::Renderer,
    wire::CheckView,
};
use super::{
    Decide, GrpcListenerSettings, ListenAddress, ListenError,
    accept::{Door, Protocol},
    client_address::ClientAddressRule,
    connection::{Life, Phase, SameThread},
    socket::Socket,
    tls::Tls,
};

mod frame;
mod health;
mod metadata;
mod render;
mod request;
mod wire;

/// The one method that is asked for all the time.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/";
/// gRPC status code of a method that does not exist.
const UNIMPLEMENTED: HeaderValue = HeaderValue::from_static("12");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// How long a message may take to come, if the caller sets no shorter time.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at a time on one connection.
const MAX_STREAMS: u32 = 1024;
/// Bytes of one request's headers (the call's own, not the client's).
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// How often a silent connection is probed, and how long it may take to answer.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// The gRPC check listener, bound and not yet served.
#[derive(Debug)]
pub struct GrpcListener {
    socket: Socket,
    settings: GrpcListenerSettings,
    tls: Option<Arc<Tls>>,
}

impl GrpcListener {
    /// Binds the socket and reads the certificate. `certificate_expiry` has the one label `listener`.
    ///
    /// # Errors
    /// Says which address or file is wrong and what to do.
    pub fn bind(settings: GrpcListenerSettings, certificate_expiry: &IntGaugeVec) -> Result<Self, ListenError> {
        let tls = Tls::of(&settings.connections, &[b"h2"], certificate_expiry, "grpc")?;
        Ok(Self { socket: Socket::bind(&settings.address)?, settings, tls })
    }

    /// The address that is really listened on.
    #[must_use]
    pub fn address(&self) -> ListenAddress {
        self.socket.address().unwrap_or_else(|_| self.settings.address.clone())
    }

    /// The parts a server needs.
    pub(super) fn open<D: Decide>(
        self,
        decide: Arc<D>,
        readiness: &Readiness,
        phases: watch::Receiver<Phase>,
    ) -> (Socket, Door, Option<Arc<Tls>>, GrpcProtocol<D>) {
        let Self { socket, settings, tls } = self;
        let GrpcListenerSettings { address: _, connections, client_address, trusted_proxies, reason_header } = settings;
        let protocol = GrpcProtocol {
            decide,
            client_address: ClientAddressRule::new(client_address, &trusted_proxies),
            renderer: Renderer::new(reason_header),
            health: health::serve(readiness.clone(), phases),
        };
        (socket, Door::new("grpc", &connections, tls.clone()), tls, protocol)
    }
}

/// What every connection of the listener shares.
#[derive(Debug)]
pub(super) struct GrpcProtocol<D> {
    decide: Arc<D>,
    client_address: ClientAddressRule,
    renderer: Renderer,
    health: HealthServer<HealthService>,
}

impl<D: Decide> Protocol for GrpcProtocol<D> {
    fn serve<IO>(self: Arc<Self>, io: IO, _life: &Rc<Life>) -> impl GracefulConnection
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        // Counted per connection: one count that all cores share would be passed between them at every request.
        let connection = Rc::new(self);
        let service = service_fn(move |request| {
            let protocol = Rc::clone(&connection);
            async move { Ok::<_, Infallible>(protocol.answer(request).await) }
        });
        http2::Builder::new(SameThread)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_TIMEOUT)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service)
    }
}

impl<D: Decide> GrpcProtocol<D> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        match request.uri().path() {
            CHECK => respond(Answer::Message(Some(self.check(request).await))),
            path if path.starts_with(HEALTH) => match self.health.clone().call(request).await {
                Ok(response) => response.map(Answer::Other),
                Err(never) => match never {},
            },
            _ => {
                let mut response = respond(Answer::Ended);
                response.headers_mut().insert("grpc-status", UNIMPLEMENTED);
                response
            }
        }
    }

    /// The framed answer to one check, whatever happens.
    async fn check(&self, request: Request<Incoming>) -> Bytes {
        let arrived = Instant::now();
        let deciding = AssertUnwindSafe(self.decide(arrived, request)).catch_unwind();
        if let Ok(answer) = deciding.await {
            return answer;
        }
        // FAIL-CLOSED: a_panic_is_an_explicit_denial
        let counted = catch_unwind(AssertUnwindSafe(|| self.refuse(arrived, Reason::Internal)));
        counted.unwrap_or_else(|_| self.renderer.denial(Reason::Internal))
    }

    async fn decide(&self, arrived: Instant, request: Request<Incoming>) -> Bytes {
        let timeout = timeout_of(request.headers());
        let limit = timeout.map_or(READ_TIMEOUT, |timeout| timeout.min(READ_TIMEOUT));
        match read_message(request.into_body(), limit).await {
            Ok(message) => self.decide_message(arrived, timeout, &message).await,
            Err(NoMessage::Malformed | NoMessage::Reset) => self.refuse(arrived, Reason::MalformedRequest),
            Err(NoMessage::TooLate) => self.refuse(arrived, Reason::DeadlineExceeded),
        }
    }

    async fn decide_message(&self, arrived: Instant, timeout: Option<Duration>, message: &[u8]) -> Bytes {
        let view = CheckView::decode(message).ok();
        let Some(raw) = view.and_then(|view| request::from_check(&view, arrived, &self.client_address)) else {
            return self.refuse(arrived, Reason::MalformedRequest);
        };
        let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
        let verdict = self.decide.check(&raw, deadline).await;
        self.renderer.render(&verdict, Some(&raw))
    }

    fn refuse(&self, arrived: Instant, reason: Reason) -> Bytes {
        self.renderer.render(&self.decide.refuse(Wire::Grpc, arrived, reason), None)
    }
}

/// An answer of status 200, as every gRPC answer is.
fn respond(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

#[cfg(test)]
mod tests;
