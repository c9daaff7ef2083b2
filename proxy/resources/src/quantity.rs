//! Kubernetes quantities: `4Mi`, `4M`, `500m`, `1e3`.

use std::str::FromStr;

/// A Kubernetes quantity, as a whole number: what is between two is rounded away from zero, as
/// Kubernetes' `Value()` does it (`500m` is 1).
///
/// Read as Kubernetes reads it, with its oddities (`Mi` alone is 0); but where Kubernetes overflows
/// silently, here it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i64);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix.
    #[error(
        "`{text}` is no quantity: write a number with one of the suffixes Ki Mi Gi Ti Pi Ei, k M G T P E, m u n, \
         or an exponent such as e3; for example 4Mi"
    )]
    Form {
        /// What was written.
        text: String,
    },
    /// Beyond a 64-bit number.
    #[error("`{text}` is too large: the largest quantity is 9223372036854775807")]
    TooLarge {
        /// What was written.
        text: String,
    },
    /// Below zero, where a size is wanted.
    #[error("`{text}` is negative; write a size of 0 or more")]
    Negative {
        /// What was written.
        text: String,
    },
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    Ten(i32),
    Two(u32),
}

/// Parses a quantity as a number of bytes.
///
/// # Errors
/// What is no quantity, and a negative one.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    let quantity: Quantity = text.parse()?;
    u64::try_from(quantity.0).map_err(|_| QuantityError::Negative { text: shown(text) })
}

impl Quantity {
    /// The whole number.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let form = || QuantityError::Form { text: shown(text) };
        if text.is_empty() {
            return Err(form());
        }
        let negative = text.starts_with('-');
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        let scale = scale(suffix).ok_or_else(form)?;
        let magnitude =
            magnitude(whole, fraction, scale).ok_or_else(|| QuantityError::TooLarge { text: shown(text) })?;
        let value = if negative { -magnitude } else { magnitude };
        i64::try_from(value).map(Self).map_err(|_| QuantityError::TooLarge { text: shown(text) })
    }
}

fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "" => Scale::Ten(0),
        "n" => Scale::Ten(-9),
        "u" => Scale::Ten(-6),
        "m" => Scale::Ten(-3),
        "k" => Scale::Ten(3),
        "M" => Scale::Ten(6),
        "G" => Scale::Ten(9),
        "T" => Scale::Ten(12),
        "P" => Scale::Ten(15),
        "E" => Scale::Ten(18),
        "Ki" => Scale::Two(10),
        "Mi" => Scale::Two(20),
        "Gi" => Scale::Two(30),
        "Ti" => Scale::Two(40),
        "Pi" => Scale::Two(50),
        "Ei" => Scale::Two(60),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let (sign, digits) = match digits.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, digits.strip_prefix('+').unwrap_or(digits)),
            };
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // Nothing between one and the largest number lies beyond a thousand places.
            Scale::Ten(sign * digits.parse::<i32>().unwrap_or(1000).min(1000))
        }
    })
}

/// The value of `<whole>.<fraction>` times the scale, rounded up; `None` when it is far too large.
fn magnitude(whole: &str, fraction: &str, scale: Scale) -> Option<i128> {
    let zeros = fraction.trim_end_matches('0');
    let digits: String = whole.trim_start_matches('0').chars().chain(zeros.chars()).collect();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let places = i32::try_from(zeros.len()).ok()?;
    let (ten, two) = match scale {
        Scale::Ten(ten) => (ten, 0),
        Scale::Two(two) => (0, two),
    };
    let mut exponent = ten - places;
    // Twenty digits are more than the largest number has. Of the rest only "there is more" matters.
    let (kept, dropped) = digits.split_at(digits.len().min(20));
    exponent += i32::try_from(dropped.len()).ok()?;
    let more = i128::from(dropped.bytes().any(|digit| digit != b'0'));
    let value = kept.parse::<i128>().ok()?;
    if exponent >= 0 {
        return times_two_to(10_i128.checked_pow(exponent.unsigned_abs())?.checked_mul(value + more)?, two);
    }
    let scaled = times_two_to(value, two)?;
    match 10_i128.checked_pow(exponent.unsigned_abs()) {
        Some(divisor) => Some(scaled / divisor + i128::from(scaled % divisor != 0 || (more != 0))),
        // Too small to see, but not nothing.
        None => Some(1),
    }
}

fn times_two_to(value: i128, power: u32) -> Option<i128> {
    value.checked_mul(1_i128.checked_shl(power)?)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What a message shows of a text we did not write.
fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    // What `resource.ParseQuantity` of apimachinery 0.33 answered for each text: `Value()`, or an error.
    const KUBERNETES: &[(&str, Option<i64>)] = &[
        ("0", Some(0)),
        ("4Mi", Some(4194304)),
        ("4M", Some(4000000)),
        ("1e3", Some(1000)),
        ("1E3", Some(1000)),
        ("500m", Some(1)),
        ("1500m", Some(2)),
        ("-500m", Some(-1)),
        ("-1500m", Some(-2)),
        ("1Ki", Some(1024)),
        ("1k", Some(1000)),
        ("1K", None),
        ("10n", Some(1)),
        ("1u", Some(1)),
        ("1n", Some(1)),
        ("0n", Some(0)),
        ("2Gi", Some(2147483648)),
        ("1Ti", Some(1099511627776)),
        ("1Pi", Some(1125899906842624)),
        ("1Ei", Some(1152921504606846976)),
        ("7Ei", Some(8070450532247928832)),
        ("9E", Some(9000000000000000000)),
        ("1.5Mi", Some(1572864)),
        ("1.5Ki", Some(1536)),
        ("0.1Ki", Some(103)),
        ("0.0001Ki", Some(1)),
        (".5Mi", Some(524288)),
        ("5.Mi", Some(5242880)),
        ("1.", Some(1)),
        ("+1", Some(1)),
        ("-1Mi", Some(-1048576)),
        ("+", Some(0)),
        ("-", Some(0)),
        ("", None),
        ("Mi", Some(0)),
        ("k", Some(0)),
        ("1 Mi", None),
        (" 1", None),
        ("1mi", None),
        ("1MI", None),
        ("4MB", None),
        ("4MiB", None),
        ("4Mb", None),
        ("0x10", None),
        ("1_000", None),
        ("1,5", None),
        ("1e", None),
        ("1e+3", Some(1000)),
        ("1e-3", Some(1)),
        ("1e3k", None),
        ("1e-400", Some(1)),
        ("9223372036854775807", Some(9223372036854775807)),
        ("100000000000000000000n", Some(100000000000)),
        ("0.000000000000000000001", Some(1)),
        ("1..2", None),
        ("1.2.3", None),
        ("--1", None),
        ("e3", Some(0)),
        ("E", Some(0)),
        ("1E", Some(1000000000000000000)),
        ("1Ee", None),
        ("1i", None),
        ("1e18", Some(1000000000000000000)),
        ("01", Some(1)),
        ("007Mi", Some(7340032)),
        ("1.1.M", None),
        ("١", None),
        ("4Mi\n", None),
        ("0.5", Some(1)),
        ("-0.5", Some(-1)),
        ("1m", Some(1)),
        ("999m", Some(1)),
        ("1000m", Some(1)),
        ("1001m", Some(2)),
    ];

    #[test]
    fn texts_are_read_as_kubernetes_reads_them() {
        for (text, expected) in KUBERNETES {
            assert_eq!(text.parse::<Quantity>().ok().map(Quantity::value), *expected, "{text:?}");
        }
    }

    #[test]
    fn what_kubernetes_lets_overflow_is_an_error() {
        for text in [
            "8Ei",
            "10E",
            "9223372036854775808",
            "12345678901234567890",
            "1e19",
            "1e400",
            "1e99999999999999999999",
            "9.5E",
            "16Ei",
            "-9Ei",
        ] {
            assert!(matches!(text.parse::<Quantity>(), Err(QuantityError::TooLarge { .. })), "{text}");
        }
    }

    #[test]
    fn a_size_is_not_negative() {
        assert_eq!(parse_bytes("4Mi"), Ok(4 << 20));
        assert_eq!(parse_bytes("-1"), Err(QuantityError::Negative { text: "-1".into() }));
    }

    #[test]
    fn a_very_long_number_is_answered_and_not_computed_for_ever() {
        let long = "9".repeat(1_000_000);

        assert!(matches!(long.parse::<Quantity>(), Err(QuantityError::TooLarge { .. })));
        assert_eq!(format!("0.{long}").parse::<Quantity>(), Ok(Quantity(1)));
    }
}
