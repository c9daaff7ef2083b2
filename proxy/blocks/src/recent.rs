//! A short list of what was computed lately.

use std::sync::{Mutex, PoisonError};

/// Most entries kept; the list is walked from its start, so it stays short.
const KEPT: usize = 32;

/// Up to 32 values that are dear to compute and asked for again and again, found by
/// walking. The one written longest ago goes first.
#[derive(Debug)]
pub(crate) struct Recent<T>(Mutex<Ring<T>>);

#[derive(Debug)]
struct Ring<T> {
    kept: Vec<T>,
    oldest: usize,
}

impl<T: Clone> Recent<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Ring { kept: Vec::new(), oldest: 0 }))
    }

    pub(crate) fn find(&self, is: impl Fn(&T) -> bool) -> Option<T> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.kept.iter().find(|value| is(value)).cloned()
    }

    pub(crate) fn keep(&self, value: T) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.oldest;
        match ring.kept.get_mut(oldest) {
            Some(place) if oldest < KEPT => {
                *place = value;
                ring.oldest = (oldest + 1) % KEPT;
            }
            _ => {
                ring.kept.push(value);
                ring.oldest = if ring.kept.len() == KEPT { 0 } else { ring.kept.len() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_32_are_found_and_older_ones_are_gone() {
        let recent = Recent::new();
        for number in 0..100 {
            recent.keep(number);
        }
        for number in 0..100 {
            assert_eq!(recent.find(|kept| *kept == number), (number >= 68).then_some(number));
        }
    }
}
