//! Names of hosts that lie within whatever holds them: where a name is compared, the policy that it belongs to is at hand.

use std::fmt;

/// A host's name, in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostName(Text);

/// Longest name that is kept in place: what is left of a cache line beside a tag and a pointer's alignment.
const SHORT: usize = 54;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    /// Filled up with zeros.
    Short {
        length: u8,
        text: [u8; SHORT],
    },
    Long(Box<str>),
}

impl HostName {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }

    /// Whether it is this name.
    #[inline]
    pub(super) fn is(&self, host: &str) -> bool {
        self.as_bytes() == host.as_bytes()
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { length, text } => text.get(..usize::from(*length)).unwrap_or_default(),
            Text::Long(text) => text.as_bytes(),
        }
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        let mut text = [0; SHORT];
        match (text.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(name.as_bytes());
                Self(Text::Short { length, text })
            }
            _ => Self(Text::Long(name.into())),
        }
    }
}

impl From<String> for HostName {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_any_length_is_itself_and_no_other() {
        for length in [0, 1, 53, 54, 55, 253] {
            let text = "a".repeat(length);
            let name = HostName::from(&*text);
            assert!(name.as_str() == text && name.is(&text) && name == text.clone().into(), "{length}");
            assert_eq!((name.to_string(), format!("{name:?}")), (text.clone(), format!("{text:?}")));
            assert_eq!(matches!(name.0, Text::Short { .. }), length <= 54);
            for other in [format!("{text}a"), format!("{text}\0"), format!("{}b", text.get(1..).unwrap_or_default())] {
                assert!(!name.is(&other) && name != other.as_str().into(), "{other:?}");
            }
        }
        assert_eq!(size_of::<HostName>(), 56);
    }
}
