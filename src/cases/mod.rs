//! Table cases: requests, and what is to become of each. The format of `ringfence test` and of the project's own tables.
//!
//! ```yaml
//! config: policies                 # a folder of resources, relative to this file
//! unmatched: deny                  # as --unmatched; this is the default
//! hostOwnership: off               # as --host-ownership; this is the default
//! cases:
//! - name: a good webhook
//!   request:
//!     method: POST                 # the default
//!     url: https://callbacks.contoso.com/api/callbacks?key=...
//!     source: 52.112.10.20         # absent = not known
//!     token: {audience: 7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11}   # minted for the run; see `ringfence token --help`
//!   expect: {decision: allowed, policy: contoso/contact-center, headers: {x-acs-audience: 7f0c…}, stripped: [key]}
//! ```
//!
//! Must not know how requests reach Ringfence: a [`Case`] is turned into a [`RawRequest`](ringfence_core::decide::RawRequest) here, and into
//! a wire request by whoever has a wire.

mod expectation;
mod rehearsal;
mod request;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use ringfence_core::decide::{Unmatched, Wire};
use serde::Deserialize;

pub use self::{
    expectation::{EdgeAnswer, Expectation, Mismatch, Outcome},
    rehearsal::{Rehearsal, RehearsalError},
    request::{CaseRequest, HeaderValues},
};
use crate::{clock::Clock, source};

/// A file of cases.
#[derive(Debug)]
pub struct CaseFile {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The folder of resources.
    pub config: PathBuf,
    /// What happens where no policy matches.
    pub unmatched: Unmatched,
    /// Whether hosts are granted.
    pub hosts_are_granted: bool,
    /// The cases, in order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// The line it begins on, from 1.
    pub line: usize,
    /// What is asked.
    pub request: CaseRequest,
    /// What is to become of it.
    pub expect: Expectation,
    /// Over which wires it holds.
    pub wires: Vec<Wire>,
    /// How often it is asked; the last answer counts.
    pub times: usize,
}

/// Why a file of cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseFileError {
    /// The file itself cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of it is wrong.
    #[error("{path}:{line}: {message}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to do.
        message: String,
    },
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileSpec {
    config: PathBuf,
    #[serde(default)]
    unmatched: UnmatchedSpec,
    #[serde(default)]
    host_ownership: OwnershipSpec,
    cases: Vec<CaseSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CaseSpec {
    name: String,
    request: CaseRequest,
    expect: Expectation,
    #[serde(default)]
    wires: Vec<WireName>,
    #[serde(default = "once")]
    times: usize,
}

const fn once() -> usize {
    1
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum UnmatchedSpec {
    #[default]
    Deny,
    Unavailable,
    Allow,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum OwnershipSpec {
    #[default]
    Off,
    Granted,
}

/// A wire by its label.
struct WireName(Wire);

impl<'de> Deserialize<'de> for WireName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let label = String::deserialize(deserializer)?;
        let wire = Wire::ALL.iter().copied().find(|wire| wire.label() == label);
        wire.map(Self).ok_or_else(|| serde::de::Error::custom(format!("`{label}` is no wire; take one of {}", labels())))
    }
}

fn labels() -> String {
    Wire::ALL.iter().map(|wire| wire.label()).collect::<Vec<_>>().join(", ")
}

impl CaseFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, CaseFileError> {
        let text = fs::read_to_string(path).map_err(|source| CaseFileError::Io { path: path.to_owned(), source })?;
        let line = |line: usize, message: String| CaseFileError::Line { path: path.to_owned(), line, message };
        let documents = source::read_yaml(&text).map_err(|error| line(error.line, error.message))?;
        let [document] = documents.as_slice() else {
            return Err(line(1, format!("expected one document with `config` and `cases`, found {}", documents.len())));
        };
        let spec: FileSpec = serde_path_to_error::deserialize(&document.value)
            .map_err(|error| line(document.place.line_of(&pointer(error.path())), format!("{}: {}", error.path(), error.inner())))?;
        let now_ms = Clock::system().wall_ms();
        let cases = spec.cases.into_iter().enumerate().map(|(number, case)| {
            let sign = format!("/cases/{number}/request/sign");
            let request =
                case.request.signed(now_ms).map_err(|error| line(document.place.line_of(&sign), format!("cannot sign the URL: {error}")))?;
            Ok(Case {
                line: document.place.line_of(&format!("/cases/{number}")),
                name: case.name,
                request,
                expect: case.expect,
                wires: if case.wires.is_empty() { Wire::ALL.to_vec() } else { case.wires.into_iter().map(|WireName(wire)| wire).collect() },
                times: case.times.max(1),
            })
        });
        Ok(Self {
            path: path.to_owned(),
            config: path.parent().unwrap_or(Path::new(".")).join(spec.config),
            unmatched: match spec.unmatched {
                UnmatchedSpec::Deny => Unmatched::Deny,
                UnmatchedSpec::Unavailable => Unmatched::Unavailable,
                UnmatchedSpec::Allow => Unmatched::Allow,
            },
            hosts_are_granted: matches!(spec.host_ownership, OwnershipSpec::Granted),
            cases: cases.collect::<Result<_, _>>()?,
        })
    }
}

/// The JSON pointer (RFC 6901) of a field path.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    };
    path.iter().map(step).collect()
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
