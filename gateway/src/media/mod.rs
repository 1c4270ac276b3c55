//! What all protocols and containers have in common: time, tracks, codec configurations, access units.
//!
//! Nothing here does I/O or reads a clock.

pub mod aac;
pub mod ac3;
pub mod av1;
mod bits;
mod colour;
pub mod h264;
pub mod h265;
#[cfg(test)]
mod hostile;
pub mod mp3;
pub mod nal;
pub mod opus;
mod time;
mod track;
mod unit;
pub mod vpx;

pub use bits::ParseError;
pub use colour::Colour;
pub use time::{Span, Timestamp, Unwrapper};
pub use track::{Codec, CodecConfig, Language, MediaKind, Track, TrackId, Tracks};
pub use unit::AccessUnit;

/// Bytes from their digits, for the samples in tests.
#[cfg(test)]
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
