//! HEVC: parameter sets, the `hvcC` record.
//!
//! Sections refer to H.265 (08/2021) and ISO/IEC 14496-15:2019. The sequence parameter set is read here, since the
//! crates that do so panic or allocate at a peer's will. Layers above the base are not looked at.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod record;
mod sps;

use super::{
    Colour, ParseError,
    bits::Bits,
    nal::{self, Kind, LengthSize, ParameterSets, SetKey, SetKind, Syntax},
};
use bytes::Bytes;
use sps::Sps;
use std::fmt::Write as _;

/// What a decoder needs before the first picture: parameter sets, and what they say.
#[derive(Clone, Debug)]
pub struct Config {
    sets: ParameterSets,
    /// The `hvcC` record. Equal records, equal configurations.
    hvcc: Bytes,
    sps: Sps,
}

impl Config {
    /// From parameter sets without start codes or lengths; at least a VPS, an SPS, and a PPS.
    ///
    /// # Errors
    ///
    /// When one of them is missing or cannot be understood, or when there are too many.
    pub fn from_parameter_sets<'a>(
        nals: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ParseError> {
        let mut sets = ParameterSets::default();
        sets.merge(keyed(nals)?)?;
        Self::from_sets(sets)
    }

    /// From an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15:2019 §8.3.3.1), and how long the lengths are
    /// in the payloads that go with it. What else is in there (SEI) is left out.
    ///
    /// # Errors
    ///
    /// As [`from_parameter_sets`](Self::from_parameter_sets), and when the record itself is malformed.
    pub fn from_hvcc(record: &[u8]) -> Result<(Self, LengthSize), ParseError> {
        let (nals, size) = record::parse(record)?;
        Ok((Self::from_parameter_sets(nals)?, size))
    }

    /// With parameter sets that came with an access unit. `None` when they say nothing new.
    ///
    /// # Errors
    ///
    /// When one of them cannot be understood; the configuration stays as it is.
    pub fn merged<'a>(
        &self,
        nals: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, ParseError> {
        let fresh = keyed(nals)?;
        let mut sets = self.sets.clone();
        if !sets.merge(fresh)? {
            return Ok(None);
        }
        Self::from_sets(sets).map(Some)
    }

    fn from_sets(sets: ParameterSets) -> Result<Self, ParseError> {
        for (kind, field) in [
            (SetKind::Video, "vps_video_parameter_set_id"),
            (SetKind::Sequence, "sps_seq_parameter_set_id"),
            (SetKind::Picture, "pps_pic_parameter_set_id"),
        ] {
            if sets.of(kind).next().is_none() {
                return Err(ParseError::Invalid(field));
            }
        }
        let first = sets.of(SetKind::Sequence).next().ok_or(ParseError::Truncated)?;
        let sps = Sps::parse(first)?;
        let hvcc = record::encode(&sets, &sps);
        Ok(Self { sets, hvcc, sps })
    }

    /// The `HEVCDecoderConfigurationRecord`, for lengths of 4 bytes.
    pub fn hvcc(&self) -> Bytes {
        self.hvcc.clone()
    }

    /// All parameter sets without start codes or lengths, in the order in which a decoder wants them.
    pub fn parameter_sets(&self) -> impl Iterator<Item = &Bytes> {
        self.sets.iter()
    }

    /// Width and height of what is shown, in samples of luma.
    pub const fn dimensions(&self) -> (u32, u32) {
        (self.sps.width, self.sps.height)
    }

    /// Width to height of a sample, when the stream says so.
    pub const fn sample_aspect(&self) -> Option<(u16, u16)> {
        self.sps.vui.sample_aspect
    }

    /// What the samples mean, when the stream says so.
    pub const fn colour(&self) -> Option<Colour> {
        self.sps.vui.colour
    }

    /// `general_profile_idc`: 1 is Main, 2 Main 10.
    pub const fn profile(&self) -> u8 {
        self.sps.profile.idc
    }

    /// `general_level_idc`: thirty times the level.
    pub const fn level(&self) -> u8 {
        self.sps.profile.level
    }

    /// How many temporal sub-layers there may be.
    pub const fn temporal_layers(&self) -> u8 {
        self.sps.temporal_layers
    }

    /// Bits of a luma sample.
    pub const fn bit_depth(&self) -> u8 {
        self.sps.luma_depth_minus8 + 8
    }

    /// Frames a second, when the stream says so.
    pub fn frame_rate(&self) -> Option<f64> {
        self.sps.vui.frame_rate()
    }

    /// How many pictures may precede another in decoding order and follow it when shown.
    pub const fn max_num_reorder_pics(&self) -> u32 {
        self.sps.max_reorder
    }

    /// What ISO/IEC 14496-15:2019 annex E calls it, such as `hvc1.1.6.L93.B0`.
    pub fn codec_string(&self) -> String {
        let profile = &self.sps.profile;
        let space =
            ["", "A", "B", "C"].get(usize::from(profile.space)).copied().unwrap_or_default();
        let tier = if profile.high_tier { 'H' } else { 'L' };
        let mut name = format!(
            "hvc1.{space}{}.{:X}.{tier}{}",
            profile.idc,
            profile.compatibility.reverse_bits(),
            profile.level
        );
        let used =
            profile.constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for byte in profile.constraints.iter().take(used) {
            // Writing to a string cannot fail.
            let _ = write!(name, ".{byte:X}");
        }
        name
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.hvcc == other.hvcc
    }
}

impl Eq for Config {}

/// Each set with what tells it apart. Units of other kinds are left out.
fn keyed<'a>(
    nals: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<(SetKey, &'a [u8])>, ParseError> {
    let mut sets = Vec::new();
    for nal in nals {
        let Some(Kind::ParameterSet(kind)) = Syntax::Hevc.classify(nal) else { continue };
        let id = match kind {
            SetKind::Video => *nal.get(2).ok_or(ParseError::Truncated)? >> 4,
            SetKind::Sequence | SetKind::SequenceExtension => Sps::parse(nal)?.id,
            SetKind::Picture => {
                let head = nal.get(2..nal.len().min(8)).ok_or(ParseError::Truncated)?;
                Bits::new(&nal::rbsp(head)).ue_byte(63, "pps_pic_parameter_set_id")?
            }
        };
        sets.push((SetKey { kind, id }, nal));
    }
    Ok(sets)
}

#[cfg(test)]
mod tests;
