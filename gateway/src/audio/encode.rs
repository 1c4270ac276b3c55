//! From samples at 48 kHz to coded frames.

use super::{CHANNELS, SAMPLE_RATE, Target};
use bytes::Bytes;
use std::io;
use syom::EncodeOptions;

/// An encoder of any codec.
pub(super) enum Encoder {
    Opus(opus::Encoder),
    Aac(Box<syom::Encoder>),
}

/// 20 ms (RFC 7587 §4.2 has it as the default).
const OPUS_SAMPLES: usize = 960;

/// The most that a packet of Opus has, 20 ms at 510 kbit/s and some.
const OPUS_BYTES_MAX: usize = 1_500;

const OPUS_BITS_PER_S: i32 = 96_000;

/// Of 10. Above 6 the encoder also tells music from speech, and altogether takes twice as long.
const OPUS_COMPLEXITY: i32 = 5;

const AAC_BITS_PER_S: u32 = 128_000;
const AAC_SAMPLES: usize = 1_024;

impl Encoder {
    pub(super) fn new(target: Target) -> io::Result<Self> {
        Ok(match target {
            Target::Opus => {
                let mut encoder = opus::Encoder::new(
                    SAMPLE_RATE,
                    opus::Channels::Stereo,
                    opus::Application::Audio,
                )
                .map_err(io::Error::other)?;
                encoder
                    .set_bitrate(opus::Bitrate::Bits(OPUS_BITS_PER_S))
                    .map_err(io::Error::other)?;
                encoder.set_complexity(OPUS_COMPLEXITY).map_err(io::Error::other)?;
                Self::Opus(encoder)
            }
            Target::Aac => {
                let options = EncodeOptions::raw().with_bitrate_bps(AAC_BITS_PER_S);
                let encoder = syom::Encoder::new(SAMPLE_RATE, CHANNELS.into(), &options);
                Self::Aac(Box::new(encoder.map_err(|error| io::Error::other(error.to_string()))?))
            }
        })
    }

    /// Samples of one channel in a frame.
    pub(super) const fn frame_samples(&self) -> usize {
        match self {
            Self::Opus(_) => OPUS_SAMPLES,
            Self::Aac(_) => AAC_SAMPLES,
        }
    }

    /// By how many samples what a decoder gives lags behind what went in.
    pub(super) fn delay(&mut self) -> usize {
        match self {
            Self::Opus(encoder) => {
                usize::try_from(encoder.get_lookahead().unwrap_or(0)).unwrap_or(0)
            }
            Self::Aac(_) => AAC_SAMPLES,
        }
    }

    /// Codes one frame of samples in turn; `None` when there is nothing yet, or it cannot be.
    pub(super) fn encode(&mut self, samples: &[f32]) -> Option<Bytes> {
        match self {
            Self::Opus(encoder) => {
                let coded = encoder.encode_vec_float(samples, OPUS_BYTES_MAX).ok()?;
                Some(coded.into())
            }
            Self::Aac(encoder) => {
                // It takes nothing louder than full scale.
                let plane = |offset: usize| -> Vec<f32> {
                    let samples = samples.iter().skip(offset).step_by(2);
                    samples.map(|sample| sample.clamp(-1.0, 1.0)).collect()
                };
                let (left, right) = (plane(0), plane(1));
                let mut coded = None;
                let fed = encoder.feed(&[&left, &right], |frame| {
                    coded = Some(Bytes::copy_from_slice(frame.payload));
                    Ok(())
                });
                fed.ok().and(coded)
            }
        }
    }
}
