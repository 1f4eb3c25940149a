//! YAML 1.2 (and so JSON) to JSON values with positions: bounded, without duplicate keys, and without a scalar that Kubernetes' own YAML 1.1
//! reader would take for something else.
//!
//! Must not know what the documents are about.

mod scalar;

use std::{collections::HashMap, fmt, panic};

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most values in one file, those that aliases repeat included.
const MAX_NODES: usize = 2_000_000;
/// Most bytes of text that aliases may repeat in one file.
const MAX_ALIASED_BYTES: usize = 16 * 1024 * 1024;

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Which one, from 1; empty documents count.
    pub(crate) number: usize,
    /// Its content.
    pub(crate) value: Value,
    /// Where everything in it stands.
    pub(crate) place: Place,
}

/// The line of a value and of all that is in it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// From 1; of a mapping's entry the key's line.
    pub(crate) line: usize,
    inside: Inside,
}

#[derive(Clone, Debug)]
enum Inside {
    Nothing,
    List(Vec<Place>),
    Map(Vec<(Box<str>, Place)>),
}

impl Place {
    /// The line of what this JSON pointer (RFC 6901) names, or of the nearest known thing that holds it.
    pub(crate) fn line_of(&self, pointer: &str) -> usize {
        let mut place = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let found = match &place.inside {
                Inside::Nothing => None,
                Inside::List(items) => step.parse::<usize>().ok().and_then(|at| items.get(at)),
                Inside::Map(entries) => entries.iter().find(|(key, _)| **key == *step).map(|(_, place)| place),
            };
            let Some(inner) = found else { break };
            place = inner;
        }
        place.line
    }
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    /// Which document, from 1.
    pub(crate) document: usize,
    /// Which line, from 1.
    pub(crate) line: usize,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

/// Reads every document that is not empty.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    // The parser promises not to panic; a file must not stop the service if it does.
    panic::catch_unwind(|| Reader::new(text).documents()).unwrap_or_else(|_| {
        Err(YamlError { document: 1, line: 1, message: "the YAML parser gave up on this file; write it more plainly".to_owned() })
    })
}

struct Node {
    value: Value,
    place: Place,
}

/// A value that aliases may repeat, and what each repetition costs.
struct Anchored {
    node: Node,
    nodes: usize,
    bytes: usize,
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    document: usize,
    nodes: usize,
    /// Bytes of scalars so far, to know what an anchored value holds.
    bytes: usize,
    aliased_bytes: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { parser: Parser::new_from_str(text), anchors: HashMap::new(), document: 0, nodes: 0, bytes: 0, aliased_bytes: 0 }
    }

    fn documents(mut self) -> Result<Vec<Document>, YamlError> {
        let mut documents = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(_) => {
                    self.document += 1;
                    self.anchors.clear();
                    let (event, span) = self.next()?;
                    let Node { value, place } = self.node(event, span, 0)?;
                    if !value.is_null() {
                        documents.push(Document { number: self.document, value, place });
                    }
                }
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                _ => return Err(self.fail(span, "a document was expected here")),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, YamlError> {
        self.spend(span, 1)?;
        if depth > MAX_DEPTH {
            return Err(self.fail(span, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let (nodes, bytes) = (self.nodes, self.bytes);
        let (node, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                self.bytes += text.len();
                let value = scalar::resolve(text, style, tag.as_deref()).map_err(|message| self.fail(span, message))?;
                (Node { value, place: Place { line: span.start.line(), inside: Inside::Nothing } }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(span, tag.as_deref())?;
                (self.sequence(span, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(span, tag.as_deref())?;
                (self.mapping(span, depth)?, anchor)
            }
            _ => return Err(self.fail(span, "a value was expected here")),
        };
        if anchor == 0 {
            return Ok(node);
        }
        let copy = Node { value: node.value.clone(), place: node.place.clone() };
        self.anchors.insert(anchor, Anchored { node: copy, nodes: self.nodes - nodes + 1, bytes: self.bytes - bytes });
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, YamlError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.fail(span, "an alias to an anchor that is not there, or not complete yet"));
        };
        let (nodes, bytes) = (anchored.nodes, anchored.bytes);
        let (value, inside) = (anchored.node.value.clone(), anchored.node.place.inside.clone());
        self.aliased_bytes += bytes;
        self.bytes += bytes;
        self.spend(span, nodes)?;
        if self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(self.fail(span, "aliases repeat too much; write the values out"));
        }
        Ok(Node { value, place: Place { line: span.start.line(), inside } })
    }

    fn sequence(&mut self, span: Span, depth: usize) -> Result<Node, YamlError> {
        let (mut items, mut places) = (Vec::new(), Vec::new());
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Node { value: Value::Array(items), place: Place { line: span.start.line(), inside: Inside::List(places) } });
            }
            let item = self.node(event, at, depth + 1)?;
            items.push(item.value);
            places.push(item.place);
        }
    }

    fn mapping(&mut self, span: Span, depth: usize) -> Result<Node, YamlError> {
        let (mut entries, mut places) = (Map::new(), Vec::new());
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node { value: Value::Object(entries), place: Place { line: span.start.line(), inside: Inside::Map(places) } });
            }
            let key = self.key(event, at)?;
            if entries.contains_key(&key) {
                return Err(self.fail(at, format!("the key `{}` is there twice; keep one of them", key.escape_debug())));
            }
            let (event, value_span) = self.next()?;
            let Node { value, mut place } = self.node(event, value_span, depth + 1)?;
            place.line = at.start.line();
            places.push((key.as_str().into(), place));
            entries.insert(key, value);
        }
    }

    /// A key, which is text in JSON.
    fn key(&mut self, event: Event<'t>, span: Span) -> Result<String, YamlError> {
        let Event::Scalar(text, style, _, tag) = event else {
            return Err(self.fail(span, "a key must be plain text, not a list, a mapping or an alias"));
        };
        self.spend(span, 1)?;
        self.bytes += text.len();
        scalar::resolve_key(text, style, tag.as_deref()).map_err(|message| self.fail(span, message))
    }

    fn refuse_tag(&self, span: Span, tag: Option<&Tag>) -> Result<(), YamlError> {
        match tag {
            None => Ok(()),
            Some(tag) => Err(self.fail(span, format!("the tag `{tag}` is not read; take it out"))),
        }
    }

    fn spend(&mut self, span: Span, nodes: usize) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err(self.fail(span, format!("more than {MAX_NODES} values in one file; split it"))) } else { Ok(()) }
    }

    fn syntax(&self, error: &ScanError) -> YamlError {
        YamlError { document: self.document.max(1), line: error.marker().line(), message: format!("not YAML: {}", error.info()) }
    }

    fn fail(&self, span: Span, message: impl fmt::Display) -> YamlError {
        YamlError { document: self.document.max(1), line: span.start.line(), message: message.to_string() }
    }
}

#[cfg(test)]
mod tests;
