//! Flags as the stock sidecar reads them: Go's `pflag`, with the twist that a
//! long flag may have a single dash.
//!
//! `--flag=value`, `--flag value`, `-flag value` and a bare `--flag` for
//! booleans; lists repeat; the last value of anything else wins; `--` ends the
//! flags. `clap` cannot read these (a single-dash long flag is a bundle of
//! short ones to it, a boolean cannot have an optional value that must be
//! joined by `=`, and it stops at the first mistake), hence this parser.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger_resources::duration;

use super::nearest::nearest;
use super::table::{self, ALL, Flag, Kind, Persona, Support};
use super::{Mistakes, go};

/// A flag's value, read as its kind says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Uint(u64),
    Duration(Duration),
    List(Vec<String>),
}

/// The flags of one command line.
#[derive(Debug)]
pub(crate) struct Flags {
    persona: Persona,
    given: BTreeMap<&'static str, Value>,
    /// `--help` or `-h` was among them.
    pub(crate) help: bool,
    /// Things worth a warning that are no mistake: deprecated flags, flags
    /// without effect, arguments that stock ignores.
    pub(crate) warnings: Vec<String>,
}

/// Reads `arguments` (without the program's name).
///
/// Beside the flags come the mistakes: every unknown flag, missing or
/// unreadable value and value that asks for a feature that this build lacks.
/// What could be read is there all the same, so that later mistakes can be
/// reported together with these.
pub(crate) fn parse(persona: Persona, arguments: &[String]) -> (Flags, Mistakes) {
    let mut flags = Flags { persona, given: BTreeMap::new(), help: false, warnings: Vec::new() };
    let mut mistakes = Mistakes::default();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            for ignored in rest.by_ref() {
                flags.positional(ignored, &mut mistakes);
            }
            break;
        }
        let Some(body) = dashed(argument) else {
            flags.positional(argument, &mut mistakes);
            continue;
        };
        if body.is_empty() || body.starts_with(['-', '=']) {
            mistakes.add(argument.as_str(), None, "is no flag", "write --name=value or --name value");
            continue;
        }
        let (name, joined) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        if joined.is_none() && (name == "help" || argument == "-h") {
            flags.help = true;
            continue;
        }
        let Some(flag) = find(persona, name) else {
            unknown(persona, name, joined, &mut mistakes);
            // The next argument most likely was meant as its value.
            if joined.is_none() {
                rest.next_if(|next| dashed(next).is_none());
            }
            continue;
        };
        let value = match joined {
            Some(value) => value.to_owned(),
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => {
                let Some(next) = rest.next() else {
                    mistakes.add(
                        format!("--{name}"),
                        None,
                        "needs a value and has none",
                        format!("write --{name}=<{}>", shape(flag.kind)),
                    );
                    continue;
                };
                next.clone()
            }
        };
        flags.set(flag, &value, &mut mistakes);
    }
    (flags, mistakes)
}

/// What stands behind the dashes, or `None` for an argument that is no flag.
fn dashed(argument: &str) -> Option<&str> {
    if let Some(body) = argument.strip_prefix("--") {
        return Some(body);
    }
    argument.strip_prefix('-').filter(|body| !body.is_empty())
}

fn find(persona: Persona, name: &str) -> Option<&'static Flag> {
    ALL.iter().copied().find(|flag| flag.name == name && flag.known_to(persona))
}

fn unknown(persona: Persona, name: &str, value: Option<&str>, mistakes: &mut Mistakes) {
    let known = ALL.iter().filter(|flag| flag.known_to(persona) && !flag.help.is_empty()).map(|flag| flag.name);
    let fix = match nearest(name, known) {
        Some(close) => format!("did you mean --{close}?"),
        None => "--help lists the flags".to_owned(),
    };
    mistakes.add(format!("--{name}"), value, "unknown flag", fix);
}

fn shape(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "true|false",
        Kind::Text | Kind::List => "text",
        Kind::Int => "number",
        Kind::Uint => "number from 0",
        Kind::Duration => "duration such as 1m30s",
    }
}

fn read(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Bool => go::boolean(text).map(Value::Bool),
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Int => go::int(text).map(Value::Int),
        Kind::Uint => go::uint(text).map(Value::Uint),
        Kind::Duration => duration::parse_non_negative(text).ok().map(Value::Duration),
        Kind::List => go::csv(text).map(Value::List),
    }
}

/// Whether `value` asks for nothing beyond what `Only` allows.
fn asks_for_nothing(kind: Kind, value: &Value, allowed: &[&str]) -> bool {
    allowed.iter().any(|text| read(kind, text).as_ref() == Some(value))
}

impl Flags {
    fn set(&mut self, flag: &'static Flag, text: &str, mistakes: &mut Mistakes) {
        let name = flag.name;
        let Some(value) = read(flag.kind, text) else {
            mistakes.add(
                format!("--{name}"),
                Some(text),
                format!("is no {}", shape(flag.kind)),
                format!("the default is {:?}", flag.default_for(self.persona)),
            );
            return;
        };
        match flag.support {
            Support::Full => {}
            Support::Only(allowed) | Support::Tolerated(allowed, _) if asks_for_nothing(flag.kind, &value, allowed) => {
            }
            Support::Tolerated(_, why) if self.persona == Persona::Daprd => {
                self.warnings.push(format!("--{name} has no effect: {why}"));
            }
            Support::Only(_) | Support::Tolerated(..) => {
                mistakes.add(
                    format!("--{name}"),
                    Some(text),
                    "asks for a feature that is not supported yet",
                    format!("leave --{name} out; docs/not-supported.md says what to do instead"),
                );
                return;
            }
            Support::NoEffect(why) => self.warnings.push(format!("--{name} has no effect: {why}")),
            Support::Deprecated(instead) => self.warnings.push(format!("--{name} is deprecated: {instead}")),
        }
        match (self.given.get_mut(name), value) {
            (Some(Value::List(items)), Value::List(more)) => items.extend(more),
            (_, value) => {
                self.given.insert(name, value);
            }
        }
    }

    /// Stock ignores arguments that are no flags, which hides mistakes such as
    /// `--enable-mtls false`; as `daprd` they are warned about, as `outrigger`
    /// refused.
    fn positional(&mut self, argument: &str, mistakes: &mut Mistakes) {
        match self.persona {
            Persona::Daprd => self
                .warnings
                .push(format!("argument {argument:?} is no flag and is ignored; a boolean's value is joined by `=`")),
            Persona::Outrigger => mistakes.add(
                "argument",
                Some(argument),
                "is no flag",
                "flags begin with --; a boolean's value is joined by `=`",
            ),
        }
    }

    /// The name that the program was started under.
    pub(crate) fn persona(&self) -> Persona {
        self.persona
    }

    /// Whether the flag was on the command line.
    pub(crate) fn is_given(&self, flag: &Flag) -> bool {
        self.given.contains_key(flag.name)
    }

    fn value(&self, flag: &Flag) -> Value {
        self.given
            .get(flag.name)
            .cloned()
            .or_else(|| read(flag.kind, flag.default_for(self.persona)))
            .expect("every default of the table reads as its kind (tested)")
    }

    /// Value of a boolean flag; `false` for a flag of another kind.
    pub(crate) fn boolean(&self, flag: &Flag) -> bool {
        matches!(self.value(flag), Value::Bool(true))
    }

    /// Value of a text flag; empty for a flag of another kind.
    pub(crate) fn text(&self, flag: &Flag) -> String {
        match self.value(flag) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }

    /// Value of a whole-number flag; 0 for a flag of another kind.
    pub(crate) fn int(&self, flag: &Flag) -> i64 {
        match self.value(flag) {
            Value::Int(number) => number,
            _ => 0,
        }
    }

    /// Value of a whole-number flag from zero; 0 for a flag of another kind.
    pub(crate) fn uint(&self, flag: &Flag) -> u64 {
        match self.value(flag) {
            Value::Uint(number) => number,
            _ => 0,
        }
    }

    /// Value of a duration flag; zero for a flag of another kind.
    pub(crate) fn duration(&self, flag: &Flag) -> Duration {
        match self.value(flag) {
            Value::Duration(duration) => duration,
            _ => Duration::ZERO,
        }
    }

    /// Items of a list flag; none for a flag of another kind.
    pub(crate) fn list(&self, flag: &Flag) -> Vec<String> {
        match self.value(flag) {
            Value::List(items) => items,
            _ => Vec::new(),
        }
    }
}

/// The text of `--help`.
pub(crate) fn help(persona: Persona) -> String {
    let program = match persona {
        Persona::Daprd => "daprd",
        Persona::Outrigger => "outrigger sidecar",
    };
    let mut text = format!(
        "Usage: {program} --app-id <id> [flags]\n\n\
         The sidecar of one app: its Dapr API, and mutual TLS to other sidecars.\n\
         Flags take --name=value, --name value or -name value; durations are Go's (1m30s),\n\
         sizes are quantities (4Mi).\n\nFlags:\n"
    );
    for flag in table::ALL {
        if flag.help.is_empty() || !flag.known_to(persona) {
            continue;
        }
        let default = flag.default_for(persona);
        let left = if default.is_empty() || flag.kind == Kind::Bool && default == "false" {
            format!("--{}", flag.name)
        } else {
            format!("--{}={default}", flag.name)
        };
        let note = match flag.support {
            Support::Only(_) | Support::Tolerated(..) => " (not supported yet)",
            Support::NoEffect(_) => " (no effect)",
            Support::Full | Support::Deprecated(_) => "",
        };
        text.push_str(&format!("  {left:<46} {}{note}\n", flag.help));
    }
    text
}

#[cfg(test)]
#[path = "flags_tests.rs"]
mod tests;
