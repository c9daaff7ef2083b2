//! Licences, banned crates, doubles and known holes, for every package that is built on this platform.

use std::collections::BTreeMap;

use crate::tree::{Package, file, packages};

/// The first quoted text of each entry in the array `name` of the table `table` in deny.toml.
///
/// The file's arrays hold one entry a line, or none in `[]`; that is all this reads of TOML.
fn listed(table: &str, name: &str) -> Vec<String> {
    let text = file("deny.toml");
    let start = format!("[{table}]");
    let mut lines = text.lines().skip_while(|line| *line != start);
    let wanted = format!("{name} = [");
    let opening =
        lines.find(|line| line.starts_with(&wanted)).unwrap_or_else(|| panic!("deny.toml has no {name} in [{table}]"));
    if opening.ends_with(']') {
        return Vec::new();
    }
    lines
        .take_while(|line| !line.starts_with(']'))
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

fn all() -> Vec<Package> {
    packages(&["--workspace", "--edges=normal,build,dev"])
}

#[test]
fn every_licence_is_one_that_we_take() {
    let allowed = listed("licenses", "allow");
    let refused: Vec<_> =
        all().into_iter().filter(|package| !package.ours && !licence::satisfied(&package.licence, &allowed)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn no_banned_crate_is_built() {
    let banned = listed("bans", "deny");
    assert!(banned.contains(&"ring".to_owned()), "deny.toml was not read");
    let found: Vec<_> = all().into_iter().filter(|package| banned.contains(&package.name)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_crate_is_twice_in_the_program_but_those_that_deny_toml_names() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages(&["--package=outrigger", "--edges=normal,no-proc-macro"]) {
        versions.entry(package.name).or_default().push(package.version);
    }
    let named = listed("bans", "skip");
    let named = |name: &str, version: &str| {
        let found = format!("{name}@{}.", version.trim_start_matches('v'));
        named.iter().any(|entry| found.starts_with(&format!("{entry}.")))
    };
    for (name, found) in versions {
        let unnamed = found.iter().filter(|version| !named(&name, version)).count();
        assert!(unnamed <= 1, "{name} is there as {found:?}: end one, or name it in deny.toml");
    }
}

/// Crates with a known hole, the first version without it, and where it is described.
const HOLES: &[(&str, (u64, u64, u64), &str)] =
    &[("h2", (0, 4, 16), "RUSTSEC-2026-0258"), ("rustls-webpki", (0, 103, 10), "RUSTSEC-2026-0098, RUSTSEC-2026-0099")];

#[test]
fn no_crate_is_older_than_the_mending_of_a_hole_that_we_know_of() {
    for package in all() {
        for (_, mended, advisory) in HOLES.iter().filter(|(name, ..)| *name == package.name) {
            let found = version(&package.version);
            assert!(found >= *mended, "{} {}: {advisory}", package.name, package.version);
        }
    }
}

fn version(text: &str) -> (u64, u64, u64) {
    let mut parts = text.trim_start_matches('v').split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Licence expressions as crates write them: `OR`, `AND`, parentheses, and the old `/` for `OR`.
mod licence {
    /// Whether the terms in `allowed` satisfy `expression`.
    pub(super) fn satisfied(expression: &str, allowed: &[String]) -> bool {
        let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let (value, rest) = any_of(&words, allowed);
        value && rest.is_empty()
    }

    fn any_of<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
        let (mut value, mut rest) = all_of(words, allowed);
        while let Some((&"OR", after)) = rest.split_first() {
            let (next, after) = all_of(after, allowed);
            value |= next;
            rest = after;
        }
        (value, rest)
    }

    fn all_of<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
        let (mut value, mut rest) = term(words, allowed);
        while let Some((&"AND", after)) = rest.split_first() {
            let (next, after) = term(after, allowed);
            value &= next;
            rest = after;
        }
        (value, rest)
    }

    fn term<'a>(words: &'a [&'a str], allowed: &[String]) -> (bool, &'a [&'a str]) {
        match words {
            [] => (false, words),
            ["(", inside @ ..] => {
                let (value, rest) = any_of(inside, allowed);
                match rest.split_first() {
                    Some((&")", after)) => (value, after),
                    _ => (false, rest),
                }
            }
            [name, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{name} WITH {exception}")), rest),
            [name, rest @ ..] => (allowed.iter().any(|term| term == name), rest),
        }
    }

    #[test]
    fn an_expression_is_satisfied_by_one_side_of_or_and_both_of_and() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("", false),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("ISC AND (Apache-2.0 OR MIT)", true),
            ("ISC AND (Apache-2.0 OR GPL-3.0)", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("(MIT", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression:?}");
        }
    }
}
