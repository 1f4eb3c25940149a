//! The header of a token (RFC 7515 section 4): its algorithm and the name of its key.
//!
//! All tokens of one key begin with the same header. The one that a thread has read last is remembered, so that the next token with it costs a
//! comparison and a copy; what is remembered is what reading it again would say.

use std::{borrow::Cow, cell::RefCell};

use super::super::{Algorithm, Reason, base64url, json::Scanner, piece::Piece};

/// Longest `kid`, in bytes.
const MAX_KID: usize = 256;
/// Longest header that is remembered, in characters.
const MAX_REMEMBERED: usize = 512;
/// Header parameters that change what is signed or bring their own key: none is ever needed here (RFC 7515 section 4.1, RFC 7797).
const FORBIDDEN_PARAMETERS: &[&str] = &["crit", "b64", "zip", "jwk", "jku", "x5u", "x5c"];

/// What of a header matters; `kid` lies within its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoseHeader {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Piece,
}

/// A header that was found good.
#[derive(Default)]
struct Remembered {
    encoded: Vec<u8>,
    text: Vec<u8>,
    header: Option<JoseHeader>,
}

thread_local! {
    static LAST: RefCell<Remembered> = RefCell::default();
}

impl JoseHeader {
    /// Decodes `encoded` into `room`, which has just the length of the text, and reads it.
    ///
    /// # Errors
    /// `token_malformed`, or `algorithm_refused` for an `alg` that is not asymmetric.
    pub(super) fn read(encoded: &[u8], room: &mut [u8]) -> Result<Self, Reason> {
        LAST.with_borrow_mut(|last| {
            if let Some(header) = last.header.as_ref().filter(|_| last.encoded == encoded && last.text.len() == room.len()) {
                room.copy_from_slice(&last.text);
                return Ok(header.clone());
            }
            let (text, header) = Self::read_anew(encoded, room)?;
            last.remember(encoded, text, &header);
            Ok(header)
        })
    }

    fn read_anew<'r>(encoded: &[u8], room: &'r mut [u8]) -> Result<(&'r str, Self), Reason> {
        let text = base64url::decode(encoded, room).ok_or(Reason::TokenMalformed)?;
        let text = std::str::from_utf8(text).map_err(|_| Reason::TokenMalformed)?;
        let (mut algorithm, mut kid): (Option<Cow<'_, str>>, Option<Piece>) = (None, None);
        let read = Scanner::read_object(text, |name, scanner| {
            match name {
                "alg" => algorithm = Some(scanner.string()?),
                "kid" => kid = Some(scanner.piece()?),
                name if FORBIDDEN_PARAMETERS.contains(&name) => return None,
                _ => scanner.skip()?,
            }
            Some(())
        });
        let algorithm = read.and(algorithm).ok_or(Reason::TokenMalformed)?;
        let algorithm = Algorithm::from_name(&algorithm).ok_or(Reason::AlgorithmRefused)?;
        let kid = kid.filter(|kid| (1..=MAX_KID).contains(&kid.of(text).len())).ok_or(Reason::TokenMalformed)?;
        Ok((text, Self { algorithm, kid }))
    }
}

impl Remembered {
    fn remember(&mut self, encoded: &[u8], text: &str, header: &JoseHeader) {
        if encoded.len() > MAX_REMEMBERED {
            return;
        }
        // FAIL-CLOSED: what is written in part is not remembered.
        self.header = None;
        self.encoded.clear();
        self.encoded.extend_from_slice(encoded);
        self.text.clear();
        self.text.extend_from_slice(text.as_bytes());
        self.header = Some(header.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn read(header: &str, how: impl Fn(&[u8], &mut [u8]) -> Result<JoseHeader, Reason>) -> Result<(JoseHeader, Vec<u8>), Reason> {
        let encoded = URL_SAFE_NO_PAD.encode(header);
        let mut room = vec![0; header.len()];
        how(encoded.as_bytes(), &mut room).map(|header| (header, room))
    }

    fn some_header() -> impl Strategy<Value = String> {
        let kid = prop_oneof!["[a-c]{0,2}", Just("k".repeat(256)), Just("k".repeat(257)), Just("k".repeat(600)), Just(r"\u006b".to_owned())];
        let algorithm = select(vec!["RS256", "ES256", "HS256", "none"]);
        (algorithm, kid, select(vec!["", r#","crit":["exp"]"#, r#","typ":"JWT""#, " "]))
            .prop_map(|(algorithm, kid, more)| format!(r#"{{"alg":"{algorithm}","kid":"{kid}"{more}}}"#))
    }

    proptest! {
        /// Whatever was read before.
        #[test]
        fn what_is_remembered_is_what_reading_anew_says(headers in vec(some_header(), 1..12)) {
            for header in headers {
                let anew = read(&header, |encoded, room| JoseHeader::read_anew(encoded, room).map(|(_, header)| header));
                for _ in 0..2 {
                    prop_assert_eq!(read(&header, JoseHeader::read), anew.clone());
                }
            }
        }
    }

    #[test]
    fn a_header_that_was_refused_is_not_remembered_and_a_long_one_neither() {
        let good = r#"{"alg":"RS256","kid":"k"}"#;
        let is_remembered = |header: &str| LAST.with_borrow(|last| last.encoded == URL_SAFE_NO_PAD.encode(header).as_bytes());
        read(good, JoseHeader::read).unwrap();
        assert!(is_remembered(good));
        for other in [r#"{"alg":"none","kid":"k"}"#, r#"{"alg":"RS256"}"#, &format!(r#"{{"alg":"RS256","kid":"l","x":"{}"}}"#, "x".repeat(512))] {
            let _ = read(other, JoseHeader::read);
            assert!(is_remembered(good) && !is_remembered(other));
        }
    }
}
