//! AC-3 and Enhanced AC-3: frame headers, and the records of MP4.
//!
//! Sections refer to ETSI TS 102 366 V1.4.1: §4.3 (AC-3), annex E (Enhanced AC-3), annex F (MP4).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod frame;

pub use frame::{Frame, units};

use super::{ParseError, bits::BitWriter};
use bytes::Bytes;

/// What a decoder needs before the first frame. Each frame says so itself; a change is a change of configuration.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    main: Frame,
    /// Substreams that add channels to the first (Enhanced AC-3).
    dependents: u8,
    /// Which channels they add, as `chan_loc` of §F.6.
    locations: u16,
}

impl Config {
    /// From an access unit of either kind: a frame, and behind it those that depend on it.
    ///
    /// # Errors
    ///
    /// When it does not begin with a frame.
    pub fn from_unit(unit: &[u8]) -> Result<Self, ParseError> {
        let main = Frame::parse(unit)?;
        let mut config = Self { main, dependents: 0, locations: 0 };
        let mut rest = unit.get(main.len()..).unwrap_or_default();
        while let Ok(frame) = Frame::parse(rest) {
            if frame.is_dependent() && config.dependents < 8 {
                config.dependents += 1;
                config.locations |= frame.locations();
            } else if frame.begins_unit() {
                break;
            }
            rest = rest.get(frame.len()..).unwrap_or_default();
        }
        Ok(config)
    }

    /// Whether it is Enhanced AC-3.
    pub const fn is_enhanced(&self) -> bool {
        self.main.is_enhanced()
    }

    /// Samples a second.
    pub const fn sample_rate(&self) -> u32 {
        self.main.sample_rate()
    }

    /// How many channels there are, the low-frequency one included.
    pub const fn channels(&self) -> u8 {
        /// The locations that stand for two channels: all but Cs, Ts, Cvh and LFE2.
        const PAIRS: u16 = 0b0_0111_0011;
        let more = self.locations.count_ones() + (self.locations & PAIRS).count_ones();
        self.main.channels() + (more & 0x1f) as u8
    }

    /// Samples in an access unit.
    pub const fn frame_samples(&self) -> u32 {
        1_536
    }

    /// What RFC 6381 would call it: `ac-3` or `ec-3`.
    pub fn codec_string(&self) -> String {
        if self.is_enhanced() { "ec-3" } else { "ac-3" }.to_owned()
    }

    /// The body of the `dac3` box (§F.4) or of `dec3` (§F.6).
    pub fn record(&self) -> Bytes {
        let mut bits = BitWriter::default();
        if self.is_enhanced() {
            bits.put(self.main.kbps().min(0x1fff), 13);
            // One independent substream.
            bits.put(0, 3);
        }
        let [rate, version, mode, acmod, lfe] = self.main.codes().map(u32::from);
        bits.put(rate, 2);
        bits.put(version, 5);
        if self.is_enhanced() {
            // Reserved; no associated service.
            bits.put(0, 2);
        }
        bits.put(mode, 3);
        bits.put(acmod, 3);
        bits.put(lfe, 1);
        if self.is_enhanced() {
            bits.put(0, 3);
            bits.put(u32::from(self.dependents), 4);
            bits.put(u32::from(self.locations), if self.dependents > 0 { 9 } else { 1 });
        } else {
            bits.put(self.main.rate_code(), 5);
            bits.put(0, 5);
        }
        Bytes::from(bits.finish())
    }
}

impl PartialEq for Config {
    /// The bit rate of Enhanced AC-3 may vary and is left out.
    fn eq(&self, other: &Self) -> bool {
        self.main.codes() == other.main.codes()
            && self.main.sample_rate() == other.main.sample_rate()
            && self.is_enhanced() == other.is_enhanced()
            && (self.is_enhanced() || self.main.rate_code() == other.main.rate_code())
            && (self.dependents, self.locations) == (other.dependents, other.locations)
    }
}

impl Eq for Config {}

#[cfg(test)]
mod tests;
