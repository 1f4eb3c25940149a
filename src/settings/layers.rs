//! One name for each setting, and four places to give it: the command line, a `RINGFENCE_*` variable, a settings file, the default; in this
//! order of precedence.
//!
//! Everything ends up as the flag of that name, so that a value means the same wherever it is given. Must not know what any setting means.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, error::ErrorKind, parser::ValueSource};
use toml::de::{DeTable, DeValue};

use super::{SettingsError, nearest::nearest};

const PREFIX: &str = "RINGFENCE_";
/// Variables of the project's own tests, which the program inherits.
const TESTS_PREFIX: &str = "RINGFENCE_TEST_";
/// The setting that names the file, which cannot be given in a file.
pub(super) const FILE: &str = "settings";

/// Values of one setting, from one place.
#[derive(Debug)]
struct Given {
    values: Vec<OsString>,
    /// For messages: the variable, or the place in the file.
    place: String,
}

/// The flags that all places together amount to, for `command`, some or all of whose arguments were parsed into `matches`. A variable of a setting
/// that `ready` pairs with another one counts only where that other one is given.
///
/// # Errors
/// A name that is unknown, a value that cannot be read, each with its place.
pub(super) fn merge(
    command: &Command,
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    ready: &[(&str, &str)],
) -> Result<Vec<OsString>, SettingsError> {
    let names = names(command);
    let mut given = from_environment(&names, environment)?;
    let on_line = on_command_line(&names, matches);
    let file = on_line.get(FILE).or_else(|| given.get(FILE).map(|given| &given.values)).and_then(|values| values.first()).map(PathBuf::from);
    let in_file = file.map(|file| from_file(&names, &file)).transpose()?.unwrap_or_default();
    for (name, other) in ready {
        if !on_line.contains_key(*other) && !given.contains_key(*other) && !in_file.contains_key(*other) {
            given.remove(*name);
        }
    }
    for (name, values) in in_file {
        given.entry(name).or_insert(values);
    }
    for (name, given) in &given {
        check(command, name, given)?;
    }
    let mut flags = Vec::new();
    for name in &names {
        let values = on_line.get(name.as_str()).or_else(|| given.get(name.as_str()).map(|given| &given.values));
        flags.extend(values.into_iter().flatten().map(|value| flag(name, value)));
    }
    Ok(flags)
}

fn flag(name: &str, value: &OsStr) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

/// The names of all settings.
fn names(command: &Command) -> Vec<String> {
    command.get_arguments().filter_map(|argument| argument.get_long()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn on_command_line(names: &[String], matches: &ArgMatches) -> BTreeMap<String, Vec<OsString>> {
    let mut given = BTreeMap::new();
    for name in names {
        let id = name.replace('-', "_");
        let is_known = matches.try_contains_id(&id).is_ok();
        if is_known && matches.value_source(&id) == Some(ValueSource::CommandLine) {
            let values = matches.get_raw(&id).map(|values| values.map(OsStr::to_owned).collect()).unwrap_or_default();
            given.insert(name.clone(), values);
        }
    }
    given
}

fn from_environment(names: &[String], environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, Given>, SettingsError> {
    let known: BTreeMap<String, &String> = names.iter().map(|name| (variable(name), name)).collect();
    let mut given = BTreeMap::new();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str().filter(|variable| variable.starts_with(PREFIX) && !variable.starts_with(TESTS_PREFIX)) else {
            continue;
        };
        if let Some(name) = known.get(variable) {
            given.insert((*name).clone(), Given { values: vec![value], place: format!("the variable `{variable}`") });
        } else if !is_service_link(variable, &value) {
            let suggestion = nearest(variable, known.keys().map(String::as_str)).map(ToOwned::to_owned);
            return Err(SettingsError::Unknown { place: "the environment".to_owned(), name: variable.to_owned(), suggestion });
        }
    }
    Ok(given)
}

/// Whether Kubernetes put this variable there for a Service whose name begins with `ringfence`: `RINGFENCE_SERVICE_HOST`,
/// `RINGFENCE_PORT=tcp://...`, `RINGFENCE_PORT_9001_TCP_ADDR` and the like.
fn is_service_link(variable: &str, value: &OsStr) -> bool {
    let is_url = value.to_str().is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)));
    let is_port_of = |(_, rest): (&str, &str)| {
        let mut parts = rest.split('_');
        let number = parts.next().unwrap_or_default();
        let protocol = parts.next().unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && matches!(protocol, "TCP" | "UDP" | "SCTP")
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || variable.contains("_SERVICE_PORT_")
        || (variable.ends_with("_PORT") && is_url)
        || variable.split_once("_PORT_").is_some_and(is_port_of)
}

fn from_file(names: &[String], file: &Path) -> Result<BTreeMap<String, Given>, SettingsError> {
    let text = fs::read_to_string(file).map_err(|source| SettingsError::File { file: file.to_owned(), source })?;
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        SettingsError::NotToml { file: file.to_owned(), line, problem: error.message().to_owned() }
    })?;
    let mut given = BTreeMap::new();
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        let place = format!("{}:{}", file.display(), line_of(&text, key.span().start));
        if name == FILE {
            return Err(SettingsError::Invalid { place, name: name.to_owned(), problem: "a settings file cannot name another one".to_owned() });
        }
        if !names.iter().any(|known| known == name) {
            let suggestion = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
            return Err(SettingsError::Unknown { place, name: name.to_owned(), suggestion });
        }
        let values = scalars(value.get_ref()).ok_or_else(|| SettingsError::Invalid {
            place: place.clone(),
            name: name.to_owned(),
            problem: "write a text in quotes, a number, true, false, or a list of these".to_owned(),
        })?;
        given.insert(name.to_owned(), Given { values, place });
    }
    Ok(given)
}

/// A value, or those of a list, as they would stand on a command line.
fn scalars(value: &DeValue<'_>) -> Option<Vec<OsString>> {
    match value {
        DeValue::String(text) => Some(vec![text.as_ref().into()]),
        DeValue::Integer(number) => Some(vec![number.to_string().into()]),
        DeValue::Float(number) => Some(vec![number.to_string().into()]),
        DeValue::Boolean(value) => Some(vec![value.to_string().into()]),
        DeValue::Array(values) => values
            .iter()
            .map(|value| scalars(value.get_ref()).filter(|values| values.len() == 1))
            .collect::<Option<Vec<_>>>()
            .map(|values| values.concat()),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Reads one setting's values by themselves, so that an error can say where they were given.
fn check(command: &Command, name: &str, given: &Given) -> Result<(), SettingsError> {
    let flags = given.values.iter().map(|value| flag(name, value));
    let Err(error) = command.clone().try_get_matches_from(flags) else { return Ok(()) };
    let problem = match (error.kind(), std::error::Error::source(&error)) {
        (_, Some(source)) => source.to_string(),
        (ErrorKind::ArgumentConflict, None) => "it takes one value, not a list".to_owned(),
        (_, None) => what_clap_says(&error),
    };
    Err(SettingsError::Invalid { place: given.place.clone(), name: name.to_owned(), problem })
}

/// Its message and what may be written instead, on one line.
fn what_clap_says(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
    let said: Vec<_> = lines.filter(|line| !line.is_empty()).map(|line| line.trim_start_matches("error: ")).collect();
    said.join(" ")
}
