//! What commands print: `-o text|json`, colours for people only, and a pipe that was closed is no error.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

/// `-o, --output`, the same everywhere.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OutputFormat {
    /// Print text for people or JSON for programs
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Wrong.
    Bad,
    /// Worth a look.
    Warning,
    /// A heading.
    Strong,
    /// Beside the point.
    Faint,
}

impl Tone {
    /// The SGR parameter (ECMA-48).
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

/// Where a command prints: standard output, coloured if a person reads it and `NO_COLOR` is not set.
pub struct Output {
    sink: Box<dyn Write + Send>,
    coloured: bool,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("coloured", &self.coloured).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self { coloured: is_coloured(io::stdout().is_terminal()), sink: Box::new(io::stdout()) }
    }

    /// Any other place; for tests.
    #[must_use]
    pub fn to(sink: Box<dyn Write + Send>, coloured: bool) -> Self {
        Self { sink, coloured }
    }

    /// Whether colours are shown.
    #[must_use]
    pub const fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// `text` in the colour of `tone`, where colours are shown.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", tone.code()) } else { text.to_string() }
    }

    /// Prints one line.
    ///
    /// # Errors
    /// The sink's; a reader that closed its pipe ends the program quietly instead (`ringfence ... | head`).
    pub fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        let written = writeln!(self.sink, "{text}").and_then(|()| self.sink.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written,
        }
    }

    /// Prints `value` as indented JSON.
    ///
    /// # Errors
    /// The sink's, or that of a value that is no JSON.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_string_pretty(value)?;
        self.line(json)
    }
}

/// `NO_COLOR` (no-color.org) and dumb terminals are respected.
fn is_coloured(terminal: bool) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    terminal && !no_color && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_people_only() {
        let plain = Output::to(Box::new(io::sink()), false);
        assert_eq!(plain.paint(Tone::Bad, "denied"), "denied");
        let coloured = Output::to(Box::new(io::sink()), true);
        assert_eq!(coloured.paint(Tone::Bad, "denied"), "\u{1b}[31mdenied\u{1b}[0m");
    }
}
