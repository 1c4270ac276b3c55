//! AV1: OBUs, the sequence header, the `av1C` record.
//!
//! Sections refer to the AV1 Bitstream & Decoding Process Specification 1.0.0 with errata 1, and to the AV1 Codec ISO Media
//! File Format Binding 1.2.0.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod sequence;

use super::{Colour, ParseError, bits::Bits};
use bytes::Bytes;
use sequence::Sequence;

/// What a decoder needs before the first frame: a sequence header, and what it says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sequence header as an OBU with its size. Equal headers, equal configurations.
    header: Bytes,
    sequence: Sequence,
}

/// One OBU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// `obu_type`, §6.2.2.
    pub kind: u8,
    /// `obu_extension_header`: temporal and spatial layer.
    pub extension: Option<u8>,
    /// What stands behind header and size.
    pub body: &'a [u8],
}

/// The OBUs of a temporal unit, each with its size but for the last, which may be without (§5.2 and §5.3).
///
/// An error ends the iteration.
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    rest: &'a [u8],
}

/// A temporal unit in the form of our access units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporalUnit {
    /// The OBUs with their sizes, without delimiters and padding.
    pub payload: Bytes,
    /// Decoding may begin here: it shows a key frame.
    pub random_access: bool,
    /// The configuration that came with it.
    pub config: Option<Config>,
}

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

impl<'a> Obus<'a> {
    /// Of these bytes.
    pub const fn new(unit: &'a [u8]) -> Self {
        Self { rest: unit }
    }

    /// §5.3.1.
    fn parse(&self) -> Result<(Obu<'a>, &'a [u8]), ParseError> {
        let (&header, mut rest) = self.rest.split_first().ok_or(ParseError::Truncated)?;
        if header & 0x80 != 0 {
            return Err(ParseError::Invalid("obu_forbidden_bit"));
        }
        let mut extension = None;
        if header & 4 != 0 {
            let (&byte, after) = rest.split_first().ok_or(ParseError::Truncated)?;
            extension = Some(byte);
            rest = after;
        }
        let mut length = rest.len();
        if header & 2 != 0 {
            (length, rest) = leb128(rest)?;
        }
        let (body, rest) = rest.split_at_checked(length).ok_or(ParseError::Truncated)?;
        let obu = Obu { kind: (header >> 3) & 0x0f, extension, body };
        Ok((obu, rest))
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Result<Obu<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = self.parse();
        self.rest = parsed.as_ref().map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(obu, _)| obu))
    }
}

impl Obu<'_> {
    /// Appends it with its size.
    fn encode(&self, out: &mut Vec<u8>) {
        let extended = u8::from(self.extension.is_some()) << 2;
        out.push((self.kind << 3) | extended | 2);
        out.extend(self.extension);
        let mut length = self.body.len();
        loop {
            let [low, ..] = length.to_le_bytes();
            length >>= 7;
            if length == 0 {
                out.push(low);
                break;
            }
            out.push(low | 0x80);
        }
        out.extend_from_slice(self.body);
    }

    /// Whether it begins a key frame that is shown (§5.9.2), given the sequence's header if that is known.
    fn shows_key_frame(&self, sequence: Option<&Sequence>) -> bool {
        if !matches!(self.kind, FRAME_HEADER | FRAME) {
            return false;
        }
        if sequence.is_some_and(|sequence| sequence.reduced) {
            return true;
        }
        let mut bits = Bits::new(self.body);
        // `show_existing_frame`, `frame_type`, `show_frame`.
        matches!((bits.read(1), bits.read(2), bits.read(1)), (Ok(0), Ok(0), Ok(1)))
    }
}

impl TemporalUnit {
    /// From OBUs in the low-overhead format, as in FLV, MP4 and RTP.
    ///
    /// # Errors
    ///
    /// When an OBU is malformed, or a sequence header cannot be understood.
    pub fn parse(unit: &[u8]) -> Result<Self, ParseError> {
        let mut payload = Vec::with_capacity(unit.len() + 8);
        let mut config: Option<Config> = None;
        let mut random_access = None;
        for obu in Obus::new(unit) {
            let obu = obu?;
            if matches!(obu.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
                continue;
            }
            if obu.kind == SEQUENCE_HEADER {
                config = Some(Config::from_obu(&obu)?);
            }
            if matches!(obu.kind, FRAME_HEADER | FRAME) && random_access.is_none() {
                random_access =
                    Some(obu.shows_key_frame(config.as_ref().map(|config| &config.sequence)));
            }
            obu.encode(&mut payload);
        }
        Ok(Self {
            payload: Bytes::from(payload),
            random_access: random_access.unwrap_or(false),
            config,
        })
    }
}

impl Config {
    /// From an `AV1CodecConfigurationRecord` (binding §2.3.3) with a sequence header in it.
    ///
    /// # Errors
    ///
    /// When the record or the header is malformed, or there is no header: then it comes with the first key frame.
    pub fn from_av1c(record: &[u8]) -> Result<Self, ParseError> {
        let (&[version, _, _, _], obus) =
            record.split_first_chunk().ok_or(ParseError::Truncated)?;
        // A marker bit, and version 1.
        if version != 0x81 {
            return Err(ParseError::Unsupported("version"));
        }
        for obu in Obus::new(obus) {
            let obu = obu?;
            if obu.kind == SEQUENCE_HEADER {
                return Self::from_obu(&obu);
            }
        }
        Err(ParseError::Unsupported("configOBUs"))
    }

    fn from_obu(obu: &Obu<'_>) -> Result<Self, ParseError> {
        /// Real ones have 10 to 30 bytes.
        const MAX_LEN: usize = 1_024;
        if obu.body.len() > MAX_LEN {
            return Err(ParseError::Unsupported("obu_size"));
        }
        let sequence = Sequence::parse(obu.body)?;
        let mut header = Vec::with_capacity(obu.body.len() + 3);
        Obu { extension: None, ..*obu }.encode(&mut header);
        Ok(Self { header: Bytes::from(header), sequence })
    }

    /// The `AV1CodecConfigurationRecord`.
    pub fn av1c(&self) -> Bytes {
        let sequence = &self.sequence;
        let bits = [
            (sequence.high_tier, 7),
            (sequence.depth > 8, 6),
            (sequence.depth == 12, 5),
            (sequence.monochrome, 4),
            (sequence.subsampling_x, 3),
            (sequence.subsampling_y, 2),
        ];
        let flags = bits
            .iter()
            .fold(sequence.chroma_position, |flags, &(set, at)| flags | (u8::from(set) << at));
        let mut record = vec![0x81, (sequence.profile << 5) | sequence.level, flags, 0];
        record.extend_from_slice(&self.header);
        Bytes::from(record)
    }

    /// The sequence header as an OBU with its size.
    pub fn sequence_header(&self) -> Bytes {
        self.header.clone()
    }

    /// The largest width and height of a frame.
    pub const fn dimensions(&self) -> (u32, u32) {
        (self.sequence.width, self.sequence.height)
    }

    /// `seq_profile`: 0 is Main, 1 High, 2 Professional.
    pub const fn profile(&self) -> u8 {
        self.sequence.profile
    }

    /// `seq_level_idx` of the first operating point.
    pub const fn level(&self) -> u8 {
        self.sequence.level
    }

    /// Bits of a sample.
    pub const fn bit_depth(&self) -> u8 {
        self.sequence.depth
    }

    /// What the samples mean, when the stream says so.
    pub const fn colour(&self) -> Option<Colour> {
        self.sequence.colour
    }

    /// Frames a second, when the stream says so.
    pub const fn frame_rate(&self) -> Option<f64> {
        self.sequence.frame_rate
    }

    /// What §5 of the binding calls it, such as `av01.0.04M.08`.
    pub fn codec_string(&self) -> String {
        let sequence = &self.sequence;
        let tier = if sequence.high_tier { 'H' } else { 'M' };
        format!("av01.{}.{:02}{tier}.{:02}", sequence.profile, sequence.level, sequence.depth)
    }
}

impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header
    }
}

impl Eq for Config {}

/// §4.10.5: a number, at most 32 bits long, and what stands behind it.
fn leb128(bytes: &[u8]) -> Result<(usize, &[u8]), ParseError> {
    let mut value = 0_u64;
    let mut rest = bytes;
    for at in 0..8 {
        let (&byte, after) = rest.split_first().ok_or(ParseError::Truncated)?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        rest = after;
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| ParseError::Invalid("leb128()"))?;
            return Ok((value as usize, rest));
        }
    }
    Err(ParseError::Invalid("leb128()"))
}

#[cfg(test)]
mod tests;
