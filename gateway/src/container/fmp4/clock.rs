//! Decode times of one track, in its own scale.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::{AccessUnit, CodecConfig, Span, Timestamp};

/// Of video tracks: that of our timestamps.
pub(super) const VIDEO_TIMESCALE: u32 = 90_000;

/// Turns the times of units into those of samples.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    scale: u32,
    /// No sample may be decoded earlier.
    next: u64,
    mode: Mode,
}

#[derive(Clone, Debug)]
enum Mode {
    /// Samples have the times of their units. The present guess at a sample's duration.
    Video { duration: u32 },
    /// Samples follow each other without gaps from an anchor: a time of the source, and how many samples came since.
    Audio { anchor: Option<Timestamp>, count: i64 },
}

/// The times of one sample, in the scale of its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleTime {
    pub(super) decode: u64,
    pub(super) duration: u32,
    pub(super) composition_offset: i32,
}

/// By how much audio may differ from its count before the count gives in.
const TOLERANCE: Span = Span::from_ms(40);

impl Clock {
    pub(super) fn new(config: &CodecConfig) -> Self {
        match config.sample_rate() {
            Some(scale) => Self { scale, next: 0, mode: Mode::Audio { anchor: None, count: 0 } },
            None => Self {
                scale: VIDEO_TIMESCALE,
                next: 0,
                mode: Mode::Video { duration: frame_duration(config.frame_rate()) },
            },
        }
    }

    /// For another configuration of the same track: goes on where this one stands.
    pub(super) fn changed(&self, config: &CodecConfig) -> Self {
        let mut clock = Self::new(config);
        let next = u128::from(self.next) * u128::from(clock.scale);
        clock.next = u64::try_from(next.div_ceil(u128::from(self.scale))).unwrap_or(u64::MAX);
        clock
    }

    /// The times of the next unit. `None` when its payload is so broken that nobody knows how long it lasts.
    pub(super) fn stamp(&mut self, unit: &AccessUnit, origin: Timestamp) -> Option<SampleTime> {
        match self.mode {
            Mode::Video { .. } => Some(self.stamp_video(unit, origin)),
            Mode::Audio { .. } => {
                let samples = unit.config.samples(&unit.payload)?;
                Some(self.stamp_audio(unit.dts, samples, origin))
            }
        }
    }

    fn stamp_video(&mut self, unit: &AccessUnit, origin: Timestamp) -> SampleTime {
        /// A longer one is a pause, not a duration.
        const LONGEST: u64 = 2 * VIDEO_TIMESCALE as u64;
        let decode = to_scale(unit.dts - origin, self.scale).max(self.next);
        let Mode::Video { duration } = &mut self.mode else {
            unreachable!("only video comes here")
        };
        // `next` is one past the last decode time.
        if let Some(since @ 2..=LONGEST) = self.next.checked_sub(1).map(|last| decode - last) {
            *duration = u32::try_from(since).unwrap_or(*duration);
        }
        self.next = decode + 1;
        let shown = (unit.pts - origin).ticks();
        let offset = shown.saturating_sub(i64::try_from(decode).unwrap_or(i64::MAX));
        SampleTime {
            decode,
            duration: *duration,
            composition_offset: i32::try_from(offset).unwrap_or(if offset < 0 {
                i32::MIN
            } else {
                i32::MAX
            }),
        }
    }

    fn stamp_audio(&mut self, time: Timestamp, samples: u32, origin: Timestamp) -> SampleTime {
        let Mode::Audio { anchor, count } = &mut self.mode else {
            unreachable!("only audio comes here")
        };
        let expected = anchor.map(|anchor| anchor + Span::from_units(*count, self.scale));
        if expected.is_none_or(|expected| (time - expected).abs() > TOLERANCE) {
            *anchor = Some(time);
            *count = 0;
            self.next = to_scale(time - origin, self.scale).max(self.next);
        }
        let decode = self.next;
        *count += i64::from(samples);
        self.next += u64::from(samples);
        SampleTime { decode, duration: samples, composition_offset: 0 }
    }
}

/// The nearest time in a scale; nothing is before the origin.
fn to_scale(span: Span, scale: u32) -> u64 {
    let ticks = u128::try_from(span.ticks()).unwrap_or(0);
    let hz = u128::from(VIDEO_TIMESCALE);
    u64::try_from((ticks * u128::from(scale) + hz / 2) / hz).unwrap_or(u64::MAX >> 1)
}

/// Of a frame at this rate; a thirtieth of a second when the rate is not known.
fn frame_duration(rate: Option<f64>) -> u32 {
    // At most 90 000 / 0.1: `frame_rate` gives no rate outside of 0.1 to 1000.
    #[expect(clippy::cast_possible_truncation, reason = "bounded, as said above")]
    let ticks = (f64::from(VIDEO_TIMESCALE) / rate.unwrap_or(30.0)).round() as u32;
    ticks.max(1)
}
