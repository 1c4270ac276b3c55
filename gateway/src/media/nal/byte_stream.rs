//! The two ways in which NAL units are strung together: start codes (annex B of both standards, in TS), and lengths
//! (ISO/IEC 14496-15:2019 §5.3.2, in FLV, MP4 and our access units).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::ParseError;

/// The NAL units of a byte stream, without start codes and trailing zeros.
///
/// What precedes the first start code is left out, and so are units of no bytes. The last unit ends with the slice.
#[derive(Clone, Debug)]
pub struct AnnexB<'a> {
    /// Begins after a start code.
    rest: Option<&'a [u8]>,
}

/// The NAL units of a payload in which each stands after its length.
///
/// An error ends the iteration.
#[derive(Clone, Debug)]
pub struct LengthPrefixed<'a> {
    rest: &'a [u8],
    size: LengthSize,
}

/// How many bytes a length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LengthSize {
    /// 8 bits.
    One,
    /// 16 bits.
    Two,
    /// 32 bits, as in our access units.
    Four,
}

impl<'a> AnnexB<'a> {
    /// Of these bytes.
    pub fn new(stream: &'a [u8]) -> Self {
        let rest = find_start_code(stream, 0).and_then(|at| stream.get(at + 3..));
        Self { rest }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let stream = self.rest?;
            let (unit, rest) = match find_start_code(stream, 0) {
                Some(at) => (stream.get(..at)?, stream.get(at + 3..)),
                None => (stream, None),
            };
            self.rest = rest;
            // Zeros at the end are `trailing_zero_8bits`, or the `zero_byte` of a start code of four bytes; no
            // unit ends with a zero (§7.4.1).
            let unit = without_trailing_zeros(unit);
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    }
}

impl<'a> LengthPrefixed<'a> {
    /// Of a payload whose lengths have `size` bytes.
    pub const fn new(payload: &'a [u8], size: LengthSize) -> Self {
        Self { rest: payload, size }
    }

    fn split(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = match self.size {
            LengthSize::One => {
                self.rest.split_first().map(|(&byte, rest)| (u32::from(byte), rest))?
            }
            LengthSize::Two => self
                .rest
                .split_first_chunk()
                .map(|(bytes, rest)| (u32::from(u16::from_be_bytes(*bytes)), rest))?,
            LengthSize::Four => self
                .rest
                .split_first_chunk()
                .map(|(bytes, rest)| (u32::from_be_bytes(*bytes), rest))?,
        };
        rest.split_at_checked(length as usize)
    }
}

impl<'a> Iterator for LengthPrefixed<'a> {
    type Item = Result<&'a [u8], ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((unit, rest)) = self.split() else {
            self.rest = &[];
            return Some(Err(ParseError::Truncated));
        };
        self.rest = rest;
        Some(Ok(unit))
    }
}

impl LengthSize {
    /// From `lengthSizeMinusOne` of `avcC` and `hvcC`, in the low two bits. Three bytes are forbidden
    /// (ISO/IEC 14496-15:2019 §5.3.3.1.3).
    pub(in crate::media) const fn from_minus_one(byte: u8) -> Result<Self, ParseError> {
        match byte & 3 {
            0 => Ok(Self::One),
            1 => Ok(Self::Two),
            3 => Ok(Self::Four),
            _ => Err(ParseError::Invalid("lengthSizeMinusOne")),
        }
    }
}

/// Where the next start code prefix (00 00 01) begins, not before `from`.
pub fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // No prefix begins within eight bytes without a zero, and few eights of coded video have one.
        while let Some(eight) = bytes.get(at..)?.first_chunk()
            && !has_zero(u64::from_ne_bytes(*eight))
        {
            at += 8;
        }
        // Looks at every third byte as long as it can be no part of a prefix.
        let end = at + 8;
        while at < end {
            match *bytes.get(at + 2)? {
                0 => at += 1,
                1 if bytes.get(at..at + 2)? == [0, 0] => return Some(at),
                _ => at += 3,
            }
        }
    }
}

/// Whether one of the eight bytes is zero: only there does a borrow reach a highest bit that was not set.
const fn has_zero(eight: u64) -> bool {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    eight.wrapping_sub(LOWEST) & !eight & (LOWEST << 7) != 0
}

/// Appends `nal` after its length in four bytes.
///
/// # Panics
///
/// With a unit of 4 GiB or more, which no buffer of ours holds.
pub fn put_length_prefixed(nal: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(nal.len()).expect("buffers are bounded far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(nal);
}

fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    unit.get(..end).unwrap_or_default()
}
