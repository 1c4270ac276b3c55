//! The sequence parameter set of HEVC (H.265 (08/2021) §7.3.2.2), as far as containers ask for it.
//!
//! Read strictly up to the picture order count; what comes after serves only to reach the frame rate, the
//! colours and the sample aspect ratio in the VUI, and where it is broken these count as absent.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{Bits, Colour, ParseError, nal};

/// What one says.
#[derive(Clone, Debug)]
pub(super) struct Sps {
    pub(super) id: u8,
    pub(super) profile: Profile,
    pub(super) temporal_layers: u8,
    pub(super) temporal_id_nested: bool,
    pub(super) chroma_format: u8,
    pub(super) luma_depth_minus8: u8,
    pub(super) chroma_depth_minus8: u8,
    /// After cropping.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) max_reorder: u32,
    pub(super) vui: Vui,
}

/// The general part of `profile_tier_level`, §7.3.3.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) space: u8,
    pub(super) high_tier: bool,
    pub(super) idc: u8,
    pub(super) compatibility: u32,
    pub(super) constraints: [u8; 6],
    pub(super) level: u8,
}

/// What is of interest in the VUI.
#[derive(Clone, Debug, Default)]
pub(super) struct Vui {
    pub(super) sample_aspect: Option<(u16, u16)>,
    pub(super) colour: Option<Colour>,
    units_in_tick: u32,
    time_scale: u32,
}

impl Sps {
    pub(super) fn parse(nal: &[u8]) -> Result<Self, ParseError> {
        let rbsp = nal::rbsp(nal.get(2..).ok_or(ParseError::Truncated)?);
        let mut bits = Bits::new(&rbsp);
        bits.skip(4)?;
        let max_sub_layers_minus1 = bits.byte(3)?;
        if max_sub_layers_minus1 > 6 {
            return Err(ParseError::Invalid("sps_max_sub_layers_minus1"));
        }
        let temporal_id_nested = bits.flag()?;
        let profile = Profile::parse(&mut bits, max_sub_layers_minus1)?;
        let id = bits.ue_byte(15, "sps_seq_parameter_set_id")?;
        let chroma_format = bits.ue_byte(3, "chroma_format_idc")?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        let (width, height) = dimensions(&mut bits, chroma_format)?;
        let luma_depth_minus8 = bits.ue_byte(7, "bit_depth_luma_minus8")?;
        let chroma_depth_minus8 = bits.ue_byte(7, "bit_depth_chroma_minus8")?;
        let poc_lsb_bits = bits.ue_to(12, "log2_max_pic_order_cnt_lsb_minus4")? + 4;
        let max_reorder = sub_layer_ordering(&mut bits, max_sub_layers_minus1)?;
        let vui = skip_to_vui(&mut bits, poc_lsb_bits)
            .and_then(|present| if present { Vui::parse(&mut bits) } else { Ok(Vui::default()) })
            .unwrap_or_default();
        Ok(Self {
            id,
            profile,
            temporal_layers: max_sub_layers_minus1 + 1,
            temporal_id_nested,
            chroma_format,
            luma_depth_minus8,
            chroma_depth_minus8,
            width,
            height,
            max_reorder,
            vui,
        })
    }
}

impl Profile {
    fn parse(bits: &mut Bits<'_>, max_sub_layers_minus1: u8) -> Result<Self, ParseError> {
        let space = bits.byte(2)?;
        let high_tier = bits.flag()?;
        let idc = bits.byte(5)?;
        let compatibility = bits.read(32)?;
        let mut constraints = [0; 6];
        for byte in &mut constraints {
            *byte = bits.byte(8)?;
        }
        let level = bits.byte(8)?;
        let mut present = Vec::with_capacity(6);
        for _ in 0..max_sub_layers_minus1 {
            present.push((bits.flag()?, bits.flag()?));
        }
        if max_sub_layers_minus1 > 0 {
            bits.skip(2 * usize::from(8 - max_sub_layers_minus1))?;
        }
        for (profile, level) in present {
            bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
        }
        Ok(Self { space, high_tier, idc, compatibility, constraints, level })
    }
}

/// Width and height after the conformance window, in luma samples (§7.4.3.2.1).
fn dimensions(bits: &mut Bits<'_>, chroma_format: u8) -> Result<(u32, u32), ParseError> {
    /// Level 6.2 allows 16 888; level 8.5 has no limit, but MP4 has 16 bits.
    const MAX: u32 = 0xffff;
    let width = bits.ue_to(MAX, "pic_width_in_luma_samples")?;
    let height = bits.ue_to(MAX, "pic_height_in_luma_samples")?;
    let (mut cut_x, mut cut_y) = (0, 0);
    if bits.flag()? {
        // `SubWidthC` and `SubHeightC`, table 6-1.
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let mut edges = || bits.ue_to(MAX, "conf_win_offset");
        cut_x = unit_x * (edges()? + edges()?);
        cut_y = unit_y * (edges()? + edges()?);
    }
    match (width.checked_sub(cut_x), height.checked_sub(cut_y)) {
        (Some(width @ 1..), Some(height @ 1..)) => Ok((width, height)),
        _ => Err(ParseError::Invalid("conf_win_offset")),
    }
}

/// `sps_max_num_reorder_pics` of the highest sub-layer.
fn sub_layer_ordering(bits: &mut Bits<'_>, max_sub_layers_minus1: u8) -> Result<u32, ParseError> {
    let each = bits.flag()?;
    let mut reorder = 0;
    for _ in 0..=if each { max_sub_layers_minus1 } else { 0 } {
        bits.ue()?;
        reorder = bits.ue()?;
        bits.ue()?;
    }
    Ok(reorder)
}

/// All between the ordering and the VUI. Whether there is one.
fn skip_to_vui(bits: &mut Bits<'_>, poc_lsb_bits: u32) -> Result<bool, ParseError> {
    // Sizes of coding and transform blocks, depths of the transform hierarchy.
    for _ in 0..6 {
        bits.ue()?;
    }
    // `scaling_list_enabled_flag`, `sps_scaling_list_data_present_flag`.
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    // Asymmetric partitions, sample adaptive offset.
    bits.skip(2)?;
    if bits.flag()? {
        // PCM: depths, block sizes, loop filter.
        bits.skip(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    skip_short_term_sets(bits)?;
    if bits.flag()? {
        for _ in 0..bits.ue_to(32, "num_long_term_ref_pics_sps")? {
            bits.skip(poc_lsb_bits as usize + 1)?;
        }
    }
    // Temporal motion vectors, strong intra smoothing.
    bits.skip(2)?;
    bits.flag()
}

/// §7.3.4.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Result<(), ParseError> {
    for size in 0..4 {
        // Of 32x32, only two of the six matrices.
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            let coefficients = 64.min(1 << (4 + 2 * size));
            for _ in 0..coefficients + i32::from(size > 1) {
                bits.ue()?;
            }
        }
    }
    Ok(())
}

/// `st_ref_pic_set`, §7.3.7, for all sets of the sequence.
fn skip_short_term_sets(bits: &mut Bits<'_>) -> Result<(), ParseError> {
    /// `NumDeltaPocs` is at most twice the size of the picture buffer.
    const MAX_DELTAS: u32 = 32;
    let mut deltas = 0;
    for set in 0..bits.ue_to(64, "num_short_term_ref_pic_sets")? {
        if set > 0 && bits.flag()? {
            // Predicted from the set before it: sign and size of the step, two flags for each of its pictures.
            bits.skip(1)?;
            bits.ue()?;
            let mut kept = 0;
            for _ in 0..=deltas {
                let used = bits.flag()?;
                kept += u32::from(used || bits.flag()?);
            }
            deltas = kept.min(MAX_DELTAS);
        } else {
            let negative = bits.ue_to(16, "num_negative_pics")?;
            let positive = bits.ue_to(16, "num_positive_pics")?;
            deltas = negative + positive;
            for _ in 0..deltas {
                bits.ue()?;
                bits.skip(1)?;
            }
        }
    }
    Ok(())
}

impl Vui {
    /// §E.2.1, up to the timing. What was read before an error counts.
    fn parse(bits: &mut Bits<'_>) -> Result<Self, ParseError> {
        let mut vui = Self::default();
        if bits.flag()? {
            vui.sample_aspect = sample_aspect(bits)?;
        }
        // Whether overscan is all right.
        if bits.flag()? {
            bits.skip(1)?;
        }
        // Format and range, description of colours.
        if bits.flag()? {
            bits.skip(3)?;
            let full_range = bits.flag()?;
            let mut description = None;
            if bits.flag()? {
                description = Some([bits.byte(8)?, bits.byte(8)?, bits.byte(8)?]);
            }
            vui.colour = Colour::described(full_range, description);
        }
        // Where chroma samples lie.
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        // Neutral chroma, fields, pictures with their structure.
        bits.skip(3)?;
        // Default display window.
        if bits.flag()? {
            for _ in 0..4 {
                bits.ue()?;
            }
        }
        if bits.flag()? {
            vui.units_in_tick = bits.read(32)?;
            vui.time_scale = bits.read(32)?;
        }
        Ok(vui)
    }

    /// One tick a picture (§E.3.1). Rates that no encoder has are taken for absent.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        let rate = f64::from(self.time_scale) / f64::from(self.units_in_tick);
        (0.1..=1_000.0).contains(&rate).then_some(rate)
    }
}

/// Table E.1.
fn sample_aspect(bits: &mut Bits<'_>) -> Result<Option<(u16, u16)>, ParseError> {
    const TABLE: [(u16, u16); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    const EXTENDED: u8 = 255;
    match bits.byte(8)? {
        EXTENDED => {
            let (width, height) = (bits.short(16)?, bits.short(16)?);
            Ok((width != 0 && height != 0).then_some((width, height)))
        }
        0 => Ok(None),
        index => Ok(TABLE.get(usize::from(index) - 1).copied()),
    }
}
