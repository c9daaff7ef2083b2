//! Reads typed fields out of a tree, and notes every mistake on the way instead of stopping at the first.

use std::sync::Arc;

use crate::fields::{Field, Support};
use crate::mistake::{Mistake, MistakeKind, Mistakes, Place, Warning, shown};
use crate::yaml::{Entry, Node, Value};

/// What is noted while one file is read.
pub(crate) struct Reader {
    file: Arc<str>,
    pub(crate) mistakes: Mistakes,
    pub(crate) warnings: Vec<Warning>,
}

/// A node together with its path.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
}

/// The fields of one map that are known and supported.
pub(crate) struct Fields<'a> {
    entries: Vec<&'a Entry>,
    path: String,
    line: usize,
}

impl Reader {
    pub(crate) fn new(file: Arc<str>) -> Self {
        Self { file, mistakes: Mistakes::default(), warnings: Vec::new() }
    }

    pub(crate) fn place(&self, line: usize, field: impl Into<String>) -> Place {
        Place { file: Arc::clone(&self.file), line, field: field.into() }
    }

    pub(crate) fn mistake(&mut self, line: usize, field: impl Into<String>, kind: MistakeKind) {
        let place = self.place(line, field);
        self.mistakes.push(Mistake { place, kind });
    }

    pub(crate) fn warn(&mut self, line: usize, field: impl Into<String>, text: impl Into<String>) {
        let place = self.place(line, field);
        self.warnings.push(Warning { place, text: text.into() });
    }

    /// Notes a value that is wrong.
    pub(crate) fn wrong(&mut self, at: &At<'_>, fix: impl Into<String>) {
        let value = match &at.node.value {
            Value::Null => "null".to_owned(),
            Value::Scalar { text, .. } => shown(text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        self.mistake(at.node.line, at.path.clone(), MistakeKind::Value { value, fix: fix.into() });
    }

    /// The fields of a map, checked against the table of what is known at its path.
    ///
    /// A field that is known and not supported is a mistake when it asks for anything: `null`, `[]` and
    /// `{}` ask for nothing.
    pub(crate) fn fields<'a>(&mut self, at: &At<'a>, known: &[Field]) -> Option<Fields<'a>> {
        let Value::Map(entries) = &at.node.value else {
            self.wrong(at, "write fields, each as `name: value`");
            return None;
        };
        let mut kept: Vec<&Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let path = child(&at.path, &entry.key);
            if let Some(first) = kept.iter().find(|other| other.key == entry.key) {
                self.mistake(entry.line, path, MistakeKind::Duplicate { first: first.line });
                continue;
            }
            match known.iter().find(|field| field.name == entry.key) {
                Some(Field { support: Support::Yes, .. }) => kept.push(entry),
                Some(Field { support: Support::Not, .. }) if entry.node.is_empty() => {}
                Some(Field { support: Support::Not, .. }) => {
                    self.mistake(entry.line, path, MistakeKind::NotSupported);
                }
                None => {
                    let nearest = nearest(&entry.key, known);
                    self.mistake(
                        entry.line,
                        child(&at.path, &shown(&entry.key)),
                        MistakeKind::UnknownField { nearest },
                    );
                }
            }
        }
        Some(Fields { entries: kept, path: at.path.clone(), line: at.node.line })
    }

    /// The items of a list.
    pub(crate) fn list<'a>(&mut self, at: &At<'a>) -> Vec<At<'a>> {
        let Value::List(nodes) = &at.node.value else {
            self.wrong(at, "write a list, each item after `- `");
            return Vec::new();
        };
        nodes.iter().enumerate().map(|(index, node)| At { node, path: format!("{}[{index}]", at.path) }).collect()
    }

    /// A text. Numbers and words that YAML has a meaning for are taken as they are spelled.
    pub(crate) fn text<'a>(&mut self, at: &At<'a>) -> Option<&'a str> {
        match &at.node.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong(at, "write a text");
                None
            }
        }
    }

    /// A text that `parse` understands; its error says what would be right.
    pub(crate) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        at: &At<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(self.text(at)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(at, error.to_string());
                None
            }
        }
    }

    /// `true` or `false`, and the other words that Go's YAML takes for them where one is wanted.
    pub(crate) fn boolean(&mut self, at: &At<'_>) -> Option<bool> {
        let boolean = match &at.node.value {
            Value::Scalar { text, quoted } => match (text.as_str(), quoted) {
                ("true" | "True" | "TRUE", false) => Some(true),
                ("false" | "False" | "FALSE", false) => Some(false),
                ("y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON", _) => Some(true),
                ("n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF", _) => Some(false),
                _ => None,
            },
            Value::Null | Value::List(_) | Value::Map(_) => None,
        };
        if boolean.is_none() {
            self.wrong(at, "write true or false, without quotes");
        }
        boolean
    }
}

impl<'a> Fields<'a> {
    /// The field's value; `None` when it is not there, or nothing (`null`).
    pub(crate) fn get(&self, name: &str) -> Option<At<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        (entry.node.value != Value::Null).then(|| At { node: &entry.node, path: child(&self.path, name) })
    }

    /// The field's value, which must be there; `fix` says what to write.
    pub(crate) fn required(&self, reader: &mut Reader, name: &str, fix: &str) -> Option<At<'a>> {
        let at = self.get(name).filter(|at| !at.is_blank());
        if at.is_none() {
            let fix = fix.to_owned();
            reader.mistake(self.line, child(&self.path, name), MistakeKind::Missing { fix });
        }
        at
    }
}

impl At<'_> {
    /// Whether it is the empty text.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, .. } if text.is_empty())
    }
}

impl Node {
    /// Whether it asks for nothing.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar { .. } => false,
            Value::List(nodes) => nodes.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The known field that is spelled most like `name`, when it is like it at all.
fn nearest(name: &str, known: &[Field]) -> Option<&'static str> {
    if name.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|field| (distance(&name.to_lowercase(), &field.name.to_lowercase()), field.name))
        .filter(|(distance, field)| *distance <= 1 + field.len() / 4)
        .min()
        .map(|(_, field)| field)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = changed.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_the_edits() {
        for (a, b, edits) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("abc", "abc", 0), ("flaw", "lawn", 2)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_field_is_offered_only_when_it_is_near() {
        const KNOWN: &[Field] =
            &[Field::supported("tracing"), Field::supported("accessControl"), Field::not("metrics")];
        for (name, expected) in [
            ("traceing", Some("tracing")),
            ("accesscontrol", Some("accessControl")),
            ("metric", Some("metrics")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(name, KNOWN), expected, "{name}");
        }
    }
}
