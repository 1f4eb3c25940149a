//! An RSA key that signs, and its public half as a JWK.

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    hmac, rand,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::IssuerError;

/// A 2048-bit RSA key under the `kid` that its modulus gives it.
pub(super) struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, IssuerError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| IssuerError::Crypto)?;
        let modulus = digest::digest(&digest::SHA256, pair.public_key().modulus().big_endian_without_leading_zero());
        let kid = modulus.as_ref().iter().take(20).map(|byte| format!("{byte:02X}")).collect();
        Ok(Self { kid, pair })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half (RFC 7517).
    pub(super) fn jwk(&self) -> Value {
        let key = self.pair.public_key();
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero()),
        })
    }

    /// RS256.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message, &mut signature).map_err(|_| IssuerError::Crypto)?;
        Ok(signature)
    }

    /// HS256 with the public key as the secret: what a verifier accepts that lets the token choose the algorithm.
    pub(super) fn sign_with_public_half(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let secret = self.pair.public_key().as_der().map_err(|_| IssuerError::Crypto)?;
        Ok(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()), message).as_ref().to_vec())
    }
}
