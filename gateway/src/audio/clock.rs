//! Whose time counts: samples follow one another without a gap, but the source says when each unit is heard.
//!
//! The two drift apart where a source's sound has another clock than its times, by some hundred millionths, and where units
//! were lost. Small differences are taken up a few samples at a time, which nobody hears; at a large one the source is right
//! at once.

use super::SAMPLE_RATE;
use crate::media::{Span, Timestamp};

/// The time of the next sample, and how far it is from what the source says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    at: Timestamp,
    /// How many samples the source is ahead, smoothed: single times jitter.
    ahead: f32,
    /// It is being taken up.
    is_pulled: bool,
}

/// When the two differ by more than this, the source is right (ARCHITECTURE §4.1 has it so for every container).
const JUMP: Span = Span::from_ms(40);

/// How many samples of difference are taken up, 5 ms; and until so many are left.
const PULL_AT: f32 = 240.0;
const PULLED_AT: f32 = 48.0;

/// The most samples in a unit by which it is made longer or shorter: half a per cent of 1 024.
const PULL_MAX: f32 = 5.0;

/// A new difference counts for so much.
const SMOOTH: f32 = 1.0 / 16.0;

impl Clock {
    pub(super) const fn new(at: Timestamp) -> Self {
        Self { at, ahead: 0.0, is_pulled: false }
    }

    /// The time of the next sample.
    pub(super) const fn at(&self) -> Timestamp {
        self.at
    }

    /// So many samples have gone.
    pub(super) fn advance(&mut self, samples: usize) {
        self.at = self.at + super::lasting(samples);
    }

    /// By the source the next sample's time is `expected`: how many samples are to be put in, or taken out when it is less
    /// than none. `None` when there is nothing for it but to go on at that time.
    pub(super) fn pull(&mut self, expected: Timestamp) -> Option<i32> {
        let ahead = expected - self.at;
        if ahead.abs() > JUMP {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "40 ms at most")]
        let samples = ahead.ticks() as f32 * (SAMPLE_RATE / 1_000) as f32 / 90.0;
        self.ahead += (samples - self.ahead) * SMOOTH;
        let is_far = self.ahead.abs() > if self.is_pulled { PULLED_AT } else { PULL_AT };
        self.is_pulled = is_far;
        if !is_far {
            return Some(0);
        }
        let wanted = (self.ahead / 64.0).clamp(-PULL_MAX, PULL_MAX).round();
        let pulled = if wanted.abs() < 1.0 { self.ahead.signum() } else { wanted };
        // What is put in is not ahead any more.
        self.ahead -= pulled;
        #[expect(clippy::cast_possible_truncation, reason = "a few samples")]
        Some(pulled as i32)
    }
}

/// Makes what `samples`, left and right in turn, has from `start` on longer by so many samples of a channel, or shorter, by
/// drawing a line from each to the next.
pub(super) fn stretch(samples: &mut Vec<f32>, start: usize, by: i32) {
    let old: Vec<f32> = samples.get(start..).unwrap_or_default().to_vec();
    let count = old.len() / 2;
    let wanted = count.saturating_add_signed(by as isize);
    if by == 0 || count < 2 || wanted < 2 {
        return;
    }
    samples.truncate(start);
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let step = (count - 1) as f64 / (wanted - 1) as f64;
    for index in 0..wanted {
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let place = index as f64 * step;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within `old`")]
        let before = (place as usize).min(count - 2);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "0 to 1")]
        let share = (place - before as f64) as f32;
        for channel in 0..2 {
            let sample = |at: usize| old.get(2 * at + channel).copied().unwrap_or(0.0);
            samples.push(sample(before) + (sample(before + 1) - sample(before)) * share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the clock is from a source at worst, in ms, and how often it jumped, when the sound's clock differs by so many
    /// millionths and each time by up to so many ms from where it should be.
    fn worst(ppm: i64, jitter_ms: i64, hours: i64) -> (i64, u32) {
        const UNIT: i64 = 1_024;
        let (mut clock, mut samples) = (Clock::new(Timestamp::ZERO), 0);
        let (mut worst, mut jumps) = (0, 0);
        for number in 0..hours * 3_600 * i64::from(SAMPLE_RATE) / UNIT {
            let exact = Span::from_units(number * UNIT, SAMPLE_RATE).ticks();
            let exact = exact + exact * ppm / 1_000_000;
            let jitter = (number * 7_919 % 11 - 5) * jitter_ms * 90 / 5;
            let said = Timestamp::from_ticks(exact + jitter);
            let off = Timestamp::from_ticks(exact) - clock.at();
            worst = worst.max(off.abs().ms());
            let Some(pulled) = clock.pull(said) else {
                jumps += 1;
                clock = Clock::new(said);
                continue;
            };
            samples += UNIT + i64::from(pulled);
            clock.at = Timestamp::ZERO + Span::from_units(samples, SAMPLE_RATE);
        }
        (worst, jumps)
    }

    #[test]
    fn sound_stays_with_its_source_for_hours_however_its_clock_runs() {
        for ppm in [-300, -20, 0, 20, 300, 2_000] {
            assert_eq!(worst(ppm, 0, 4).1, 0, "{ppm} ppm");
            let (off, jumps) = worst(ppm, 20, 4);
            assert!(off < 12 && jumps == 0, "{off} ms off at {ppm} ppm, {jumps} jumps");
        }
    }

    #[test]
    fn times_that_only_jitter_change_nothing() {
        let mut clock = Clock::new(Timestamp::ZERO);
        for number in 0..1_000 {
            let said = clock.at() + Span::from_ms(number * 7 % 21 - 10);
            assert_eq!(clock.pull(said), Some(0), "unit {number}");
            clock.advance(1_024);
        }
    }

    #[test]
    fn what_is_far_off_is_not_taken_up_but_jumped_to() {
        let mut clock = Clock::new(Timestamp::from_ms(1_000));
        assert_eq!(clock.pull(Timestamp::from_ms(1_100)), None);
        assert_eq!(clock.pull(Timestamp::from_ms(900)), None);
    }

    #[test]
    fn stretching_keeps_the_shape_and_what_was_before() {
        for by in [-5, -1, 1, 5] {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let sample = |at: usize, count: usize| (at as f32 / (count - 1) as f32).powi(2);
            let mut samples = vec![9.0, 9.0];
            samples.extend((0..1_024).flat_map(|at| [sample(at, 1_024), -sample(at, 1_024)]));
            stretch(&mut samples, 2, by);
            let count = 1_024_usize.saturating_add_signed(by as isize);
            assert_eq!(samples.len(), 2 + 2 * count);
            assert_eq!(samples[..2], [9.0, 9.0]);
            for at in 0..count {
                let (left, right) = (samples[2 + 2 * at], samples[3 + 2 * at]);
                assert!((left - sample(at, count)).abs() < 0.001, "{at}: {left}");
                assert!((left + right).abs() < f32::EPSILON);
            }
        }
    }
}
