//! H.264: parameter sets, the `avcC` record, where a picture begins.
//!
//! Sections refer to H.264 (08/2021) and ISO/IEC 14496-15:2019. The sequence parameter set is parsed by
//! `h264-reader`. It is strict about levels, and encoders are not: it sees the highest level instead of theirs.
//! Extensions (SVC, MVC, 3D) are passed on within access units and otherwise not looked at.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod record;
mod reorder;
mod slice;

pub use slice::{Boundary, SliceHead};

use super::{
    Colour, ParseError,
    bits::Bits,
    nal::{self, Kind, LengthSize, ParameterSets, SetKey, SetKind, Syntax},
};
use bytes::Bytes;
use h264_reader::nal::sps::{self, FrameMbsFlags, PicOrderCntType, SeqParameterSet};

/// What a decoder needs before the first picture: parameter sets, and what they say.
#[derive(Clone, Debug)]
pub struct Config {
    sets: ParameterSets,
    /// The `avcC` record. Equal records, equal configurations.
    avcc: Bytes,
    profile: u8,
    compatibility: u8,
    level: u8,
    width: u32,
    height: u32,
    sample_aspect: Option<(u16, u16)>,
    colour: Option<Colour>,
    frame_rate: Option<f64>,
    max_reorder: Option<u32>,
    slices: slice::Syntaxes,
}

impl Config {
    /// From parameter sets without start codes or lengths; at least an SPS, and a PPS.
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

    /// From an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15:2019 §5.3.3.1), and how long the lengths are
    /// in the payloads that go with it.
    ///
    /// # Errors
    ///
    /// As [`from_parameter_sets`](Self::from_parameter_sets), and when the record itself is malformed.
    pub fn from_avcc(record: &[u8]) -> Result<(Self, LengthSize), ParseError> {
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
        let slices = slice::Syntaxes::new(&sets)?;
        let first = sets
            .of(SetKind::Sequence)
            .next()
            .ok_or(ParseError::Invalid("numOfSequenceParameterSets"))?;
        if sets.of(SetKind::Picture).next().is_none() {
            return Err(ParseError::Invalid("numOfPictureParameterSets"));
        }
        let sps = parse_sps(first)?;
        let (width, height) =
            sps.pixel_dimensions().map_err(|_| ParseError::Invalid("frame_crop_offset"))?;
        if width == 0 || height == 0 {
            return Err(ParseError::Invalid("frame_crop_offset"));
        }
        let &[_, profile, compatibility, level] =
            first.first_chunk().ok_or(ParseError::Truncated)?;
        let vui = sps.vui_parameters.as_ref();
        Ok(Self {
            avcc: record::encode(&sets, &sps, [profile, compatibility, level]),
            profile,
            compatibility,
            level,
            width,
            height,
            sample_aspect: vui.and_then(|vui| vui.aspect_ratio_info.as_ref()?.get()),
            colour: vui.and_then(|vui| colour(vui.video_signal_type.as_ref()?)),
            frame_rate: vui.and_then(|vui| frame_rate(vui.timing_info.as_ref()?)),
            max_reorder: vui
                .and_then(|vui| Some(vui.bitstream_restrictions.as_ref()?.max_num_reorder_frames)),
            slices,
            sets,
        })
    }

    /// The `AVCDecoderConfigurationRecord`, for lengths of 4 bytes.
    pub fn avcc(&self) -> Bytes {
        self.avcc.clone()
    }

    /// All parameter sets without start codes or lengths, in the order in which a decoder wants them.
    pub fn parameter_sets(&self) -> impl Iterator<Item = &Bytes> {
        self.sets.iter()
    }

    /// The same sets for a stream whose pictures are all shown in the order in which they come: those of the sequence say
    /// so. One that cannot be changed is as it was.
    pub fn parameter_sets_in_order(&self) -> impl Iterator<Item = Bytes> {
        self.sets.iter().map(|set| {
            let is_sequence =
                Syntax::H264.classify(set) == Some(Kind::ParameterSet(SetKind::Sequence));
            let changed = is_sequence.then(|| reorder::in_order(set).ok()).flatten();
            changed.map_or_else(|| set.clone(), Bytes::from)
        })
    }

    /// Width and height of what is shown, in samples of luma.
    pub const fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Width to height of a sample, when the stream says so.
    pub const fn sample_aspect(&self) -> Option<(u16, u16)> {
        self.sample_aspect
    }

    /// What the samples mean, when the stream says so.
    pub const fn colour(&self) -> Option<Colour> {
        self.colour
    }

    /// `profile_idc`.
    pub const fn profile(&self) -> u8 {
        self.profile
    }

    /// `level_idc`: ten times the level.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// Frames a second, when the stream says so.
    pub const fn frame_rate(&self) -> Option<f64> {
        self.frame_rate
    }

    /// How many frames may precede another in decoding order and follow it when shown, when the stream says so.
    pub const fn max_num_reorder_frames(&self) -> Option<u32> {
        self.max_reorder
    }

    /// What RFC 6381 §3.3 calls it, such as `avc1.64001F`.
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02X}{:02X}{:02X}", self.profile, self.compatibility, self.level)
    }

    /// The head of a slice's header, which tells pictures apart.
    ///
    /// # Errors
    ///
    /// When `nal` is no slice, is cut off, or names a parameter set that is not known.
    pub fn slice_head(&self, nal: &[u8]) -> Result<SliceHead, ParseError> {
        self.slices.parse(nal)
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.avcc == other.avcc
    }
}

impl Eq for Config {}

/// Each set with what tells it apart. Units of other kinds are left out.
fn keyed<'a>(
    nals: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<(SetKey, &'a [u8])>, ParseError> {
    let mut sets = Vec::new();
    for nal in nals {
        let Some(Kind::ParameterSet(kind)) = Syntax::H264.classify(nal) else { continue };
        // `profile_idc`, constraint flags and `level_idc` precede the identifier of an SPS (§7.3.2.1.1).
        let (skip, max, field) = match kind {
            SetKind::Picture => (1, 255, "pic_parameter_set_id"),
            SetKind::SequenceExtension => (1, 31, "seq_parameter_set_id"),
            SetKind::Sequence | SetKind::Video => (4, 31, "seq_parameter_set_id"),
        };
        // An identifier of 8 bits at most takes 17.
        let head = nal.get(skip..nal.len().min(skip + 8)).ok_or(ParseError::Truncated)?;
        let id = Bits::new(&nal::rbsp(head)).ue_byte(max, field)?;
        sets.push((SetKey { kind, id }, nal));
    }
    Ok(sets)
}

fn parse_sps(nal: &[u8]) -> Result<SeqParameterSet, ParseError> {
    /// Level 6.2, the highest there is.
    const HIGHEST_LEVEL: u8 = 62;
    let end = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let rbsp = nal::rbsp(nal.get(1..end).ok_or(ParseError::Truncated)?);
    let mut rbsp = rbsp.into_owned();
    *rbsp.get_mut(2).ok_or(ParseError::Truncated)? = HIGHEST_LEVEL;
    SeqParameterSet::from_bits(h264_reader::rbsp::BitReader::new(rbsp.as_slice()))
        .map_err(|_| ParseError::Invalid("seq_parameter_set_rbsp"))
}

/// §E.2.1.
fn colour(signal: &sps::VideoSignalType) -> Option<Colour> {
    let description = signal.colour_description.as_ref().map(|colour| {
        [colour.colour_primaries, colour.transfer_characteristics, colour.matrix_coefficients]
    });
    Colour::described(signal.video_full_range_flag, description)
}

/// Two ticks a frame (§E.2.1). Rates that no encoder has are taken for absent.
fn frame_rate(timing: &sps::TimingInfo) -> Option<f64> {
    let rate = f64::from(timing.time_scale) / (2.0 * f64::from(timing.num_units_in_tick));
    (0.1..=1_000.0).contains(&rate).then_some(rate)
}

#[cfg(test)]
mod tests;
