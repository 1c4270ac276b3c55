//! Media time: 90 kHz ticks, unwrapped to 64 bits, so that no timeline ends within 3 million years.
//!
//! 90 kHz is the clock of MPEG-TS (ISO/IEC 13818-1:2019 §2.4.3.7) and of RTP video. RTMP's milliseconds
//! are multiples of it. Arithmetic saturates, since peers choose the numbers.

use std::{
    ops::{Add, Neg, Sub},
    time::Duration,
};

/// A point on a timeline whose origin its publisher chose, in ticks of 90 kHz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The signed distance between two [`Timestamp`]s, in ticks of 90 kHz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// Ticks in a second.
const HZ: i64 = 90_000;

/// Ticks in a millisecond.
const PER_MS: i64 = 90;

impl Timestamp {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The point `ticks` of 90 kHz after the origin.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// The point `ms` milliseconds after the origin.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(PER_MS))
    }

    /// Ticks of 90 kHz since the origin.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Milliseconds since the origin, rounded down.
    pub const fn ms(self) -> i64 {
        self.0.div_euclid(PER_MS)
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `ticks` of 90 kHz.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// `ms` milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(PER_MS))
    }

    /// `count` units of a clock of `rate` Hz, rounded down to ticks; zero when the rate is.
    pub const fn from_units(count: i64, rate: u32) -> Self {
        if rate == 0 {
            return Self::ZERO;
        }
        let ticks = (count as i128 * HZ as i128).div_euclid(rate as i128);
        Self(if ticks > i64::MAX as i128 {
            i64::MAX
        } else if ticks < i64::MIN as i128 {
            i64::MIN
        } else {
            ticks as i64
        })
    }

    /// This many ticks of 90 kHz.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Milliseconds, rounded down.
    pub const fn ms(self) -> i64 {
        self.0.div_euclid(PER_MS)
    }

    /// The distance without its sign.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// As a duration; a negative span is zero.
    pub fn duration(self) -> Duration {
        let ticks = u64::try_from(self.0).unwrap_or(0);
        let (seconds, rest) = (ticks / HZ as u64, ticks % HZ as u64);
        Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / HZ as u64)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        let ticks = duration.as_nanos() * HZ as u128 / 1_000_000_000;
        Self(i64::try_from(ticks).unwrap_or(i64::MAX))
    }
}

impl Sub for Timestamp {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

/// Extends a counter of few bits, which wraps, to 64 bits, which do not.
///
/// Each value is taken as the one nearest to its predecessor, so the counter may step back by up to half
/// its range, as decode and presentation times do.
#[derive(Clone, Debug)]
pub struct Unwrapper {
    bits: u32,
    last: Option<i64>,
}

impl Unwrapper {
    /// For the 33-bit times of MPEG-TS (ISO/IEC 13818-1:2019 §2.4.3.7), which wrap after 26.5 hours.
    pub const MPEG_TS: Self = Self { bits: 33, last: None };

    /// For the 32-bit milliseconds of RTMP and FLV, which wrap after 49.7 days.
    pub const RTMP: Self = Self { bits: 32, last: None };

    /// The value nearest to the last one whose low bits are those of `raw`; the first is taken as it is.
    pub fn unwrap(&mut self, raw: u64) -> i64 {
        let value = self.peek(raw);
        self.last = Some(value);
        value
    }

    /// What [`unwrap`](Self::unwrap) would return, without taking it as the last value.
    pub fn peek(&self, raw: u64) -> i64 {
        let modulus = 1_i64 << self.bits;
        let low = (raw & (modulus as u64 - 1)) as i64;
        let Some(last) = self.last else { return low };
        let half = modulus / 2;
        let step = (low - last.rem_euclid(modulus) + half).rem_euclid(modulus) - half;
        last.saturating_add(step)
    }

    /// Forgets the last value: the next one starts a new timeline.
    pub fn restart(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_33_bit_time_goes_on_past_its_wrap() {
        let mut time = Unwrapper::MPEG_TS;
        let top = (1_u64 << 33) - 3_000;
        assert_eq!(time.unwrap(top), top as i64);
        assert_eq!(time.unwrap(3_000), (1_i64 << 33) + 3_000);
        assert_eq!(time.unwrap(top), top as i64, "a picture shown earlier than the last decoded");
        assert_eq!(time.unwrap(9_000), (1_i64 << 33) + 9_000);
    }

    #[test]
    fn a_32_bit_time_wraps_again_and_again() {
        let mut time = Unwrapper::RTMP;
        let mut expected = 0_i64;
        for _ in 0..20 {
            assert_eq!(time.unwrap(expected as u64 & 0xffff_ffff), expected);
            expected += 1_500_000_000;
        }
    }

    #[test]
    fn arithmetic_on_hostile_times_saturates() {
        let far = Timestamp::from_ticks(i64::MAX);
        assert_eq!(far + Span::from_ms(1), far);
        assert_eq!((far - Timestamp::from_ticks(i64::MIN)).ticks(), i64::MAX);
        assert_eq!(Span::from_units(i64::MAX, 1).ticks(), i64::MAX);
        assert_eq!(Span::from_units(1, 0), Span::ZERO);
    }

    #[test]
    fn a_span_of_samples_is_exact_in_the_long_run() {
        assert_eq!(Span::from_units(44_100, 44_100), Span::from_ms(1_000));
        assert_eq!(Span::from_units(1_024, 48_000).ticks(), 1_920);
        assert_eq!(Span::from_ms(1_500).duration(), Duration::from_millis(1_500));
        assert_eq!(Span::from(Duration::from_millis(40)).ticks(), 3_600);
    }
}
