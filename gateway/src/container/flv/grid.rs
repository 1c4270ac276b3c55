//! Sound on the grid of its samples, out of times that were rounded to milliseconds.
//!
//! A frame of 1024 samples at 44.1 kHz takes 23.22 ms, which FLV writes as 23 or 24. Taken at face value that would be a
//! gap or an overlap in each frame of the outputs that count in samples.

use crate::media::{Span, Timestamp};

/// The times of one track.
#[derive(Clone, Debug)]
pub(super) struct SampleGrid {
    anchor: Timestamp,
    rate: u32,
    /// Since the anchor.
    samples: i64,
}

/// A source whose times differ by more than this from its samples has jumped, or its clock has drifted so far.
const TOLERANCE: Span = Span::from_ms(40);

impl SampleGrid {
    /// Begins with the next frame.
    pub(super) const fn new() -> Self {
        Self { anchor: Timestamp::ZERO, rate: 0, samples: 0 }
    }

    /// The time of a frame of `samples` at `rate` that the sender says is due `at`.
    pub(super) fn place(&mut self, at: Timestamp, samples: u32, rate: u32) -> Timestamp {
        let expected = self.anchor + Span::from_units(self.samples, self.rate);
        if self.rate != rate || (at - expected).abs() > TOLERANCE {
            *self = Self { anchor: at, rate, samples: 0 };
        }
        let placed = self.anchor + Span::from_units(self.samples, self.rate);
        self.samples = self.samples.saturating_add(samples.into());
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_times_come_back_exact() {
        let mut grid = SampleGrid::new();
        for n in 0..10_000_i64 {
            let exact = Span::from_units(n * 1024, 44_100);
            let rounded = Timestamp::from_ms(500) + Span::from_ms((exact.ticks() + 45) / 90);
            assert_eq!(grid.place(rounded, 1024, 44_100), Timestamp::from_ms(500) + exact);
        }
    }

    #[test]
    fn a_jump_moves_the_anchor() {
        let mut grid = SampleGrid::new();
        let at = Timestamp::from_ms;
        assert_eq!(grid.place(at(0), 1024, 48_000), at(0));
        assert_eq!(grid.place(at(61), 1024, 48_000), Timestamp::from_ticks(1920), "39.7 ms late");
        assert_eq!(grid.place(at(100), 1024, 48_000), at(100), "57 ms late");
        assert_eq!(grid.place(at(5), 1024, 48_000), at(5));
        assert_eq!(grid.place(at(30), 1024, 44_100), at(30), "another rate");
    }

    #[test]
    fn times_and_rates_of_a_liar_do_no_harm() {
        let mut grid = SampleGrid::new();
        for (at, samples, rate) in [(i64::MAX, u32::MAX, 1), (i64::MIN, u32::MAX, 0), (0, 0, 0)] {
            grid.place(Timestamp::from_ticks(at), samples, rate);
        }
    }
}
