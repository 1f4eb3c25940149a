//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strict: no padding, no white space, no loose bits.
//!
//! Ours, since half of what a refused token costs is this; a test holds it against the `base64` crate.

/// Marks a byte that is no digit; digits have the two highest bits clear.
const NO_DIGIT: u8 = 0x80;

/// The value of each byte as a digit.
const DIGITS: [u8; 256] = digits();

const fn digits() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < alphabet.len() {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated by the compiler; there are 64 digits")]
        {
            digits[alphabet[value] as usize] = value as u8;
        }
        value += 1;
    }
    digits
}

/// Length of what `encoded` characters decode to; `None` if no text has that length.
pub(super) const fn decoded_len(encoded: usize) -> Option<usize> {
    match encoded % 4 {
        0 => Some(encoded / 4 * 3),
        2 => Some(encoded / 4 * 3 + 1),
        3 => Some(encoded / 4 * 3 + 2),
        _ => None,
    }
}

/// Decodes `encoded` into the beginning of `decoded` and returns what was written; `None` if it is not strict base64url or does not fit.
pub(super) fn decode<'d>(encoded: &[u8], decoded: &'d mut [u8]) -> Option<&'d [u8]> {
    let decoded = decoded.get_mut(..decoded_len(encoded.len())?)?;
    let (quads, rest) = encoded.as_chunks::<4>();
    let mut bad = 0;
    let mut triples = decoded.chunks_exact_mut(3);
    for (quad, triple) in quads.iter().zip(&mut triples) {
        let [a, b, c, d] = quad.map(digit);
        bad |= a | b | c | d;
        triple.copy_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
    }
    match (rest, triples.into_remainder()) {
        ([], []) => {}
        ([a, b], [first]) => {
            let (a, b) = (digit(*a), digit(*b));
            bad |= a | b | loose(b & 0b1111);
            *first = a << 2 | b >> 4;
        }
        ([a, b, c], [first, second]) => {
            let (a, b, c) = (digit(*a), digit(*b), digit(*c));
            bad |= a | b | c | loose(c & 0b11);
            *first = a << 2 | b >> 4;
            *second = b << 4 | c >> 2;
        }
        _ => return None,
    }
    (bad & NO_DIGIT == 0).then_some(&*decoded)
}

#[allow(clippy::indexing_slicing, reason = "a byte is always below 256")]
fn digit(byte: u8) -> u8 {
    DIGITS[usize::from(byte)]
}

/// Marks bits that would be lost: a second spelling of the same bytes.
fn loose(bits: u8) -> u8 {
    if bits == 0 { 0 } else { NO_DIGIT }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn agrees(text: &[u8]) {
        let mut buffer = [0; 256];
        assert_eq!(decode(text, &mut buffer).map(<[u8]>::to_vec), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
    }

    #[test]
    fn every_short_text_decodes_as_the_library_says() {
        agrees(b"");
        for a in 0..=255 {
            agrees(&[a]);
            agrees(&[b'A', a]);
            agrees(&[a, b'A']);
            agrees(&[b'A', b'A', a]);
            agrees(&[b'A', b'A', b'A', a]);
        }
        assert_eq!(decode(b"AAAA", &mut [0; 2]), None);
    }

    proptest! {
        #[test]
        fn every_text_decodes_as_the_library_says(text in "[A-Za-z0-9_-]{0,80}[A-Za-z0-9_=+/ -]?", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            agrees(text.as_bytes());
            agrees(&bytes);
            agrees(URL_SAFE_NO_PAD.encode(&bytes).as_bytes());
        }
    }
}
