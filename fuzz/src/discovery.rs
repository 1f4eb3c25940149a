//! An OpenID configuration, held against a reader that keeps every member.

use std::fmt;

use ringfence::keys::Discovery;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::world;

/// Panics where two readers could find another issuer, or keys elsewhere.
pub fn check(document: &[u8]) {
    let Ok(Discovery { issuer, jwks_uri }) = Discovery::read(document) else { return };
    let tree = world::json(document).expect("what is read is JSON");
    let Names(names) = serde_json::from_slice(document).expect("what is read is an object");
    for (name, value) in [("issuer", &issuer), ("jwks_uri", &jwks_uri)] {
        assert_eq!(tree[name].as_str(), Some(value.as_str()));
        assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{name} twice");
    }
}

/// The names of an object's members, as often as they come.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = members.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(NamesVisitor)
    }
}
