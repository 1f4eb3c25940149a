//! `ringfence hash-key`: what a policy keeps of a callback key.

use std::{io, path::PathBuf};

use anyhow::bail;
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Outcome, callback_key, output::Output};

/// Random bytes of a generated key: as strong as its digest.
const GENERATED_BYTES: usize = 32;

/// Make or check a callback key, and print its SHA-256 for a policy or a Secret that holds it
///
/// The key is read from a file, from standard input, or made (`--generate`). A policy can carry the printed digest in
/// `apiKey.sha256`, so that nobody who reads the policy learns the key; or the key itself stays in a Secret of the type
/// `ringfence.dev/callback-key`, which `-o yaml` prints.
#[derive(Args, Debug)]
pub struct HashKey {
    /// File that holds the key; `-` or nothing = standard input
    #[arg(value_name = "FILE", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make a new random key of 256 bits
    #[arg(long)]
    generate: bool,
    /// Print text, JSON, or the YAML of a Secret
    #[arg(short = 'o', long = "output", value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    format: KeyFormat,
    /// Name of the Secret
    #[arg(long, value_name = "NAME", default_value = "callback-key", help_heading = "Output")]
    name: String,
    /// Namespace of the Secret
    #[arg(long, value_name = "NAMESPACE", default_value = "default", help_heading = "Output")]
    namespace: String,
    /// Key in the Secret's data
    #[arg(long, value_name = "KEY", default_value = "current", help_heading = "Output")]
    key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeyFormat {
    /// The digest, and a generated key.
    Text,
    /// The same as JSON.
    Json,
    /// A Secret with the key.
    Yaml,
}

impl HashKey {
    /// Runs the command.
    ///
    /// # Errors
    /// When the key cannot be read, or is none.
    pub fn run(self) -> anyhow::Result<Outcome> {
        let key = if self.generate { generate()? } else { callback_key::read(self.file.as_deref())? };
        self.print(&key, &mut Output::stdout())?;
        Ok(Outcome::Yes)
    }

    fn print(&self, key: &str, output: &mut Output) -> io::Result<()> {
        let sha256 = hex(digest(&SHA256, key.as_bytes()).as_ref());
        match self.format {
            KeyFormat::Text if self.generate => {
                output.line(format_args!("key:    {key}"))?;
                output.line(format_args!("sha256: {sha256}"))
            }
            KeyFormat::Text => output.line(sha256),
            KeyFormat::Json if self.generate => output.json(&json!({"key": key, "sha256": sha256})),
            KeyFormat::Json => output.json(&json!({"sha256": sha256})),
            KeyFormat::Yaml => output.line(self.secret(key)),
        }
    }

    /// A key is free of everything that YAML treats in a special way inside quotes.
    fn secret(&self, key: &str) -> String {
        let Self { name, namespace, key: entry, .. } = self;
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {}, namespace: {}}}\ntype: ringfence.dev/callback-key\nstringData:\n  {}: \"{key}\"",
            json!(name),
            json!(namespace),
            json!(entry)
        )
    }
}

fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; GENERATED_BYTES];
    if rand::fill(&mut bytes).is_err() {
        bail!("the system gives no random numbers");
    }
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn generated_keys_are_keys_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        callback_key::check(&one).unwrap();
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
    }

    #[test]
    fn the_digest_is_sha_256_in_hexadecimal() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(hex(digest(&SHA256, b"abc").as_ref()), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
