//! The sequence header of AV1 (§5.5).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{Bits, Colour, ParseError};

/// What one says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    pub(super) profile: u8,
    pub(super) level: u8,
    pub(super) high_tier: bool,
    /// `reduced_still_picture_header`: all frames are key frames and shown.
    pub(super) reduced: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) frame_rate: Option<f64>,
    pub(super) depth: u8,
    pub(super) monochrome: bool,
    pub(super) subsampling_x: bool,
    pub(super) subsampling_y: bool,
    pub(super) chroma_position: u8,
    pub(super) colour: Option<Colour>,
}

/// The timing of a sequence and of its decoder model.
#[derive(Clone, Copy, Debug, Default)]
struct Timing {
    frame_rate: Option<f64>,
    /// Bits in a buffer delay, if there is a decoder model.
    delay_bits: Option<u32>,
}

struct Color {
    depth: u8,
    monochrome: bool,
    subsampling_x: bool,
    subsampling_y: bool,
    chroma_position: u8,
    meaning: Option<Colour>,
}

impl Sequence {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(body);
        let profile = bits.byte(3)?;
        if profile > 2 {
            return Err(ParseError::Invalid("seq_profile"));
        }
        bits.skip(1)?;
        let reduced = bits.flag()?;
        let mut timing = Timing::default();
        let (mut level, mut high_tier) = (0, false);
        if reduced {
            level = bits.byte(5)?;
        } else {
            if bits.flag()? {
                timing = Timing::parse(&mut bits)?;
            }
            let delays = bits.flag()?;
            for point in 0..=bits.read(5)? {
                let (point_level, tier) = operating_point(&mut bits, timing, delays)?;
                if point == 0 {
                    (level, high_tier) = (point_level, tier);
                }
            }
        }
        let width_bits = bits.read(4)? + 1;
        let height_bits = bits.read(4)? + 1;
        let width = bits.read(width_bits)? + 1;
        let height = bits.read(height_bits)? + 1;
        skip_tools(&mut bits, reduced)?;
        let color = Color::parse(&mut bits, profile)?;
        Ok(Self {
            profile,
            level,
            high_tier,
            reduced,
            width,
            height,
            frame_rate: timing.frame_rate,
            depth: color.depth,
            monochrome: color.monochrome,
            subsampling_x: color.subsampling_x,
            subsampling_y: color.subsampling_y,
            chroma_position: color.chroma_position,
            colour: color.meaning,
        })
    }
}

impl Timing {
    /// `timing_info` and `decoder_model_info`, §5.5.3 and §5.5.4.
    fn parse(bits: &mut Bits<'_>) -> Result<Self, ParseError> {
        let units = f64::from(bits.read(32)?);
        let scale = f64::from(bits.read(32)?);
        let mut frame_rate = None;
        if bits.flag()? {
            // `uvlc()`, which is `ue(v)` but for its longest forms.
            let rate = scale / (units * (f64::from(bits.ue()?) + 1.0));
            frame_rate = (0.1..=1_000.0).contains(&rate).then_some(rate);
        }
        let mut delay_bits = None;
        if bits.flag()? {
            delay_bits = Some(bits.read(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
        Ok(Self { frame_rate, delay_bits })
    }
}

/// Level and tier of the next operating point.
fn operating_point(
    bits: &mut Bits<'_>,
    timing: Timing,
    delays: bool,
) -> Result<(u8, bool), ParseError> {
    bits.skip(12)?;
    let level = bits.byte(5)?;
    let high_tier = level > 7 && bits.flag()?;
    if let Some(width) = timing.delay_bits
        && bits.flag()?
    {
        bits.skip(2 * width as usize + 1)?;
    }
    if delays && bits.flag()? {
        bits.skip(4)?;
    }
    Ok((level, high_tier))
}

/// All between the frame size and the colours.
fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Result<(), ParseError> {
    // `frame_id_numbers_present_flag`.
    if !reduced && bits.flag()? {
        bits.skip(4 + 3)?;
    }
    // Superblock size, filter intra, intra edge filter.
    bits.skip(3)?;
    if !reduced {
        // Inter-intra compound, masked compound, warped motion, dual filter.
        bits.skip(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?;
        }
        // `seq_choose_screen_content_tools`, or whether they are forced; motion vectors likewise.
        let screen_content = bits.flag()? || bits.flag()?;
        if screen_content && !bits.flag()? {
            bits.skip(1)?;
        }
        if order_hint {
            bits.skip(3)?;
        }
    }
    // Super-resolution, constrained directional enhancement, restoration.
    bits.skip(3)
}

impl Color {
    /// `color_config`, §5.5.2.
    fn parse(bits: &mut Bits<'_>, profile: u8) -> Result<Self, ParseError> {
        /// `color_primaries`, `transfer_characteristics` and `matrix_coefficients` of sRGB.
        const SRGB: Option<[u8; 3]> = Some([1, 13, 0]);
        let high = bits.flag()?;
        let depth = match (profile, high) {
            (_, false) => 8,
            (2, true) if bits.flag()? => 12,
            (_, true) => 10,
        };
        let monochrome = profile != 1 && bits.flag()?;
        let mut description = None;
        if bits.flag()? {
            description = Some([bits.byte(8)?, bits.byte(8)?, bits.byte(8)?]);
        }
        let mut color = Self {
            depth,
            monochrome,
            subsampling_x: true,
            subsampling_y: true,
            chroma_position: 0,
            meaning: Colour::described(true, description),
        };
        if !monochrome && description == SRGB {
            // Its range is full, without a word.
            (color.subsampling_x, color.subsampling_y) = (false, false);
            return Ok(color);
        }
        color.meaning = Colour::described(bits.flag()?, description);
        if monochrome {
            return Ok(color);
        }
        (color.subsampling_x, color.subsampling_y) = match (profile, depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if color.subsampling_x && color.subsampling_y {
            color.chroma_position = bits.byte(2)?;
        }
        Ok(color)
    }
}
