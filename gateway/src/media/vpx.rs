//! VP8 and VP9: the header of a key frame, the `vpcC` record.
//!
//! RFC 6386 §9.1 (VP8); VP9 Bitstream & Decoding Process Specification 0.6; VP Codec ISO Media File Format Binding 1.0.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{ParseError, bits::Bits};
use bytes::Bytes;

/// What a key frame says; nobody needs it to decode, since each key frame says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    generation: Generation,
    width: u32,
    height: u32,
    profile: u8,
    depth: u8,
    /// 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4 (binding §2.3).
    subsampling: u8,
    full_range: bool,
    /// Primaries, transfer, matrix (ISO/IEC 23091-2).
    color: [u8; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    Vp8,
    Vp9,
}

/// Not said.
const UNKNOWN_COLOR: [u8; 3] = [2, 2, 2];

/// Samples of luma in a picture, at most, and the level (VP9 levels; binding §2.3).
const LEVELS: [(u64, u8); 9] = [
    (36_864, 10),
    (73_728, 11),
    (122_880, 20),
    (245_760, 21),
    (552_960, 30),
    (983_040, 31),
    (2_228_224, 40),
    (8_912_896, 50),
    (35_651_584, 60),
];

impl Config {
    /// From a key frame of VP8.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn from_vp8(frame: &[u8]) -> Result<Self, ParseError> {
        let (&[tag, _, _, s0, s1, s2, w0, w1, h0, h1], _) =
            frame.split_first_chunk().ok_or(ParseError::Truncated)?;
        if tag & 1 != 0 {
            return Err(ParseError::Unsupported("key_frame"));
        }
        if [s0, s1, s2] != [0x9d, 0x01, 0x2a] {
            return Err(ParseError::Invalid("start_code"));
        }
        // 14 bits of size, 2 of scale.
        let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
        Self {
            generation: Generation::Vp8,
            width: size(w0, w1),
            height: size(h0, h1),
            profile: (tag >> 1) & 7,
            depth: 8,
            subsampling: 1,
            full_range: false,
            color: UNKNOWN_COLOR,
        }
        .checked()
    }

    /// From a frame of VP9 that begins with a key frame, or a superframe that does.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn from_vp9(frame: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(frame);
        let header = Vp9Header::parse(&mut bits)?;
        if !header.key {
            return Err(ParseError::Unsupported("frame_type"));
        }
        if bits.read(24)? != 0x49_8342 {
            return Err(ParseError::Invalid("frame_sync_code"));
        }
        let mut config = Self {
            generation: Generation::Vp9,
            width: 0,
            height: 0,
            profile: header.profile,
            depth: 8,
            subsampling: 1,
            full_range: false,
            color: UNKNOWN_COLOR,
        };
        config.read_color(&mut bits)?;
        config.width = bits.read(16)? + 1;
        config.height = bits.read(16)? + 1;
        config.checked()
    }

    fn checked(self) -> Result<Self, ParseError> {
        if self.width == 0 || self.height == 0 {
            return Err(ParseError::Invalid("frame size"));
        }
        Ok(self)
    }

    /// `color_config`, VP9 §6.2.2.
    fn read_color(&mut self, bits: &mut Bits<'_>) -> Result<(), ParseError> {
        const RGB: u32 = 7;
        if self.profile >= 2 {
            self.depth = if bits.flag()? { 12 } else { 10 };
        }
        let space = bits.read(3)?;
        // Table of `color_space`, §7.2.2, in the numbers of ISO/IEC 23091-2.
        self.color = match space {
            1 => [6, 6, 6],
            2 => [1, 1, 1],
            3 => [6, 6, 6],
            4 => [7, 7, 7],
            5 => [9, if self.depth == 12 { 15 } else { 14 }, 9],
            RGB => [1, 13, 0],
            _ => UNKNOWN_COLOR,
        };
        let odd = self.profile & 1 == 1;
        if space == RGB {
            if !odd {
                return Err(ParseError::Invalid("color_space"));
            }
            self.full_range = true;
            self.subsampling = 3;
            return bits.skip(1);
        }
        self.full_range = bits.flag()?;
        if odd {
            let (x, y) = (bits.flag()?, bits.flag()?);
            self.subsampling = match (x, y) {
                (false, false) => 3,
                (true, false) => 2,
                // 4:4:0 has no number.
                (false, true) => return Err(ParseError::Unsupported("subsampling_x")),
                (true, true) => return Err(ParseError::Invalid("subsampling_x")),
            };
            bits.skip(1)?;
        }
        Ok(())
    }

    /// Width and height in samples.
    pub const fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The profile: of VP8 its version.
    pub const fn profile(&self) -> u8 {
        self.profile
    }

    /// Bits of a sample.
    pub const fn bit_depth(&self) -> u8 {
        self.depth
    }

    /// Ten times the level that the picture's size asks for. What its rate asks for is not known here.
    pub fn level(&self) -> u8 {
        let samples = u64::from(self.width) * u64::from(self.height);
        LEVELS.iter().find(|(max, _)| samples <= *max).map_or(62, |&(_, level)| level)
    }

    /// The body of the `vpcC` box, version and flags included (binding §2.2).
    pub fn vpcc(&self) -> Bytes {
        let mut record = vec![1, 0, 0, 0, self.profile, self.level()];
        record.push((self.depth << 4) | (self.subsampling << 1) | u8::from(self.full_range));
        record.extend_from_slice(&self.color);
        // No initialisation data.
        record.extend_from_slice(&[0, 0]);
        Bytes::from(record)
    }

    /// What §3 of the binding calls it, such as `vp09.00.31.08`.
    pub fn codec_string(&self) -> String {
        let name = match self.generation {
            Generation::Vp8 => "vp08",
            Generation::Vp9 => "vp09",
        };
        format!("{name}.{:02}.{:02}.{:02}", self.profile, self.level(), self.depth)
    }
}

struct Vp9Header {
    profile: u8,
    key: bool,
}

impl Vp9Header {
    /// The front of `uncompressed_header`, VP9 §6.2.
    fn parse(bits: &mut Bits<'_>) -> Result<Self, ParseError> {
        if bits.read(2)? != 2 {
            return Err(ParseError::Invalid("frame_marker"));
        }
        let profile = bits.byte(1)? | (bits.byte(1)? << 1);
        if profile == 3 && bits.flag()? {
            return Err(ParseError::Unsupported("profile"));
        }
        // `show_existing_frame`.
        if bits.flag()? {
            return Ok(Self { profile, key: false });
        }
        let key = !bits.flag()?;
        // `show_frame`, `error_resilient_mode`.
        bits.skip(2)?;
        Ok(Self { profile, key })
    }
}

/// Whether a frame of VP8 is a key frame (RFC 6386 §9.1).
pub fn is_vp8_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|tag| tag & 1 == 0)
}

/// Whether a frame or superframe of VP9 begins with a key frame.
pub fn is_vp9_key(frame: &[u8]) -> bool {
    Vp9Header::parse(&mut Bits::new(frame)).is_ok_and(|header| header.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{hex, hostile};

    /// `ffmpeg -f lavfi -i testsrc=s=640x360 -c:v libvpx`, the front of its first frame.
    const VP8: &str = "909c009d012a800268010047088585888584880202e01041";
    /// The same with `-c:v libvpx-vp9`.
    const VP9: &str = "824983420027f016760a38241c184a1005587fd1fa3e8fe7";
    /// The same with `-pix_fmt yuv444p10le`.
    const VP9_HIGH: &str = "b124c1a100013f80b3b061c120e0c2c08038007f91f45f3b";

    #[test]
    fn key_frames_say_their_size_and_form() {
        let config = Config::from_vp8(&hex(VP8)).unwrap();
        assert_eq!(
            (config.dimensions(), config.codec_string().as_str()),
            ((640, 360), "vp08.00.21.08")
        );
        let config = Config::from_vp9(&hex(VP9)).unwrap();
        assert_eq!(
            (config.dimensions(), config.codec_string().as_str()),
            ((640, 360), "vp09.00.21.08")
        );
        assert_eq!(config.vpcc(), hex("010000000015820202020000"));
        let config = Config::from_vp9(&hex(VP9_HIGH)).unwrap();
        assert_eq!(
            (config.dimensions(), config.codec_string().as_str()),
            ((640, 360), "vp09.03.21.10")
        );
        assert_eq!((config.bit_depth(), config.vpcc()[6]), (10, 0xa6));
    }

    #[test]
    fn other_frames_are_not_key_frames() {
        assert!(is_vp8_key(&hex(VP8)) && !is_vp8_key(&[0x31]) && !is_vp8_key(&[]));
        assert!(is_vp9_key(&hex(VP9)) && !is_vp9_key(&[0x86]) && !is_vp9_key(&[]));
        assert_eq!(Config::from_vp9(&[0x86, 0]), Err(ParseError::Unsupported("frame_type")));
    }

    #[test]
    fn hostile_frames_are_errors() {
        for head in [VP8, VP9, VP9_HIGH] {
            hostile::each_mutation(&hex(head), |bytes| {
                for config in
                    [Config::from_vp8(bytes), Config::from_vp9(bytes)].into_iter().flatten()
                {
                    assert_eq!(config.vpcc().len(), 12);
                    assert!(config.level() >= 10);
                }
            });
        }
    }
}
