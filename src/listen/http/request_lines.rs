//! Watches the bytes of an HTTP/1 connection for a `#` in a request line: HTTP libraries end the target there without a word, so a client
//! could write the end of an nginx check URL itself and hide the real one behind a `#`.
//!
//! Must not know: anything of HTTP but where a request line begins and ends. A body is taken for more lines, which errs on the safe side as long
//! as no request follows it on the same connection.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that tells when a request line holds a `#`. It does not say that it can write several buffers at once: a short answer is then copied
/// into the buffer of its head and written by the cheaper call.
#[derive(Debug)]
pub(super) struct Watched<IO> {
    io: IO,
    lines: RequestLines,
    fragment_seen: Rc<Cell<bool>>,
}

impl<IO> Watched<IO> {
    /// Sets `fragment_seen` before the bytes in question are handed on, and never clears it.
    pub(super) fn new(io: IO, fragment_seen: Rc<Cell<bool>>) -> Self {
        Self { io, lines: RequestLines::default(), fragment_seen }
    }
}

/// Where in the stream of lines we are.
#[derive(Debug, Default)]
struct RequestLines {
    in_headers: bool,
    line_has_text: bool,
}

impl RequestLines {
    /// Whether `bytes`, which follow all earlier ones, put a `#` into a request line.
    fn have_fragment(&mut self, bytes: &[u8]) -> bool {
        let (mut found, mut rest) = (false, bytes);
        loop {
            let end = memchr(b'\n', rest);
            let line = end.map_or(rest, |end| rest.get(..end).unwrap_or_default());
            found |= !self.in_headers && memchr(b'#', line).is_some();
            self.line_has_text |= line.iter().any(|byte| *byte != b'\r');
            let Some(end) = end else { return found };
            // An empty line ends the headers, a line with text ends the request line, an empty line before it is skipped.
            self.in_headers = std::mem::take(&mut self.line_has_text);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(context, buffer);
        if this.lines.have_fragment(buffer.filled().get(before..).unwrap_or_default()) {
            this.fragment_seen.set(true);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The same, byte by byte.
    fn naive(stream: &[u8]) -> bool {
        let (mut in_headers, mut has_text, mut found) = (false, false, false);
        for byte in stream {
            match byte {
                b'\n' => (in_headers, has_text) = (has_text, false),
                b'\r' => {}
                _ => {
                    found |= *byte == b'#' && !in_headers;
                    has_text = true;
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn what_is_seen_does_not_depend_on_how_the_bytes_come(pieces in vec(vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'#'), Just(b'a')], 0..6), 0..6)) {
            let mut lines = RequestLines::default();
            let found = pieces.iter().fold(false, |found, piece| lines.have_fragment(piece) | found);
            prop_assert_eq!(found, naive(&pieces.concat()));
        }
    }

    #[test]
    fn a_fragment_is_seen_in_request_lines_only_and_however_the_bytes_are_cut() {
        for (stream, seen) in [
            ("GET /a HTTP/1.1\r\nHost: x\r\n\r\n", false),
            ("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", true),
            ("GET /a HTTP/1.1\r\nCookie: a#b\r\n\r\n", false),
            ("GET /a HTTP/1.1\r\n\r\nGET /b#c HTTP/1.1\r\n\r\n", true),
            ("GET /a HTTP/1.1\r\nCookie: #\r\n\r\nGET /b HTTP/1.1\r\nCookie: #\r\n\r\n", false),
            ("\r\n\r\nGET /a#b HTTP/1.1\r\n\r\n", true),
            ("GET /a HTTP/1.1\nCookie: #\n\nGET /b#c HTTP/1.1\n\n", true),
        ] {
            for cut in 0..stream.len() {
                let mut lines = RequestLines::default();
                let found = lines.have_fragment(&stream.as_bytes()[..cut]) | lines.have_fragment(&stream.as_bytes()[cut..]);
                assert_eq!(found, seen, "{stream:?} cut at {cut}");
            }
        }
    }
}
