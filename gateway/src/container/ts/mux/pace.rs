//! The programme's clock, driven by the units' decoding times.
//!
//! A PCR says when its byte arrives (ISO/IEC 13818-1:2019 §2.4.2.2). Units arrive as their decoding times say, so the
//! clock is the latest of these, and all coded times are [`DELAY`] later, so that no unit is due before it is there, even where
//! tracks are not quite in order. A track that lags by more sets the clock back for good, by standing still for a while.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::super::packet::Pcr;
use crate::media::{Span, Timestamp};

/// When clock references and tables are due.
#[derive(Debug)]
pub(super) struct Pace {
    /// The latest decoding time.
    latest: Option<Timestamp>,
    /// How far the clock is behind it.
    slack: Span,
    /// The last clock reference.
    told: Option<Timestamp>,
    /// What the clock was when the tables went out last.
    tables: Option<Timestamp>,
    max_step: Span,
    /// The next clock reference does not follow the last one.
    jumped: bool,
}

/// A clock reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) pcr: Pcr,
    pub(super) discontinuity: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            latest: None,
            slack: Span::ZERO,
            told: None,
            tables: None,
            max_step: Span::ZERO,
            jumped: false,
        }
    }

    /// A unit with this decoding time is next; clock references are at most `max_step` apart.
    pub(super) fn arrive(&mut self, dts: Timestamp, max_step: Span) {
        self.max_step = max_step;
        let Some(latest) = self.latest else {
            self.latest = Some(dts);
            return;
        };
        if (dts - latest).abs() > JUMP {
            *self = Self { latest: Some(dts), max_step, jumped: true, ..Self::new() };
            return;
        }
        let latest = latest.max(dts);
        self.latest = Some(latest);
        let lag = latest - dts;
        if lag - DELAY > self.slack {
            self.slack = lag - DELAY;
        }
    }

    /// The next clock reference that must stand before the unit, if any.
    pub(super) fn step_before(&mut self) -> Option<Step> {
        let (target, told) = (self.target()?, self.told?);
        let rest = (target - told).ticks();
        let max = self.max_step.ticks().max(1);
        // As many as it takes, evenly.
        let count = (rest + max - 1) / max;
        (count > 1).then(|| self.tell(told + Span::from_ticks(rest / count)))
    }

    /// The clock reference that stands within the unit; `None` if the clock has not moved.
    pub(super) fn step_at(&mut self) -> Option<Step> {
        let target = self.target()?;
        self.told.is_none_or(|told| target > told).then(|| self.tell(target))
    }

    /// Whether the tables must be repeated, so that they are no further apart than [`TABLES`], for a receiver that
    /// sees no more of the time than clock references.
    pub(super) fn tables_are_due(&self) -> bool {
        match (self.tables, self.told) {
            (Some(tables), Some(told)) => told - tables + self.max_step > TABLES,
            _ => true,
        }
    }

    /// The tables go out.
    pub(super) fn note_tables(&mut self) {
        self.tables = self.told;
    }

    fn tell(&mut self, time: Timestamp) -> Step {
        if self.tables.is_none() {
            // They went out before there was a clock.
            self.tables = Some(time);
        }
        self.told = Some(time);
        let base = wrapped(time);
        Step { pcr: Pcr(base * 300), discontinuity: std::mem::take(&mut self.jumped) }
    }

    fn target(&self) -> Option<Timestamp> {
        Some(self.latest? - self.slack)
    }
}

/// A time as it stands in a PES header.
pub(super) fn coded(time: Timestamp) -> u64 {
    wrapped(time + DELAY)
}

/// 33 bits, with an origin before that of the timeline: times slightly below zero occur, and wrap nobody's decoder.
fn wrapped(time: Timestamp) -> u64 {
    let ticks = (time + ORIGIN).ticks().rem_euclid(1 << 33);
    u64::try_from(ticks).unwrap_or(0)
}

/// From a unit's arrival to its decoding. Encoders collect up to 350 ms of audio in a PES packet (ffmpeg does), which
/// is then so late against the video; more delay than needed is delay in players that follow the clock.
const DELAY: Span = Span::from_ms(400);

const ORIGIN: Span = Span::from_ms(1_000);

/// Units further apart belong to different timelines.
const JUMP: Span = Span::from_ms(10_000);

/// Tables are repeated so often (DVB, ETSI TR 101 290 V1.4.1 §5.2.1 allows 500 ms; players join faster).
const TABLES: Span = Span::from_ms(100);

/// The longest distance of clock references with audio: ETSI TR 101 290 V1.4.1 §5.2.2.
pub(super) const STEP_WITH_AUDIO: Span = Span::from_ms(40);

/// Without: within the 100 ms of ISO/IEC 13818-1:2019 §2.7.2, with room for the tables between.
pub(super) const STEP_WITHOUT: Span = Span::from_ms(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn references_between_are_even_and_no_further_apart_than_allowed() {
        let mut pace = Pace::new();
        pace.arrive(at(0), STEP_WITH_AUDIO);
        assert!(pace.step_before().is_none());
        assert_eq!(pace.step_at().map(|step| step.pcr), Some(Pcr(27_000_000)));
        pace.arrive(at(100), STEP_WITH_AUDIO);
        let mut times = Vec::new();
        while let Some(step) = pace.step_before() {
            times.push(step.pcr.0 / 27_000);
        }
        assert_eq!(times, [1_033, 1_066]);
        assert_eq!(pace.step_at().map(|step| step.pcr.0 / 27_000), Some(1_100));
        assert_eq!(pace.step_at(), None, "the clock has not moved");
    }

    #[test]
    fn a_track_that_lags_holds_the_clock_until_it_is_never_late_again() {
        let mut pace = Pace::new();
        let mut last = 0;
        for n in 0..100 {
            for dts in [at(1_000 + n * 40), at(n * 40)] {
                pace.arrive(dts, STEP_WITH_AUDIO);
                while pace.step_before().is_some() {}
                if let Some(step) = pace.step_at() {
                    assert!(step.pcr.0 > last);
                    last = step.pcr.0;
                }
                let stood_still = last == 2_000 * 27_000;
                assert!(stood_still || last <= coded(dts) * 300, "due before it is there at {n}");
            }
        }
        assert!(last > 3_000 * 27_000, "the clock goes on");
    }

    #[test]
    fn a_jump_is_marked_not_filled() {
        let mut pace = Pace::new();
        pace.arrive(at(0), STEP_WITH_AUDIO);
        pace.step_at();
        pace.arrive(at(3_600_000), STEP_WITH_AUDIO);
        assert!(pace.step_before().is_none());
        assert!(pace.step_at().unwrap().discontinuity);
        pace.arrive(at(3_600_040), STEP_WITH_AUDIO);
        assert!(!pace.step_at().unwrap().discontinuity);
    }

    #[test]
    fn times_below_zero_and_above_33_bits_are_coded() {
        assert_eq!(coded(at(-400)), 90_000);
        let wrap = Timestamp::from_ticks((1 << 33) - 90_000 - 36_000);
        assert_eq!(coded(wrap), 0);
    }
}
