//! Which new traces are sampled.

use super::context::TraceId;

/// Samples a share of the new traces; a trace that came from elsewhere keeps the decision that it came with.
///
/// This is OpenTelemetry's `ParentBased(TraceIdRatioBased)`, with stock's arithmetic: the decision is a function of the trace ID,
/// so that every proxy of a fleet with the same rate would take the same one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// A trace is sampled when the upper 63 bits of its last 8 bytes are below this.
    below: u64,
}

impl Sampler {
    /// Samples every new trace.
    pub const ALWAYS: Sampler = Sampler { below: 1 << 63 };
    /// Samples no new trace.
    pub const NEVER: Sampler = Sampler { below: 0 };

    /// Samples the share `rate` of new traces: 0 none, 1 all; what is outside is brought inside, not-a-number is 0.
    pub fn ratio(rate: f64) -> Sampler {
        let share = rate.clamp(0.0, 1.0) * 9_223_372_036_854_775_808.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 2^63, and a cast of NaN is 0"
        )]
        let below = share as u64;
        Sampler { below }
    }

    /// Reads Dapr's `samplingRate`. As stock does, what is not a number becomes the default, one in ten thousand.
    pub fn parse(rate: &str) -> Sampler {
        rate.parse().map_or_else(|_| Sampler::default(), Sampler::ratio)
    }

    /// Whether a new trace of this ID is sampled.
    pub fn samples(&self, trace_id: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.below
    }
}

impl Default for Sampler {
    /// One in ten thousand, Dapr's default.
    fn default() -> Sampler {
        Sampler::ratio(1e-4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u64) -> TraceId {
        let mut bytes = [1; 16];
        bytes[8..].copy_from_slice(&last.to_be_bytes());
        TraceId::new(bytes).unwrap()
    }

    #[test]
    fn the_bounds_are_all_and_none() {
        for last in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(
                Sampler::ALWAYS.samples(id(last))
                    && Sampler::ratio(1.0).samples(id(last))
                    && Sampler::ratio(7.0).samples(id(last))
            );
            assert!(!Sampler::NEVER.samples(id(last)) && !Sampler::ratio(0.0).samples(id(last)));
            assert!(!Sampler::ratio(-1.0).samples(id(last)) && !Sampler::ratio(f64::NAN).samples(id(last)));
        }
    }

    #[test]
    fn half_is_the_lower_half_of_the_ids() {
        let half = Sampler::ratio(0.5);
        assert!(half.samples(id(u64::MAX / 2)));
        assert!(!half.samples(id(u64::MAX / 2 + 1)));
    }

    #[test]
    fn a_share_of_random_ids_is_sampled() {
        let tenth = Sampler::ratio(0.1);
        let sampled = (0..20_000).filter(|_| tenth.samples(TraceId::random())).count();
        assert!((1_600..2_400).contains(&sampled), "{sampled}");
    }

    #[test]
    fn the_rate_is_read_as_stock_reads_it() {
        assert_eq!(Sampler::parse("1"), Sampler::ALWAYS);
        assert_eq!(Sampler::parse("0"), Sampler::NEVER);
        assert_eq!(Sampler::parse("often"), Sampler::default());
        assert_eq!(Sampler::parse(""), Sampler::default());
    }
}
