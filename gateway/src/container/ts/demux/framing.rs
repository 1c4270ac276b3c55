//! Audio frames out of bytes: each framing that MPEG-TS carries says itself where a frame ends.
//!
//! What a framing's headers mean is `media`'s knowledge; here is only what comes next in a buffer.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::{
    CodecConfig, Span, aac, ac3, mp3,
    opus::{self, ControlHeader},
};
use bytes::Bytes;
use std::rc::Rc;

/// How the frames of an audio track are framed, and what its headers have said.
#[derive(Debug)]
pub(super) struct Framing {
    syntax: Syntax,
    config: Option<Rc<CodecConfig>>,
}

/// What precedes frames.
#[derive(Debug)]
pub(super) enum Syntax {
    /// AAC in ADTS.
    Adts,
    /// AAC in LATM.
    Loas(aac::Loas),
    /// MPEG audio: its own headers.
    Mpeg,
    /// AC-3: its own headers.
    Ac3,
    /// Enhanced AC-3: its own headers, several to a unit.
    Eac3 {
        /// Substreams follow the first, so that a unit is whole only when the next begins.
        has_dependents: bool,
        /// Units so far.
        units: u32,
    },
    /// Opus, with the number of channels from its descriptor.
    Opus { channels: Option<u8> },
}

/// What the bytes at hand begin with.
#[derive(Debug)]
pub(super) enum Next {
    /// It takes more bytes to tell, or to be whole.
    Partial,
    /// No frame.
    Nothing,
    /// A frame of `len` bytes; `frames` has its content.
    Frame { len: usize },
    /// A frame that is of no use: its configuration is not known, or cannot be understood.
    Useless { len: usize },
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) payload: Bytes,
    pub(super) samples: u32,
    pub(super) rate: u32,
    pub(super) config: Rc<CodecConfig>,
}

impl Framing {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, config: None }
    }

    /// Looks at the front of `bytes`. `at_end`: a unit ends with them. Appends to `frames` what a
    /// [`Next::Frame`] holds.
    pub(super) fn next(&mut self, bytes: &[u8], at_end: bool, frames: &mut Vec<Frame>) -> Next {
        match self.syntax {
            Syntax::Adts => self.adts(bytes, frames),
            Syntax::Loas(_) => self.loas(bytes, frames),
            Syntax::Mpeg => self.mpeg(bytes, frames),
            Syntax::Ac3 => self.ac3(bytes, frames),
            Syntax::Eac3 { .. } => self.eac3(bytes, at_end, frames),
            Syntax::Opus { channels } => self.opus(bytes, channels, frames),
        }
    }

    /// Whether a frame may begin with `bytes`; `None` if there are too few to tell.
    pub(super) fn may_begin(&self, bytes: &[u8]) -> Option<bool> {
        let head = bytes.get(..self.header_len())?;
        Some(match self.syntax {
            Syntax::Adts => aac::AdtsHeader::parse(head).is_ok(),
            Syntax::Loas(_) => aac::Loas::element_len(head).is_ok(),
            Syntax::Mpeg => mp3::FrameHeader::parse(head).is_ok(),
            Syntax::Ac3 | Syntax::Eac3 { .. } => head == [0x0b, 0x77],
            // A prefix of 11 bits (`control_header_prefix`).
            Syntax::Opus { .. } => matches!(head, [0x7f, second] if second & 0xe0 == 0xe0),
        })
    }

    fn header_len(&self) -> usize {
        match self.syntax {
            Syntax::Adts => aac::AdtsHeader::LEN,
            Syntax::Loas(_) => aac::Loas::HEADER_LEN,
            Syntax::Mpeg => mp3::FrameHeader::LEN,
            Syntax::Ac3 | Syntax::Eac3 { .. } | Syntax::Opus { .. } => 2,
        }
    }

    fn adts(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Next {
        if bytes.len() < aac::AdtsHeader::LEN {
            return Next::Partial;
        }
        let Ok(header) = aac::AdtsHeader::parse(bytes) else { return Next::Nothing };
        let len = header.frame_len();
        let Some(frame) = bytes.get(..len) else { return Next::Partial };
        let payload = frame.get(header.header_len()..).unwrap_or(&[]);
        let agrees = match self.config.as_deref() {
            Some(CodecConfig::Aac(config)) => header.agrees(config),
            _ => false,
        };
        if !agrees {
            let Ok(config) = header.config(payload) else { return Next::Useless { len } };
            self.config = Some(Rc::new(CodecConfig::Aac(config)));
        }
        self.push(payload, ADTS_SAMPLES, header.sample_rate(), len, frames)
    }

    fn loas(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Next {
        let Some(head) = bytes.get(..aac::Loas::HEADER_LEN) else { return Next::Partial };
        let Ok(element_len) = aac::Loas::element_len(head) else { return Next::Nothing };
        let len = head.len() + element_len;
        let Some(element) = bytes.get(head.len()..len) else { return Next::Partial };
        let Syntax::Loas(loas) = &mut self.syntax else { return Next::Nothing };
        let Ok(found) = loas.frames(element) else { return Next::Useless { len } };
        if found.is_empty() {
            return Next::Useless { len };
        }
        for frame in found {
            let (samples, rate) = (frame.config.frame_samples(), frame.config.sample_rate());
            let config = self.keep(CodecConfig::Aac((*frame.config).clone()));
            frames.push(Frame { payload: frame.payload, samples, rate, config });
        }
        Next::Frame { len }
    }

    fn mpeg(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Next {
        let Some(head) = bytes.get(..mp3::FrameHeader::LEN) else { return Next::Partial };
        let Ok(header) = mp3::FrameHeader::parse(head) else { return Next::Nothing };
        let len = header.frame_len();
        if len < head.len() {
            return Next::Nothing;
        }
        let Some(payload) = bytes.get(..len) else { return Next::Partial };
        let config = header.config();
        self.keep(CodecConfig::Mp3(config));
        self.push(payload, config.frame_samples(), config.sample_rate(), len, frames)
    }

    fn ac3(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) -> Next {
        let frame = match ac3_frame(bytes) {
            Ok(frame) => frame,
            Err(next) => return next,
        };
        let len = frame.len();
        let Some(payload) = bytes.get(..len) else { return Next::Partial };
        self.ac3_unit(payload, frame.samples(), frames)
    }

    /// A unit is 1536 samples of the first substream and all that depends on it (ETSI TS 102 366 V1.4.1 §E.1.3.1).
    fn eac3(&mut self, bytes: &[u8], at_end: bool, frames: &mut Vec<Frame>) -> Next {
        let Syntax::Eac3 { has_dependents, units } = self.syntax else { return Next::Nothing };
        let (mut len, mut samples) = (0, 0);
        loop {
            let rest = bytes.get(len..).unwrap_or(&[]);
            let is_full = samples >= EAC3_SAMPLES;
            if is_full && rest.is_empty() && (at_end || (!has_dependents && units >= EAC3_TRAINING))
            {
                break;
            }
            let frame = match ac3_frame(rest) {
                Ok(frame) => frame,
                // A whole unit before something else.
                Err(Next::Nothing) if is_full => break,
                Err(next) => return next,
            };
            if frame.begins_unit() && is_full {
                break;
            }
            if len == 0 && !frame.begins_unit() {
                // It belonged to the unit before.
                self.syntax = Syntax::Eac3 { has_dependents: true, units };
                return match bytes.len() >= frame.len() {
                    true => Next::Useless { len: frame.len() },
                    false => Next::Partial,
                };
            }
            if frame.begins_unit() {
                samples += frame.samples();
            } else if !has_dependents {
                self.syntax = Syntax::Eac3 { has_dependents: true, units };
            }
            len += frame.len();
            if bytes.len() < len {
                return Next::Partial;
            }
        }
        if let Syntax::Eac3 { units, .. } = &mut self.syntax {
            *units = units.saturating_add(1);
        }
        self.ac3_unit(bytes.get(..len).unwrap_or(bytes), samples, frames)
    }

    fn ac3_unit(&mut self, unit: &[u8], samples: u32, frames: &mut Vec<Frame>) -> Next {
        let len = unit.len();
        let Ok(config) = ac3::Config::from_unit(unit) else { return Next::Useless { len } };
        let rate = config.sample_rate();
        self.keep(match self.syntax {
            Syntax::Ac3 => CodecConfig::Ac3(config),
            _ => CodecConfig::Eac3(config),
        });
        self.push(unit, samples, rate, len, frames)
    }

    fn opus(&mut self, bytes: &[u8], channels: Option<u8>, frames: &mut Vec<Frame>) -> Next {
        let header = match self.may_begin(bytes) {
            None => return Next::Partial,
            Some(false) => return Next::Nothing,
            Some(true) => ControlHeader::parse(bytes),
        };
        // A header that is not whole yet cannot be told from one that is wrong otherwise.
        let Ok(header) = header else {
            return if bytes.len() < MAX_CONTROL_HEADER { Next::Partial } else { Next::Nothing };
        };
        let len = header.header_len + header.packet_len;
        let Some(payload) = bytes.get(header.header_len..len) else { return Next::Partial };
        if self.config.is_none() {
            let config = channels.and_then(|code| opus::Config::from_ts_channels(code).ok());
            self.config = config.map(|config| Rc::new(CodecConfig::Opus(config)));
        }
        let Some(samples) = opus::packet_samples(payload) else { return Next::Useless { len } };
        self.push(payload, samples, opus::SAMPLE_RATE, len, frames)
    }

    /// The configuration of a frame; the same `Rc` as before if it is the same.
    fn keep(&mut self, config: CodecConfig) -> Rc<CodecConfig> {
        match &self.config {
            Some(known) if **known == config => Rc::clone(known),
            _ => Rc::clone(self.config.insert(Rc::new(config))),
        }
    }

    fn push(
        &self,
        payload: &[u8],
        samples: u32,
        rate: u32,
        len: usize,
        frames: &mut Vec<Frame>,
    ) -> Next {
        let Some(config) = self.config.clone() else { return Next::Useless { len } };
        frames.push(Frame { payload: Bytes::copy_from_slice(payload), samples, rate, config });
        Next::Frame { len }
    }
}

impl Frame {
    /// How long `samples` of this frame's rate last.
    pub(super) fn span(&self, samples: i64) -> Span {
        Span::from_units(samples, self.rate)
    }
}

/// The header of AC-3 that begins `bytes`.
fn ac3_frame(bytes: &[u8]) -> Result<ac3::Frame, Next> {
    match bytes {
        [] | [0x0b] => return Err(Next::Partial),
        [0x0b, 0x77, ..] => {}
        _ => return Err(Next::Nothing),
    }
    ac3::Frame::parse(bytes)
        .map_err(|_| if bytes.len() < AC3_HEADER { Next::Partial } else { Next::Nothing })
}

/// In a frame with a single raw block, and others are not taken apart.
const ADTS_SAMPLES: u32 = 1_024;

/// Enough for any header of AC-3.
const AC3_HEADER: usize = 32;

/// In a unit of Enhanced AC-3: six blocks.
const EAC3_SAMPLES: u32 = 1_536;

/// Units without substreams that depend on the first, after which none is waited for.
const EAC3_TRAINING: u32 = 8;

/// Of a packet of 120 ms at the highest rate, with trims and an extension.
const MAX_CONTROL_HEADER: usize = 2 + 32 + 4 + 256;
