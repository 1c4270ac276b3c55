//! From coded units to samples.

use super::{Unsupported, remix};
use crate::media::CodecConfig;
use bytes::Bytes;
use syom::DecodeOptions;

/// What a decoder must know, in a form that may go to another thread.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// The `AudioSpecificConfig`.
    Aac(Bytes),
    Opus,
}

/// Samples of two channels that take turns, at this rate.
#[derive(Debug, Default)]
pub(super) struct Pcm {
    pub(super) rate: u32,
    pub(super) samples: Vec<f32>,
}

/// A decoder of any codec.
pub(super) enum Decoder {
    Aac(Box<syom::Decoder>),
    Opus(opus::Decoder),
}

/// A packet of Opus lasts 120 ms at most (RFC 6716 §3.2.5): so many samples of one channel.
const OPUS_SAMPLES_MAX: usize = 5_760;

impl Format {
    pub(super) fn of(config: &CodecConfig) -> Result<Self, Unsupported> {
        match config {
            CodecConfig::Aac(config) => Ok(Self::Aac(config.asc())),
            CodecConfig::Opus(_) => Ok(Self::Opus),
            other => Err(Unsupported(other.codec().name())),
        }
    }
}

impl Decoder {
    /// A new one; `None` when the configuration cannot be decoded.
    pub(super) fn new(format: &Format) -> Option<Self> {
        Some(match format {
            Format::Aac(asc) => {
                let options = DecodeOptions::audio().with_max_duration_secs(f64::MAX);
                Self::Aac(Box::new(syom::Decoder::from_asc(asc, options).ok()?))
            }
            Format::Opus => Self::Opus(opus::Decoder::new(48_000, opus::Channels::Stereo).ok()?),
        })
    }

    /// Decodes a unit in place of what is in `pcm`; `false` when it cannot be.
    pub(super) fn decode(&mut self, unit: &[u8], pcm: &mut Pcm) -> bool {
        pcm.samples.clear();
        match self {
            Self::Aac(decoder) => {
                let decoded = decoder.decode_au(unit, |frame| {
                    pcm.rate = frame.sample_rate;
                    remix::to_stereo(frame.planar, &frame.meta, &mut pcm.samples);
                    Ok(())
                });
                decoded.is_ok()
            }
            Self::Opus(decoder) => {
                pcm.rate = 48_000;
                pcm.samples.resize(2 * OPUS_SAMPLES_MAX, 0.0);
                let decoded = decoder.decode_float(unit, &mut pcm.samples, false);
                pcm.samples.truncate(2 * decoded.as_ref().copied().unwrap_or(0));
                decoded.is_ok()
            }
        }
    }
}
