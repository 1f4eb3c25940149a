//! The policies that most tests use, and what they know.

#[cfg(feature = "real-proxies")]
use std::{fs, path::Path};

use ringfence::issuer::{DEMO_TENANT, Issuer};

/// The audience of `contact-center`.
pub const AUDIENCE: &str = "7f0c2c2e-6d1f-4f0a-9b7e-2f6b8f0d5a11";
/// Another one, from its ConfigMap.
pub const SECOND_AUDIENCE: &str = "3d1c0e4e-9d4c-4b4b-8d0a-3a2f8a1f0b22";
/// Its newer API key.
pub const KEY: &str = "current-key-0123456789";
/// Its older one.
pub const PREVIOUS_KEY: &str = "previous-key-0123456789";
/// What URLs below `/signed` are signed with.
pub const SIGNING_KEY: &str = "signing-key-0123456789-0123456789";
/// The host of all of them.
pub const HOST: &str = "callbacks.contoso.com";
/// A host under a floor, where everything else is Shadow.
pub const FLOOR: &str = "floor.contoso.com";

/// What Event Grid's tokens are for.
pub const EVENT_AUDIENCE: &str = "api://contoso-events";
/// What a partner's tokens are for, and the application they must name.
pub const PARTNER: (&str, &str) = ("partner-callbacks", "partner-app");

/// The policies with `issuer` as everybody's issuer.
pub fn policies(issuer: &Issuer) -> String {
    let (v1, v2, keys) = issuer.authority(DEMO_TENANT);
    include_str!("../fixtures/policies.yaml")
        .replace("DARK_DISCOVERY", "http://127.0.0.1:1/nobody-listens-here")
        .replace("ISSUER", issuer.issuer())
        .replace("DISCOVERY", &issuer.discovery_url())
        .replace("ENTRA_TENANT", DEMO_TENANT)
        .replace("ENTRA_V1", &v1)
        .replace("ENTRA_V2", &v2)
        .replace("ENTRA_KEYS", &keys)
}

/// Puts a whole file in place at once.
#[cfg(feature = "real-proxies")]
pub fn put(folder: &Path, name: &str, text: &str) {
    let hidden = folder.join(format!(".{name}.new"));
    fs::write(&hidden, text).unwrap();
    fs::rename(hidden, folder.join(name)).unwrap();
}

/// A policy that nobody else touches, open to anybody from loopback with the key `generation-key-NUMBER` (of eight digits).
#[cfg(feature = "real-proxies")]
pub fn generation(number: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\ntype: ringfence.dev/callback-key\nmetadata: {{name: generation, namespace: contoso}}\n\
         stringData: {{key: generation-key-{number:08}}}\n---\n\
         apiVersion: ringfence.dev/v1alpha1\nkind: CallbackPolicy\nmetadata: {{name: generation, namespace: contoso}}\n\
         spec:\n  match: {{hosts: [generations.contoso.com]}}\n  senders:\n    - name: anyone\n      type: NoToken\n      noToken: {{}}\n      \
         apiKey: {{query: key, secretRefs: [{{name: generation, key: key}}]}}\n"
    )
}
