//! An OpenID configuration, held against a reader that keeps every member.

use std::fmt;

use ringfence::keys::Discovery;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Panics where two readers could find another issuer, or keys elsewhere.
pub fn check(document: &[u8]) {
    let Ok(Discovery { issuer, jwks_uri }) = Discovery::read(document) else { return };
    let Members(members) = serde_json::from_slice(document).expect("what is read is an object");
    for (name, value) in [("issuer", &issuer), ("jwks_uri", &jwks_uri)] {
        let values: Vec<_> = members.iter().filter(|(known, _)| known == name).map(|(_, value)| value.get()).collect();
        let [text] = *values else { panic!("{name} comes {} times", values.len()) };
        assert_eq!(serde_json::from_str::<String>(text).ok().as_ref(), Some(value));
    }
}

/// An object's members, as often as they come, and as they are spelled: not every number has a value that could be kept.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}
