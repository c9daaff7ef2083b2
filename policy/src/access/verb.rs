//! The HTTP verbs that an access policy can name.

use std::fmt;

/// A verb that an access policy can name: those of Dapr's `HTTPExtension.Verb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
}

const ALL: [(Verb, &str); 9] = [
    (Verb::Get, "GET"),
    (Verb::Head, "HEAD"),
    (Verb::Post, "POST"),
    (Verb::Put, "PUT"),
    (Verb::Delete, "DELETE"),
    (Verb::Connect, "CONNECT"),
    (Verb::Options, "OPTIONS"),
    (Verb::Trace, "TRACE"),
    (Verb::Patch, "PATCH"),
];

impl Verb {
    /// The verb of a request.
    ///
    /// Letter case is ignored, for a lenient app may take `post` for `POST`: it must not escape a rule
    /// about `POST`. `None` is a verb that no rule can name.
    #[must_use]
    pub fn of_request(method: &str) -> Option<Self> {
        ALL.iter().find_map(|(verb, name)| name.eq_ignore_ascii_case(method).then_some(*verb))
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// The verbs that a rule decides.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Verbs {
    named: u16,
    any: bool,
}

/// A verb that no rule can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVerb {
    /// What was written.
    pub text: String,
}

impl fmt::Display for UnknownVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no HTTP verb: `{}`; write one of", self.text.escape_default())?;
        for (_, name) in ALL {
            write!(f, " {name}")?;
        }
        f.write_str(" in capitals, or *")
    }
}

impl std::error::Error for UnknownVerb {}

impl Verbs {
    /// No verb.
    pub const NONE: Self = Self { named: 0, any: false };
    /// Every verb (`*`).
    pub const ANY: Self = Self { named: 0, any: true };

    /// Parses what a rule lists: verbs in capitals, or `*`.
    ///
    /// # Errors
    /// The first text that is neither. Dapr takes any text and then never matches it, so that a rule
    /// about `post` decides nothing.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, UnknownVerb> {
        list.iter().try_fold(Self::NONE, |verbs, text| match text.as_ref() {
            "*" => Ok(Self { any: true, ..verbs }),
            text => match ALL.iter().find(|(_, name)| *name == text) {
                Some((verb, _)) => Ok(verbs.and(*verb)),
                None => Err(UnknownVerb { text: text.to_owned() }),
            },
        })
    }

    /// These verbs and one more.
    #[must_use]
    pub fn and(self, verb: Verb) -> Self {
        Self { named: self.named | verb.bit(), ..self }
    }

    /// Whether no verb is listed.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether `*` is listed.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.any
    }

    /// Whether the verb is listed, by name or by `*`.
    #[must_use]
    pub fn contains(self, verb: Verb) -> bool {
        self.any || self.named & verb.bit() != 0
    }

    /// The list as YAML in one line: `["GET", "POST"]`.
    #[must_use]
    pub fn to_yaml(self) -> String {
        let names: Vec<String> = ALL
            .iter()
            .filter(|(verb, _)| self.named & verb.bit() != 0)
            .map(|(_, name)| *name)
            .chain(self.any.then_some("*"))
            .map(|name| format!("\"{name}\""))
            .collect();
        format!("[{}]", names.join(", "))
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_yaml())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_verb_is_known_in_any_case_and_a_rule_verb_in_capitals_only() {
        assert_eq!(Verb::of_request("post"), Some(Verb::Post));
        assert_eq!(Verb::of_request("PoSt"), Some(Verb::Post));
        assert_eq!(Verb::of_request("PURGE"), None);
        assert_eq!(Verb::of_request("NONE"), None);
        assert_eq!(Verb::of_request(""), None);
        assert_eq!(Verb::of_request("POST "), None);
        assert_eq!(Verbs::parse(&["GET", "post"]).unwrap_err().text, "post");
    }

    #[test]
    fn a_list_holds_what_it_names() {
        let verbs = Verbs::parse(&["PATCH", "GET"]).unwrap();

        assert!(verbs.contains(Verb::Get) && verbs.contains(Verb::Patch));
        assert!(!verbs.contains(Verb::Post));
        assert_eq!(verbs.to_yaml(), r#"["GET", "PATCH"]"#);
        assert!(Verbs::parse(&["*"]).unwrap().contains(Verb::Trace));
        assert!(Verbs::parse::<&str>(&[]).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_verb_is_answered_with_the_known_ones() {
        let error = Verbs::parse(&["FETCH"]).unwrap_err().to_string();

        assert_eq!(
            error,
            "no HTTP verb: `FETCH`; write one of GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH in capitals, or *"
        );
    }
}
