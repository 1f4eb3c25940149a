//! The thread that writes the decision log.

use std::{
    io::{BufWriter, Write},
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use super::{limit::Limits, line::Line};
use crate::{clock::Clock, telemetry::LogFormat};

/// How often it says what was left out.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    lines: Receiver<String>,
    sink: BufWriter<Box<dyn Write + Send>>,
    limits: Arc<Limits>,
    format: LogFormat,
    clock: Clock,
}

impl Writer {
    pub(super) fn new(lines: Receiver<String>, sink: Box<dyn Write + Send>, limits: Arc<Limits>, format: LogFormat, clock: Clock) -> Self {
        Self { lines, sink: BufWriter::new(sink), limits, format, clock }
    }

    /// Writes until the queue is closed. Sleeps while there is nothing to say.
    pub(super) fn run(mut self) {
        while let Ok(line) = self.lines.recv() {
            self.write(&line);
            while self.write_for_a_while() {}
        }
    }

    /// Writes what comes, and then what was left out meanwhile. `false` if that was nothing at all.
    fn write_for_a_while(&mut self) -> bool {
        let end = Instant::now() + SUMMARY_EVERY;
        let mut busy = false;
        while let Some(line) = self.next_before(end) {
            self.write(&line);
            busy = true;
        }
        self.summarize() || busy
    }

    /// The next line, if there is one before `end`.
    fn next_before(&mut self, end: Instant) -> Option<String> {
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        self.lines.try_recv().ok().or_else(|| {
            let _ = self.sink.flush();
            self.lines.recv_timeout(left).ok()
        })
    }

    fn summarize(&mut self) -> bool {
        let limits = Arc::clone(&self.limits);
        let mut any = false;
        for (kind, count) in limits.take_suppressed() {
            self.write(&Line::suppressed(self.clock.wall_ms(), kind.label(), count).render(self.format));
            any = true;
        }
        let _ = self.sink.flush();
        any
    }

    /// A sink that refuses a line does not end the log: it may recover, and there is nobody to tell.
    fn write(&mut self, line: &str) {
        let _ = self.sink.write_all(line.as_bytes());
    }
}
