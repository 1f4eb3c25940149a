//! A key that signs with one algorithm, and its public half as a JWK.

use aws_lc_rs::{
    digest,
    encoding::AsDer,
    hmac, rand,
    rsa::KeySize,
    signature::{
        self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
        RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_core::decide::Algorithm;
use serde_json::{Value, json};

use super::IssuerError;

/// A new key under the `kid` that its public half gives it.
pub(super) struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    /// 2048 bits.
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl Pair {
    fn generate(algorithm: Algorithm) -> Result<Self, IssuerError> {
        let rsa = |encoding| Ok(Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| IssuerError::Crypto)?, encoding));
        let ec = |algorithm: &'static EcdsaSigningAlgorithm, curve| {
            Ok(Self::Ec(EcdsaKeyPair::generate(algorithm).map_err(|_| IssuerError::Crypto)?, curve))
        };
        match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            Algorithm::ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Self::Ed25519).map_err(|_| IssuerError::Crypto),
        }
    }

    /// What makes this key another than every other one.
    fn public_bytes(&self) -> &[u8] {
        match self {
            Self::Rsa(pair, _) => pair.public_key().modulus().big_endian_without_leading_zero(),
            Self::Ec(pair, _) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }
}

impl SigningKey {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, IssuerError> {
        let pair = Pair::generate(algorithm)?;
        let digest = digest::digest(&digest::SHA256, pair.public_bytes());
        let kid = digest.as_ref().iter().take(20).map(|byte| format!("{byte:02X}")).collect();
        Ok(Self { kid, algorithm, pair })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half (RFC 7517, RFC 8037).
    pub(super) fn jwk(&self) -> Value {
        let (kid, alg, encode) = (&self.kid, self.algorithm.name(), |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
        match &self.pair {
            Pair::Rsa(pair, _) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus().big_endian_without_leading_zero(), key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "use": "sig", "alg": alg, "kid": kid, "n": encode(n), "e": encode(e)})
            }
            Pair::Ec(pair, curve) => {
                // An uncompressed point: 4, and the two coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at_checked(point.len() / 2).unwrap_or_default();
                json!({"kty": "EC", "crv": curve, "use": "sig", "alg": alg, "kid": kid, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": alg, "kid": kid, "x": encode(pair.public_key().as_ref())})
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let random = rand::SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(|_| IssuerError::Crypto)?;
                Ok(signature)
            }
            Pair::Ec(pair, _) => pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(|_| IssuerError::Crypto),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }

    /// HS256 with the public key as the secret: what a verifier accepts that lets the token choose the algorithm.
    pub(super) fn sign_with_public_half(&self, message: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let secret = match &self.pair {
            Pair::Rsa(pair, _) => pair.public_key().as_der().map_err(|_| IssuerError::Crypto)?.as_ref().to_vec(),
            Pair::Ec(..) | Pair::Ed25519(_) => self.pair.public_bytes().to_vec(),
        };
        Ok(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec())
    }
}
