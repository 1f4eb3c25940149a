//! `ringfence validate`: what is wrong in a folder of policies, where, and what to do about it.

use std::{fs, io, path::PathBuf};

use anyhow::Context;
use clap::{ArgMatches, Args};
use ringfence_core::{
    api::{Kind, Location},
    compile::{Compiled, Finding, Options, Severity, compile},
};
use serde::Serialize;

use super::{
    Outcome,
    output::{Format, Output, OutputFormat, Tone},
    policies::{self, RuleFlags},
};
use crate::source::{
    SourceError,
    files::{Folder, FolderSource},
};

/// Check a folder of policies, and print everything that is wrong with it
///
/// Reads and compiles the folder as `serve` would, without fetching anything. Warnings are printed and do no harm; exit code 1 says that
/// there are errors, 2 that the folder cannot be read.
#[derive(Args, Debug)]
pub struct Validate {
    /// Folder of policies (`*.yaml`, `*.yml`, `*.json`, sub-folders included)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    _rules: RuleFlags,
}

impl Validate {
    /// Runs the command.
    ///
    /// # Errors
    /// When the folder itself cannot be read.
    pub fn run(&self, matches: &ArgMatches) -> anyhow::Result<Outcome> {
        let result = self.validate(&policies::settings(matches)?.compile_options())?;
        result.print(self.output.format, &mut Output::stdout())?;
        Ok(if result.errors == 0 { Outcome::Yes } else { Outcome::No })
    }

    fn validate(&self, options: &Options) -> anyhow::Result<Validation> {
        // What is wrong in the folder is a finding; that there is none is not.
        fs::read_dir(&self.dir).with_context(|| format!("cannot read the folder `{}`", self.dir.display()))?;
        Ok(match FolderSource::new(&self.dir).load() {
            Ok(Folder { objects, warnings }) => {
                let is_policy = |kind: &str| [Kind::CallbackPolicy, Kind::ClusterCallbackPolicy].iter().any(|policy| policy.name() == kind);
                let policies = objects.iter().filter(|object| is_policy(&object.key.kind)).count();
                let mut result = Validation::new(policies, &compile(&objects, options), &warnings);
                if policies == 0 {
                    let message = "there is no policy in this folder: every request is unmatched".to_owned();
                    result.add(Item { object: None, field: None, ..Item::new("warning", "NoPolicy", message) });
                }
                result
            }
            Err(errors) => Validation::unreadable(&errors),
        })
    }
}

/// What was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    /// How many policies were read; `null` if some file could not be.
    policies: Option<usize>,
    errors: usize,
    warnings: usize,
    findings: Vec<Item>,
}

/// One finding, as `-o json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    severity: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

impl Item {
    fn new(severity: &'static str, reason: &'static str, message: String) -> Self {
        Self { severity, reason, file: None, document: None, line: None, object: None, field: None, message }
    }

    /// Something about a file, or a document that is no resource.
    fn of_source(severity: &'static str, reason: &'static str, error: &SourceError) -> Self {
        let SourceError { file, document, line, message } = error;
        Self { file: Some(file.to_string()), document: *document, line: *line, ..Self::new(severity, reason, message.clone()) }
    }

    fn of_object(object: &impl ToString, finding: &Finding) -> Self {
        let Finding { severity, reason, field, message, location } = finding;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut item = Self { object: Some(object.to_string()), ..Self::new(severity, reason.name(), message.clone()) };
        item.field = (!field.is_empty()).then(|| field.clone());
        if let Some(Location { file, document, line }) = location {
            (item.file, item.document, item.line) = (Some(file.to_string()), Some(*document), Some(*line));
        }
        item
    }

    /// `file:line (document n): error: object: field: message`, as far as there is something to say.
    fn show(&self, output: &Output) -> String {
        let mut line = String::new();
        if let Some(file) = &self.file {
            let place = self.line.map(|line| format!(":{line}")).unwrap_or_default();
            let document = self.document.map(|document| format!(" (document {document})")).unwrap_or_default();
            line.push_str(&format!("{}{}: ", output.paint(Tone::Strong, format_args!("{file}{place}")), output.paint(Tone::Faint, document)));
        }
        let tone = if self.severity == "error" { Tone::Bad } else { Tone::Warning };
        line.push_str(&format!("{}: ", output.paint(tone, self.severity)));
        for part in [&self.object, &self.field].into_iter().flatten() {
            line.push_str(&format!("{part}: "));
        }
        line + &self.message
    }
}

impl Validation {
    fn new(policies: usize, compiled: &Compiled, warnings: &[SourceError]) -> Self {
        let mut result = Self { policies: Some(policies), ..Self::default() };
        warnings.iter().for_each(|warning| result.add(Item::of_source("warning", "Ignored", warning)));
        for report in &compiled.reports {
            report.findings.iter().for_each(|finding| result.add(Item::of_object(&report.object, finding)));
        }
        result.findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        result
    }

    fn unreadable(errors: &[SourceError]) -> Self {
        let mut result = Self::default();
        errors.iter().for_each(|error| result.add(Item::of_source("error", "Unreadable", error)));
        result
    }

    fn add(&mut self, item: Item) {
        if item.severity == "error" {
            self.errors += 1;
        } else {
            self.warnings += 1;
        }
        self.findings.push(item);
    }

    fn print(&self, format: Format, output: &mut Output) -> io::Result<()> {
        match format {
            Format::Json => output.json(self),
            Format::Text => {
                for item in &self.findings {
                    output.line(item.show(output))?;
                }
                if !self.findings.is_empty() {
                    output.line("")?;
                }
                let summary = self.summary();
                let tone = if self.errors > 0 { Tone::Bad } else { Tone::Good };
                let summary = output.paint(tone, summary);
                output.line(summary)
            }
        }
    }

    /// `6 policies, 2 errors, 1 warning`.
    fn summary(&self) -> String {
        let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let policies = match self.policies {
            Some(policies) => count(policies, "policy", "policies"),
            None => "not all files can be read, so that their policies were not looked at".to_owned(),
        };
        format!("{policies}, {}, {}", count(self.errors, "error", "errors"), count(self.warnings, "warning", "warnings"))
    }
}

#[cfg(test)]
mod tests;
