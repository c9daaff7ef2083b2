//! Finds the rule for an operation, the way Dapr's operation tree does.
//!
//! The tree has a node a path segment. Children are tried in the order in which rules were written, the
//! first that fits is taken, and there is no way back from it. Three things follow that one would not
//! guess, and all three are kept because configurations rely on them:
//! a name without a wildcard covers everything under it; `/*` in the middle of a name fits nothing but a
//! literal `*`; and a rule behind a segment that an earlier wildcard took is never reached.

use std::borrow::Cow;

/// How letter case is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Upper case and lower case are one (HTTP).
    Ignored,
    /// They differ (gRPC).
    Kept,
}

/// The rules of one app policy for one protocol. A rule is known by its index in the specification.
#[derive(Debug)]
pub(super) struct Tree {
    root: Node,
    case: Case,
}

#[derive(Debug, Default)]
struct Node {
    // Without its `/`; folded when case is ignored.
    segment: String,
    rule: Option<usize>,
    children: Vec<Node>,
}

impl Tree {
    pub(super) fn new<'a>(case: Case, names: impl Iterator<Item = &'a str>) -> Self {
        let mut tree = Self { root: Node::default(), case };
        for (index, name) in names.enumerate() {
            tree.insert(name, index);
        }
        tree
    }

    fn insert(&mut self, name: &str, index: usize) {
        let mut node = &mut self.root;
        for part in segments(name) {
            let part: String = match self.case {
                Case::Ignored => part.chars().map(lower).collect(),
                Case::Kept => part.to_owned(),
            };
            node = node.child_named(part);
        }
        // Of two rules with one name the first counts.
        node.rule.get_or_insert(index);
    }

    /// The rule that decides a cleaned operation (see [`clean`]).
    pub(super) fn find(&self, operation: &str) -> Option<usize> {
        let mut node = &self.root;
        let mut parts = segments(operation).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            node = node.fit(part, last, self.case)?;
            match node.rule {
                // Reached by a literal `*` in the request: it stands for one segment, and more follow.
                Some(_) if !last && node.segment == "*" => {}
                Some(rule) => return Some(rule),
                // `/a/*` and `/a/**` cover `/a` too.
                None if last => return node.fit("*", true, self.case)?.rule,
                None => {}
            }
        }
        None
    }
}

impl Node {
    fn child_named(&mut self, segment: String) -> &mut Node {
        let at = match self.children.iter().position(|child| child.segment == segment) {
            Some(at) => at,
            None => {
                self.children.push(Node { segment, ..Node::default() });
                self.children.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the position was found, or is that of the node just pushed")]
        &mut self.children[at]
    }

    fn fit(&self, part: &str, last: bool, case: Case) -> Option<&Node> {
        self.children.iter().find(|child| match child.segment.as_str() {
            "*" => last || part == "*",
            "**" => true,
            pattern => fits(pattern, part, case),
        })
    }
}

/// Segments of a name or operation, with or without its first `/`.
fn segments(text: &str) -> std::str::Split<'_, char> {
    text.strip_prefix('/').unwrap_or(text).split('/')
}

/// Whether `text` fits a pattern in which `*` stands for any text, also none.
fn fits(pattern: &str, text: &str, case: Case) -> bool {
    if !pattern.contains('*') {
        return match case {
            Case::Kept => pattern == text,
            Case::Ignored => pattern.chars().eq(text.chars().map(lower)),
        };
    }
    let fold = |c| match case {
        Case::Kept => c,
        Case::Ignored => lower(c),
    };
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when what follows the latest `*` did not fit: let that `*` take one more character.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut p, mut t) = (pattern.clone(), text.clone());
        match (p.next(), t.next()) {
            (Some('*'), _) => {
                pattern = p;
                retry = Some((pattern.clone(), text.clone()));
                continue;
            }
            (None, None) => return true,
            (Some(want), Some(have)) if want == fold(have) => {
                (pattern, text) = (p, t);
                continue;
            }
            _ => {}
        }
        let Some((after_star, rest)) = &mut retry else { return false };
        if rest.next().is_none() {
            return false;
        }
        (pattern, text) = (after_star.clone(), rest.clone());
    }
}

/// The lower-case form of a character, one for one, as Go's `unicode.ToLower` has it.
fn lower(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut folded = c.to_lowercase();
    match (folded.next(), folded.next()) {
        // One character only has a longer form: U+0130, which Go maps to a plain `i`.
        (Some(first), _) => first,
        (None, _) => c,
    }
}

/// The operation with one `/` in front, without empty and dot segments, and without a `/` at its end.
///
/// What arrives is canonical already; the decision must not depend on it. Only an operation that is not
/// clean is copied.
pub(super) fn clean(operation: &str) -> Cow<'_, str> {
    let is_clean = operation == "/"
        || operation.starts_with('/') && segments(operation).all(|part| !matches!(part, "" | "." | ".."));
    if is_clean {
        return Cow::Borrowed(operation);
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in segments(operation) {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}

/// The ways in which servers may read an operation, each cleaned; empty when there is one way only.
///
/// The first is Dapr's: escapes decoded once, `%2F` too. Then that of a server for which `%2F` is no
/// separator, and that of the most lenient of all, which decodes again and again, takes `\` for `/` and
/// drops what follows `;` in a segment. A call is allowed only if every reading is: no spelling may reach
/// what its other reading may not.
pub(super) fn readings(operation: &str) -> Vec<String> {
    if !operation.contains(['%', '\\', ';']) {
        return Vec::new();
    }
    let dapr = clean(&percent_decoded(operation)).into_owned();
    let in_segments: Vec<String> = operation.split('/').map(|part| percent_decoded(part).replace('/', "%2F")).collect();
    let mut readings = vec![dapr, clean(&in_segments.join("/")).into_owned(), lenient(operation)];
    readings.dedup();
    readings
}

fn lenient(operation: &str) -> String {
    let mut text = operation.to_owned();
    // Each round takes an escape away; a fourth layer of escapes is nobody's mistake any more.
    for _ in 0..4 {
        text = percent_decoded(&text);
    }
    let text = text.replace('\\', "/");
    let parts: Vec<&str> =
        text.split('/').map(|part| part.split_once(';').map_or(part, |(before, _)| before)).collect();
    clean(&parts.join("/")).into_owned()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(*byte);
        if let (b'%', [high, low, after @ ..]) = (byte, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.pop();
            bytes.push(high << 4 | low);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let rows = [
            ("A*", "ABC", true),
            ("A*", "ABC.a", true),
            ("*C", "ABC", true),
            ("*a", "ABC.a", true),
            ("a*d", "abcd", true),
            ("AB*.a", "ABC.a", true),
            ("a*", "a", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*ab", "aab", true),
            ("*aab", "aaaab", true),
            ("***", "", true),
            ("a*", "b", false),
            ("a*a", "a", false),
            ("ä*", "äö", true),
            ("*ö", "äö", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(fits(pattern, text, Case::Kept), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_long_pattern_of_stars_is_decided_in_short_time() {
        let pattern = "*a".repeat(2000) + "b";
        let text = "a".repeat(8000);

        assert!(!fits(&pattern, &text, Case::Ignored));
    }

    #[test]
    fn letter_case_folds_as_in_go() {
        for (upper, folded) in
            [('A', 'a'), ('Ä', 'ä'), ('Σ', 'σ'), ('\u{130}', 'i'), ('\u{212a}', 'k'), ('ß', 'ß'), ('1', '1')]
        {
            assert_eq!(lower(upper), folded, "{upper}");
        }
    }

    #[test]
    fn an_operation_is_cleaned_and_a_clean_one_is_not_copied() {
        let rows = [
            ("/", "/"),
            ("", "/"),
            ("op", "/op"),
            ("/op", "/op"),
            ("/op/", "/op"),
            ("//op", "/op"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../b", "/b"),
            ("/a/b/..", "/a"),
            ("/a/..", "/"),
            ("/...", "/..."),
        ];
        for (raw, cleaned) in rows {
            assert_eq!(clean(raw), cleaned, "{raw}");
            assert_eq!(clean(cleaned), cleaned);
            assert!(matches!(clean(cleaned), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_path_has_as_many_readings_as_servers_have_ways_to_read_it() {
        let rows: [(&str, &[&str]); 14] = [
            ("/admin", &[]),
            ("/%E4%B8%AD", &["/中"]),
            ("/a%20b", &["/a b"]),
            ("/100%", &["/100%"]),
            ("/100%zz", &["/100%zz"]),
            ("/%ff", &["/\u{fffd}"]),
            ("/a%2Fb", &["/a/b", "/a%2Fb", "/a/b"]),
            ("/a%2fb", &["/a/b", "/a%2Fb", "/a/b"]),
            ("/a;x=1/b", &["/a;x=1/b", "/a/b"]),
            ("/public/..;/admin", &["/public/..;/admin", "/admin"]),
            ("/public%5C..%5Cadmin", &["/public\\..\\admin", "/admin"]),
            ("/public/%2e%2e/admin", &["/admin"]),
            ("/public/%252e%252e/admin", &["/public/%2e%2e/admin", "/admin"]),
            ("/a%252Fb", &["/a%2Fb", "/a/b"]),
        ];
        for (operation, expected) in rows {
            assert_eq!(readings(operation), expected, "{operation}");
        }
    }
}
