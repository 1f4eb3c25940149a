//! `ringfence test`: table tests of policies.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{
    Outcome,
    output::{Format, Output, OutputFormat, Tone},
};
use crate::cases::{CaseFile, Mismatch, Rehearsal};

/// Ask a folder of policies a table of requests, and compare each answer with the one expected
///
/// Nothing goes over the network: the tokens that the cases ask for are minted for the run, and every issuer's keys are replaced by the one
/// that signs them. docs/testing-policies.md describes the format.
#[derive(Args, Debug)]
pub struct Test {
    /// Files of cases
    #[arg(value_name = "CASES.yaml", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputFormat,
}

/// What became of one case over one wire.
#[derive(Serialize)]
struct Tested {
    file: String,
    line: usize,
    case: String,
    wire: &'static str,
    passed: bool,
    mismatches: Vec<String>,
}

impl Test {
    /// Runs the command.
    ///
    /// # Errors
    /// A file or folder that cannot be read.
    pub fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut tested = Vec::new();
        for path in &self.files {
            let file = CaseFile::read(path)?;
            tested.extend(runtime.block_on(run_file(&file)).with_context(|| format!("cannot run `{}`", path.display()))?);
        }
        let failed = tested.iter().filter(|tested| !tested.passed).count();
        let mut output = Output::stdout();
        match self.output.format {
            Format::Json => output.json(&tested)?,
            Format::Text => print(&mut output, &tested, failed)?,
        }
        Ok(if failed == 0 { Outcome::Yes } else { Outcome::No })
    }
}

async fn run_file(file: &CaseFile) -> anyhow::Result<Vec<Tested>> {
    let rehearsal = Rehearsal::of(file).await?;
    let mut tested = Vec::new();
    for case in &file.cases {
        for wire in &case.wires {
            let mismatches = case.expect.mismatches(&rehearsal.run(case, *wire).await?);
            tested.push(Tested {
                file: file.path.display().to_string(),
                line: case.line,
                case: case.name.clone(),
                wire: wire.label(),
                passed: mismatches.is_empty(),
                mismatches: mismatches.iter().map(Mismatch::to_string).collect(),
            });
        }
    }
    Ok(tested)
}

fn print(output: &mut Output, tested: &[Tested], failed: usize) -> std::io::Result<()> {
    for Tested { file, line, case, wire, mismatches, .. } in tested.iter().filter(|tested| !tested.passed) {
        let mark = output.paint(Tone::Bad, "FAIL");
        output.line(format!("{mark}  {file}:{line}  {case} ({wire})"))?;
        for mismatch in mismatches {
            output.line(format!("      {mismatch}"))?;
        }
    }
    let tone = if failed == 0 { Tone::Good } else { Tone::Bad };
    let summary = output.paint(tone, format!("{} passed, {failed} failed", tested.len() - failed));
    output.line(summary)
}
