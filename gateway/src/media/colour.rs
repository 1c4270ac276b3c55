//! What the numbers of a picture mean as colours (ISO/IEC 23091-2:2021).
//!
//! H.264, HEVC and AV1 say it in their sequence's parameters with the same code points, and MP4 repeats them.

/// Code points for the colours of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// `ColourPrimaries`, §8.1.
    pub primaries: u8,
    /// `TransferCharacteristics`, §8.2.
    pub transfer: u8,
    /// `MatrixCoefficients`, §8.3.
    pub matrix: u8,
    /// Samples use all numbers that their bits allow (`VideoFullRangeFlag`, §8.3).
    pub full_range: bool,
}

impl Colour {
    /// With a description of primaries, transfer and matrix, if there is one. `None` when nothing is said but what is
    /// assumed anyway.
    pub(super) fn described(full_range: bool, description: Option<[u8; 3]>) -> Option<Self> {
        let [primaries, transfer, matrix] = description.unwrap_or([UNSPECIFIED; 3]);
        let says_something = full_range || [primaries, transfer, matrix] != [UNSPECIFIED; 3];
        says_something.then_some(Self { primaries, transfer, matrix, full_range })
    }
}

/// The code point of each that leaves it to the application.
const UNSPECIFIED: u8 = 2;
