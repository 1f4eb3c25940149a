//! One line per decision, for people: who asked for what, what the answer was, and why.
//!
//! A line never holds a token, a key, a query or a body. Writing never holds up a check: lines go through a bounded queue to a thread of its
//! own, and what does not fit is counted.

mod limit;
mod line;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    io::Write,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Instant,
};

use arc_swap::ArcSwapOption;
use ringfence_core::decide::{PolicySet, RawRequest, Verdict, Wire};

use super::LogFormat;
use crate::clock::Clock;
use limit::{Kind, Limits, Sample};
use line::Line;
use writer::Writer;

/// Lines that wait for the writer.
const QUEUE: usize = 4_096;

/// Which decisions are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoggedDecisions {
    /// None.
    Off,
    /// Refusals, also those that Shadow lets pass, and handshakes.
    #[default]
    Denied,
    /// These, and a sample of what is allowed.
    All,
}

/// How much of a path is logged, always without its query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogPath {
    /// All of it, up to 256 characters.
    #[default]
    Full,
    /// The pattern of the policy that it matched.
    Matched,
    /// Nothing.
    Off,
}

macro_rules! named {
    ($type:ident, $error:ident, $what:literal, $($name:literal => $value:ident),+) => {
        #[doc = concat!("A value that is no ", $what, ".")]
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("`{0}` is no {what}: write {names}", what = $what, names = [$(concat!("`", $name, "`")),+].join(" or "))]
        pub struct $error(String);

        impl FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$value),)+
                    _ => Err($error(text.to_owned())),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $name,)+ })
            }
        }
    };
}

named!(LoggedDecisions, LoggedDecisionsError, "choice of decisions", "off" => Off, "denied" => Denied, "all" => All);
named!(LogPath, LogPathError, "way to log a path", "full" => Full, "matched" => Matched, "off" => Off);

/// What an operator may choose about the decision log.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionLogOptions {
    /// Which decisions.
    pub decisions: LoggedDecisions,
    /// Most lines per second for each reason.
    pub rate: u32,
    /// Which part of what is allowed is logged, from 0 to 1, under [`LoggedDecisions::All`].
    pub sample: f64,
    /// How much of the path.
    pub path: LogPath,
    /// JSON or text.
    pub format: LogFormat,
}

impl Default for DecisionLogOptions {
    fn default() -> Self {
        Self { decisions: LoggedDecisions::default(), rate: 100, sample: 1.0, path: LogPath::default(), format: LogFormat::default() }
    }
}

/// What a verdict was about, as far as the log tells it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'r> {
    /// Over which wire it was asked.
    pub wire: Wire,
    /// When it arrived, on the monotonic clock.
    pub arrived: Instant,
    /// What was asked; `None` if it could not be read.
    pub raw: Option<&'r RawRequest<'r>>,
}

/// What became of a verdict's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// It is queued.
    Queued,
    /// Such verdicts are not logged.
    Unwanted,
    /// It would have been logged, but there were too many.
    Suppressed,
}

/// The decision log.
pub struct DecisionLog {
    options: DecisionLogOptions,
    limits: Arc<Limits>,
    sample: Sample,
    started: Instant,
    queue: ArcSwapOption<SyncSender<String>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionLog").field("options", &self.options).finish_non_exhaustive()
    }
}

impl DecisionLog {
    /// A log that writes to `sink` from a thread of its own; `clock` dates what that thread says itself.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(options: DecisionLogOptions, sink: Box<dyn Write + Send>, clock: Clock) -> std::io::Result<Self> {
        let mut log = Self::off();
        log.limits = Arc::new(Limits::new(options.rate));
        log.sample = Sample::new(options.sample);
        log.options = options;
        if log.options.decisions != LoggedDecisions::Off {
            let (queue, lines) = sync_channel(QUEUE);
            let writer = Writer::new(lines, sink, Arc::clone(&log.limits), log.options.format, clock);
            log.writer = Mutex::new(Some(std::thread::Builder::new().name("decision-log".to_owned()).spawn(move || writer.run())?));
            log.queue = ArcSwapOption::from_pointee(queue);
        }
        Ok(log)
    }

    /// A log that writes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self {
            options: DecisionLogOptions { decisions: LoggedDecisions::Off, ..DecisionLogOptions::default() },
            limits: Arc::new(Limits::new(0)),
            sample: Sample::new(0.0),
            started: Instant::now(),
            queue: ArcSwapOption::empty(),
            writer: Mutex::default(),
        }
    }

    /// Queues the line of a verdict that was reached at `finished`, if such verdicts are wanted and there is room. Never waits.
    pub fn offer(&self, verdict: &Verdict, subject: &Subject<'_>, policies: &PolicySet, finished: Instant, wall_ms: i64) -> Logged {
        let plain_allow = verdict.is_plain_allow();
        if !self.wants(plain_allow) {
            return Logged::Unwanted;
        }
        let kind = Kind::of(verdict);
        if !plain_allow && !self.limits.admits(kind, finished.saturating_duration_since(self.started)) {
            return Logged::Suppressed;
        }
        let queue = self.queue.load();
        let Some(queue) = queue.as_deref() else { return Logged::Unwanted };
        let line = Line::of(verdict, subject, policies, finished, wall_ms, self.options.path);
        if queue.try_send(line.render(self.options.format)).is_err() {
            self.limits.suppress(kind);
            return Logged::Suppressed;
        }
        Logged::Queued
    }

    fn wants(&self, plain_allow: bool) -> bool {
        match self.options.decisions {
            LoggedDecisions::Off => false,
            LoggedDecisions::Denied => !plain_allow,
            LoggedDecisions::All => !plain_allow || self.sample.takes(),
        }
    }

    /// Writes what is queued and ends the writer; waits for it. Verdicts that come later are not logged.
    pub fn close(&self) {
        self.queue.store(None);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = writer.map(JoinHandle::join) {
            tracing::error!("the decision log ended with a fault");
        }
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.close();
    }
}
