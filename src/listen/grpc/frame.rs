//! The framing of one unary gRPC call over HTTP/2: one length-prefixed message in, one out, and the trailers.
//!
//! Must not know: what the messages say.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use http_body_util::BodyExt;

/// The flag and the length before a message.
const PREFIX: usize = 5;
/// Longest message that is read, in bytes.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// How much of a longer one is read and dropped before the answer, so that a peer that is still sending gets to read it.
const MAX_DROPPED: usize = 16 * 1024 * 1024;
/// Trailer with the call's outcome.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMessage {
    /// Too long, compressed, cut off, none or several.
    Malformed,
    /// It did not come in time.
    TooLate,
    /// The peer has reset the stream: nobody waits for an answer.
    Reset,
}

/// Reads the one message of a call, within `limit`.
pub(super) async fn read_message<B>(body: B, limit: Duration) -> Result<Bytes, NoMessage>
where
    B: Body<Data = Bytes> + Unpin,
{
    let received = tokio::time::timeout(limit, receive(body)).await.map_err(|_| NoMessage::TooLate)??;
    unframe(received).ok_or(NoMessage::Malformed)
}

/// All bytes of `body`, which in nearly every case are one chunk and so need no copy.
async fn receive<B>(mut body: B) -> Result<Bytes, NoMessage>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| NoMessage::Reset)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > MAX_DROPPED {
            break;
        }
        if length > PREFIX + MAX_MESSAGE {
            (whole, parts) = (Bytes::new(), BytesMut::new());
        } else if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            if !whole.is_empty() {
                parts.extend_from_slice(&std::mem::take(&mut whole));
            }
            parts.extend_from_slice(&data);
        }
    }
    if length > PREFIX + MAX_MESSAGE { Err(NoMessage::Malformed) } else { Ok(if parts.is_empty() { whole } else { parts.freeze() }) }
}

/// The message, if there is exactly one, whole and not compressed.
fn unframe(mut received: Bytes) -> Option<Bytes> {
    let (&[compressed, a, b, c, d], message) = received.split_first_chunk::<PREFIX>()?;
    let announced = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (compressed == 0 && message.len() == announced && announced <= MAX_MESSAGE).then(|| received.split_off(PREFIX))
}

/// A message of `length` bytes, which `write` writes, with its prefix.
pub(super) fn framed(length: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut buffer = BytesMut::with_capacity(PREFIX + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    write(&mut buffer);
    buffer.freeze()
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// One framed message, then the trailers that say OK.
    Message(Option<Bytes>),
    /// The trailers came; or the headers say it all.
    Ended,
    /// What another service answers.
    Other(tonic::body::Body),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        match this {
            Self::Message(message) => {
                if let Some(message) = message.take() {
                    return Poll::Ready(Some(Ok(Frame::data(message))));
                }
                *this = Self::Ended;
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Self::Ended => Poll::Ready(None),
            Self::Other(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) => false,
            Self::Ended => true,
            Self::Other(body) => body.is_end_stream(),
        }
    }
}

/// How long the caller waits, as the `grpc-timeout` header says; `None` if it does not or cannot be read.
pub(super) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.as_bytes();
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount = digits.iter().fold(0_u64, |amount, digit| amount * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn prefixed(flag: u8, announced: usize, message: &[u8]) -> Bytes {
        let mut bytes = vec![flag];
        bytes.extend(u32::try_from(announced).unwrap().to_be_bytes());
        bytes.extend(message);
        bytes.into()
    }

    async fn read(chunks: Vec<Bytes>) -> Result<Bytes, NoMessage> {
        let frames = chunks.into_iter().map(|chunk| Ok::<_, std::convert::Infallible>(Frame::data(chunk)));
        read_message(StreamBody::new(stream::iter(frames)), LIMIT).await
    }

    #[tokio::test]
    async fn one_message_is_read_however_it_is_cut() {
        let whole = prefixed(0, 6, b"abcdef");
        assert_eq!(read(vec![whole.clone()]).await.unwrap(), "abcdef");
        let chunks = whole.chunks(1).map(Bytes::copy_from_slice).collect();
        assert_eq!(read(chunks).await.unwrap(), "abcdef");
        assert_eq!(read(vec![prefixed(0, 0, b"")]).await.unwrap(), "");
        let largest = vec![b'x'; MAX_MESSAGE];
        assert_eq!(read(vec![prefixed(0, MAX_MESSAGE, &largest)]).await.unwrap().len(), MAX_MESSAGE);
    }

    #[tokio::test]
    async fn anything_but_one_whole_plain_message_is_malformed() {
        let two = [prefixed(0, 1, b"a"), prefixed(0, 1, b"b")].concat();
        let oversized = vec![0; MAX_MESSAGE + 1];
        for (name, chunks) in [
            ("nothing", vec![]),
            ("half a prefix", vec![Bytes::from_static(&[0, 0, 0])]),
            ("cut off", vec![prefixed(0, 6, b"abc")]),
            ("several", vec![two.into()]),
            ("compressed", vec![prefixed(1, 3, b"abc")]),
            ("an unknown flag", vec![prefixed(2, 3, b"abc")]),
            ("oversized", vec![prefixed(0, oversized.len(), &oversized)]),
            ("an oversized announcement", vec![prefixed(0, MAX_MESSAGE * 4, b"abc")]),
            ("8 MB", vec![Bytes::from(vec![0; 1024 * 1024]); 8]),
            ("no end", vec![Bytes::from(vec![0; 1024 * 1024]); 32]),
        ] {
            assert_eq!(read(chunks).await, Err(NoMessage::Malformed), "{name}");
        }
    }

    #[tokio::test]
    async fn a_message_that_does_not_come_is_too_late() {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::convert::Infallible>>());
        assert_eq!(read_message(body, Duration::from_millis(5)).await, Err(NoMessage::TooLate));
    }

    #[test]
    fn timeouts_read_as_the_protocol_says() {
        let timeout =
            |value: &'static str| timeout_of(&HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), HeaderValue::from_static(value))]));
        assert_eq!(timeout("200m"), Some(Duration::from_millis(200)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(timeout("1S"), Some(Duration::from_secs(1)));
        assert_eq!(timeout("2M"), Some(Duration::from_secs(120)));
        assert_eq!(timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(timeout("7n"), Some(Duration::from_nanos(7)));
        for value in ["", "m", "200", "123456789m", "-1m", "1.5S", "200x", "2 m"] {
            assert_eq!(timeout(value), None, "{value}");
        }
        assert_eq!(timeout_of(&HeaderMap::new()), None);
    }
}
