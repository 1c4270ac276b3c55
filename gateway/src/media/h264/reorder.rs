//! A sequence parameter set that says that pictures are shown in the order in which they come.
//!
//! A decoder holds pictures back by `max_num_reorder_frames`, and where that is not said, by what the profile and level allow
//! (H.264 (08/2021) §E.2.1). When the pictures for which it would wait are left out of a stream, that is delay for nothing.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::{
    ParseError,
    bits::{BitWriter, Bits},
    nal,
};

/// Profiles whose sets tell of chroma, depth and scaling (§7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What stands before and after the number that is changed.
struct Parts {
    /// Bits up to `vui_parameters_present_flag`.
    before_vui: usize,
    /// Bits up to `bitstream_restriction_flag`, where there is a VUI.
    before_restriction: Option<usize>,
    /// How many pictures may be referred to.
    references: u32,
    /// The five values of the restriction before the number of frames, where there is one.
    restriction: Option<[u32; 5]>,
    /// Pictures that the decoder keeps, where that is said.
    buffering: Option<u32>,
}

/// The same set with `max_num_reorder_frames` 0.
///
/// # Errors
///
/// When the set cannot be understood.
pub(super) fn in_order(sps: &[u8]) -> Result<Vec<u8>, ParseError> {
    let end = sps.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let raw = nal::rbsp(sps.get(..end).ok_or(ParseError::Truncated)?);
    let parts = Parts::parse(&raw)?;
    let mut bits = Bits::new(&raw);
    let mut out = BitWriter::default();
    match parts.before_restriction {
        Some(count) => out.copy(&mut bits, count)?,
        None => {
            out.copy(&mut bits, parts.before_vui)?;
            out.put(1, 1);
            // Aspect ratio, overscan, video signal, chroma location, timing, both HRDs, picture structure: none is said.
            out.put(0, 8);
        }
    }
    out.put(1, 1);
    // What holds where nothing is said (§E.2.1).
    let [over_edges, bytes, bits_a_macroblock, across, down] =
        parts.restriction.unwrap_or([1, 2, 1, 15, 15]);
    out.put(over_edges, 1);
    for value in [bytes, bits_a_macroblock, across, down, 0] {
        put_ue(&mut out, value);
    }
    put_ue(&mut out, parts.buffering.unwrap_or(parts.references).max(parts.references));
    // §7.3.2.11.
    out.put(1, 1);
    Ok(escaped(&out.finish()))
}

impl Parts {
    fn parse(raw: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(raw);
        bits.skip(8)?;
        let profile = bits.byte(8)?;
        bits.skip(16)?;
        bits.ue()?;
        if HIGH_PROFILES.contains(&profile) {
            skip_high(&mut bits)?;
        }
        bits.ue()?;
        match bits.ue()? {
            0 => {
                bits.ue()?;
            }
            1 => {
                bits.skip(1)?;
                bits.ue()?;
                bits.ue()?;
                for _ in 0..bits.ue_to(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
                    bits.ue()?;
                }
            }
            _ => {}
        }
        let references = bits.ue_to(16, "max_num_ref_frames")?;
        bits.skip(1)?;
        bits.ue()?;
        bits.ue()?;
        if !bits.flag()? {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        if bits.flag()? {
            for _ in 0..4 {
                bits.ue()?;
            }
        }
        let before_vui = bits.position();
        let mut parts = Self {
            before_vui,
            before_restriction: None,
            references,
            restriction: None,
            buffering: None,
        };
        if bits.flag()? {
            parts.read_vui(&mut bits)?;
        }
        Ok(parts)
    }

    /// §E.1.1.
    fn read_vui(&mut self, bits: &mut Bits<'_>) -> Result<(), ParseError> {
        const EXTENDED_SAR: u8 = 255;
        if bits.flag()? && bits.byte(8)? == EXTENDED_SAR {
            bits.skip(32)?;
        }
        if bits.flag()? {
            bits.skip(1)?;
        }
        if bits.flag()? {
            bits.skip(4)?;
            if bits.flag()? {
                bits.skip(24)?;
            }
        }
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        if bits.flag()? {
            bits.skip(65)?;
        }
        let mut has_hrd = false;
        for _ in 0..2 {
            if bits.flag()? {
                has_hrd = true;
                skip_hrd(bits)?;
            }
        }
        if has_hrd {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        self.before_restriction = Some(bits.position());
        if bits.flag()? {
            let over_edges = bits.read(1)?;
            let values = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
            let [bytes, macroblock, across, down] = values;
            self.restriction = Some([over_edges, bytes, macroblock, across, down]);
            bits.ue()?;
            self.buffering = Some(bits.ue_to(16, "max_dec_frame_buffering")?);
        }
        Ok(())
    }
}

/// §7.3.2.1.1, from `chroma_format_idc` on.
fn skip_high(bits: &mut Bits<'_>) -> Result<(), ParseError> {
    let chroma = bits.ue_byte(3, "chroma_format_idc")?;
    if chroma == 3 {
        bits.skip(1)?;
    }
    bits.ue()?;
    bits.ue()?;
    bits.skip(1)?;
    if !bits.flag()? {
        return Ok(());
    }
    for list in 0..if chroma == 3 { 12 } else { 8 } {
        if bits.flag()? {
            skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
        }
    }
    Ok(())
}

/// §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), ParseError> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            // `se(v)`, §9.1.1.
            let code = i64::from(bits.ue()?);
            let delta = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// §E.1.2.
fn skip_hrd(bits: &mut Bits<'_>) -> Result<(), ParseError> {
    let count = bits.ue_to(31, "cpb_cnt_minus1")? + 1;
    bits.skip(8)?;
    for _ in 0..count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

/// `ue(v)`, §9.1.
fn put_ue(out: &mut BitWriter, value: u32) {
    let code = value.saturating_add(1);
    let width = 32 - code.leading_zeros();
    out.put(0, width - 1);
    out.put(code, width);
}

/// With emulation prevention bytes (§7.4.1.1).
fn escaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    let mut zeros = 0;
    for &byte in raw {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{h264::Config, hex};

    /// Sets of x264: High 4:2:0 with B pictures, interlaced with a sample aspect, Constrained Baseline.
    const SETS: [[&str; 2]; 3] = [
        ["6764001facd9405005bb0110000003001000000303c0f1831960", "68ebe3cb22c0"],
        ["677a001ebcd940b424d8208000000300800000190f8a14cb", "68fba3cb22c0"],
        ["6742c028d900780227a9b01100000303e90000ea600f183248", "68cb83cb20"],
    ];

    #[test]
    fn a_set_says_that_pictures_come_in_order_and_else_what_it_said() {
        for [sps, pps] in SETS {
            let (sps, pps) = (hex(sps), hex(pps));
            let before = Config::from_parameter_sets([&sps[..], &pps]).unwrap();
            let changed = in_order(&sps).unwrap();
            let after = Config::from_parameter_sets([&changed[..], &pps]).unwrap();
            assert_eq!(after.max_num_reorder_frames(), Some(0));
            assert_eq!(after.dimensions(), before.dimensions());
            assert_eq!(after.sample_aspect(), before.sample_aspect());
            assert_eq!(after.frame_rate(), before.frame_rate());
            assert_eq!(after.codec_string(), before.codec_string());
            assert_eq!(in_order(&changed).unwrap(), changed, "once is enough");
        }
    }

    #[test]
    fn a_set_without_usability_information_gets_some() {
        // 320x240, Constrained Baseline, one reference, and nothing about its use.
        let mut bits = BitWriter::default();
        [0x67, 66, 0xc0, 30].into_iter().for_each(|byte| bits.put(byte, 8));
        [0, 0, 2, 1].into_iter().for_each(|value| put_ue(&mut bits, value));
        bits.put(0, 1);
        [19, 14].into_iter().for_each(|value| put_ue(&mut bits, value));
        [1, 1, 0, 0, 1].into_iter().for_each(|flag| bits.put(flag, 1));
        let sps = escaped(&bits.finish());
        let pps = hex("68cb83cb20");
        let before = Config::from_parameter_sets([&sps[..], &pps]);
        let changed = in_order(&sps).unwrap();
        let after = Config::from_parameter_sets([&changed[..], &pps]).unwrap();
        assert_eq!(after.max_num_reorder_frames(), Some(0));
        assert_eq!(after.dimensions(), before.unwrap().dimensions());
    }

    #[test]
    fn sets_that_are_cut_off_or_garbage_are_errors() {
        for [sps, _] in SETS {
            let sps = hex(sps);
            for len in 0..sps.len() {
                // What matters is that nothing panics; a shorter set may be one too.
                let _result = in_order(&sps[..len]);
            }
        }
        assert!(in_order(&[0x67, 100, 0, 31, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
