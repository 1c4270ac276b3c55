//! Reading and writing fields that do not respect byte boundaries, and what may be wrong with them.
//!
//! All headers of codecs are read through [`Bits`], which never reads past its end: peers choose every byte.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use std::fmt;

/// Why coded data were not understood. The peer's side is the cause, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The data end within a field.
    Truncated,
    /// The standard forbids the value of this field, which is named as there.
    Invalid(&'static str),
    /// The standard allows the value of this field, but nothing here can handle it.
    Unsupported(&'static str),
}

/// A reader of bits, most significant first.
#[derive(Clone, Debug)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Counted in bits.
    at: usize,
}

/// A writer of bits, most significant first.
#[derive(Clone, Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u32,
}

impl<'a> Bits<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `width` bits, at most 32, as a number.
    pub(super) fn read(&mut self, width: u32) -> Result<u32, ParseError> {
        debug_assert!(width <= 32, "a field of {width} bits");
        let mut value = 0_u64;
        let mut left = width;
        while left > 0 {
            let byte = *self.bytes.get(self.at / 8).ok_or(ParseError::Truncated)?;
            let [low, ..] = self.at.to_le_bytes();
            let offset = u32::from(low & 7);
            let take = left.min(8 - offset);
            let chunk = (u32::from(byte) >> (8 - offset - take)) & ((1 << take) - 1);
            value = (value << take) | u64::from(chunk);
            self.at += take as usize;
            left -= take;
        }
        u32::try_from(value).map_err(|_| ParseError::Truncated)
    }

    /// The next `width` bits, at most 8.
    pub(super) fn byte(&mut self, width: u32) -> Result<u8, ParseError> {
        debug_assert!(width <= 8, "a byte of {width} bits");
        Ok((self.read(width)? & 0xff) as u8)
    }

    /// The next `width` bits, at most 16.
    pub(super) fn short(&mut self, width: u32) -> Result<u16, ParseError> {
        debug_assert!(width <= 16, "a short of {width} bits");
        Ok((self.read(width)? & 0xffff) as u16)
    }

    /// The next bit.
    pub(super) fn flag(&mut self) -> Result<bool, ParseError> {
        Ok(self.read(1)? == 1)
    }

    /// An unsigned Exp-Golomb number, `ue(v)` of H.264 (08/2021) §9.1.
    pub(super) fn ue(&mut self) -> Result<u32, ParseError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 32 {
                return Err(ParseError::Invalid("ue(v)"));
            }
        }
        let rest = u64::from(self.read(zeros)?);
        u32::try_from((1_u64 << zeros) - 1 + rest).map_err(|_| ParseError::Invalid("ue(v)"))
    }

    /// An unsigned Exp-Golomb number that may not exceed `max`; `field` names it.
    pub(super) fn ue_to(&mut self, max: u32, field: &'static str) -> Result<u32, ParseError> {
        let value = self.ue()?;
        if value > max { Err(ParseError::Invalid(field)) } else { Ok(value) }
    }

    /// An unsigned Exp-Golomb number that may not exceed `max`, which fits a byte.
    pub(super) fn ue_byte(&mut self, max: u8, field: &'static str) -> Result<u8, ParseError> {
        Ok((self.ue_to(u32::from(max), field)? & 0xff) as u8)
    }

    /// Leaves out `width` bits.
    pub(super) fn skip(&mut self, width: usize) -> Result<(), ParseError> {
        if width > self.left() {
            return Err(ParseError::Truncated);
        }
        self.at += width;
        Ok(())
    }

    /// Leaves out what is missing to a whole number of bytes.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// How many bits are left.
    pub(super) fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    /// How many bits have been read.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes, which need not be aligned.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Vec<u8>, ParseError> {
        if count > self.left() / 8 {
            return Err(ParseError::Truncated);
        }
        if self.at.is_multiple_of(8) {
            let start = self.at / 8;
            let bytes = self.bytes.get(start..start + count).ok_or(ParseError::Truncated)?;
            self.at += count * 8;
            return Ok(bytes.to_vec());
        }
        (0..count).map(|_| self.byte(8)).collect()
    }
}

impl BitWriter {
    /// Appends the low `width` bits of `value`, at most 32.
    pub(super) fn put(&mut self, value: u32, width: u32) {
        for bit in (0..width).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> bit) & 1) as u8) << self.free;
            }
        }
    }

    /// Appends `count` bits of `from`.
    pub(super) fn copy(&mut self, from: &mut Bits<'_>, count: usize) -> Result<(), ParseError> {
        let mut left = count;
        while left > 0 {
            let take = u32::try_from(left).map_or(32, |left| left.min(32));
            self.put(from.read(take)?, take);
            left -= take as usize;
        }
        Ok(())
    }

    /// Appends zeros up to a whole number of bytes.
    pub(super) fn align(&mut self) {
        self.free = 0;
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the data end within a field"),
            Self::Invalid(field) => write!(f, "{field} has a forbidden value"),
            Self::Unsupported(field) => write!(f, "{field} has a value that is not supported"),
        }
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_across_bytes_come_back_as_written() {
        let mut writer = BitWriter::default();
        for (value, width) in [(5, 3), (0x1ff, 9), (0xdead_beef, 32), (0, 1), (3, 2)] {
            writer.put(value, width);
        }
        let bytes = writer.finish();
        let mut bits = Bits::new(&bytes);
        assert_eq!(bits.read(3), Ok(5));
        assert_eq!(bits.read(9), Ok(0x1ff));
        assert_eq!(bits.read(32), Ok(0xdead_beef));
        assert_eq!(bits.flag(), Ok(false));
        assert_eq!(bits.read(2), Ok(3));
        assert_eq!(bits.left(), 1);
        assert_eq!(bits.read(2), Err(ParseError::Truncated));
    }

    #[test]
    fn exp_golomb_follows_the_table_of_the_standard() {
        // H.264 (08/2021) table 9-2: 1, 010, 011, 00100, 00101.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        for expected in 0..5 {
            assert_eq!(bits.ue(), Ok(expected));
        }
    }

    #[test]
    fn an_endless_exp_golomb_number_is_an_error() {
        assert_eq!(Bits::new(&[0; 16]).ue(), Err(ParseError::Invalid("ue(v)")));
        assert_eq!(Bits::new(&[0; 3]).ue(), Err(ParseError::Truncated));
        let mut largest = Bits::new(&[0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(largest.ue(), Ok(u32::MAX));
        let mut larger = Bits::new(&[0, 0, 0, 0, 0x80, 0, 0, 0, 0x80]);
        assert_eq!(larger.ue(), Err(ParseError::Invalid("ue(v)")));
    }
}
