//! Public keys, parsed once, and the one place where a signature is verified (aws-lc-rs).
//!
//! Must not know how keys are fetched or when.

use std::{cell::OnceCell, collections::HashMap, fmt, sync::Arc, time::Instant};

use aws_lc_rs::{
    digest::{self, Digest},
    signature::{self, ParsedPublicKey},
};

use super::Map;

/// A signature algorithm of RFC 7518 or RFC 8037 that is taken here: asymmetric ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the registry's own")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: &'static [Self] =
        &[Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::PS384, Self::PS512, Self::ES256, Self::ES384, Self::EdDSA];

    /// The `alg` value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this `alg` value; `none` and every symmetric one are unknown here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// Its implementation in aws-lc.
    #[must_use]
    pub fn verification(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::EdDSA => &signature::ED25519,
        }
    }

    /// The hash whose digest it signs; `None` for EdDSA, which signs the message itself.
    const fn hash(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 => Some(&digest::SHA256),
            Self::RS384 | Self::PS384 | Self::ES384 => Some(&digest::SHA384),
            Self::RS512 | Self::PS512 => Some(&digest::SHA512),
            Self::EdDSA => None,
        }
    }
}

/// A message that is signed with an algorithm. It is hashed once, whoever needs its digest.
pub(super) struct Signed<'m> {
    pub(super) algorithm: Algorithm,
    pub(super) message: &'m [u8],
    digest: OnceCell<Digest>,
}

impl<'m> Signed<'m> {
    pub(super) const fn new(algorithm: Algorithm, message: &'m [u8]) -> Self {
        Self { algorithm, message, digest: OnceCell::new() }
    }

    /// Its digest, made with the algorithm's own hash: two messages of one algorithm never have the same.
    pub(super) fn digest(&self) -> &Digest {
        self.digest.get_or_init(|| digest::digest(self.algorithm.hash().unwrap_or(&digest::SHA256), self.message))
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// These algorithms.
    pub fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        Self(algorithms.into_iter().fold(0, |set, algorithm| set | 1 << algorithm as u16))
    }

    /// Whether `algorithm` is one of them.
    #[must_use]
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }
}

/// Which keys these are: the issuer **and** where they come from, so that nobody can lend a key set to another's issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeySetId {
    /// Found through an OpenID configuration document.
    Discovery {
        /// The issuer the document must name. Differs from a token's `iss` nowhere.
        issuer: Box<str>,
        /// The document's exact URL.
        url: Box<str>,
    },
    /// A JWKS document (RFC 7517).
    Jwks {
        /// The issuer the keys are taken to be of.
        issuer: Box<str>,
        /// The document's exact URL.
        url: Box<str>,
    },
    /// A JWKS document in a ConfigMap.
    ConfigMap {
        /// The issuer the keys are taken to be of.
        issuer: Box<str>,
        /// The ConfigMap's namespace.
        namespace: Box<str>,
        /// The ConfigMap's name.
        name: Box<str>,
        /// The key in its data.
        key: Box<str>,
    },
}

impl KeySetId {
    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match self {
            Self::Discovery { issuer, .. } | Self::Jwks { issuer, .. } | Self::ConfigMap { issuer, .. } => issuer,
        }
    }
}

/// Where it comes from: the metric label and what logs say.
impl fmt::Display for KeySetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery { url, .. } | Self::Jwks { url, .. } => f.write_str(url),
            Self::ConfigMap { namespace, name, key, .. } => write!(f, "configmap:{namespace}/{name}/{key}"),
        }
    }
}

/// Where a sender's keys are found at check time.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In the configuration itself (a ConfigMap): always as new as the policy.
    Given(Arc<KeySetId>, Arc<KeySet>),
    /// In the ring that the key keeper maintains.
    Fetched(Arc<KeySetId>),
}

impl KeySource {
    /// Which keys these are.
    #[must_use]
    pub fn id(&self) -> &Arc<KeySetId> {
        match self {
            Self::Given(id, _) | Self::Fetched(id) => id,
        }
    }
}

/// One public key, parsed once for each algorithm it may be used with.
pub struct VerifyingKey(Box<[(Algorithm, ParsedPublicKey)]>);

impl VerifyingKey {
    /// A key from its encoded form: DER `SubjectPublicKeyInfo` or PKCS#1 for RSA, the uncompressed point for EC, 32 bytes for Ed25519.
    /// `None` if the bytes are no such key or `algorithms` is empty. Size limits are the caller's ([`super::KeySet`] is built by the JWKS reader).
    #[must_use]
    pub fn new(algorithms: &[Algorithm], encoded: &[u8]) -> Option<Self> {
        let parsed: Option<Box<[_]>> =
            algorithms.iter().map(|&algorithm| Some((algorithm, ParsedPublicKey::new(algorithm.verification(), encoded).ok()?))).collect();
        parsed.filter(|parsed| !parsed.is_empty()).map(Self)
    }

    /// Whether it may be used with `algorithm`.
    #[must_use]
    pub fn serves(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|(served, _)| *served == algorithm)
    }

    /// Whether `signature` is this key's over `message` with `algorithm`. `false` for an algorithm the key does not serve.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifies_signed(&Signed::new(algorithm, message), signature)
    }

    /// Whether `signature` is this key's over `signed`. `false` for an algorithm the key does not serve.
    pub(super) fn verifies_signed(&self, signed: &Signed<'_>, signature: &[u8]) -> bool {
        let verifies = |key: &ParsedPublicKey| match signed.algorithm.hash() {
            Some(_) => key.verify_digest_sig(signed.digest(), signature).is_ok(),
            None => key.verify_sig(signed.message, signature).is_ok(),
        };
        self.0.iter().any(|(served, key)| *served == signed.algorithm && verifies(key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(algorithm, _)| algorithm)).finish()
    }
}

/// The usable keys of one JWKS document, by `kid`.
#[derive(Debug, Default)]
pub struct KeySet(Map<Box<str>, VerifyingKey>);

impl KeySet {
    /// A set of these keys.
    #[must_use]
    pub fn new(keys: HashMap<Box<str>, VerifyingKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// The key with this `kid`.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)
    }

    /// Every `kid`, in no order.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is known of one fetched key set now.
#[derive(Clone, Debug)]
pub struct FetchedKeys {
    /// The last good keys; absent from the ring altogether before the first success and after the staleness bound.
    pub keys: Arc<KeySet>,
    /// When the fetch that brought them **began**, on the monotonic clock.
    pub fetch_began: Instant,
}

/// All fetched key sets, as one snapshot. A set that is not in it has no usable keys (`keys_unavailable`).
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Map<Arc<KeySetId>, FetchedKeys>);

impl KeyRing {
    /// A ring of these sets.
    #[must_use]
    pub fn new(sets: HashMap<Arc<KeySetId>, FetchedKeys>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// The keys of one set.
    #[must_use]
    pub fn get(&self, id: &KeySetId) -> Option<&FetchedKeys> {
        self.0.get(id)
    }

    /// A ring in which `id` has these keys (or, with `None`, none), the others as here.
    #[must_use]
    pub fn with(&self, id: &Arc<KeySetId>, keys: Option<FetchedKeys>) -> Self {
        let mut sets = self.0.clone();
        match keys {
            Some(keys) => sets.insert(Arc::clone(id), keys),
            None => sets.remove(id),
        };
        Self(sets)
    }
}

#[cfg(test)]
mod tests;
