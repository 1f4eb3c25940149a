//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strict: no padding, no white space, no loose bits.
//!
//! Ours, since half of what a refused token costs is this; a test holds it against the `base64` crate.

/// Marks a character that is no digit; three bytes never reach this high.
const NO_DIGIT: u32 = 0xff00_0000;

/// The value of each character at each of the four places of a group, shifted to where it belongs.
static PLACES: [[u32; 256]; 4] = [place(18), place(12), place(6), place(0)];

const fn place(shift: u32) -> [u32; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < alphabet.len() {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated by the compiler; there are 64 digits")]
        {
            values[alphabet[value] as usize] = (value as u32) << shift;
        }
        value += 1;
    }
    values
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
    let (groups, rest) = encoded.as_chunks::<4>();
    let (triples, last) = decoded.as_chunks_mut::<3>();
    let mut seen = 0;
    for (group, triple) in groups.iter().zip(triples) {
        let value = join(*group);
        seen |= value;
        let [_, high, middle, low] = value.to_be_bytes();
        *triple = [high, middle, low];
    }
    if let [a, b, tail @ ..] = rest {
        let value = join([*a, *b, *tail.first().unwrap_or(&b'A'), b'A']);
        let [_, bytes @ ..] = value.to_be_bytes();
        seen |= value;
        last.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        // Bits beyond the last byte would be a second spelling of the same bytes.
        let kept = 8 * last.len();
        if value << 8 << kept != 0 {
            return None;
        }
    }
    (seen & NO_DIGIT == 0).then_some(&*decoded)
}

/// The three bytes that four characters stand for, or something with bits of [`NO_DIGIT`].
#[allow(clippy::indexing_slicing, reason = "a byte is always below 256")]
fn join([a, b, c, d]: [u8; 4]) -> u32 {
    let [first, second, third, fourth] = &PLACES;
    first[usize::from(a)] | second[usize::from(b)] | third[usize::from(c)] | fourth[usize::from(d)]
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
