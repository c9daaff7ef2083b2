//! Durations as Go writes them: `1h2m3.5s`, `300ms`, `-1h`, `0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A Go duration: a signed count of nanoseconds, about 292 years either way.
///
/// It is read and written exactly as Go's `time.ParseDuration` and `Duration.String` do it, for flags,
/// annotations and YAML are full of them. Go has no unit above the hour: `1d` is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number where one must be.
    #[error("`{text}` is no duration: write a number and a unit, for example 500ms, 30s or 1h30m")]
    Form {
        /// What was written.
        text: String,
    },
    /// A number without a unit.
    #[error("`{text}` is no duration: its last number has no unit (ns, us, ms, s, m or h), for example 30s")]
    MissingUnit {
        /// What was written.
        text: String,
    },
    /// A unit Go does not have.
    #[error("`{text}` is no duration: there is no unit `{unit}`; use ns, us, ms, s, m or h (a day is 24h)")]
    UnknownUnit {
        /// What was written.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// More than 292 years.
    #[error("`{text}` is too long a duration: the longest is 2562047h47m16s")]
    TooLong {
        /// What was written.
        text: String,
    },
    /// Below zero, where time only runs forward.
    #[error("`{text}` is negative; write a duration of 0 or more")]
    Negative {
        /// What was written.
        text: String,
    },
}

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// The magnitude of the most negative duration.
const MOST: u64 = 1 << 63;

/// Parses a Go duration that must not be negative.
///
/// # Errors
/// What Go refuses, and a negative one.
pub fn parse_non_negative(text: &str) -> Result<Duration, DurationError> {
    let duration: GoDuration = text.parse()?;
    duration.to_std().ok_or_else(|| DurationError::Negative { text: shown(text) })
}

impl GoDuration {
    /// A duration of so many nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds in it.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The same as an unsigned duration; `None` below zero.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(DurationError::Form { text: shown(text) });
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (part, after) = part(text, rest)?;
            total = total
                .checked_add(part)
                .filter(|total| *total <= MOST)
                .ok_or_else(|| DurationError::TooLong { text: shown(text) })?;
            rest = after;
        }
        let nanos = if negative { 0_i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() };
        nanos.map(Self).ok_or_else(|| DurationError::TooLong { text: shown(text) })
    }
}

/// One number with its unit, in nanoseconds, and what follows it.
fn part<'a>(text: &str, rest: &'a str) -> Result<(u64, &'a str), DurationError> {
    let too_long = || DurationError::TooLong { text: shown(text) };
    let (whole, after) = split_digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => split_digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Form { text: shown(text) });
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (name, after) = after.split_at(end);
    let unit = match name {
        "" => return Err(DurationError::MissingUnit { text: shown(text) }),
        "ns" => NANOSECOND,
        // Both the micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        unknown => return Err(DurationError::UnknownUnit { text: shown(text), unit: shown(unknown) }),
    };
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| too_long())? };
    let nanos = whole.checked_mul(unit).ok_or_else(too_long)?;
    let nanos = nanos.checked_add(fraction_of(fraction, unit)).ok_or_else(too_long)?;
    if nanos > MOST {
        return Err(too_long());
    }
    Ok((nanos, after))
}

/// The fraction `0.<digits>` of a unit, cut to whole nanoseconds the way Go's arithmetic does it.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0_f64);
    for digit in digits.bytes() {
        // Go ignores the digits that no longer fit.
        match value.checked_mul(10).map(|value| value + u64::from(digit - b'0')) {
            Some(next) if next <= MOST => (value, scale) = (next, scale * 10.0),
            _ => break,
        }
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the fraction is below one unit, and cutting it is what Go does"
    )]
    let nanos = (value as f64 * (unit as f64 / scale)) as u64;
    nanos
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What a message shows of a text we did not write.
fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        match nanos {
            0 => f.write_str("0s"),
            1..MICROSECOND => write!(f, "{nanos}ns"),
            MICROSECOND..MILLISECOND => decimal(f, nanos, MICROSECOND, "\u{b5}s"),
            MILLISECOND..SECOND => decimal(f, nanos, MILLISECOND, "ms"),
            _ => {
                if nanos >= HOUR {
                    write!(f, "{}h", nanos / HOUR)?;
                }
                if nanos >= MINUTE {
                    write!(f, "{}m", nanos % HOUR / MINUTE)?;
                }
                decimal(f, nanos % MINUTE, SECOND, "s")
            }
        }
    }
}

/// A number of units with the decimals it needs and no more.
fn decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let fraction = nanos % unit;
    if fraction > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Result<(i64, &'static str), &'static str>;

    // What Go 1.26 answered for each text: nanoseconds and the text it prints, or the kind of its error.
    const GO: &[(&str, Answer)] = &[
        ("0", Ok((0, "0s"))),
        ("-0", Ok((0, "0s"))),
        ("+0", Ok((0, "0s"))),
        ("1h2m3.5s", Ok((3723500000000, "1h2m3.5s"))),
        ("-1h", Ok((-3600000000000, "-1h0m0s"))),
        ("1d", Err("unknown unit")),
        ("", Err("invalid")),
        ("1", Err("missing unit")),
        ("-", Err("invalid")),
        ("+", Err("invalid")),
        ("s", Err("invalid")),
        (".s", Err("invalid")),
        ("-.s", Err("invalid")),
        (".5s", Ok((500000000, "500ms"))),
        ("1.s", Ok((1000000000, "1s"))),
        ("1.0s", Ok((1000000000, "1s"))),
        ("+5s", Ok((5000000000, "5s"))),
        ("5s ", Err("unknown unit")),
        (" 5s", Err("invalid")),
        ("1h 2m", Err("unknown unit")),
        ("1h-2m", Err("unknown unit")),
        ("1e3s", Err("unknown unit")),
        ("1ns", Ok((1, "1ns"))),
        ("1us", Ok((1000, "1µs"))),
        ("1µs", Ok((1000, "1µs"))),
        ("1μs", Ok((1000, "1µs"))),
        ("1ms", Ok((1000000, "1ms"))),
        ("1m", Ok((60000000000, "1m0s"))),
        ("1h", Ok((3600000000000, "1h0m0s"))),
        ("100h", Ok((360000000000000, "100h0m0s"))),
        ("9223372036854775807ns", Ok((9223372036854775807, "2562047h47m16.854775807s"))),
        ("9223372036854775808ns", Err("invalid")),
        ("-9223372036854775808ns", Ok((-9223372036854775808, "-2562047h47m16.854775808s"))),
        ("-9223372036854775809ns", Err("invalid")),
        ("9223372036854775.808us", Err("invalid")),
        ("2562047h47m16.854775807s", Ok((9223372036854775807, "2562047h47m16.854775807s"))),
        ("2562047h47m16.854775808s", Err("invalid")),
        ("-2562047h47m16.854775808s", Ok((-9223372036854775808, "-2562047h47m16.854775808s"))),
        ("3000000h", Err("invalid")),
        ("0.100000000000000000000h", Ok((360000000000, "6m0s"))),
        ("0.3333333333333333333h", Ok((1200000000000, "20m0s"))),
        ("9007199254740993ns", Ok((9007199254740993, "2501h59m59.254740993s"))),
        ("0.830103483285477580700h", Ok((2988372539827, "49m48.372539827s"))),
        ("1S", Err("unknown unit")),
        ("1H", Err("unknown unit")),
        ("1w", Err("unknown unit")),
        ("0s", Ok((0, "0s"))),
        ("00s", Ok((0, "0s"))),
        ("0.0s", Ok((0, "0s"))),
        ("3..5s", Err("missing unit")),
        ("1.5h30m", Ok((7200000000000, "2h0m0s"))),
        ("1m1m", Ok((120000000000, "2m0s"))),
        ("1_0s", Err("unknown unit")),
        ("10 s", Err("unknown unit")),
        ("0x5s", Err("unknown unit")),
        ("39h9m14.425s", Ok((140954425000000, "39h9m14.425s"))),
        ("1.000000001s", Ok((1000000001, "1.000000001s"))),
        ("1.0000000019s", Ok((1000000001, "1.000000001s"))),
        ("１s", Err("invalid")),
        ("0h0", Err("missing unit")),
        ("00", Err("missing unit")),
        ("1s1", Err("missing unit")),
    ];

    #[test]
    fn texts_are_read_as_go_reads_them() {
        for (text, expected) in GO {
            let got = text.parse::<GoDuration>();
            let got = match &got {
                Ok(duration) => Ok((duration.as_nanos(), duration.to_string())),
                Err(DurationError::Form { .. }) => Err("invalid"),
                Err(DurationError::TooLong { .. }) => Err("invalid"),
                Err(DurationError::MissingUnit { .. }) => Err("missing unit"),
                Err(DurationError::UnknownUnit { .. }) => Err("unknown unit"),
                Err(DurationError::Negative { .. }) => Err("negative"),
            };
            assert_eq!(got, expected.map(|(nanos, text)| (nanos, text.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1000, "1µs"),
            (1100, "1.1µs"),
            (1000000, "1ms"),
            (1000000000, "1s"),
            (1500000000, "1.5s"),
            (60000000000, "1m0s"),
            (3600000000000, "1h0m0s"),
            (90061001000000, "25h1m1.001s"),
            (-1, "-1ns"),
            (-1500000, "-1.5ms"),
            (9223372036854775807, "2562047h47m16.854775807s"),
            (-9223372036854775808, "-2562047h47m16.854775808s"),
            (2200000, "2.2ms"),
            (60500000000, "1m0.5s"),
        ] {
            assert_eq!(GoDuration::from_nanos(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(GoDuration::from_nanos(nanos)));
        }
    }

    #[test]
    fn a_negative_duration_is_refused_where_time_only_runs_forward() {
        assert_eq!(parse_non_negative("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_non_negative("-1h"), Err(DurationError::Negative { text: "-1h".into() }));
        assert_eq!(parse_non_negative("-0"), Ok(Duration::ZERO));
    }

    #[test]
    fn an_error_names_the_text_and_the_fix() {
        let error = "1d".parse::<GoDuration>().unwrap_err().to_string();

        assert_eq!(error, "`1d` is no duration: there is no unit `d`; use ns, us, ms, s, m or h (a day is 24h)");
    }
}
