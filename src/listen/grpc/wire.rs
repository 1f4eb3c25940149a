//! A borrowed view of `envoy.service.auth.v3.CheckRequest`: only what a decision needs, without a copy.
//!
//! Reads protobuf as prost does: the last value of a field wins, messages merge, unknown fields are skipped. Of entries of a map with one key,
//! which no encoder writes, the last does not win: they are several headers, as a credential may not be. Fields that are not needed are skipped
//! like unknown ones, so their content is not looked at.
//!
//! Must not know: what any of it means.

use std::fmt;

/// Headers and map entries that are read at most; Envoy itself stops at 100 unless told otherwise.
const MAX_HEADERS: usize = 1000;
/// Headers that there is room for at first.
const USUAL_HEADERS: usize = 24;
/// How deep messages and groups may nest, as in prost.
const MAX_DEPTH: u8 = 100;
/// How the key and the value of a map's entry begin: their field number and that a length follows.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;
/// The key in `context_extensions` that pins a policy.
const PIN: &str = "ringfence.policy";

/// The bytes are no `CheckRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undecodable;

/// What is read of a `CheckRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckView<'a> {
    /// `attributes.request.http`, if there is one.
    pub(super) http: Option<HttpView<'a>>,
    /// `attributes.source.address`.
    pub(super) source: AddressView<'a>,
    /// `attributes.context_extensions["ringfence.policy"]`.
    pub(super) pin: Option<&'a str>,
}

/// `envoy.config.core.v3.Address`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AddressView<'a> {
    /// None.
    #[default]
    Absent,
    /// A socket address: its `address`.
    Socket(&'a str),
    /// A pipe.
    Pipe,
    /// An address inside Envoy.
    Internal,
}

/// `AttributeContext.HttpRequest`. Every text is UTF-8, as prost demands.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct HttpView<'a> {
    pub(super) id: &'a str,
    pub(super) method: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) size: i64,
    pub(super) protocol: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) raw_body: &'a [u8],
    /// Names and values, repeated headers joined by a comma.
    pub(super) headers: Vec<(&'a [u8], &'a [u8])>,
    /// With `encode_raw_headers`: one entry per header line, its value the one that is there.
    pub(super) header_map: Vec<(&'a [u8], &'a [u8])>,
    /// An entry of `header_map` has two values, and not the same twice.
    pub(super) is_contradictory: bool,
}

/// Without the target, the body and the headers' values, which may hold tokens and keys.
impl fmt::Debug for HttpView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, method, host, size, protocol, headers, header_map, is_contradictory, .. } = self;
        let names = |entries: &[(&[u8], &[u8])]| entries.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>();
        f.debug_struct("HttpView")
            .field("id", id)
            .field("method", &String::from_utf8_lossy(method))
            .field("host", &String::from_utf8_lossy(host))
            .field("size", size)
            .field("protocol", &String::from_utf8_lossy(protocol))
            .field("headers", &names(headers))
            .field("header_map", &names(header_map))
            .field("is_contradictory", is_contradictory)
            .finish_non_exhaustive()
    }
}

/// Adds a header, unless there are too many.
fn add<'a>(entries: &mut Vec<(&'a [u8], &'a [u8])>, name: &'a [u8], value: &'a [u8]) -> Result<(), Undecodable> {
    if entries.len() >= MAX_HEADERS {
        return Err(Undecodable);
    }
    if entries.is_empty() {
        entries.reserve(USUAL_HEADERS);
    }
    entries.push((name, value));
    Ok(())
}

impl<'a> CheckView<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`Undecodable`] where prost would refuse a message of these fields, and for more than 1,000 headers.
    pub(super) fn decode(message: &'a [u8]) -> Result<Self, Undecodable> {
        let mut view = Self::default();
        let mut fields = Fields { rest: message, depth: MAX_DEPTH };
        while let Some((tag, value)) = fields.next()? {
            if tag == 1 {
                view.merge_attributes(fields.nested(value)?)?;
            }
        }
        Ok(view)
    }

    fn merge_attributes(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => self.merge_peer(fields.nested(value)?)?,
                4 => self.merge_request(fields.nested(value)?)?,
                10 => {
                    let (key, value) = map_entry(fields.nested(value)?)?;
                    if key == PIN.as_bytes() {
                        self.pin = Some(std::str::from_utf8(value).map_err(|_| Undecodable)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn merge_peer(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            if tag == 1 {
                self.source.merge(fields.nested(value)?)?;
            }
        }
        Ok(())
    }

    fn merge_request(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            if tag == 2 {
                self.http.get_or_insert_default().merge(fields.nested(value)?)?;
            }
        }
        Ok(())
    }
}

impl<'a> AddressView<'a> {
    fn merge(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {
                    // The same member of a oneof merges, another one replaces.
                    let mut address = if let Self::Socket(address) = self { address } else { "" };
                    let mut socket = fields.nested(value)?;
                    while let Some((tag, value)) = socket.next()? {
                        if tag == 2 {
                            address = value.text()?;
                        }
                    }
                    *self = Self::Socket(address);
                }
                2 => {
                    fields.nested(value)?.skip_all()?;
                    *self = Self::Pipe;
                }
                3 => {
                    fields.nested(value)?.skip_all()?;
                    *self = Self::Internal;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> HttpView<'a> {
    fn merge(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => self.id = value.text()?,
                2 => self.method = value.text_bytes()?,
                3 => {
                    let (key, value) = map_entry(fields.nested(value)?)?;
                    add(&mut self.headers, key, value)?;
                }
                4 => self.path = value.text_bytes()?,
                5 => self.host = value.text_bytes()?,
                9 => self.size = value.varint()?.cast_signed(),
                10 => self.protocol = value.text_bytes()?,
                11 => self.body = value.text_bytes()?,
                12 => self.raw_body = value.bytes()?,
                13 => self.merge_header_map(fields.nested(value)?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn merge_header_map(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        while let Some((tag, value)) = fields.next()? {
            if tag == 1 {
                self.add_line(fields.nested(value)?)?;
            }
        }
        Ok(())
    }

    /// Adds a `config.core.v3.HeaderValue`, in which `value` or `raw_value` is set.
    fn add_line(&mut self, mut fields: Fields<'a>) -> Result<(), Undecodable> {
        let (mut key, mut value, mut raw) = (&b""[..], &b""[..], &b""[..]);
        while let Some((tag, field)) = fields.next()? {
            match tag {
                1 => key = field.text_bytes()?,
                2 => value = field.text_bytes()?,
                3 => raw = field.bytes()?,
                _ => {}
            }
        }
        self.is_contradictory |= !value.is_empty() && !raw.is_empty() && value != raw;
        add(&mut self.header_map, key, if value.is_empty() { raw } else { value })
    }
}

fn map_entry<'a>(mut fields: Fields<'a>) -> Result<(&'a [u8], &'a [u8]), Undecodable> {
    if let Some(entry) = plain_map_entry(fields.rest) {
        return Ok(entry);
    }
    let mut entry = (&b""[..], &b""[..]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => entry.0 = value.text_bytes()?,
            2 => entry.1 = value.text_bytes()?,
            _ => {}
        }
    }
    Ok(entry)
}

/// An entry as every encoder writes it: a short key, a value, and nothing else. `None` if it is anything else.
#[inline]
fn plain_map_entry(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[KEY, key_length @ 0..0x80], rest) = entry.split_first_chunk()? else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(key_length))?;
    let (&[VALUE, low], rest) = rest.split_first_chunk()? else { return None };
    let (announced, value) = if low < 0x80 {
        (usize::from(low), rest)
    } else {
        let (&high @ 0..0x80, rest) = rest.split_first()? else { return None };
        (usize::from(low & 0x7f) | usize::from(high) << 7, rest)
    };
    (value.len() == announced && is_ascii(key) && is_ascii(value)).then_some((key, value))
}

/// Whether all of it is ASCII: the library's answer to the same takes a call, which for a name is longer than looking.
#[inline]
fn is_ascii(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else { return text.iter().fold(0, |all, byte| all | byte) < 0x80 };
    // The last eight bytes, some of which the loop has seen.
    let (words, _) = text.as_chunks::<8>();
    let all = words.iter().fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word));
    all & 0x8080_8080_8080_8080 == 0
}

/// The value of one field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number or a group: in no field that is read.
    Other,
}

impl<'a> Value<'a> {
    fn varint(self) -> Result<u64, Undecodable> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(Undecodable) }
    }

    fn bytes(self) -> Result<&'a [u8], Undecodable> {
        if let Self::Bytes(value) = self { Ok(value) } else { Err(Undecodable) }
    }

    fn text(self) -> Result<&'a str, Undecodable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Undecodable)
    }

    /// A text that is needed as bytes only.
    #[inline]
    fn text_bytes(self) -> Result<&'a [u8], Undecodable> {
        let bytes = self.bytes()?;
        if is_ascii(bytes) || std::str::from_utf8(bytes).is_ok() { Ok(bytes) } else { Err(Undecodable) }
    }
}

/// The fields of one message.
#[derive(Clone, Copy)]
struct Fields<'a> {
    rest: &'a [u8],
    /// How many more levels may follow.
    depth: u8,
}

impl<'a> Fields<'a> {
    /// The next field's number and value; a group is skipped, as `Other`.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Undecodable> {
        // Nearly every field is this: a low number, and a text or message of less than 128 bytes.
        if let &[key @ 8..0x80, length @ 0..0x80, ref rest @ ..] = self.rest
            && key & 7 == 2
            && let Some((bytes, rest)) = rest.split_at_checked(usize::from(length))
        {
            self.rest = rest;
            return Ok(Some((u32::from(key >> 3), Value::Bytes(bytes))));
        }
        self.next_in_full()
    }

    #[inline(never)]
    fn next_in_full(&mut self) -> Result<Option<(u32, Value<'a>)>, Undecodable> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (tag, kind) = self.key()?;
        let value = match kind {
            0 => Value::Varint(self.read_varint()?),
            2 => {
                let length = usize::try_from(self.read_varint()?).map_err(|_| Undecodable)?;
                Value::Bytes(self.take(length)?)
            }
            _ => {
                self.skip(tag, kind, self.depth)?;
                Value::Other
            }
        };
        Ok(Some((tag, value)))
    }

    /// The fields of the message that `value` is.
    fn nested(&self, value: Value<'a>) -> Result<Self, Undecodable> {
        Ok(Self { rest: value.bytes()?, depth: self.depth.checked_sub(1).ok_or(Undecodable)? })
    }

    fn skip_all(mut self) -> Result<(), Undecodable> {
        while self.next()?.is_some() {}
        Ok(())
    }

    fn skip(&mut self, tag: u32, kind: u8, depth: u8) -> Result<(), Undecodable> {
        let inner = depth.checked_sub(1).ok_or(Undecodable)?;
        match kind {
            0 => self.read_varint().map(drop),
            1 => self.take(8).map(drop),
            2 => {
                let length = usize::try_from(self.read_varint()?).map_err(|_| Undecodable)?;
                self.take(length).map(drop)
            }
            3 => loop {
                match self.key()? {
                    (end, 4) if end == tag => return Ok(()),
                    (_, 4) => return Err(Undecodable),
                    (tag, kind) => self.skip(tag, kind, inner)?,
                }
            },
            5 => self.take(4).map(drop),
            _ => Err(Undecodable),
        }
    }

    fn key(&mut self) -> Result<(u32, u8), Undecodable> {
        let key = u32::try_from(self.read_varint()?).map_err(|_| Undecodable)?;
        let kind = (key & 7) as u8;
        if key >> 3 == 0 || kind > 5 { Err(Undecodable) } else { Ok((key >> 3, kind)) }
    }

    #[inline]
    fn read_varint(&mut self) -> Result<u64, Undecodable> {
        match self.rest.split_first() {
            Some((&byte @ 0..0x80, rest)) => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.read_long_varint(),
        }
    }

    fn read_long_varint(&mut self) -> Result<u64, Undecodable> {
        let mut value = 0;
        for at in 0..10_u32 {
            let (&byte, rest) = self.rest.split_first().ok_or(Undecodable)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (at * 7);
            if byte < 0x80 {
                // The tenth byte holds the 64th bit and nothing else.
                return if at == 9 && byte > 1 { Err(Undecodable) } else { Ok(value) };
            }
        }
        Err(Undecodable)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Undecodable> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Undecodable)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::listen) mod model;

#[cfg(test)]
mod tests;
