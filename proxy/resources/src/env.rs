//! `$NAME` and `${NAME}` in Configuration files, as Go's `os.Expand` replaces them.

/// The text with every reference replaced by what `lookup` gives for its name, and the names for which
/// it gave nothing. Those are replaced by nothing, as in Go.
///
/// `$` followed by no name stays; `${}` and a `${` that is never closed lose their `${`. Each of
/// `* # $ @ ! ? -` and each digit is a name by itself, so `$$` is the variable `$`, which does not exist.
pub(crate) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        match reference(after) {
            Reference::None => {
                out.push('$');
                rest = after;
            }
            Reference::Bad { after } => rest = after,
            Reference::Name { name, after } => {
                match lookup(name) {
                    Some(value) => out.push_str(&value),
                    None => unset.push(name.to_owned()),
                }
                rest = after;
            }
        }
    }
    out.push_str(rest);
    (out, unset)
}

enum Reference<'a> {
    None,
    Bad { after: &'a str },
    Name { name: &'a str, after: &'a str },
}

fn reference(text: &str) -> Reference<'_> {
    if let Some(inner) = text.strip_prefix('{') {
        // Before all else: `${*}` and its like, where the name would not be looked for up to a brace.
        return match inner.split_once('}') {
            Some(("", after)) => Reference::Bad { after },
            Some((name, after)) => Reference::Name { name, after },
            None => Reference::Bad { after: inner },
        };
    }
    if text.starts_with(is_special) {
        let (name, after) = text.split_at(1);
        return Reference::Name { name, after };
    }
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    match text.split_at(end) {
        ("", _) => Reference::None,
        (name, after) => Reference::Name { name, after },
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '*' | '#' | '$' | '@' | '!' | '?' | '-' | '0'..='9')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "FOO" => Some("bar".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_as_go_replaces_them() {
        // What `os.ExpandEnv` of Go 1.26 answered, with FOO=bar and EMPTY set to nothing.
        for (text, expanded) in [
            ("$FOO", "bar"),
            ("${FOO}", "bar"),
            ("$$FOO", "FOO"),
            ("${NOPE}x", "x"),
            ("$1", ""),
            ("$", "$"),
            ("a$", "a$"),
            ("${}", ""),
            ("${FOO", "FOO"),
            ("$FOO_x", ""),
            ("${FOO:-d}", ""),
            ("$(FOO)", "$(FOO)"),
            ("$*x", "x"),
            ("$-a", "a"),
            ("$.", "$."),
            ("\\$FOO", "\\bar"),
            ("${FOO }", ""),
            ("a${FOO}b$FOO.c", "abarbbar.c"),
            ("${EMPTY}", ""),
            ("ä$FOOö", "äbarö"),
        ] {
            assert_eq!(expand(text, &lookup).0, expanded, "{text}");
        }
    }

    #[test]
    fn names_that_are_not_set_are_told() {
        assert_eq!(expand("$FOO ${NOPE} $EMPTY $1", &lookup).1, ["NOPE", "1"]);
    }
}
