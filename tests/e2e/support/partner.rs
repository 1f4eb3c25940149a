//! Somebody who signs tokens with a key that a ConfigMap holds, so that no issuer has to be asked.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::policies::HOST;

/// Somebody who signs with Ed25519, which costs little.
pub struct Partner(Ed25519KeyPair);

impl Partner {
    /// With a new key.
    pub fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    /// An `Authorization` of its own for each number.
    pub fn token(&self, number: usize) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let header = json!({"alg": "EdDSA", "kid": "one"});
        let claims = json!({"iss": "https://partner.example", "aud": "callbacks", "iat": now, "exp": now + 3600, "jti": number.to_string()});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())))
    }

    /// Policies of [`HOST`] that take its tokens: `full` refuses a second use below `/once` and watches for it below `/watched`, `other` refuses it
    /// below `/other`, and `free` does not look below `/free`.
    pub fn policies(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]});
        let keys = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: partner, namespace: contoso}}\ndata: {{jwks.json: '{keys}'}}\n");
        let full = policy("full", &(sender("once", "Deny") + &sender("watched", "Observe")), "{prefix: /once}, {prefix: /watched}");
        let other = policy("other", &sender("other", "Deny"), "{prefix: /other}");
        keys + &full + &other + &policy("free", &sender("free", "Allow"), "{prefix: /free}")
    }
}

fn sender(name: &str, reuse: &str) -> String {
    format!(
        "    - name: {name}
      type: JWT
      jwt:
        issuer: https://partner.example
        jwks: {{configMapRef: {{name: partner, key: jwks.json}}}}
        algorithms: [EdDSA]
        audiences: [callbacks]
        tokenReuse: {reuse}
      paths: [{{prefix: /{name}}}]
"
    )
}

fn policy(name: &str, senders: &str, paths: &str) -> String {
    format!(
        "---
apiVersion: ringfence.dev/v1alpha1
kind: CallbackPolicy
metadata: {{name: {name}, namespace: contoso}}
spec:
  match: {{hosts: [{HOST}], paths: [{paths}]}}
  senders:
{senders}"
    )
}
