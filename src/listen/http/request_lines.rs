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

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that tells when a request line holds a `#`.
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
        let mut found = false;
        for byte in bytes {
            match byte {
                b'\n' => {
                    // An empty line ends the headers, a line with text ends the request line, an empty line before it is skipped.
                    self.in_headers = self.line_has_text;
                    self.line_has_text = false;
                }
                b'\r' => {}
                b'#' if !self.in_headers => {
                    found = true;
                    self.line_has_text = true;
                }
                _ => self.line_has_text = true,
            }
        }
        found
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

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, buffers: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;

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
