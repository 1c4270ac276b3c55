//! AAC: `AudioSpecificConfig`, and the two framings of raw AAC, ADTS and LATM.
//!
//! Sections refer to ISO/IEC 14496-3:2019. A configuration is kept verbatim, so that what it signals explicitly stays
//! explicit and what it leaves to the decoder (HE-AAC within plain AAC) stays so.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod adts;
mod elements;
mod latm;

pub use adts::{Adts, AdtsHeader};
pub use latm::{Loas, LoasFrame};

use super::{
    ParseError,
    bits::{BitWriter, Bits},
};
use bytes::Bytes;
use elements::ProgramConfig;

/// What a decoder needs before the first frame: an `AudioSpecificConfig` (§1.6.2.1) and what it says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Equal bytes, equal configurations.
    asc: Bytes,
    object_type: u8,
    rate_index: u8,
    sample_rate: u32,
    extension_rate: Option<u32>,
    parametric_stereo: bool,
    channel_configuration: u8,
    channels: u8,
    frame_samples: u32,
    /// The `program_config_element` within `asc`, if it has one.
    program: Option<ProgramConfig>,
}

/// Table 1.18.
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// `audioObjectType`s, table 1.17.
mod object {
    pub(super) const LC: u8 = 2;
    pub(super) const SBR: u8 = 5;
    pub(super) const SCALABLE: u8 = 6;
    pub(super) const ER_LC: u8 = 17;
    pub(super) const ER_SCALABLE: u8 = 20;
    pub(super) const ER_BSAC: u8 = 22;
    pub(super) const ER_LD: u8 = 23;
    pub(super) const PS: u8 = 29;
    pub(super) const ER_ELD: u8 = 39;
}

impl Config {
    /// From an `AudioSpecificConfig`, which is kept as it is.
    ///
    /// # Errors
    ///
    /// When it is cut off, forbidden, or of no kind of AAC that is known here.
    pub fn from_asc(asc: &[u8]) -> Result<Self, ParseError> {
        /// The longest has a `program_config_element` with a comment of 255 bytes.
        const MAX_LEN: usize = 512;
        if asc.len() > MAX_LEN {
            return Err(ParseError::Unsupported("length of AudioSpecificConfig"));
        }
        let mut config = Self::parse(&mut Bits::new(asc), true)?;
        config.asc = Bytes::copy_from_slice(asc);
        Ok(config)
    }

    /// The `AudioSpecificConfig`.
    pub fn asc(&self) -> Bytes {
        self.asc.clone()
    }

    /// `audioObjectType` of the core: 2 is AAC LC, also beneath SBR.
    pub const fn object_type(&self) -> u8 {
        self.object_type
    }

    /// Samples a second of the core. With SBR, what is heard has twice as many.
    pub const fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples a second of what is heard when SBR is signalled explicitly.
    pub const fn extension_rate(&self) -> Option<u32> {
        self.extension_rate
    }

    /// How many channels are coded. With parametric stereo, one more is heard.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// How many samples of the core's rate are in a frame: 1024 or 960, less in the low-delay kinds.
    pub const fn frame_samples(&self) -> u32 {
        self.frame_samples
    }

    /// What RFC 6381 §3.3 calls it, such as `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        let object_type = match (self.extension_rate, self.parametric_stereo) {
            (Some(_), true) => object::PS,
            (Some(_), false) => object::SBR,
            (None, _) => self.object_type,
        };
        format!("mp4a.40.{object_type}")
    }

    /// §1.6.2.1. `delimited` when nothing else follows in `bits`, so that the backward compatible extension
    /// can be looked for.
    fn parse(bits: &mut Bits<'_>, delimited: bool) -> Result<Self, ParseError> {
        let mut object_type = object_type(bits)?;
        let (mut rate_index, sample_rate) = sampling_frequency(bits)?;
        let channel_configuration = bits.byte(4)?;
        let mut extension_rate = None;
        let mut parametric_stereo = false;
        if matches!(object_type, object::SBR | object::PS) {
            parametric_stereo = object_type == object::PS;
            extension_rate = Some(sampling_frequency(bits)?.1);
            object_type = self::object_type(bits)?;
            if object_type == object::ER_BSAC {
                bits.skip(4)?;
            }
        }
        let specific = Specific::parse(bits, object_type, channel_configuration)?;
        if delimited && extension_rate.is_none() {
            (extension_rate, parametric_stereo) = trailing_extension(bits).unwrap_or_default();
        }
        if sample_rate == 0 {
            return Err(ParseError::Invalid("samplingFrequency"));
        }
        // An explicit rate that the table has is the table's (some encoders write it out).
        if let Some((index, _)) = (0..).zip(RATES).find(|&(_, rate)| rate == sample_rate) {
            rate_index = index;
        }
        let channels = match (channel_configuration, &specific.program) {
            (0, Some(program)) => program.channels,
            // Table 1.19.
            (count @ 1..=6, _) => count,
            (7 | 12 | 14, _) => 8,
            (11, _) => 7,
            (13, _) => 24,
            _ => return Err(ParseError::Invalid("channelConfiguration")),
        };
        Ok(Self {
            asc: Bytes::new(),
            object_type,
            rate_index,
            sample_rate,
            extension_rate,
            parametric_stereo,
            channel_configuration,
            channels,
            frame_samples: specific.frame_samples,
            program: specific.program,
        })
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.asc == other.asc
    }
}

impl Eq for Config {}

/// `GetAudioObjectType`, §1.6.2.1.
fn object_type(bits: &mut Bits<'_>) -> Result<u8, ParseError> {
    const ESCAPE: u8 = 31;
    match bits.byte(5)? {
        ESCAPE => Ok(32 + bits.byte(6)?),
        kind => Ok(kind),
    }
}

/// An index into [`RATES`], 15 for none of them, and the rate.
fn sampling_frequency(bits: &mut Bits<'_>) -> Result<(u8, u32), ParseError> {
    const EXPLICIT: u8 = 15;
    let index = bits.byte(4)?;
    if index == EXPLICIT {
        return Ok((index, bits.read(24)?));
    }
    let rate =
        RATES.get(usize::from(index)).ok_or(ParseError::Invalid("samplingFrequencyIndex"))?;
    Ok((index, *rate))
}

/// What differs by object type.
struct Specific {
    frame_samples: u32,
    program: Option<ProgramConfig>,
}

impl Specific {
    fn parse(
        bits: &mut Bits<'_>,
        object_type: u8,
        channel_configuration: u8,
    ) -> Result<Self, ParseError> {
        let specific = match object_type {
            1..=4 | object::SCALABLE | 7 | object::ER_LC | 19..=object::ER_LD => {
                Self::general(bits, object_type, channel_configuration)?
            }
            // `ELDSpecificConfig`, §4.6.20.2, ends the configuration; its first bit is all that matters.
            object::ER_ELD => {
                Self { frame_samples: if bits.flag()? { 480 } else { 512 }, program: None }
            }
            _ => return Err(ParseError::Unsupported("audioObjectType")),
        };
        // `epConfig` of the error-resilient types.
        if matches!(object_type, object::ER_LC | 19..=object::ER_LD) && bits.read(2)? > 1 {
            return Err(ParseError::Unsupported("epConfig"));
        }
        Ok(specific)
    }

    /// `GASpecificConfig`, §4.4.1.
    fn general(
        bits: &mut Bits<'_>,
        object_type: u8,
        channel_configuration: u8,
    ) -> Result<Self, ParseError> {
        let short = bits.flag()?;
        // `dependsOnCoreCoder`, `coreCoderDelay`.
        if bits.flag()? {
            bits.skip(14)?;
        }
        let extension = bits.flag()?;
        let program = match channel_configuration {
            0 => Some(ProgramConfig::parse(bits)?),
            _ => None,
        };
        if matches!(object_type, object::SCALABLE | object::ER_SCALABLE) {
            bits.skip(3)?;
        }
        if extension {
            match object_type {
                object::ER_BSAC => bits.skip(16)?,
                object::ER_LC | 19 | object::ER_SCALABLE | object::ER_LD => bits.skip(3)?,
                _ => {}
            }
            bits.skip(1)?;
        }
        let frame_samples = match (object_type, short) {
            (object::ER_LD, false) => 512,
            (object::ER_LD, true) => 480,
            (_, false) => 1_024,
            (_, true) => 960,
        };
        Ok(Self { frame_samples, program })
    }
}

/// The extension that decoders without SBR do not look at (§1.6.2.1, `syncExtensionType`): the rate and whether
/// there is parametric stereo.
fn trailing_extension(bits: &mut Bits<'_>) -> Option<(Option<u32>, bool)> {
    if bits.left() < 16 || bits.read(11).ok()? != 0x2b7 || object_type(bits).ok()? != object::SBR {
        return None;
    }
    if !bits.flag().ok()? {
        return None;
    }
    let (_, rate) = sampling_frequency(bits).ok()?;
    let parametric = bits.left() >= 12 && bits.read(11).ok()? == 0x548 && bits.flag().ok()?;
    Some((Some(rate), parametric))
}

#[cfg(test)]
mod tests;
