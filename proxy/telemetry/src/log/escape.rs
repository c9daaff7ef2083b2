//! Values as they stand in a line: never more than one line, never an escape sequence.

use std::fmt::Write as _;

/// Appends `value` for a text line: bare when it is plain, else in quotes with everything escaped that could mislead (logrus' rule).
pub(super) fn text(out: &mut String, value: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/@^+".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        out.push_str(value);
    } else {
        out.push('"');
        escaped(out, value, |out, c| {
            // Writing to a String does not fail.
            let _ = if c.is_ascii() {
                write!(out, "\\x{:02x}", u32::from(c))
            } else {
                write!(out, "\\u{:04x}", u32::from(c))
            };
        });
        out.push('"');
    }
}

/// Appends `value` as a JSON string.
pub(super) fn json(out: &mut String, value: &str) {
    out.push('"');
    escaped(out, value, |out, c| {
        let _ = write!(out, "\\u{:04x}", u32::from(c));
    });
    out.push('"');
}

fn escaped(out: &mut String, value: &str, control: impl Fn(&mut String, char)) {
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Separators that some readers take for a line's end, and marks that turn the reading direction.
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => control(out, c),
            c if c.is_control() => control(out, c),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(value: &str) -> (String, String) {
        let (mut a, mut b) = (String::new(), String::new());
        text(&mut a, value);
        json(&mut b, value);
        (a, b)
    }

    #[test]
    fn a_plain_value_stands_bare_in_text() {
        assert_eq!(both("a-b.c/d@1"), ("a-b.c/d@1".to_owned(), "\"a-b.c/d@1\"".to_owned()));
        assert_eq!(both("").0, "\"\"");
        assert_eq!(both("two words").0, "\"two words\"");
    }

    #[test]
    fn nothing_gets_out_of_its_quotes_or_line() {
        let (text, json) = both("a\" level=error\r\n\u{1b}[31m\u{9b}\u{2028}\u{202e}\\\0\u{7f}");
        assert_eq!(text, r#""a\" level=error\r\n\x1b[31m\u009b\u2028\u202e\\\x00\x7f""#);
        assert_eq!(json, r#""a\" level=error\r\n\u001b[31m\u009b\u2028\u202e\\\u0000\u007f""#);
    }
}
