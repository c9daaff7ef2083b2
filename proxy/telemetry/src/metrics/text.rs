//! The pieces of Prometheus text.

use std::fmt::{self, Display, Formatter, Write};

/// The labels of a series, as `{a="1",b="2"}`; nothing at all when there are none.
pub struct Labels<'a> {
    names: &'a [&'static str],
    values: &'a [Box<str>],
    bound: Option<f64>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(names: &'a [&'static str], values: &'a [Box<str>]) -> Labels<'a> {
        Labels { names, values, bound: None }
    }

    /// The same with a histogram's `le` at the end.
    pub(super) fn and_bound(&self, bound: f64) -> Labels<'a> {
        Labels { bound: Some(bound), ..*self }
    }
}

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut open = '{';
        for (name, value) in self.names.iter().zip(self.values) {
            write!(f, "{open}{name}=\"")?;
            escape(value, f)?;
            f.write_char('"')?;
            open = ',';
        }
        if let Some(bound) = self.bound {
            write!(f, "{open}le=\"{}\"", Float(bound))?;
            open = ',';
        }
        if open == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// Writes a label value with `\`, `"` and line feed escaped. Family replaces control characters before; the line feed is escaped all the
/// same, because one would spoil the whole text.
fn escape(value: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for c in value.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '"' => f.write_str("\\\"")?,
            '\n' => f.write_str("\\n")?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// A float as stock writes it (Go's shortest `%g`): `1`, `0.5`, `1e+06`, `1.048576e+06`, `+Inf`. Bucket bounds are text to those who compare them.
pub(super) struct Float(pub(super) f64);

impl Display for Float {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        let size = value.abs();
        // Go's shortest form has an exponent below 1e-4 and from 1e+06 on.
        if size != 0.0 && !(1e-4..1e6).contains(&size) {
            let text = format!("{value:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
            return write!(f, "{digits}e{sign}{exponent:0>2}");
        }
        write!(f, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_stock_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (100_000.0, "100000"),
            (262_144.0, "262144"),
            (1_000_000.0, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (4_294_967_296.0, "4.294967296e+09"),
            (0.000_01, "1e-05"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Float(value).to_string(), text);
        }
    }

    #[test]
    fn labels_are_escaped() {
        let values = [Box::from("a\"b\\c\nd")];
        assert_eq!(Labels::new(&["path"], &values).to_string(), r#"{path="a\"b\\c\nd"}"#);
        assert_eq!(Labels::new(&[], &[]).to_string(), "");
    }
}
