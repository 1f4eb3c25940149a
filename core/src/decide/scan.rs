//! Searching texts that are mostly short, eight bytes at a time: in a name or a query, calling a library takes longer than looking.

/// One in every byte.
pub(super) const EACH: u64 = 0x0101_0101_0101_0101;

/// Where `byte` first is.
pub(super) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    search(text, |word| zeros(word ^ (u64::from(byte) * EACH)), |other| other == byte)
}

/// Where `one` or `another` first is.
pub(super) fn find_either(one: u8, another: u8, text: &[u8]) -> Option<usize> {
    let marks = |word| zeros(word ^ (u64::from(one) * EACH)) | zeros(word ^ (u64::from(another) * EACH));
    search(text, marks, |other| other == one || other == another)
}

/// Whether none of `text` is a control character, white space, one of `!"#$%&'` or a semicolon: what ends a part of a URL, separates its
/// parameters or spells a byte otherwise is among these.
pub(super) fn is_plain(text: &[u8]) -> bool {
    let is_special = |byte: u8| byte < 0x28 || byte == b';' || byte == 0x7f;
    // A borrow of one byte may mark the next ones, too.
    let specials =
        |word: u64| (word.wrapping_sub(0x28 * EACH) & !word & (0x80 * EACH)) | zeros(word ^ (u64::from(b';') * EACH)) | zeros(word ^ (0x7f * EACH));
    let Some(last) = text.last_chunk() else { return !text.iter().any(|byte| is_special(*byte)) };
    // The last eight bytes, some of which the loop has seen.
    let (words, _) = text.as_chunks::<8>();
    words.iter().fold(specials(u64::from_le_bytes(*last)), |found, word| found | specials(u64::from_le_bytes(*word))) == 0
}

/// `marks` sets a bit in each wanted byte of a word, and beyond the first of them perhaps in others.
#[inline(always)]
fn search(text: &[u8], marks: impl Fn(u64) -> u64, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return Some(number * 8 + (marks.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| is_wanted(*byte)).map(|at| words.len() * 8 + at)
}

/// Sets the high bit of each byte that is zero. The borrow of one may set it in the next ones as well.
#[inline(always)]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & (0x80 * EACH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn plain_is_a_text_without_any_special_byte() {
        for byte in 0..=255_u8 {
            let is_plain_byte = !(byte.is_ascii_control() || b" !\"#$%&';".contains(&byte));
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), is_plain_byte, "{text:?}");
                }
            }
        }
        assert!(is_plain(b""));
    }

    proptest! {
        #[test]
        fn found_is_what_a_plain_search_finds(text in vec(prop_oneof![any::<u8>(), b'!'..=b'#', b'['..=b']', Just(0)], 0..40)) {
            for from in 0..=text.len() {
                let text = &text[from..];
                for byte in [b'"', b'\\', 0, 0xff] {
                    prop_assert_eq!(find(byte, text), text.iter().position(|other| *other == byte));
                    let either = |other: &u8| *other == b'"' || *other == byte;
                    prop_assert_eq!(find_either(b'"', byte, text), text.iter().position(either));
                }
            }
        }
    }
}
