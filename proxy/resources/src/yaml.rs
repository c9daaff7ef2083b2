//! YAML text to a tree whose nodes know their line.
//!
//! A tree and not serde types, for three reasons: every mistake is to be told at once, each with its
//! line; a plain `0.10` or `010` must keep its spelling, for Dapr's fields are strings where one writes
//! numbers; and a key that is there twice is to be told and not guessed about.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag, options};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
const TOO_DEEP: &str = "lists and maps are nested more than 64 deep";
/// Most nodes of a file, those that aliases stand for included.
const MAX_NODES: usize = 100_000;

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Line in the file, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
    // Nodes in this one, itself included.
    size: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing: an empty value, `~` or `null`.
    Null,
    /// The text as written, without quotes.
    Scalar {
        text: String,
        /// It was in quotes, in a block, or tagged `!!str`.
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value. A key that is there twice is kept twice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) node: Node,
}

/// Why the text is no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// The documents of a file that hold anything. Those before a mistake are given together with it.
pub(crate) fn documents(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
    let mut builder = Builder::default();
    let options = options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    for item in Parser::new_from_str_with_options(text, options) {
        let error = match item {
            Ok((event, span)) => {
                let line = span.start.line();
                builder.take(event, line).err().map(|reason| SyntaxError { line, reason })
            }
            Err(error) => Some(SyntaxError { line: error.marker().line(), reason: reason(&error) }),
        };
        if error.is_some() {
            return (builder.documents, error);
        }
    }
    (builder.documents, None)
}

fn reason(error: &ScanError) -> String {
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => TOO_DEEP.to_owned(),
        _ => error.info(),
    }
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or map that is not at its end yet.
struct Open {
    line: usize,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, merged: Vec<Node>, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    /// `<<`: the value's entries are taken over.
    Merge,
    Named {
        key: String,
        line: usize,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = known_tag(tag.as_deref())?;
                let plain = style == ScalarStyle::Plain && tag != Some(CoreTag::Str);
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
                    text => Value::Scalar { text: text.to_owned(), quoted: !plain },
                };
                self.count(1)?;
                self.place(Node { line, value, size: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                known_tag(tag.as_deref())?;
                self.open(Open { line, anchor, kind: OpenKind::List(Vec::new()) })
            }
            Event::MappingStart(_, anchor, tag) => {
                known_tag(tag.as_deref())?;
                self.open(Open {
                    line,
                    anchor,
                    kind: OpenKind::Map { entries: Vec::new(), merged: Vec::new(), key: None },
                })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    self.place(open.close()?, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let size = self.anchors.get(&anchor).map(|node| node.size);
                self.count(size.ok_or("an alias stands inside what it stands for")?)?;
                let Some(node) = self.anchors.get(&anchor).cloned() else { return Ok(()) };
                self.place(Node { line, ..node }, 0)
            }
            Event::DocumentStart(..) => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > MAX_NODES {
            true => Err(format!("the file has more than {MAX_NODES} values, what its aliases stand for included")),
            false => Ok(()),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), String> {
        self.count(1)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(TOO_DEEP.to_owned());
        }
        self.open.push(open);
        Ok(())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            // It is kept twice, so it counts twice.
            self.count(node.size)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None if node.value != Value::Null => self.documents.push(node),
            None => {}
            Some(OpenKind::List(nodes)) => nodes.push(node),
            Some(OpenKind::Map { entries, merged, key }) => match key.take() {
                Some(Key::Merge) => merged.push(node),
                Some(Key::Named { key, line }) => entries.push(Entry { key, line, node }),
                None => *key = Some(key_of(node)?),
            },
        }
        Ok(())
    }
}

impl Open {
    fn close(self) -> Result<Node, String> {
        let (value, inside) = match self.kind {
            OpenKind::List(nodes) => {
                let inside: usize = nodes.iter().map(|node| node.size).sum();
                (Value::List(nodes), inside)
            }
            OpenKind::Map { mut entries, merged, .. } => {
                merged.into_iter().try_for_each(|node| merge(&mut entries, node))?;
                let inside: usize = entries.iter().map(|entry| entry.node.size + 1).sum();
                (Value::Map(entries), inside)
            }
        };
        Ok(Node { line: self.line, value, size: inside + 1 })
    }
}

fn key_of(node: Node) -> Result<Key, String> {
    match node.value {
        Value::Scalar { text, quoted: false } if text == "<<" => Ok(Key::Merge),
        Value::Scalar { text, .. } => Ok(Key::Named { key: text, line: node.line }),
        Value::Null => Ok(Key::Named { key: "null".to_owned(), line: node.line }),
        Value::List(_) | Value::Map(_) => Err("the key of a map must be a text".to_owned()),
    }
}

/// Takes the entries of `<<: *other` (or a list of such) that the map does not have itself.
fn merge(entries: &mut Vec<Entry>, node: Node) -> Result<(), String> {
    match node.value {
        Value::Map(others) => {
            for other in others {
                if !entries.iter().any(|entry| entry.key == other.key) {
                    entries.push(other);
                }
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(entries, node)),
        Value::Null | Value::Scalar { .. } => Err("`<<` takes a map or a list of maps".to_owned()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CoreTag {
    Str,
    Other,
}

fn known_tag(tag: Option<&Tag>) -> Result<Option<CoreTag>, String> {
    let Some(tag) = tag else { return Ok(None) };
    let (handle, suffix) = tag.parts();
    match (handle, suffix) {
        ("!", "") | ("", "!") => Ok(Some(CoreTag::Str)),
        _ if tag.is_yaml_core_schema_tag("str") => Ok(Some(CoreTag::Str)),
        _ if ["int", "float", "bool", "null", "map", "seq"].iter().any(|name| tag.is_yaml_core_schema_tag(name)) => {
            Ok(Some(CoreTag::Other))
        }
        _ => Err(format!("the tag `{}` is not supported", crate::mistake::shown(suffix))),
    }
}
