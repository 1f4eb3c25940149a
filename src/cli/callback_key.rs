//! A callback key as commands take it: from a file or standard input, never from the command line, where others on the machine could read it.

use std::{
    fs, io,
    io::{IsTerminal, Read, Write},
    path::Path,
};

use anyhow::{Context, bail};

/// Shortest and longest key, in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=256;
const CHARACTERS: &str = "A-Z a-z 0-9 - . _ ~ + / =";

/// Reads a key from `file`; `-` or none = standard input. One line feed at its end is taken off: editors and `echo` add it, and no key
/// contains one.
pub(super) fn read(file: Option<&Path>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?,
        None => {
            if io::stdin().is_terminal() {
                note("type the key and press enter, then Ctrl-D");
            }
            io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        }
    }
    let Ok(mut key) = String::from_utf8(bytes) else { bail!("the key is not text; a key is made of {CHARACTERS}") };
    if key.ends_with('\n') {
        key.pop();
        if key.ends_with('\r') {
            key.pop();
        }
        note("one line feed at the end was left out: it is not part of the key");
    }
    check(&key)?;
    Ok(key)
}

/// Whether `key` can be a callback key. Says what is wrong without quoting the key.
pub(super) fn check(key: &str) -> anyhow::Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if let Some((at, c)) = key.chars().enumerate().find(|(_, c)| !is_allowed(*c)) {
        let what = if c.is_whitespace() { "white space" } else { "a character that no key may have" };
        bail!("there is {what} at position {} of the key; a key is made of {CHARACTERS}", at + 1);
    }
    if !LENGTH.contains(&key.len()) {
        bail!(
            "the key has {} characters; it must have {} to {}: make one with `ringfence hash-key --generate`",
            key.len(),
            LENGTH.start(),
            LENGTH.end()
        );
    }
    Ok(())
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_are_checked_and_never_quoted() {
        for (key, told) in [
            ("short", "5 characters"),
            ("with a space in the middle", "white space at position 5"),
            ("ends-with-a-line-feed\n", "white space at position 22"),
            ("ümlaut-ümlaut-ümlaut", "a character that no key may have at position 1"),
            (&"x".repeat(257), "257 characters"),
        ] {
            let message = check(key).unwrap_err().to_string();
            assert!(message.contains(told), "{message}");
            assert!(!message.contains(key.trim()), "{message}");
        }
        for key in ["0123456789abcdef", "aZ09-._~+/=aZ09-", &"x".repeat(256)] {
            check(key).unwrap();
        }
    }
}
