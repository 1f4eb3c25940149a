//! Searching texts that are mostly short, eight bytes at a time: in a name or a query, calling a library takes longer than looking.

/// One in every byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Where `byte` first is.
pub(super) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    search(text, |word| zeros(word ^ (u64::from(byte) * EACH)), |other| other == byte)
}

/// Where `one` or `another` first is.
pub(super) fn find_either(one: u8, another: u8, text: &[u8]) -> Option<usize> {
    let marks = |word| zeros(word ^ (u64::from(one) * EACH)) | zeros(word ^ (u64::from(another) * EACH));
    search(text, marks, |other| other == one || other == another)
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
