//! Cutting and cleaning of text that somebody else chose.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether `value` fits in `max` bytes and has no control character, that is, can be written out as it is.
///
/// Control characters are the ASCII ones, DEL and the C1 block (U+0080 to U+009F, which some terminals obey like ESC).
pub(crate) fn is_clean(value: &str, max: usize) -> bool {
    // The first byte of every C1 character in UTF-8 is 0xC2; only then are the characters looked at.
    value.len() <= max && !value.bytes().any(|b| b < 0x20 || b == 0x7f || b == 0xc2)
        || value.len() <= max && !value.chars().any(char::is_control)
}

/// The longest prefix of `value` that has at most `max` bytes and ends between two characters.
pub(crate) fn prefix(value: &str, max: usize) -> &str {
    value.get(..value.floor_char_boundary(max)).unwrap_or("")
}

/// `value` cut to `max` bytes; tabs and line ends become spaces, other control characters U+FFFD. Allocates only when one is there.
pub(crate) fn clean(value: &str, max: usize) -> Cow<'_, str> {
    let cut = prefix(value, max);
    if is_clean(cut, max) {
        return Cow::Borrowed(cut);
    }
    // A replacement character is longer than what it replaces, so the result is cut again.
    let replaced: String = cut
        .chars()
        .map(|c| match c {
            '\t' | '\r' | '\n' => ' ',
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    Cow::Owned(prefix(&replaced, max).to_owned())
}

/// Appends what is written to it to a `String`, up to `room` bytes, with control characters replaced as in [`clean`].
/// What is over is left out without an error.
pub(crate) struct Bounded<'a> {
    out: &'a mut String,
    room: usize,
}

impl<'a> Bounded<'a> {
    pub(crate) fn new(out: &'a mut String, room: usize) -> Bounded<'a> {
        Bounded { out, room }
    }
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = clean(text, self.room);
        self.out.push_str(&text);
        self.room = self.room.saturating_sub(text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_plain_value_is_borrowed_as_it_is() {
        assert!(matches!(clean("orders é", 128), Cow::Borrowed("orders é")));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(clean("aé", 2), "a");
    }

    #[test]
    fn ascii_and_c1_controls_are_replaced() {
        assert_eq!(clean("a\r\n\u{1b}[31m\u{9b}b\u{7f}", 64), "a  \u{fffd}[31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_replaced_value_still_fits_the_bound() {
        assert!(clean(&"\u{1b}".repeat(500), 128).len() <= 128);
    }

    #[test]
    fn a_bounded_writer_stops_at_its_bound_over_several_writes() {
        let mut out = String::new();
        let mut bounded = Bounded::new(&mut out, 5);
        write!(bounded, "{}-{}", "abc".to_owned(), "defg".to_owned()).unwrap();
        assert_eq!(out, "abc-d");
    }
}
