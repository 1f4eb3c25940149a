//! A plain reader of YAML for tables and policies that are known to be sound; the service's own (`src/source/yaml.rs`) judges them as well.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// Every document that is not empty.
pub(crate) fn read(text: &str) -> Vec<Value> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new() };
    let mut documents = Vec::new();
    loop {
        match reader.next() {
            Event::StreamEnd => return documents,
            Event::DocumentStart(_) => {
                let first = reader.next();
                documents.push(reader.value(first));
            }
            _ => {}
        }
        documents.retain(|document| !document.is_null());
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Value>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Event<'t> {
        self.parser.next_event().map_or(Event::StreamEnd, |event| event.unwrap().0)
    }

    fn value(&mut self, event: Event<'t>) -> Value {
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.anchors[&anchor].clone(),
            Event::Scalar(text, style, anchor, _) => (if style == ScalarStyle::Plain { plain(&text) } else { Value::from(text.as_ref()) }, anchor),
            Event::SequenceStart(anchor, _) => (self.sequence(), anchor),
            Event::MappingStart(anchor, _) => (self.mapping(), anchor),
            other => panic!("{other:?}"),
        };
        self.anchors.insert(anchor, value.clone());
        value
    }

    fn sequence(&mut self) -> Value {
        let mut items = Vec::new();
        loop {
            match self.next() {
                Event::SequenceEnd => return Value::Array(items),
                event => items.push(self.value(event)),
            }
        }
    }

    fn mapping(&mut self) -> Value {
        let mut entries = Map::new();
        loop {
            let Event::Scalar(key, ..) = self.next() else { return Value::Object(entries) };
            let event = self.next();
            entries.insert(key.into_owned(), self.value(event));
        }
    }
}

/// A number, a truth value or nothing where JSON spells it so, else text.
fn plain(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
        _ if matches!(text, "" | "~") => Value::Null,
        _ => Value::from(text),
    }
}
