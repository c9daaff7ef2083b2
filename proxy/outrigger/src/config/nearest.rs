//! "Did you mean": the known name closest to one that is not known.

/// The candidate that is at most a third of `name` (and at least two edits)
/// away from it, or `None` when nothing is that close.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_slip_finds_its_flag_and_nonsense_finds_none() {
        let flags = ["app-id", "app-port", "dapr-http-port", "dapr-grpc-port"];
        assert_eq!(nearest("app-prot", flags), Some("app-port"));
        assert_eq!(nearest("dapr-htp-port", flags), Some("dapr-http-port"));
        assert_eq!(nearest("appid", flags), Some("app-id"));
        assert_eq!(nearest("frobnicate", flags), None);
    }

    #[test]
    fn distance_counts_inserts_deletes_and_replacements() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
