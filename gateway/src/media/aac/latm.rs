//! LATM in LOAS: raw AAC with its configuration in between (ISO/IEC 14496-3:2019 §1.7), as in MPEG-TS with
//! `stream_type` 0x11.
//!
//! One programme of one layer, which is all that broadcasters send. Checksums are not compared.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{BitWriter, Bits, Config, ParseError};
use bytes::Bytes;
use std::rc::Rc;

/// Reads the `AudioMuxElement`s of one stream, which remembers its configuration.
#[derive(Clone, Debug, Default)]
pub struct Loas {
    mux: Option<Mux>,
}

/// One frame of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoasFrame {
    /// What decodes it. The same `Rc` as long as nothing changes.
    pub config: Rc<Config>,
    /// The raw frame.
    pub payload: Bytes,
}

/// `StreamMuxConfig`, as far as it tells how to read the payload.
#[derive(Clone, Debug)]
struct Mux {
    config: Rc<Config>,
    frames: u32,
    length: Length,
    /// Of the other data behind the payload.
    other_bits: usize,
}

/// `frameLengthType`.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// 0: before each payload.
    InBand,
    /// 1: always so many bits.
    Fixed(usize),
}

impl Loas {
    /// Bytes before the element: `syncword` and `audioMuxLengthBytes` of `AudioSyncStream`.
    pub const HEADER_LEN: usize = 3;

    /// The length of the element whose header begins `bytes`.
    ///
    /// # Errors
    ///
    /// When no header begins there.
    pub fn element_len(bytes: &[u8]) -> Result<usize, ParseError> {
        let mut bits = Bits::new(bytes);
        if bits.read(11)? != 0x2b7 {
            return Err(ParseError::Invalid("syncword"));
        }
        Ok(bits.read(13)? as usize)
    }

    /// The frames of one `AudioMuxElement`, without its header. None as long as no configuration has come.
    ///
    /// # Errors
    ///
    /// When the element is malformed, or of several programmes or layers.
    pub fn frames(&mut self, element: &[u8]) -> Result<Vec<LoasFrame>, ParseError> {
        let mut bits = Bits::new(element);
        // `useSameStreamMux`.
        if !bits.flag()? {
            let known = self.mux.take().map(|mux| mux.config);
            self.mux = Some(Mux::parse(&mut bits, known)?);
        }
        let Some(mux) = &self.mux else { return Ok(Vec::new()) };
        let mut frames = Vec::new();
        for _ in 0..mux.frames {
            let payload = match mux.length {
                Length::InBand => {
                    let length = payload_len(&mut bits)?;
                    bits.bytes(length)?
                }
                Length::Fixed(length) => {
                    let mut payload = BitWriter::default();
                    payload.copy(&mut bits, length)?;
                    payload.finish()
                }
            };
            frames
                .push(LoasFrame { config: Rc::clone(&mux.config), payload: Bytes::from(payload) });
        }
        bits.skip(mux.other_bits)?;
        Ok(frames)
    }
}

impl Mux {
    /// §1.7.3.1, table 1.42.
    fn parse(bits: &mut Bits<'_>, known: Option<Rc<Config>>) -> Result<Self, ParseError> {
        let version = bits.flag()?;
        if version && bits.flag()? {
            return Err(ParseError::Unsupported("audioMuxVersionA"));
        }
        if version {
            // `taraBufferFullness`.
            value(bits)?;
        }
        // `allStreamsSameTimeFraming`: of one stream, always.
        if !bits.flag()? {
            return Err(ParseError::Unsupported("allStreamsSameTimeFraming"));
        }
        let frames = bits.read(6)? + 1;
        if bits.read(4)? != 0 {
            return Err(ParseError::Unsupported("numProgram"));
        }
        if bits.read(3)? != 0 {
            return Err(ParseError::Unsupported("numLayer"));
        }
        let config = if version {
            let length = value(bits)?;
            specific_config(bits, Some(length))?
        } else {
            specific_config(bits, None)?
        };
        let length = match bits.read(3)? {
            0 => {
                // `latmBufferFullness`.
                bits.skip(8)?;
                Length::InBand
            }
            1 => Length::Fixed(8 * (bits.read(9)? as usize + 20)),
            _ => return Err(ParseError::Unsupported("frameLengthType")),
        };
        let other_bits = if bits.flag()? { other_data_len(bits, version)? } else { 0 };
        // `crcCheckPresent`.
        if bits.flag()? {
            bits.skip(8)?;
        }
        let config = match known {
            Some(known) if *known == config => known,
            _ => Rc::new(config),
        };
        Ok(Self { config, frames, length, other_bits })
    }
}

/// An `AudioSpecificConfig` in the middle of bits, `length` of them if that is said, moved to whole bytes.
fn specific_config(bits: &mut Bits<'_>, length: Option<usize>) -> Result<Config, ParseError> {
    let mut start = bits.clone();
    let length = match length {
        Some(length) => length,
        None => {
            // Its length shows only when it is read. Alignment within counts from its own start, so it has to be
            // moved there first.
            let mut moved = BitWriter::default();
            moved.copy(&mut bits.clone(), bits.left().min(8 * 512))?;
            let moved = moved.finish();
            let mut inner = Bits::new(&moved);
            Config::parse(&mut inner, false)?;
            inner.position()
        }
    };
    bits.skip(length)?;
    let mut asc = BitWriter::default();
    asc.copy(&mut start, length)?;
    Config::from_asc(&asc.finish())
}

/// `LatmGetValue`, table 1.43.
fn value(bits: &mut Bits<'_>) -> Result<usize, ParseError> {
    let bytes = bits.read(2)? + 1;
    Ok(bits.read(8 * bytes)? as usize)
}

/// `otherDataLenBits`.
fn other_data_len(bits: &mut Bits<'_>, version: bool) -> Result<usize, ParseError> {
    if version {
        return value(bits);
    }
    let mut length = 0_usize;
    loop {
        let more = bits.flag()?;
        length = length.saturating_mul(256).saturating_add(bits.read(8)? as usize);
        if !more {
            return Ok(length);
        }
    }
}

/// `PayloadLengthInfo`, table 1.45: bytes.
fn payload_len(bits: &mut Bits<'_>) -> Result<usize, ParseError> {
    let mut length = 0;
    loop {
        let byte = bits.read(8)? as usize;
        length += byte;
        if byte != 255 {
            return Ok(length);
        }
    }
}
