//! Numbers and truth values as Go's `strconv` reads them, because the stock
//! sidecar's flags accept exactly those spellings.

/// `strconv.ParseBool`: `1 t T TRUE true True` and their opposites.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `strconv.ParseInt(text, 0, 64)`: a sign, a base prefix (`0x`, `0b`, `0o`
/// or a leading `0` for octal) and single underscores between digits.
pub(crate) fn int(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = i128::from(uint(rest)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `strconv.ParseUint(text, 0, 64)`.
pub(crate) fn uint(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if let Some(rest) = lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, rest, true)
    } else {
        (10, lower.as_str(), false)
    };
    if !underscores_separate_digits(digits, prefixed) {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    // `from_str_radix` would accept a sign of its own.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, radix).ok()
}

fn underscores_separate_digits(digits: &str, prefixed: bool) -> bool {
    let starts_well = prefixed || !digits.starts_with('_');
    starts_well && !digits.ends_with('_') && !digits.contains("__")
}

/// One CSV record as `encoding/csv` reads it, which is how a repeated flag's
/// value is split: commas, and double quotes around a field that holds one.
/// `None` when a quote is not closed or stands inside an unquoted field.
pub(crate) fn csv(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at(end);
            if field.contains('"') {
                return None;
            }
            (field.to_owned(), after)
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(escaped) => {
                field.push('"');
                rest = escaped;
            }
            None => return Some((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_follow_base_zero_rules() {
        let table = [
            ("0", Some(0)),
            ("42", Some(42)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x1F", Some(31)),
            ("-0x10", Some(-16)),
            ("0b101", Some(5)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("1_000", Some(1000)),
            ("0x_ff", Some(255)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("+-1", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("08", None),
            ("0x", None),
            ("1.5", None),
            ("1e3", None),
            (" 1", None),
            ("five", None),
        ];
        for (text, want) in table {
            assert_eq!(int(text), want, "{text:?}");
        }
    }

    #[test]
    fn truth_has_six_spellings_and_falsehood_six() {
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(yes), Some(true), "{yes}");
        }
        for no in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(no), Some(false), "{no}");
        }
        for neither in ["", "yes", "no", "tRue", "on", "2"] {
            assert_eq!(boolean(neither), None, "{neither}");
        }
    }

    #[test]
    fn lists_are_one_csv_record() {
        let list = |items: &[&str]| Some(items.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(csv(""), list(&[]));
        assert_eq!(csv("a"), list(&["a"]));
        assert_eq!(csv("a,b"), list(&["a", "b"]));
        assert_eq!(csv("a,,b"), list(&["a", "", "b"]));
        assert_eq!(csv("\"a,b\",c"), list(&["a,b", "c"]));
        assert_eq!(csv("\"say \"\"hi\"\"\""), list(&["say \"hi\""]));
        assert_eq!(csv("\"open"), None);
        assert_eq!(csv("a\"b"), None);
        assert_eq!(csv("\"a\"b"), None);
    }
}
