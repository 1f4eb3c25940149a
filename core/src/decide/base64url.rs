//! Base64url without padding (RFC 4648 section 5, RFC 7515 section 2), strict: no padding, no white space, no loose bits.

use base64::Engine;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::general_purpose::URL_SAFE_NO_PAD as ENGINE;

/// The library's engine that decodes 32 characters at once where the processor can. Half of what a refused token costs was decoding.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: std::sync::LazyLock<base64::engine::Simd> =
    std::sync::LazyLock::new(|| base64::engine::Simd::url_safe(base64::engine::general_purpose::NO_PAD));

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
    let written = ENGINE.decode_slice(encoded, decoded).ok()?;
    decoded.get(..written)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn agrees(text: &[u8]) {
        let mut buffer = [0; 512];
        assert_eq!(decode(text, &mut buffer).map(<[u8]>::to_vec), URL_SAFE_NO_PAD.decode(text).ok(), "{text:?}");
    }

    #[test]
    fn every_short_text_decodes_as_the_plain_engine_says() {
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

    /// Also where many characters are decoded at once.
    #[test]
    fn every_byte_at_every_place_of_a_long_text_decodes_as_the_plain_engine_says() {
        for at in 0..100 {
            for byte in 0..=255 {
                let mut text = [b'Q'; 100];
                text[at] = byte;
                agrees(&text);
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_decodes_as_the_plain_engine_says(
            text in "[A-Za-z0-9_-]{0,300}[A-Za-z0-9_=+/ -]?",
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            agrees(text.as_bytes());
            agrees(&bytes);
            agrees(URL_SAFE_NO_PAD.encode(&bytes).as_bytes());
        }
    }
}
