//! `ringfence crds`: the definitions of Ringfence's kinds, for `kubectl apply`.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use ringfence_core::api::definitions;
use serde_json::{Value, json};

use super::{Outcome, output::Output};

/// Print the CustomResourceDefinitions of Ringfence's kinds
///
/// `ringfence crds | kubectl apply --server-side -f -` installs them. They are made of the types that Ringfence reads policies with, so that those of
/// one version fit that version.
#[derive(Args, Debug)]
pub struct Crds {
    /// Print YAML documents, or a JSON list
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "yaml", help_heading = "Output")]
    format: DocumentFormat,
    /// Write one YAML file for each kind into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "format", help_heading = "Output")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DocumentFormat {
    /// YAML documents.
    Yaml,
    /// A JSON `List`.
    Json,
}

impl Crds {
    /// Runs the command.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn run(self) -> anyhow::Result<Outcome> {
        let mut output = Output::stdout();
        match (self.dir, self.format) {
            (Some(folder), _) => {
                fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
                for (name, text) in files() {
                    let file = folder.join(name);
                    fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
                    output.line(file.display())?;
                }
            }
            (None, DocumentFormat::Yaml) => {
                for definition in definitions() {
                    output.line(format_args!("---\n{}", yaml(&definition.document).trim_end()))?;
                }
            }
            (None, DocumentFormat::Json) => {
                let items: Vec<_> = definitions().into_iter().map(|definition| definition.document).collect();
                output.json(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
            }
        }
        Ok(Outcome::Yes)
    }
}

/// The definitions as files: name and text.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    let text = |document: &Value| format!("# Made by `ringfence crds --dir deploy/crds`; change core/src/api instead.\n{}", yaml(document));
    definitions().iter().map(|definition| (format!("{}.yaml", definition.plural), text(&definition.document))).collect()
}

/// A mapping as YAML in block style. Texts that could be read as anything else are quoted as in JSON, which YAML reads alike.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_block(value, 0, &mut text);
    text
}

/// Writes a mapping's members or a list's items, a line each, indented so far.
fn write_block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let _ = write!(text, "{pad}{}:", scalar(name));
                write_member(member, indent + 2, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut below = String::new();
                write_block(item, indent + 2, &mut below);
                // The first line stands beside its dash.
                let _ = write!(text, "{pad}- {}", below.trim_start());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = writeln!(text, "{}", plain(value));
        }
    }
}

fn write_member(member: &Value, indent: usize, text: &mut String) {
    match member {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            write_block(member, indent, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_block(member, indent, text);
        }
        Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = writeln!(text, " {}", plain(member));
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

/// A text without quotes only where YAML 1.1 and 1.2 cannot take it for anything else.
fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_simple = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_./,()'".contains(&byte));
    let is_trimmed = text.trim_end() == text;
    if starts_well && is_simple && is_trimmed && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        json!(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use crate::source::read_yaml;

    use super::*;

    #[test]
    fn what_is_written_is_read_as_what_was_meant() {
        let tricky = json!({
            "texts": ["plain", "two words", "no", "Yes", "~", "", " x", "x ", "a: b", "a #b", "'q'", "\"q\"", "multi\nline", "1", "0x1", "1e3", "{}", "*", "-", "e\u{e9}"],
            "on": true, "n": 1, "none": null, "empty": {}, "nothing": [], "deep": [[1, [2]], {"a": [{"b": "c", "d": {"e": "f"}}]}],
        });
        let documents = definitions().into_iter().map(|definition| definition.document).chain([tricky]);
        for document in documents {
            let text = yaml(&document);
            assert_eq!(read_yaml(&text).unwrap().remove(0).value, document, "{text}");
        }
    }
}
