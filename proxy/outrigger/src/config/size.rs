//! Sizes in bytes: the quantity flags and their forerunners.

use outrigger_resources::quantity::parse_bytes;

use super::Mistakes;
use super::flags::Flags;
use super::table::Flag;

/// A size in bytes: the quantity flag, or its deprecated forerunner in units
/// of 2^`shift` bytes. -1 means the default, as in stock.
pub(crate) fn size(flags: &Flags, flag: &Flag, old: &Flag, shift: u32, mistakes: &mut Mistakes) -> u64 {
    let default = flag.default_for(flags.persona());
    if flags.is_given(old) && !flags.is_given(flag) {
        let units = flags.int(old);
        return match u64::try_from(units).ok().and_then(|n| n.checked_mul(1 << shift)) {
            Some(bytes) => bytes,
            None if units == -1 => quantity(default).unwrap_or(0),
            None => {
                mistakes.add(
                    old.dashed(),
                    Some(&units.to_string()),
                    "is no size",
                    format!("use --{}={default}", flag.name),
                );
                0
            }
        };
    }
    let text = flags.text(flag);
    match (quantity(&text), text.as_str()) {
        (Some(bytes), _) => bytes,
        (None, "-1") => quantity(default).unwrap_or(0),
        (None, _) => {
            mistakes.add(
                flag.dashed(),
                Some(&text),
                "is no quantity of whole bytes",
                "write it as 4Mi, 512Ki or 4000000",
            );
            0
        }
    }
}

fn quantity(text: &str) -> Option<u64> {
    parse_bytes(text).ok()
}
