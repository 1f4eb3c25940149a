//! Reads a JWKS document (RFC 7517) key by key: what can be used becomes a [`KeySet`], what cannot is named with the reason.
//!
//! Must not know where the document came from: it may be an issuer's answer or a ConfigMap, and is believed in neither case.

mod json;

use std::collections::HashMap;

use aws_lc_rs::{encoding::AsDer, signature::RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Algorithm, KeySet, VerifyingKey};
use json::Json;

/// Longest document that is read, in bytes.
pub const MAX_JWKS: usize = 256 * 1024;
/// Most keys in a document.
pub const MAX_KEYS: usize = 64;
/// Longest `kid`, in bytes.
const MAX_KID: usize = 256;
/// RSA modulus sizes that are taken, in bits: smaller ones are weak, larger ones make every check dear.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The one RSA exponent that is taken: 65537.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// What a document held.
#[derive(Debug, Default)]
pub struct KeySetReading {
    /// The usable keys; may be none.
    pub keys: KeySet,
    /// The others, in the document's order.
    pub rejected: Vec<RejectedKey>,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedKey {
    /// Its `kid`, if it has one that can be read. As the document spells it: escape it before a person sees it.
    pub kid: Option<String>,
    /// Why not, for people. Holds nothing of the document but names known to this program.
    pub why: String,
}

/// A document that is no key set at all. Says nothing of its content but a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// It is too long.
    #[error("the document has more than {MAX_JWKS} bytes; a key set is at most that long")]
    TooLarge,
    /// There is nothing in it.
    #[error("the document is empty; it must be a JWKS document (RFC 7517)")]
    Empty,
    /// It looks like a page for people.
    #[error("the document is HTML or XML, not JSON; check that the URL names the JWKS document itself")]
    Markup,
    /// It is not JSON.
    #[error("the document is not JSON at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It has no list of keys.
    #[error("the document has no list `keys`; it must be a JWKS document (RFC 7517)")]
    NoKeys,
    /// It could be read in two ways.
    #[error("the document has the member `keys` more than once")]
    RepeatedMember,
    /// It has too many keys.
    #[error("the document has {0} keys; at most {MAX_KEYS} are read")]
    TooManyKeys(usize),
}

/// Reads a JWKS document.
///
/// Usable are RSA keys of 2048 to 4096 bits with the exponent 65537, P-256, P-384 and Ed25519 keys that may verify signatures (`use`, `key_ops`,
/// `alg`) and have a `kid` of their own. An RSA key without `alg` serves RS* and PS*. One unusable key spoils no other.
///
/// # Errors
/// [`JwksError`] for a document that is no key set. A key set without one usable key is no error: look at [`KeySetReading::keys`].
pub fn read_key_set(document: &[u8]) -> Result<KeySetReading, JwksError> {
    let document = parse_document(document)?;
    let entries = list_keys(&document)?;
    let mut uses: HashMap<&str, usize> = HashMap::new();
    // Of a `kid` that is there twice, other readers take the first or the last.
    for kid in entries.iter().flat_map(|entry| entry.texts("kid")) {
        *uses.entry(kid).or_default() += 1;
    }
    let mut keys = HashMap::new();
    let mut rejected = Vec::new();
    for entry in entries {
        match read_key(entry, &uses) {
            Ok((kid, key)) => drop(keys.insert(Box::from(kid), key)),
            Err(why) => {
                let kid = entry.text("kid").ok().flatten().filter(|kid| kid.len() <= MAX_KID).map(str::to_owned);
                rejected.push(RejectedKey { kid, why });
            }
        }
    }
    Ok(KeySetReading { keys: KeySet::new(keys), rejected })
}

fn parse_document(document: &[u8]) -> Result<Json, JwksError> {
    if document.len() > MAX_JWKS {
        return Err(JwksError::TooLarge);
    }
    match document.trim_ascii_start().first() {
        None => Err(JwksError::Empty),
        Some(b'<') => Err(JwksError::Markup),
        Some(_) => Json::parse(document).map_err(|error| JwksError::NotJson { line: error.line(), column: error.column() }),
    }
}

/// The members of `keys`, unread.
fn list_keys(document: &Json) -> Result<&[Json], JwksError> {
    match document.member("keys") {
        Ok(Some(Json::List(entries))) if entries.len() > MAX_KEYS => Err(JwksError::TooManyKeys(entries.len())),
        Ok(Some(Json::List(entries))) => Ok(entries),
        Ok(_) => Err(JwksError::NoKeys),
        Err(_) => Err(JwksError::RepeatedMember),
    }
}

/// One usable key, or why it is none. `uses` counts every `kid` of the document.
fn read_key<'e>(entry: &'e Json, uses: &HashMap<&str, usize>) -> Result<(&'e str, VerifyingKey), String> {
    if !matches!(entry, Json::Object(_)) {
        return Err("it is not a JSON object".to_owned());
    }
    if let Some(member) = entry.repeated_member() {
        // The member's name is the document's own text: only names that this program knows are repeated to people.
        let known = ["kty", "kid", "use", "key_ops", "alg", "crv", "n", "e", "x", "y"].contains(&member);
        return Err(if known { format!("the member `{member}` is there more than once") } else { "a member is there more than once".to_owned() });
    }
    let kid = entry.text("kid")?.ok_or("it has no `kid`")?;
    if kid.is_empty() || kid.len() > MAX_KID {
        return Err(format!("its `kid` must have 1 to {MAX_KID} bytes"));
    }
    if uses.get(kid).is_some_and(|count| *count > 1) {
        return Err("its `kid` is that of another key, too".to_owned());
    }
    check_purpose(entry)?;
    let (algorithms, encoded) = read_material(entry)?;
    let key = VerifyingKey::new(&algorithms, &encoded).ok_or("its numbers are not a public key")?;
    Ok((kid, key))
}

/// RFC 7517 sections 4.2 and 4.3: the key may verify signatures.
fn check_purpose(entry: &Json) -> Result<(), String> {
    if entry.text("use")?.is_some_and(|purpose| purpose != "sig") {
        return Err("its `use` is not `sig`".to_owned());
    }
    match entry.member("key_ops")? {
        None => {}
        Some(Json::List(operations)) if operations.iter().any(|operation| matches!(operation, Json::Text(text) if text == "verify")) => {}
        Some(Json::List(_)) => return Err("its `key_ops` do not hold `verify`".to_owned()),
        Some(_) => return Err("its `key_ops` is not a list".to_owned()),
    }
    if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|private| matches!(entry.member(private), Ok(Some(_)) | Err(_))) {
        return Err("its private part is in the document: whoever reads it can sign".to_owned());
    }
    Ok(())
}

/// The algorithms a key serves and its encoded form, as [`VerifyingKey::new`] takes them.
fn read_material(entry: &Json) -> Result<(Vec<Algorithm>, Vec<u8>), String> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let curve = entry.text("crv")?;
    let (family, encoded): (&[Algorithm], _) = match (entry.text("kty")?.ok_or("it has no `kty`")?, curve) {
        ("RSA", _) => (&[RS256, RS384, RS512, PS256, PS384, PS512], encode_rsa(entry)?),
        ("EC", Some("P-256")) => (&[ES256], encode_point(entry, 32)?),
        ("EC", Some("P-384")) => (&[ES384], encode_point(entry, 48)?),
        ("EC", _) => return Err("its `crv` is neither `P-256` nor `P-384`".to_owned()),
        ("OKP", Some("Ed25519")) => (&[EdDSA], coordinate(entry, "x", 32)?),
        ("OKP", _) => return Err("its `crv` is not `Ed25519`".to_owned()),
        ("oct", _) => return Err("it is a symmetric key, which can sign as well as verify".to_owned()),
        _ => return Err("its `kty` is none of `RSA`, `EC`, `OKP`".to_owned()),
    };
    let algorithms = match entry.text("alg")? {
        None => family.to_vec(),
        Some(name) => vec![
            Algorithm::from_name(name)
                .filter(|algorithm| family.contains(algorithm))
                .ok_or("its `alg` is not a signature algorithm for such a key that is taken here")?,
        ],
    };
    Ok((algorithms, encoded))
}

/// RFC 7518 section 6.3.1, to a DER `SubjectPublicKeyInfo`.
fn encode_rsa(entry: &Json) -> Result<Vec<u8>, String> {
    let (n, e) = (number(entry, "n")?, number(entry, "e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("its modulus has {bits} bits; {} to {} are taken", RSA_BITS.start(), RSA_BITS.end()));
    }
    if e != RSA_EXPONENT {
        return Err("its exponent is not 65537".to_owned());
    }
    let der = RsaPublicKeyComponents { n, e }.as_der().map_err(|_| "its numbers are not a public key")?;
    Ok(der.as_ref().to_vec())
}

/// RFC 7518 section 6.2.1, to an uncompressed point; aws-lc checks that it lies on the curve.
fn encode_point(entry: &Json, size: usize) -> Result<Vec<u8>, String> {
    Ok([vec![4], coordinate(entry, "x", size)?, coordinate(entry, "y", size)?].concat())
}

/// A big-endian number. Leading zeros, which RFC 7518 section 2 forbids and some libraries write, change nothing.
fn number(entry: &Json, name: &str) -> Result<Vec<u8>, String> {
    let bytes = octets(entry, name)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// A value of exactly `size` bytes.
fn coordinate(entry: &Json, name: &str, size: usize) -> Result<Vec<u8>, String> {
    let bytes = octets(entry, name)?;
    if bytes.len() == size { Ok(bytes) } else { Err(format!("its `{name}` must have {size} bytes")) }
}

fn octets(entry: &Json, name: &str) -> Result<Vec<u8>, String> {
    let text = entry.text(name)?.ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is not base64url without padding"))
}

#[cfg(test)]
mod tests;
