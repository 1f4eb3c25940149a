//! Protobuf, written field by field where the generated types would cost a dozen texts at every check.
//!
//! Must not know: what the fields mean.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// The length of a field of `length` bytes with what stands before it.
#[inline]
pub(super) fn prefixed(tag: u32, length: usize) -> usize {
    match (tag, length) {
        // As in [`open`].
        (..16, ..128) => 2 + length,
        _ => key_len(tag) + encoded_len_varint(length as u64) + length,
    }
}

/// Writes what stands before a field of `length` bytes.
#[inline]
pub(super) fn open(tag: u32, length: usize, buffer: &mut BytesMut) {
    match (u8::try_from(tag), u8::try_from(length)) {
        // A low number and a short field, as nearly all are: one byte each.
        (Ok(tag @ ..16), Ok(length @ ..128)) => buffer.put_slice(&[tag << 3 | WireType::LengthDelimited as u8, length]),
        _ => {
            encode_key(tag, WireType::LengthDelimited, buffer);
            encode_varint(length as u64, buffer);
        }
    }
}

/// Writes a text.
#[inline]
pub(super) fn text(tag: u32, text: &str, buffer: &mut BytesMut) {
    open(tag, text.len(), buffer);
    buffer.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use prost::encoding::string;

    use super::*;

    #[test]
    fn texts_are_written_as_the_library_writes_them() {
        for tag in [1, 4, 15, 16, 300] {
            for length in [0, 1, 127, 128, 255, 256, 20_000] {
                let value = "x".repeat(length);
                let (mut ours, mut theirs) = (BytesMut::new(), BytesMut::new());
                text(tag, &value, &mut ours);
                string::encode(tag, &value, &mut theirs);
                assert_eq!(ours, theirs, "field {tag} of {length}");
                assert_eq!(prefixed(tag, length), ours.len(), "field {tag} of {length}");
            }
        }
    }
}
