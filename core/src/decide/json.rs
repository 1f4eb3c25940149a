//! A strict scanner for JSON that strangers send, the parts of a token first of all (RFC 8259): one pass, no copies, no tree.
//!
//! Ours, since it is half of what a refused token costs; a test holds it against `serde_json`. Stricter than that: no member name comes
//! twice at any depth (two parsers would disagree on which one counts), none has escapes, and depth and members are bounded.

use std::borrow::Cow;

use super::{
    Few,
    piece::Piece,
    scan::{self, EACH},
};

/// Most members of one object, and most items that a list of strings is read with.
pub(super) const MAX_MEMBERS: usize = 64;
/// Deepest nesting.
const MAX_DEPTH: usize = 16;

/// Reads a JSON text from left to right. Every method returns `None` for what is not strict JSON of the form asked for.
pub(super) struct Scanner<'j> {
    text: &'j str,
    at: usize,
    depth: usize,
    /// There are control characters in the text: white space between tokens, or an error within strings.
    has_controls: bool,
    /// There are backslashes in the text.
    has_escapes: bool,
}

impl<'j> Scanner<'j> {
    /// Reads `text` as one object and nothing after it. `member` is called with each name and must read its value from the scanner.
    pub(super) fn read_object(text: &'j str, member: impl FnMut(&'j str, &mut Self) -> Option<()>) -> Option<()> {
        Self::read(text, |scanner| scanner.object(member))
    }

    /// The same, where most names are known beforehand: `member` is called with the known one, or with `None` for any other. Whether a known name
    /// comes twice is told by one bit; only the others are kept and compared.
    pub(super) fn read_object_knowing<K: KnownName>(text: &'j str, member: impl FnMut(Option<K>, &mut Self) -> Option<()>) -> Option<()> {
        Self::read(text, |scanner| scanner.object_knowing(member))
    }

    /// Reads `text` as one array and nothing after it. `item` is called for each item and must read it from the scanner.
    pub(super) fn read_array(text: &'j str, item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        Self::read(text, |scanner| scanner.array(item))
    }

    fn read(text: &'j str, value: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        // One pass over all of it, many bytes at a time, spares a second look at each string: a token has neither.
        let seldom = |(controls, escapes), byte: u8| (controls | (byte < 0x20), escapes | (byte == b'\\'));
        let (has_controls, has_escapes) = text.bytes().fold((false, false), seldom);
        let mut scanner = Self { text, at: 0, depth: 0, has_controls, has_escapes };
        scanner.space();
        value(&mut scanner)?;
        scanner.space();
        (scanner.at == text.len()).then_some(())
    }

    /// Any value, as it is spelled.
    pub(super) fn raw(&mut self) -> Option<&'j str> {
        let start = self.at;
        self.skip()?;
        self.text.get(start..self.at)
    }

    /// A string value.
    pub(super) fn string(&mut self) -> Option<Cow<'j, str>> {
        let (start, has_escapes) = self.quoted()?;
        if has_escapes {
            // Seldom, and full of traps (surrogates): left to the library.
            serde_json::from_str(self.text.get(start - 1..self.at)?).ok().map(Cow::Owned)
        } else {
            self.text.get(start..self.at - 1).map(Cow::Borrowed)
        }
    }

    /// A string value, by its place in the text that is read.
    #[inline]
    pub(super) fn piece(&mut self) -> Option<Piece> {
        if self.has_escapes {
            let start = self.at + 1;
            return match self.string()? {
                Cow::Borrowed(text) => Some(Piece::Within(start..start + text.len())),
                Cow::Owned(text) => Some(Piece::Own(text.into())),
            };
        }
        let (start, _) = self.quoted()?;
        Some(Piece::Within(start..self.at - 1))
    }

    /// The same as [`Self::strings`], by their places in the text that is read.
    pub(super) fn pieces(&mut self) -> Option<Few<Piece>> {
        if self.peek()? == b'"' {
            return Some(Few::one(self.piece()?));
        }
        let mut pieces = Vec::new();
        self.array(|scanner| {
            pieces.push(scanner.piece()?);
            (pieces.len() <= MAX_MEMBERS).then_some(())
        })?;
        Some(pieces.into())
    }

    /// A string, or an array of at most [`MAX_MEMBERS`] strings.
    pub(super) fn strings(&mut self) -> Option<Vec<Box<str>>> {
        if self.peek()? == b'"' {
            return Some(vec![self.string()?.into()]);
        }
        let mut strings: Vec<Box<str>> = Vec::new();
        self.array(|scanner| {
            strings.push(scanner.string()?.into());
            (strings.len() <= MAX_MEMBERS).then_some(())
        })?;
        Some(strings)
    }

    /// A number; infinite where it is too large for a double.
    pub(super) fn number(&mut self) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "15 digits are below 2^53")]
        if let Some(whole) = self.small_whole_number() {
            return Some(whole as f64);
        }
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at)?.parse().ok()
    }

    /// A number that is whole and below 10^15, spelled without sign, fraction and exponent. Where it is another, nothing is read.
    #[inline]
    pub(super) fn small_whole_number(&mut self) -> Option<u64> {
        let (whole, length) = leading_whole_number(self.text.as_bytes().get(self.at..)?)?;
        self.at += length;
        Some(whole)
    }

    /// Any value, read past.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.quoted().map(|_| ()),
            b'{' => self.object(|_, scanner| scanner.skip()),
            b'[' => self.array(Self::skip),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            // Too large a number is one to some readers and an error to others.
            _ => self.number().filter(|number| number.is_finite()).map(|_| ()),
        }
    }

    /// An object; `member` is called as by [`Self::read_object`].
    pub(super) fn object(&mut self, mut member: impl FnMut(&'j str, &mut Self) -> Option<()>) -> Option<()> {
        let mut names = Names::default();
        self.sequence(b'{', b'}', |scanner| {
            let name = scanner.name()?;
            names.add(name)?;
            member(name, scanner)
        })
    }

    fn object_knowing<K: KnownName>(&mut self, mut member: impl FnMut(Option<K>, &mut Self) -> Option<()>) -> Option<()> {
        let (mut names, mut known) = (Names::default(), 0_u32);
        self.sequence(b'{', b'}', |scanner| {
            let name = match scanner.known_name::<K>() {
                Some(name) => Name::Known(name),
                None => Name::read(scanner.name()?),
            };
            let known_name = match name {
                Name::Known(name) if known & name.bit() != 0 => return None,
                Name::Known(name) => {
                    known |= name.bit();
                    names.count_one()?;
                    Some(name)
                }
                Name::Other(name) => {
                    names.add(name)?;
                    None
                }
            };
            member(known_name, scanner)
        })
    }

    /// A member's name and all that stands before its value.
    fn name(&mut self) -> Option<&'j str> {
        let (start, has_escapes) = self.quoted()?;
        let name = self.text.get(start..self.at - 1).filter(|_| !has_escapes)?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(name)
    }

    /// The same where it is a known one with its colon right behind it, as nearly every encoder writes it. Else nothing is read.
    #[inline]
    fn known_name<K: KnownName>(&mut self) -> Option<K> {
        // No letter of a known name is a quote or a backslash, so that the second quote here is the one that ends it.
        let [b'"', a, b, c, b'"', b':'] = *self.text.as_bytes().get(self.at..)?.first_chunk()? else { return None };
        let name = K::from_letters([a, b, c])?;
        self.at += 6;
        self.space();
        Some(name)
    }

    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.sequence(b'[', b']', |scanner| item(scanner))
    }

    /// What objects and arrays have in common: items between two brackets, separated by commas.
    fn sequence(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if !self.take(close) {
            loop {
                item(self)?;
                self.space();
                let next = self.peek()?;
                self.at += 1;
                if next == close {
                    break;
                }
                if next != b',' {
                    return None;
                }
                self.space();
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// Reads past a quoted string. Returns where its text starts and whether it has escapes; its end is one before `at`.
    #[inline]
    fn quoted(&mut self) -> Option<(usize, bool)> {
        self.expect(b'"')?;
        let start = self.at;
        if self.has_escapes || self.has_controls {
            return self.rest_of_quoted(start);
        }
        self.at += scan::find(b'"', self.text.as_bytes().get(start..)?)? + 1;
        Some((start, false))
    }

    /// The same where the text may hold what is seldom.
    #[cold]
    fn rest_of_quoted(&mut self, start: usize) -> Option<(usize, bool)> {
        let mut has_escapes = false;
        let bytes = self.text.as_bytes();
        loop {
            let rest = bytes.get(self.at..)?;
            let stop = if self.has_escapes { scan::find_either(b'"', b'\\', rest) } else { scan::find(b'"', rest) }?;
            self.at += stop + 1;
            if rest.get(stop) == Some(&b'"') {
                break;
            }
            has_escapes = true;
            // What the escape stands for is `string`'s business; where the value is skipped it must still be an escape.
            if !is_escape(*bytes.get(self.at)?, bytes.get(self.at + 1..)?) {
                return None;
            }
            self.at += 1;
        }
        let has_controls = self.has_controls && bytes.get(start..self.at)?.iter().any(|byte| *byte < 0x20);
        (!has_controls).then_some((start, has_escapes))
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_next = self.text.get(self.at..)?.starts_with(word);
        self.at += word.len();
        is_next.then_some(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    #[inline]
    fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte > b' ') {
            return;
        }
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte).then_some(())
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The common case of a number, such as every date, at the beginning of `text`, and its length: so few digits that a double holds them
/// exactly, no sign, no fraction and no exponent. `None` for any other.
#[inline]
fn leading_whole_number(text: &[u8]) -> Option<(u64, usize)> {
    const MOST_DIGITS: usize = 15;
    let (mut value, mut length) = text.first_chunk().and_then(|first| eight_digits(*first)).map_or((0, 0), |value| (value, 8));
    for digit in text.iter().skip(length).map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit < 10) {
        value = value * 10 + u64::from(digit);
        length += 1;
        if length > MOST_DIGITS {
            return None;
        }
    }
    if length == 0 || text.first() == Some(&b'0') || matches!(text.get(length), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    Some((value, length))
}

/// What eight digits amount to, worked out two, four and eight at a time: a date's are half of what reading it costs. `None` if one is no digit.
#[inline]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    // The first digit is in the lowest byte.
    let digits = u64::from_le_bytes(text) ^ (u64::from(b'0') * EACH);
    if (digits | digits.wrapping_add(0x76 * EACH)) & (0x80 * EACH) != 0 {
        return None;
    }
    let pairs = (digits.wrapping_mul((10 << 8) + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul((100 << 16) + 1) >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul((10_000 << 32) + 1) >> 32)
}

/// Whether `escaped`, after a backslash and before `rest`, is an escape of RFC 8259 section 7.
fn is_escape(escaped: u8, rest: &[u8]) -> bool {
    match escaped {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => true,
        b'u' => rest.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}

/// Names that a reader waits for: three ASCII letters each.
pub(super) trait KnownName: Copy {
    /// The one that is written so.
    fn from_letters(letters: [u8; 3]) -> Option<Self>;

    /// One bit, which no other of them has.
    fn bit(self) -> u32;
}

/// A member's name.
enum Name<'j, K> {
    Known(K),
    Other(&'j str),
}

impl<'j, K: KnownName> Name<'j, K> {
    fn read(name: &'j str) -> Self {
        name.as_bytes().try_into().ok().and_then(K::from_letters).map_or(Self::Other(name), Self::Known)
    }
}

/// The names of one object so far.
#[derive(Default)]
struct Names<'j> {
    /// As many as nearly every object has.
    first: [&'j str; 16],
    more: Vec<&'j str>,
    /// How many are in `first` and `more`.
    kept: usize,
    /// How many there were, known ones included.
    count: usize,
    /// One bit per class of names: a new name in an unseen class needs no comparison.
    classes: u64,
}

impl<'j> Names<'j> {
    /// Adds a name; `None` if it is there already or there are too many.
    fn add(&mut self, name: &'j str) -> Option<()> {
        let bytes = name.as_bytes();
        let edge = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
        let class = edge(bytes.first()).wrapping_mul(7) ^ edge(bytes.last()).wrapping_mul(3) ^ edge(bytes.get(1));
        let bit = 1 << (class % 64);
        if self.classes & bit != 0 && self.first.iter().take(self.kept).chain(&self.more).any(|known| *known == name) {
            return None;
        }
        self.classes |= bit;
        match self.first.get_mut(self.kept) {
            Some(place) => *place = name,
            None => self.more.push(name),
        }
        self.kept += 1;
        self.count_one()
    }

    /// Counts a name, kept or known; `None` if there are too many.
    fn count_one(&mut self) -> Option<()> {
        self.count += 1;
        (self.count <= MAX_MEMBERS).then_some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn skips(text: &str) -> bool {
        Scanner::read_object(text, |_, scanner| scanner.skip()).is_some()
    }

    #[test]
    fn control_characters_are_refused_within_strings_however_many_there_are() {
        for controls in ["\u{1}", "\n", "\u{1f}\u{1}", "\u{1}\u{1}\u{1}\u{1}"] {
            assert!(!skips(&format!(r#"{{"a":"{controls}"}}"#)), "{controls:?}");
            let list = format!(r#"["{controls}"]"#);
            assert_eq!(Scanner::read_array(&list, Scanner::skip), None, "{controls:?}");
        }
        assert!(skips("{\n\"a\"\t:\r\n\"b\"}") && Scanner::read_array("[\n\"a\"\n]", Scanner::skip).is_some());
    }

    #[test]
    fn values_may_lie_so_deep_and_no_deeper_wherever_they_are() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let read = |text: &str| Scanner::read_array(text, Scanner::skip).is_some();
        assert!(read(&nested(MAX_DEPTH)) && !read(&nested(MAX_DEPTH + 1)));
        let beside = |depth| format!("[{},{}]", vec!["[]"; MAX_DEPTH + 1].join(","), nested(depth));
        assert!(read(&beside(MAX_DEPTH - 1)) && !read(&beside(MAX_DEPTH)));
    }

    #[test]
    fn what_follows_a_digit_is_no_digit() {
        for (text, is_number) in [("[1]", true), ("[10]", true), ("[1:]", false), ("[1/]", false), ("[1;]", false), ("[:]", false), ("[01]", false)] {
            let mut read = None;
            let whole = Scanner::read_array(text, |scanner| {
                read = Some(scanner.number()?);
                Some(())
            });
            assert_eq!(whole.is_some(), is_number, "{text}: {read:?}");
        }
    }

    #[test]
    fn a_list_of_strings_may_have_so_many_and_no_more() {
        for (count, is_read) in [(0, true), (1, true), (2, true), (MAX_MEMBERS, true), (MAX_MEMBERS + 1, false)] {
            let text = format!(r#"{{"a":[{}]}}"#, vec![r#""x""#; count].join(","));
            let read = |how: fn(&mut Scanner<'_>) -> Option<usize>| {
                let mut length = None;
                let whole = Scanner::read_object(&text, |_, scanner| {
                    length = Some(how(scanner)?);
                    Some(())
                });
                whole.and(length)
            };
            let expected = is_read.then_some(count);
            assert_eq!(read(|scanner| Some(scanner.pieces()?.len())), expected, "{count}");
            assert_eq!(read(|scanner| Some(scanner.strings()?.len())), expected, "{count}");
        }
    }

    #[test]
    fn a_piece_is_the_string_wherever_there_are_escapes() {
        for text in [r#"{"a":"xy","b":"z"}"#, r#"{"a":"xy","b":"\u007a"}"#, r#"{"a":"x\u0079","b":"z"}"#, "{\n\"a\":\"xy\",\"b\":\"z\"}"] {
            let mut pieces = Vec::new();
            let read = Scanner::read_object(text, |_, scanner| {
                pieces.push(scanner.piece()?);
                Some(())
            });
            assert_eq!(read, Some(()), "{text}");
            assert_eq!(pieces.iter().map(|piece| piece.of(text)).collect::<Vec<_>>(), ["xy", "z"], "{text}");
        }
    }

    #[test]
    fn strict_json_and_nothing_else() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"a":-0.5e+3,"b":[],"c":[1,"x",{"a":null}],"d":true,"e":false}"#,
            r#"{"a":"\u00e4\n\"\/"}"#,
            "{\"ü\":\"ü\"}",
        ] {
            assert!(skips(text), "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(16), "]".repeat(16));
        for text in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "{}x",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":1e}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":1 "b":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"\u0061":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"a":'b'}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e400}"#,
            "\u{feff}{}",
            &deep,
        ] {
            assert!(!skips(text), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_the_library_reads_them() {
        for text in [
            "0",
            "-0",
            "10",
            "-12",
            "1800000000",
            "12.5",
            "123456789012345",
            "999999999999999",
            "1234567890123456",
            "9007199254740993",
            "1e9",
            "1.5E-3",
            "123456789012345678901234567890",
            "1e400",
        ] {
            let mut read = None;
            let document = format!("{{\"n\":{text}}}");
            assert!(
                Scanner::read_object(&document, |_, scanner| {
                    read = Some(scanner.number()?);
                    Some(())
                })
                .is_some()
            );
            assert_eq!(read.filter(|number| number.is_finite()), serde_json::from_str::<f64>(text).ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_small_whole_number_is_what_its_digits_say(digits in "[0-9]{0,17}", rest in "([/:;,}.eE \\x00é].{0,9})?") {
            let text = digits.clone() + &rest;
            let is_small = (1..=15).contains(&digits.len()) && !digits.starts_with('0') && !rest.starts_with(['.', 'e', 'E']);
            let expected = is_small.then(|| (digits.parse::<u64>().unwrap(), digits.len()));
            prop_assert_eq!(leading_whole_number(text.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn eight_digits_are_read_at_once_and_nothing_else_is() {
        for (text, value) in [(b"00000000", 0), (b"12345678", 12_345_678), (b"99999999", 99_999_999), (b"18000000", 18_000_000)] {
            assert_eq!(eight_digits(*text), Some(value));
        }
        for at in 0..8 {
            for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"12345678";
                text[at] = byte;
                assert_eq!(eight_digits(text), None, "{byte} at {at}");
            }
        }
    }

    /// What is known beforehand is read the short way, not only rightly.
    #[test]
    fn a_known_name_and_a_small_number_are_read_without_a_second_look() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct Abc;
        impl KnownName for Abc {
            fn from_letters(letters: [u8; 3]) -> Option<Self> {
                (&letters == b"abc").then_some(Self)
            }
            fn bit(self) -> u32 {
                1
            }
        }
        let scanner = |text| Scanner { text, at: 0, depth: 0, has_controls: false, has_escapes: false };
        for (text, name, number, at) in [
            (r#""abc": 12,"#, Some(Abc), Some(12), 9),
            (r#""abd":12,"#, None, None, 0),
            (r#""abc" :12,"#, None, None, 0),
            ("12,", None, Some(12), 2),
            ("1.5,", None, None, 0),
        ] {
            let mut scanner = scanner(text);
            assert_eq!((scanner.known_name::<Abc>(), scanner.small_whole_number(), scanner.at), (name, number, at), "{text}");
        }
    }

    #[test]
    fn no_name_of_many_comes_twice() {
        let names = |count: usize| (0..count).map(|number| format!("\"m{number}\":0")).collect::<Vec<_>>();
        for count in 0..70 {
            assert_eq!(skips(&format!("{{{}}}", names(count).join(","))), count <= 64, "{count}");
            for twice in 0..count {
                assert!(!skips(&format!("{{{},\"m{twice}\":0}}", names(count).join(","))), "{twice} of {count}");
            }
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]{0,2}", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read(value in json(), text in ".{0,12}") {
            let document = serde_json::json!({"v": value, "s": text, "l": [text.clone(), text]});
            for written in [serde_json::to_string_pretty(&document), serde_json::to_string(&document)].map(Result::unwrap_or_default) {
                let (mut string, mut strings) = (None, None);
                let read = Scanner::read_object(&written, |name, scanner| match name {
                    "s" => { string = Some(scanner.string()?.into_owned()); Some(()) }
                    "l" => { strings = Some(scanner.strings()?); Some(()) }
                    _ => scanner.skip(),
                });
                prop_assert!(read.is_some(), "{}", written);
                prop_assert_eq!(string.as_deref(), document["s"].as_str());
                prop_assert_eq!(strings.map(|strings| strings.len()), Some(2));
            }
        }

        #[test]
        fn what_is_read_the_library_reads_too(text in r#"[{}\[\]:,"ab\\u0-3e.+ tfn-]{0,16}"#, value in json(), cut in 0usize..40, put in "[ \"{}x,:\\\\]") {
            let mut broken = serde_json::json!({"a": value}).to_string();
            let at = broken.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(0);
            broken.insert_str(at, &put);
            for document in [text, broken] {
                if skips(&document) {
                    prop_assert!(serde_json::from_str::<Value>(&document).is_ok() || document.contains("\\u") || document.contains('e'), "{}", document);
                }
            }
        }
    }
}
