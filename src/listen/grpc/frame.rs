//! The framing of one unary gRPC call: one length-prefixed message in, one out.
//!
//! Must not know: what the messages say.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

/// The flag and the length before a message.
const PREFIX: usize = 5;
/// Longest message that is read, in bytes.
pub(super) const MAX_MESSAGE: usize = 1024 * 1024;
/// How much of a longer one is read and dropped before the answer, so that a peer that is still sending gets to read it.
const MAX_DROPPED: usize = 16 * 1024 * 1024;

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

/// The one message of a call, as far as it has come.
#[derive(Debug)]
pub(super) struct Incoming<B> {
    body: B,
    /// What has come, which in nearly every case is one chunk and so needs no copy.
    whole: Bytes,
    /// What has come, if that is several chunks.
    parts: BytesMut,
    length: usize,
}

impl<B> Incoming<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(body: B) -> Self {
        Self { body, whole: Bytes::new(), parts: BytesMut::new(), length: 0 }
    }

    /// The message, if all of it has come.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, NoMessage>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
            if let Ok(data) = frame.map_err(|_| NoMessage::Reset)?.into_data() {
                self.add(data);
            }
            if self.length > MAX_DROPPED || self.body.is_end_stream() {
                break;
            }
        }
        Poll::Ready(self.take())
    }

    /// Waits for the rest of the message, for `limit` at most.
    pub(super) async fn rest(mut self, limit: Duration) -> Result<Bytes, NoMessage> {
        tokio::time::timeout(limit, poll_fn(|context| self.poll(context))).await.unwrap_or(Err(NoMessage::TooLate))
    }

    /// Keeps what came, unless it is too much for a message.
    fn add(&mut self, data: Bytes) {
        self.length = self.length.saturating_add(data.len());
        if self.length > PREFIX + MAX_MESSAGE {
            (self.whole, self.parts) = (Bytes::new(), BytesMut::new());
        } else if self.whole.is_empty() && self.parts.is_empty() {
            self.whole = data;
        } else {
            if !self.whole.is_empty() {
                self.parts.extend_from_slice(&std::mem::take(&mut self.whole));
            }
            self.parts.extend_from_slice(&data);
        }
    }

    fn take(&mut self) -> Result<Bytes, NoMessage> {
        if self.length > PREFIX + MAX_MESSAGE {
            return Err(NoMessage::Malformed);
        }
        let parts = std::mem::take(&mut self.parts);
        let received = if parts.is_empty() { std::mem::take(&mut self.whole) } else { parts.freeze() };
        unframe(received).ok_or(NoMessage::Malformed)
    }
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
    use http::{HeaderName, HeaderValue};
    use http_body::Frame;
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
        Incoming::new(StreamBody::new(stream::iter(frames))).rest(LIMIT).await
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
        assert_eq!(Incoming::new(body).rest(Duration::from_millis(5)).await, Err(NoMessage::TooLate));
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
