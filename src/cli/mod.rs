//! The command line: one file per command. Wires the rooms together; must not know how any of them works.
//!
//! A command is a `clap::Args` struct and a `run` that returns an [`Outcome`], or an error for a person.

mod callback_key;
pub mod check;
pub mod crds;
pub mod demo;
pub mod hash_key;
pub mod issuer;
pub mod keys;
pub mod output;
pub mod policies;
pub mod serve;
pub mod sign_url;
pub mod test;
pub mod token;
pub mod validate;

use std::{ffi::OsString, io::Write, process::ExitCode};

use crate::settings::Settings;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

const EXIT_CODES: &str =
    "Exit codes:\n  0  done; the answer is yes\n  1  the answer is no, or errors were found\n  2  wrong usage, or the environment does not allow it";

/// External authorization for Azure Communication Services callbacks
///
/// Ringfence stands beside Envoy, a service mesh or nginx, and answers for each callback whether its sender is genuine: from the signed
/// token, the source address and the API key in the callback's URL, under policies that are plain YAML.
#[derive(Debug, Parser)]
#[command(name = "ringfence", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Check(Box<check::Check>),
    Crds(crds::Crds),
    HashKey(hash_key::HashKey),
    /// Answer checks until told to leave
    ///
    /// Every setting may be a flag, a variable or an entry of a settings file, under the same name: `--grpc-listen`, `RINGFENCE_GRPC_LISTEN`,
    /// `grpc-listen = "..."`. A flag counts before a variable, a variable before the file.
    ///
    /// SIGTERM and SIGINT leave in order, SIGHUP reads the folder again at once.
    Serve(Box<Settings>),
    Test(test::Test),
    Issuer(issuer::IssuerCommand),
    SignUrl(sign_url::SignUrl),
    Token(token::TokenCommand),
    Keys(keys::KeysCommand),
    Validate(validate::Validate),
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the answer is yes. Exit code 0.
    Yes,
    /// The answer is no, or errors were found; they have been printed. Exit code 1.
    No,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Yes => Self::SUCCESS,
            Outcome::No => Self::FAILURE,
        }
    }
}

/// Runs the program with these arguments, the program's name first. Errors go to standard error; exit code 2.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Cli::command().try_get_matches_from(arguments).and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // `--help` and `--version` come this way, too.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli.command, &matches) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    // Settings may be given at other places, too: what counts is read from the matches.
    let flags = matches.subcommand().map_or(matches, |(_, flags)| flags);
    match command {
        Command::Check(command) => command.run(flags),
        Command::Crds(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::HashKey(command) => command.run(),
        Command::Serve(_) => serve::run(flags),
        Command::Test(command) => command.run(),
        Command::Issuer(command) => command.run(),
        Command::SignUrl(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Keys(command) => command.run(flags),
        Command::Validate(command) => command.run(flags),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
