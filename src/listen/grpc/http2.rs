//! HTTP/2 for gRPC: one connection, whose calls are taken, answered and sent in batches.
//!
//! Calls that have come together are decided before the first answer is sent, up to a bound: each step finds its code and data in the processor's
//! caches still, and no call needs a task of its own unless it has to wait for something.
//!
//! Must not know: what is asked, and how it is decided.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    server::{Builder, Connection as Open, Handshake, SendResponse},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::spawn_local,
    time::{Sleep, sleep},
};

use crate::listen::connection::Closable;

/// Calls that are decided together, before other connections of the thread get their turn.
const BATCH: usize = 32;
/// How long the first answer of a batch waits for others: while a proxy goes on with what is answered, the rest is decided.
const BATCH_TIME: Duration = Duration::from_micros(100);
/// Calls at a time on one connection, and calls that are taken before they are decided.
const MAX_STREAMS: u32 = 1024;
/// Calls that were given up before they were taken; one more ends the connection. A client that makes its proxy give up many calls at once
/// must not end it for all the others.
const MAX_GIVEN_UP: usize = MAX_STREAMS as usize;
/// Bytes of one call's headers (not those of the client's request, which are in the message).
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Bytes that a peer may send ahead, over the whole connection and over one call: as much as the longest message.
const WINDOW: u32 = 1024 * 1024;
/// How often a silent connection is probed, and how long it may take to answer, or to say its first word.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// Where the outcome of a call is said.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");
const UNIMPLEMENTED: HeaderValue = HeaderValue::from_static("12");

/// What answers calls.
pub(super) trait Answers: Unpin + 'static {
    /// What has to be known of a call to answer it.
    type Call: Unpin;

    /// Takes that from a call that has come, and drops the rest: a call may wait for others, and is moved several times. Nothing of its body
    /// is polled.
    fn take(&self, call: Request<Received>) -> Self::Call;

    /// Answers a call that came at `arrived`, or starts to.
    fn answer(&self, call: Self::Call, arrived: Instant) -> Begun;
}

/// How far an answer has come.
pub(super) enum Begun {
    /// It is there.
    Answered(Answer),
    /// It has to wait for something.
    Waits(Answering),
}

/// An answer under way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// What a call is answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// One framed message, and that the call is OK.
    Message(Bytes),
    /// There is no such method.
    Unimplemented,
    /// None: nothing was done about the call, and another process may be asked (RFC 9113 section 8.7).
    AskAnother,
    /// What another service answers, as it comes.
    Other(Box<Response<tonic::body::Body>>),
}

/// One connection, served until it ends.
pub(super) struct Connection<IO, S: Answers> {
    state: State<IO>,
    service: S,
    /// Calls that were taken and not decided yet, and when each came: whoever waits in here is seen to wait.
    taken: VecDeque<(SendResponse<Bytes>, S::Call, Instant)>,
    /// Calls that were decided, or have to wait, and not answered yet.
    decided: Vec<(SendResponse<Bytes>, Begun)>,
    probe: Probe,
    closing: bool,
}

enum State<IO> {
    Opening(Handshake<Copying<IO>, Bytes>),
    Open(Open<Copying<IO>, Bytes>),
}

impl<IO, S> Connection<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Answers,
{
    /// Serves `service` over `io`.
    pub(super) fn new(io: IO, service: S) -> Self {
        let handshake = Builder::new()
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_pending_accept_reset_streams(MAX_GIVEN_UP)
            .handshake(Copying(io));
        let (taken, decided) = (VecDeque::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { state: State::Opening(handshake), service, taken, decided, probe: Probe::new(), closing: false }
    }

    /// Reads and writes what can be, and takes all calls that have come. Ready when the connection has ended.
    fn poll_taking(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let open = loop {
            match &mut self.state {
                State::Open(open) => break open,
                State::Opening(handshake) => {
                    let Ok(mut open) = ready!(Pin::new(handshake).poll(context)) else { return Poll::Ready(()) };
                    self.probe.begin(open.ping_pong());
                    if self.closing {
                        open.graceful_shutdown();
                    }
                    self.state = State::Open(open);
                }
            }
        };
        let mut arrived = None;
        // Those that were given up count as none of the connection's streams any more, but here.
        while self.taken.len() < MAX_STREAMS as usize {
            match ready!(open.poll_accept(context)) {
                Some(Ok((call, respond))) => {
                    self.taken.push_back((respond, self.service.take(call.map(Received)), *arrived.get_or_insert_with(Instant::now)));
                }
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Decides the calls that were taken first, as many as make a batch, then sends every answer that there is.
    fn answer_taken(&mut self) {
        let until = Instant::now() + BATCH_TIME;
        // One at least, however late it has become meanwhile.
        while self.decided.len() < BATCH
            && (self.decided.is_empty() || Instant::now() < until)
            && let Some((mut respond, call, arrived)) = self.taken.pop_front()
        {
            // Whoever has given up already costs no more.
            if respond.poll_reset(&mut Context::from_waker(Waker::noop())).is_pending() {
                self.decided.push((respond, self.service.answer(call, arrived)));
            }
        }
        if self.taken.is_empty() {
            self.taken.shrink_to(BATCH);
        }
        for (respond, begun) in self.decided.drain(..) {
            match begun {
                Begun::Answered(answer) => send(respond, answer),
                Begun::Waits(answering) => drop(spawn_local(wait(respond, answering))),
            }
        }
    }
}

impl<IO, S> Future for Connection<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Answers,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut had_its_turn = false;
        loop {
            if this.poll_taking(context).is_ready() {
                return Poll::Ready(());
            }
            if this.taken.is_empty() {
                return this.probe.poll(context);
            }
            this.probe.heard();
            if had_its_turn {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.answer_taken();
            had_its_turn = true;
        }
    }
}

impl<IO, S> Closable for Connection<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Answers,
{
    fn close(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.closing = true;
        if let State::Open(open) = &mut this.state {
            open.graceful_shutdown();
        }
    }
}

/// Waits for an answer and sends it, unless the caller gives up first.
async fn wait(mut respond: SendResponse<Bytes>, mut answering: Answering) {
    let answer = poll_fn(|context| match answering.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => respond.poll_reset(context).map(|_| None),
    });
    if let Some(answer) = answer.await {
        send(respond, answer);
    }
}

/// Hands an answer over to the connection. Where that fails, the caller is gone.
fn send(mut respond: SendResponse<Bytes>, answer: Answer) {
    match answer {
        Answer::Message(message) => {
            if let Ok(mut stream) = respond.send_response(head(), false)
                && stream.send_data(message, false).is_ok()
            {
                let _ = stream.send_trailers(HeaderMap::from_iter([(GRPC_STATUS, OK)]));
            }
        }
        Answer::Unimplemented => {
            let mut head = head();
            head.headers_mut().insert(GRPC_STATUS, UNIMPLEMENTED);
            let _ = respond.send_response(head, true);
        }
        Answer::AskAnother => respond.send_reset(Reason::REFUSED_STREAM),
        Answer::Other(response) => drop(spawn_local(relay(respond, *response))),
    }
}

/// A status of 200, as every gRPC answer has it.
fn head() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, GRPC);
    head
}

/// Sends what another service answers, until it ends or the caller is gone.
async fn relay(mut respond: SendResponse<Bytes>, response: Response<tonic::body::Body>) {
    let (head, mut body) = response.into_parts();
    let is_whole = body.is_end_stream();
    let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), is_whole) else { return };
    if is_whole {
        return;
    }
    loop {
        let next = poll_fn(|context| match Pin::new(&mut body).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => stream.poll_reset(context).map(|_| None),
        });
        let sent = match next.await {
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => stream.send_data(data, false),
                Err(frame) => {
                    let _ = stream.send_trailers(frame.into_trailers().unwrap_or_default());
                    return;
                }
            },
            Some(Some(Err(_))) => return stream.send_reset(Reason::INTERNAL_ERROR),
            Some(None) => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
            None => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The body of a call.
#[derive(Debug)]
pub(super) struct Received(pub(super) RecvStream);

impl Body for Received {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.0.poll_data(context)) {
            return Poll::Ready(Some(data.map(|data| {
                // It fails only where the stream has ended, and then nobody waits for room.
                let _ = self.0.flow_control().release_capacity(data.len());
                Frame::data(data)
            })));
        }
        self.0.poll_trailers(context).map(|trailers| trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// Says that it cannot write several buffers at once: h2 then copies answers of up to a kilobyte into one buffer, where it would otherwise
/// make a system call for each of more than 256 bytes.
struct Copying<IO>(IO);

impl<IO: AsyncRead + Unpin> AsyncRead for Copying<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Copying<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Finds out whether a silent peer is still there.
struct Probe {
    /// `None` = the connection is not open yet.
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    /// Something has come since the timer was set.
    heard: bool,
    /// A ping is under way.
    asked: bool,
}

impl Probe {
    fn new() -> Self {
        Self { pings: None, timer: Box::pin(sleep(PROBE_TIMEOUT)), heard: false, asked: false }
    }

    /// The connection is open.
    fn begin(&mut self, pings: Option<PingPong>) {
        self.pings = pings;
        self.timer.set(sleep(PROBE_EVERY));
    }

    /// The peer is there.
    fn heard(&mut self) {
        self.heard = true;
    }

    /// Ready when the peer is not there any more.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.asked
            && let Some(pings) = &mut self.pings
            && pings.poll_pong(context).is_ready()
        {
            (self.asked, self.heard) = (false, true);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            let Some(pings) = self.pings.as_mut().filter(|_| !self.asked) else { return Poll::Ready(()) };
            if std::mem::take(&mut self.heard) {
                self.timer.set(sleep(PROBE_EVERY));
            } else if pings.send_ping(Ping::opaque()).is_ok() {
                self.asked = true;
                self.timer.set(sleep(PROBE_TIMEOUT));
            } else {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
