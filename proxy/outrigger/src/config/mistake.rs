//! What is wrong with the configuration: every mistake, not only the first.

use std::fmt;

/// One mistake in a flag, a variable or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// What was set: `--app-port`, `NAMESPACE`; of a mistake in a file the
    /// whole text, place and fix included.
    pub(crate) name: String,
    /// The value as given; `None` when the mistake is that there is none, or
    /// when the value is secret.
    pub(crate) value: Option<String>,
    /// Why it cannot be used.
    pub(crate) reason: String,
    /// What to write instead.
    pub(crate) fix: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(value) = &self.value {
            write!(f, "={value:?}")?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// All mistakes of one start, in the order in which they were found.
///
/// `Display` prints a line each. An empty value is no error: see
/// [`Mistakes::into_result`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Adds one mistake. A second one about the same name is dropped: it is a
    /// consequence of the first.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: Option<&str>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let name = name.into();
        if self.0.iter().any(|mistake| mistake.name == name) {
            return;
        }
        self.0.push(Mistake { name, value: value.map(str::to_owned), reason: reason.into(), fix: fix.into() });
    }

    /// Adds a mistake in a file, whose text says where it is and what to do.
    pub(crate) fn add_file(&mut self, text: String) {
        self.0.push(Mistake { name: text, value: None, reason: String::new(), fix: String::new() });
    }

    /// Adds those of `other` behind the ones already held.
    pub(crate) fn append(&mut self, mut other: Mistakes) {
        self.0.append(&mut other.0);
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// `value` when nothing is wrong, else every mistake.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Mistakes> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
