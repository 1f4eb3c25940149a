//! Envoy's authorization service over gRPC, and `grpc.health.v1` beside it.
//!
//! Every outcome of a check is an OK call with an explicit allow or deny: Envoy may let by what ends in an error. Only in the first seconds of a
//! process that knows nothing yet are checks not taken at all (`settling`).
//!
//! Must not know: how a decision is made.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use prometheus::IntGaugeVec;
use ringfence_core::decide::{RawRequest, Reason, Wire};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tower_service::Service;

use crate::{check, ready::Readiness};

use self::{
    frame::{Incoming, NoMessage, timeout_of},
    http2::{Answer, Answers, Begun, Connection, Received},
    render::Renderer,
    settling::Settling,
    wire::CheckView,
};
use super::{
    Decide, GrpcListenerSettings, ListenAddress, ListenError,
    accept::{Door, Protocol},
    client_address::ClientAddressRule,
    connection::{Closable, Life, Phase},
    socket::Socket,
    tls::Tls,
};

mod fields;
mod frame;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod health;
mod http2;
mod metadata;
mod render;
mod request;
mod settling;
mod wire;

/// The one method that is asked for all the time.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/";
/// How long a message may take to come, if the caller sets no shorter time.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

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
        let GrpcListenerSettings { address: _, connections, client_address, trusted_proxies, reason_header, metadata } = settings;
        let protocol = GrpcProtocol {
            decide,
            client_address: ClientAddressRule::new(client_address, &trusted_proxies),
            renderer: Renderer::new(reason_header, metadata),
            settling: Settling::begin(readiness.clone(), Instant::now()),
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
    settling: Settling,
    health: HealthServer<HealthService>,
}

impl<D: Decide> Protocol for GrpcProtocol<D> {
    fn serve<IO>(self: Arc<Self>, io: IO, _life: &Rc<Life>) -> impl Closable
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        // Counted per connection: one count that all cores share would be passed between them at every request.
        Connection::new(io, Rc::new(self))
    }
}

/// A call that has come.
enum Call {
    /// A check: how long its caller waits, and its message.
    Check(Option<Duration>, Received),
    /// A question about health.
    Health(Box<Request<Received>>),
    /// Anything else.
    Unknown,
}

impl<D: Decide> Answers for Rc<Arc<GrpcProtocol<D>>> {
    type Call = Call;

    fn take(&self, call: Request<Received>) -> Call {
        match call.uri().path() {
            CHECK => Call::Check(timeout_of(call.headers()), call.into_body()),
            path if path.starts_with(HEALTH) => Call::Health(Box::new(call)),
            _ => Call::Unknown,
        }
    }

    fn answer(&self, call: Call, arrived: Instant) -> Begun {
        match call {
            Call::Check(..) if self.settling.goes_on(arrived) => Begun::Answered(Answer::AskAnother),
            Call::Check(timeout, body) => {
                let asked = Asked { arrived, timeout };
                let mut message = Incoming::new(body);
                match message.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(read) => match self.caught(asked, || self.decide(asked, read)) {
                        Decided::Answer(answer) => Begun::Answered(Answer::Message(answer)),
                        Decided::Awaits(message, awaited) => self.later(asked, |own| async move { own.finish(asked, &message, awaited).await }),
                    },
                    Poll::Pending => self.later(asked, |own| async move { own.read_and_decide(asked, message).await }),
                }
            }
            Call::Health(call) => {
                let mut health = self.health.clone();
                Begun::Waits(Box::pin(async move {
                    match health.call(*call).await {
                        Ok(response) => Answer::Other(Box::new(response)),
                        Err(never) => match never {},
                    }
                }))
            }
            Call::Unknown => Begun::Answered(Answer::Unimplemented),
        }
    }
}

/// What is known of a check before its message is read.
#[derive(Clone, Copy, Debug)]
struct Asked {
    arrived: Instant,
    /// How long the caller waits.
    timeout: Option<Duration>,
}

/// How far a check has come.
enum Decided<A> {
    /// To its framed answer.
    Answer(Bytes),
    /// This message needs this first.
    Awaits(Bytes, A),
}

impl<D: Decide> GrpcProtocol<D> {
    /// What `decide` says, or that there was a fault.
    fn caught(&self, asked: Asked, decide: impl FnOnce() -> Decided<D::Awaited>) -> Decided<D::Awaited> {
        catch_unwind(AssertUnwindSafe(decide)).unwrap_or_else(|_| Decided::Answer(self.answer_after_panic(asked)))
    }

    /// The answer that `decide` comes to later, or that there was a fault.
    #[expect(clippy::redundant_allocation, reason = "counted per connection, see `serve`")]
    fn later<F>(self: &Rc<Arc<Self>>, asked: Asked, decide: impl FnOnce(Rc<Arc<Self>>) -> F) -> Begun
    where
        F: Future<Output = Bytes> + 'static,
    {
        let (own, deciding) = (Rc::clone(self), AssertUnwindSafe(decide(Rc::clone(self))).catch_unwind());
        Begun::Waits(Box::pin(async move { Answer::Message(deciding.await.unwrap_or_else(|_| own.answer_after_panic(asked))) }))
    }

    fn answer_after_panic(&self, asked: Asked) -> Bytes {
        // FAIL-CLOSED: a_panic_is_an_explicit_denial
        let counted = catch_unwind(AssertUnwindSafe(|| self.refuse(asked, Reason::Internal)));
        counted.unwrap_or_else(|_| self.renderer.denial(Reason::Internal))
    }

    async fn read_and_decide(&self, asked: Asked, message: Incoming<Received>) -> Bytes {
        let limit = asked.timeout.map_or(READ_TIMEOUT, |timeout| timeout.min(READ_TIMEOUT));
        match self.decide(asked, message.rest(limit).await) {
            Decided::Answer(answer) => answer,
            Decided::Awaits(message, awaited) => self.finish(asked, &message, awaited).await,
        }
    }

    /// Decides what was read, unless something has to be waited for.
    fn decide(&self, asked: Asked, read: Result<Bytes, NoMessage>) -> Decided<D::Awaited> {
        let message = match read {
            Ok(message) => message,
            Err(NoMessage::Malformed | NoMessage::Reset) => return Decided::Answer(self.refuse(asked, Reason::MalformedRequest)),
            Err(NoMessage::TooLate) => return Decided::Answer(self.refuse(asked, Reason::DeadlineExceeded)),
        };
        let Some((raw, deadline)) = self.request(asked, &message) else {
            return Decided::Answer(self.refuse(asked, Reason::MalformedRequest));
        };
        match self.decide.begin(&raw, deadline) {
            check::Begun::Decided(verdict) => Decided::Answer(self.renderer.render(&verdict, Some(&raw))),
            check::Begun::Awaits(awaited) => {
                drop(raw);
                Decided::Awaits(message, awaited)
            }
        }
    }

    /// Decides what [`Self::decide`] could not decide without `awaited`.
    async fn finish(&self, asked: Asked, message: &[u8], awaited: D::Awaited) -> Bytes {
        let Some((raw, deadline)) = self.request(asked, message) else {
            return self.refuse(asked, Reason::MalformedRequest);
        };
        let verdict = self.decide.finish(&raw, deadline, awaited).await;
        self.renderer.render(&verdict, Some(&raw))
    }

    /// What `message` asks, and until when; `None` if it cannot be read.
    fn request<'m>(&self, asked: Asked, message: &'m [u8]) -> Option<(RawRequest<'m>, Option<Instant>)> {
        let view = CheckView::decode(message).ok()?;
        let raw = request::from_check(view, asked.arrived, &self.client_address)?;
        Some((raw, asked.timeout.and_then(|timeout| asked.arrived.checked_add(timeout))))
    }

    fn refuse(&self, asked: Asked, reason: Reason) -> Bytes {
        self.renderer.render(&self.decide.refuse(Wire::Grpc, asked.arrived, reason), None)
    }
}

#[cfg(test)]
mod tests;
