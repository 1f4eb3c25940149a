//! Texts that lie within another text.
//!
//! What a token says is kept in the one piece of memory that it was decoded into: most tokens are refused, and none of what they say is worth
//! a copy.

use std::ops::Range;

/// A text within another text, or one of its own where it is spelled otherwise there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes of it.
    Within(Range<usize>),
    /// This.
    Own(Box<str>),
}

impl Piece {
    /// The text; `whole` is the text that it lies within.
    pub(super) fn of<'t>(&'t self, whole: &'t str) -> &'t str {
        match self {
            Self::Within(range) => whole.get(range.clone()).unwrap_or_default(),
            Self::Own(text) => text,
        }
    }

    /// The same piece of a text that has `length` more bytes before it.
    pub(super) fn moved_by(self, length: usize) -> Self {
        match self {
            Self::Within(Range { start, end }) => Self::Within(start + length..end + length),
            Self::Own(text) => Self::Own(text),
        }
    }
}

/// Nothing.
impl Default for Piece {
    fn default() -> Self {
        Self::Within(0..0)
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Own(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_moves_with_its_text() {
        let piece = Piece::Within(1..3);
        assert_eq!(piece.of("abcd"), "bc");
        assert_eq!(piece.clone().moved_by(2), Piece::Within(3..5));
        assert_eq!(piece.moved_by(2).of("xyabcd"), "bc");
        assert_eq!(Piece::from("own").moved_by(2), Piece::Own("own".into()));
    }
}
