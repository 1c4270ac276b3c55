//! `syncinfo` and `bsi` of one frame, and which frames make an access unit.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::ParseError;
use crate::media::bits::Bits;

/// The header of a frame of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    length: u32,
    sample_rate: u32,
    blocks: u8,
    /// `fscod`, `bsid`, `bsmod`, `acmod`, `lfeon`.
    codes: [u8; 5],
    /// Half of `frmsizecod`; of AC-3 only.
    rate_code: u32,
    /// Of Enhanced AC-3 only.
    substream: Option<Substream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Substream {
    dependent: bool,
    id: u8,
    locations: u16,
}

/// kbit/s, by half of `frmsizecod` (table 4.13).
const KBPS: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

/// By `fscod` (table 4.1).
const RATES: [u32; 3] = [48_000, 44_100, 32_000];

impl Frame {
    /// The header at the start of `bytes`. 32 bytes are enough for any.
    ///
    /// # Errors
    ///
    /// When there is none, or it is cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(bytes);
        if bits.read(16)? != 0x0b77 {
            return Err(ParseError::Invalid("syncword"));
        }
        // `bsid` is at the same place in both.
        let mut ahead = bits.clone();
        ahead.skip(24)?;
        match ahead.byte(5)? {
            0..=10 => Self::parse_ac3(bits),
            11..=16 => Self::parse_enhanced(bits),
            _ => Err(ParseError::Unsupported("bsid")),
        }
    }

    /// §4.3.1 and §4.3.2.
    fn parse_ac3(mut bits: Bits<'_>) -> Result<Self, ParseError> {
        // `crc1`.
        bits.skip(16)?;
        let rate = bits.byte(2)?;
        let size = bits.read(6)?;
        let version = bits.byte(5)?;
        let mode = bits.byte(3)?;
        let acmod = bits.byte(3)?;
        // Mix levels of centre and surround, Dolby Surround.
        if acmod & 1 != 0 && acmod != 1 {
            bits.skip(2)?;
        }
        if acmod & 4 != 0 {
            bits.skip(2)?;
        }
        if acmod == 2 {
            bits.skip(2)?;
        }
        let lfe = bits.byte(1)?;
        let base = *RATES.get(usize::from(rate)).ok_or(ParseError::Invalid("fscod"))?;
        let kbps = *KBPS.get(size as usize / 2).ok_or(ParseError::Invalid("frmsizecod"))?;
        // 1536 samples in words of 16 bits, and at 44.1 kHz one word more in some.
        let words = kbps * 96_000 / base + if base == 44_100 { size & 1 } else { 0 };
        Ok(Self {
            length: 2 * words,
            // `bsid` 9 and 10 halve the rate, and halve it again.
            sample_rate: base >> version.saturating_sub(8),
            blocks: 6,
            codes: [rate, version, mode, acmod, lfe],
            rate_code: size / 2,
            substream: None,
        })
    }

    /// §E.1.2.2, up to the channel map.
    fn parse_enhanced(mut bits: Bits<'_>) -> Result<Self, ParseError> {
        let kind = bits.read(2)?;
        if kind == 3 {
            return Err(ParseError::Invalid("strmtyp"));
        }
        let id = bits.byte(3)?;
        let length = 2 * (bits.read(11)? + 1);
        let rate = bits.byte(2)?;
        let second = bits.read(2)?;
        let (sample_rate, blocks) = if rate == 3 {
            let half = RATES.get(second as usize).ok_or(ParseError::Invalid("fscod2"))? / 2;
            (half, 6)
        } else {
            let base = *RATES.get(usize::from(rate)).ok_or(ParseError::Invalid("fscod"))?;
            (base, [1, 2, 3, 6].get(second as usize).copied().unwrap_or(6))
        };
        let acmod = bits.byte(3)?;
        let lfe = bits.byte(1)?;
        let version = bits.byte(5)?;
        let dependent = kind == 1;
        let locations = if dependent { locations(&mut bits, acmod)? } else { 0 };
        Ok(Self {
            length,
            sample_rate,
            blocks,
            codes: [rate, version, 0, acmod, lfe],
            rate_code: 0,
            substream: Some(Substream { dependent, id, locations }),
        })
    }

    /// Bytes in the frame.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Never: a frame has a header.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Samples in the frame.
    pub const fn samples(&self) -> u32 {
        self.blocks as u32 * 256
    }

    /// Samples a second.
    pub const fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Whether it is Enhanced AC-3.
    pub const fn is_enhanced(&self) -> bool {
        self.substream.is_some()
    }

    /// Whether it adds channels to the frame before it.
    pub(super) const fn is_dependent(&self) -> bool {
        matches!(self.substream, Some(Substream { dependent: true, .. }))
    }

    /// Whether an access unit may begin with it: AC-3, or the first independent substream.
    pub const fn begins_unit(&self) -> bool {
        match self.substream {
            None => true,
            Some(substream) => !substream.dependent && substream.id == 0,
        }
    }

    /// How many channels it has (table 4.3).
    pub(super) const fn channels(&self) -> u8 {
        let [.., acmod, lfe] = self.codes;
        let full = match acmod {
            1 => 1,
            0 | 2 => 2,
            3 | 4 => 3,
            5 | 6 => 4,
            _ => 5,
        };
        full + lfe
    }

    pub(super) const fn codes(&self) -> [u8; 5] {
        self.codes
    }

    pub(super) const fn rate_code(&self) -> u32 {
        self.rate_code
    }

    pub(super) const fn locations(&self) -> u16 {
        match self.substream {
            Some(substream) => substream.locations,
            None => 0,
        }
    }

    pub(super) const fn kbps(&self) -> u32 {
        // At most 4096 bytes, at most 48 kHz.
        self.length * self.sample_rate / (self.blocks as u32 * 32_000)
    }
}

/// The channels that a dependent substream adds: `chanmap` (§E.1.3.1.8), as `chan_loc` (§F.6.2.13) counts them.
fn locations(bits: &mut Bits<'_>, acmod: u8) -> Result<u16, ParseError> {
    // Dialogue normalisation and compression, of both channels when they are independent.
    for _ in 0..if acmod == 0 { 2 } else { 1 } {
        bits.skip(5)?;
        if bits.flag()? {
            bits.skip(8)?;
        }
    }
    if !bits.flag()? {
        return Ok(0);
    }
    let map = bits.read(16)?;
    // Bit 0 of the map is the most significant. From Lc/Rc, its bit 5, to Cvh, its bit 12; then LFE2, its bit 14.
    let mut locations = 0;
    for (location, bit) in [5, 6, 7, 8, 9, 10, 11, 12, 14].into_iter().enumerate() {
        locations |= (((map >> (15 - bit)) & 1) as u16) << location;
    }
    Ok(locations)
}

/// The access units in the payload of a PES packet: each of 1536 samples, with all its substreams. The last ends with
/// the payload. What is no frame ends the iteration.
pub fn units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let length = unit_len(rest)?;
        let (unit, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(unit)
    })
}

/// The length of the access unit that begins `bytes`.
fn unit_len(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    let mut samples = 0;
    while let Ok(frame) = Frame::parse(bytes.get(length..)?) {
        if frame.begins_unit() {
            if samples >= 1_536 {
                break;
            }
            samples += frame.samples();
        }
        length += frame.len();
    }
    (length > 0 && length <= bytes.len()).then_some(length)
}
