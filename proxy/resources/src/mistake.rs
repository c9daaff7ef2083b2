//! What is wrong with a configuration: where, what, and what to write instead.

use std::fmt;
use std::sync::Arc;

/// Most mistakes that are kept; the rest is counted.
const MAX_KEPT: usize = 100;

/// Where in the configuration something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named to us.
    pub file: Arc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Path of the field, such as `spec.accessControl.policies[0].appId`; empty for the document.
    pub field: String,
}

/// One mistake. Its text is `<file>:<line>: <field>: <what is wrong and what to do>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{kind}")]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub kind: MistakeKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MistakeKind {
    /// The file cannot be read.
    #[error("cannot be read: {reason}")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
    /// The file is larger than we read.
    #[error("is larger than {limit} bytes; split it into several files")]
    TooLarge {
        /// Most bytes of a file.
        limit: usize,
    },
    /// The text is no YAML, or more of it than we take.
    #[error("is not valid YAML: {reason}")]
    Syntax {
        /// What the parser said.
        reason: String,
    },
    /// No field of this name exists.
    #[error("is an unknown field{}", did_you_mean(*.nearest))]
    UnknownField {
        /// The known field that is spelled most like it.
        nearest: Option<&'static str>,
    },
    /// The field exists, and this build does nothing with it yet.
    #[error("is not supported yet, see docs/not-supported.md; remove it")]
    NotSupported,
    /// A resource of a kind that this build does nothing with yet.
    #[error("resources of kind {kind} are not supported yet, see docs/not-supported.md; remove this one")]
    KindNotSupported {
        /// The kind and the name of the resource.
        kind: String,
    },
    /// Two resources of one kind and name.
    #[error("the {kind} `{name}` is declared at {first} already; remove one of them or give it another name")]
    Redeclared {
        /// Kind of both.
        kind: String,
        /// Name of both.
        name: String,
        /// File and line of the first one.
        first: String,
    },
    /// A field that must be there is not.
    #[error("is missing; write {fix}")]
    Missing {
        /// What to write.
        fix: String,
    },
    /// A value of the wrong shape or beyond its bounds.
    #[error("`{value}` is wrong: {fix}")]
    Value {
        /// What is written, shortened.
        value: String,
        /// What would be right.
        fix: String,
    },
    /// The same thing twice.
    #[error("is there twice; the first is on line {first}")]
    Duplicate {
        /// Line of the first one.
        first: usize,
    },
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// All mistakes of a configuration, at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    kept: Vec<Mistake>,
    more: usize,
}

/// Something that is taken as it is written, and probably not meant so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Where it is.
    pub place: Place,
    /// What to know about it.
    pub text: String,
}

impl Mistakes {
    /// The mistakes, in the order of the files. Of very many only the first hundred.
    #[must_use]
    pub fn kept(&self) -> &[Mistake] {
        &self.kept
    }

    pub(crate) fn push(&mut self, mistake: Mistake) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(mistake);
        } else {
            self.more += 1;
        }
    }

    /// Takes over the mistakes of one more file, in the order of its lines.
    pub(crate) fn append(&mut self, mut file: Self) {
        file.kept.sort_by_key(|mistake| mistake.place.line);
        self.more += file.more;
        file.kept.into_iter().for_each(|mistake| self.push(mistake));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.kept.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{} ", self.field)?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.text)
    }
}

/// What a message shows of a text that we did not write: short, and without controls.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).collect::<String>().escape_debug().to_string();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
