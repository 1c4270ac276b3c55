//! From coded units to samples.

use super::{Unsupported, remix};
use crate::media::{CodecConfig, opus as media_opus};
use bytes::Bytes;
use symphonia_bundle_mp3::MpaDecoder;
use symphonia_core::{
    audio::{Audio, GenericAudioBufferRef},
    codecs::audio::{
        AudioCodecParameters, AudioDecoder as _, AudioDecoderOptions,
        well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3},
    },
    packet::PacketRef,
    units,
};
use syom::DecodeOptions;

/// What a decoder must know, in a form that may go to another thread.
#[derive(Clone, Debug)]
pub(super) enum Format {
    /// The `AudioSpecificConfig`.
    Aac(Bytes),
    /// The layer of MPEG audio.
    Mpeg(u8),
    Opus(media_opus::Config),
    /// Panics at each unit that begins with a zero, and is silent otherwise.
    #[cfg(test)]
    Faulty,
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
    Mpeg(Box<MpaDecoder>),
    Opus(opus::Decoder),
    /// Opus of other layouts than one or two channels in one stream, and how many channels.
    Surround(opus::MSDecoder, usize),
    #[cfg(test)]
    Faulty,
}

/// A packet of Opus lasts 120 ms at most (RFC 6716 §3.2.5): so many samples of one channel.
const OPUS_SAMPLES_MAX: usize = 5_760;

impl Format {
    pub(super) fn of(config: &CodecConfig) -> Result<Self, Unsupported> {
        match config {
            CodecConfig::Aac(config) => Ok(Self::Aac(config.asc())),
            CodecConfig::Mp3(config) => Ok(Self::Mpeg(config.layer())),
            CodecConfig::Opus(config) => Ok(Self::Opus(config.clone())),
            other => Err(Unsupported(other.codec().name())),
        }
    }
}

impl Decoder {
    /// A new one; `None` when the configuration cannot be decoded.
    #[expect(clippy::large_stack_frames, reason = "it is made on a thread of its own")]
    pub(super) fn new(format: &Format) -> Option<Self> {
        Some(match format {
            Format::Aac(asc) => {
                let options = DecodeOptions::audio().with_max_duration_secs(f64::MAX);
                Self::Aac(Box::new(syom::Decoder::from_asc(asc, options).ok()?))
            }
            Format::Mpeg(layer) => {
                let mut parameters = AudioCodecParameters::new();
                parameters.for_codec(match layer {
                    1 => CODEC_ID_MP1,
                    2 => CODEC_ID_MP2,
                    _ => CODEC_ID_MP3,
                });
                let options = AudioDecoderOptions::default().gapless(false);
                Self::Mpeg(Box::new(MpaDecoder::try_new(&parameters, &options).ok()?))
            }
            Format::Opus(config) => match config.layout() {
                None => Self::Opus(opus::Decoder::new(48_000, opus::Channels::Stereo).ok()?),
                Some((streams, coupled, mapping)) => {
                    let decoder = opus::MSDecoder::new(48_000, streams, coupled, mapping).ok()?;
                    Self::Surround(decoder, mapping.len())
                }
            },
            #[cfg(test)]
            Format::Faulty => Self::Faulty,
        })
    }

    /// Decodes a unit in place of what is in `pcm`; `false` when it cannot be, and then `pcm` is as silent for as long as
    /// the last unit lasted.
    pub(super) fn decode(&mut self, unit: &[u8], pcm: &mut Pcm) -> bool {
        let lasted = pcm.samples.len();
        pcm.samples.clear();
        let is_decoded = !unit.is_empty() && self.try_decode(unit, pcm);
        if !is_decoded {
            pcm.samples.clear();
            pcm.samples.resize(lasted, 0.0);
        }
        is_decoded
    }

    fn try_decode(&mut self, unit: &[u8], pcm: &mut Pcm) -> bool {
        match self {
            Self::Aac(decoder) => {
                let decoded = decoder.decode_au(unit, |frame| {
                    pcm.rate = frame.sample_rate;
                    let labels: Vec<_> = frame.meta.labels().collect();
                    remix::to_stereo(frame.planar, &labels, &mut pcm.samples);
                    Ok(())
                });
                decoded.is_ok()
            }
            Self::Mpeg(decoder) => {
                let (pts, duration) = (units::Timestamp::ZERO, units::Duration::ZERO);
                let packet = PacketRef::new(0, pts, duration, unit);
                let Ok(GenericAudioBufferRef::F32(decoded)) = decoder.decode_ref(&packet) else {
                    return false;
                };
                pcm.rate = decoded.spec().rate();
                let planes: Vec<&[f32]> = decoded.iter_planes().collect();
                remix::to_stereo(&planes, &[], &mut pcm.samples);
                true
            }
            Self::Opus(decoder) => {
                pcm.rate = 48_000;
                pcm.samples.resize(2 * OPUS_SAMPLES_MAX, 0.0);
                let decoded = decoder.decode_float(unit, &mut pcm.samples, false);
                pcm.samples.truncate(2 * decoded.as_ref().copied().unwrap_or(0));
                decoded.is_ok()
            }
            Self::Surround(decoder, channels) => {
                pcm.rate = 48_000;
                let mut samples = vec![0.0; *channels * OPUS_SAMPLES_MAX];
                let Ok(count) = decoder.decode_float(unit, &mut samples, false) else {
                    return false;
                };
                let plane = |channel: usize| -> Vec<f32> {
                    samples.iter().skip(channel).step_by(*channels).take(count).copied().collect()
                };
                let planes: Vec<_> = (0..*channels).map(plane).collect();
                let planes: Vec<_> = planes.iter().map(Vec::as_slice).collect();
                remix::to_stereo(&planes, remix::vorbis_order(*channels), &mut pcm.samples);
                true
            }
            #[cfg(test)]
            Self::Faulty => {
                assert!(unit.first() != Some(&0), "a fault of a decoder");
                pcm.rate = 48_000;
                pcm.samples.resize(2 * 960, 0.0);
                true
            }
        }
    }
}
