//! JSON that keeps repeated members, so that a document which two readers would read in two ways can be refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value, as far as a key set needs it: numbers and booleans carry nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Other,
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one whole document. Nesting is bounded by `serde_json` (128).
    pub(super) fn parse(document: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(document)
    }

    /// A member of an object; an explicit null says as little as none. `Err` if it is there more than once.
    pub(super) fn member(&self, name: &str) -> Result<Option<&Self>, String> {
        let Self::Object(members) = self else { return Ok(None) };
        let mut found = members.iter().filter(|(member, _)| member == name).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(format!("the member `{name}` is there more than once")),
            (None | Some(Self::Null), None) => Ok(None),
            (Some(value), None) => Ok(Some(value)),
        }
    }

    /// A member that is a string. `Err` if it is there and is none.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.member(name)? {
            None => Ok(None),
            Some(Self::Text(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its `{name}` is not a string")),
        }
    }

    /// Every string under a name, one after the other where the name is there more than once.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let members = if let Self::Object(members) = self { members.as_slice() } else { &[] };
        members
            .iter()
            .filter(move |(member, _)| member == name)
            .filter_map(|(_, value)| if let Self::Text(text) = value { Some(text.as_str()) } else { None })
    }

    /// A member that is there more than once.
    pub(super) fn repeated_member(&self) -> Option<&str> {
        let Self::Object(members) = self else { return None };
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next).map(|(one, _)| *one)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
