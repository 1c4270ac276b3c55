//! ADTS: a header before each frame of raw AAC (ISO/IEC 14496-3:2019 §1.A.3), as in MPEG-TS and in `.aac` files.
//!
//! Headers with and without a checksum are read; the checksum is not compared, since transports have their own. Those
//! written have none.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    BitWriter, Bits, Config, ParseError, RATES,
    elements::{ID_PCE, ProgramConfig},
    object,
};

/// The header of one ADTS frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdtsHeader {
    object_type: u8,
    rate_index: u8,
    channel_configuration: u8,
    frame_len: usize,
    header_len: usize,
}

/// What stands before a raw frame in ADTS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adts {
    /// The header.
    pub header: [u8; AdtsHeader::LEN],
    /// The channel layout, when the header has no number for it and the frame does not begin with it. Mostly empty.
    pub layout: Vec<u8>,
}

impl AdtsHeader {
    /// Bytes in a header without checksum.
    pub const LEN: usize = 7;

    /// The header at the start of `bytes`, of which there must be as many as the header has (7, or 9 with a checksum).
    ///
    /// # Errors
    ///
    /// When there is no header, or one of a frame of several raw blocks, which only a decoder can take apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(bytes);
        if bits.read(12)? != 0xfff {
            return Err(ParseError::Invalid("syncword"));
        }
        // MPEG-2 or MPEG-4: the same to us.
        bits.skip(1)?;
        if bits.read(2)? != 0 {
            return Err(ParseError::Invalid("layer"));
        }
        let protection_absent = bits.flag()?;
        let object_type = bits.byte(2)? + 1;
        let rate_index = bits.byte(4)?;
        if usize::from(rate_index) >= RATES.len() {
            return Err(ParseError::Invalid("sampling_frequency_index"));
        }
        bits.skip(1)?;
        let channel_configuration = bits.byte(3)?;
        // Original, home, two bits of copyright.
        bits.skip(4)?;
        let frame_len = bits.read(13)? as usize;
        bits.skip(11)?;
        if bits.read(2)? > 0 {
            return Err(ParseError::Unsupported("number_of_raw_data_blocks_in_frame"));
        }
        let header_len = if protection_absent { Self::LEN } else { Self::LEN + 2 };
        if frame_len < header_len {
            return Err(ParseError::Invalid("aac_frame_length"));
        }
        Ok(Self { object_type, rate_index, channel_configuration, frame_len, header_len })
    }

    /// Bytes in the frame, its header included.
    pub const fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// Bytes in the header, its checksum included.
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Samples a second of the core.
    pub fn sample_rate(&self) -> u32 {
        RATES.get(usize::from(self.rate_index)).copied().unwrap_or_default()
    }

    /// What the header says, as a configuration. `frame` is the raw frame behind it: with no channel
    /// configuration in the header, the layout is in there.
    ///
    /// # Errors
    ///
    /// When the header has no channel configuration, and the frame does not begin with a layout.
    pub fn config(&self, frame: &[u8]) -> Result<Config, ParseError> {
        let mut asc = BitWriter::default();
        asc.put(u32::from(self.object_type), 5);
        asc.put(u32::from(self.rate_index), 4);
        asc.put(u32::from(self.channel_configuration), 4);
        // 1024 samples, no core coder, no extension (`GASpecificConfig`, §4.4.1).
        asc.put(0, 3);
        if self.channel_configuration == 0 {
            let mut bits = Bits::new(frame);
            if bits.read(3)? != ID_PCE {
                return Err(ParseError::Unsupported("channel_configuration"));
            }
            ProgramConfig::parse(&mut bits)?.encode(&mut asc);
        }
        Config::from_asc(&asc.finish())
    }

    /// Whether a frame with this header is decoded with `config`.
    pub fn agrees(&self, config: &Config) -> bool {
        self.object_type == config.object_type
            && self.rate_index == config.rate_index
            && self.channel_configuration == config.channel_configuration
    }
}

impl Config {
    /// What ADTS puts before this raw frame; `None` when ADTS cannot say what the configuration does, or the frame is too
    /// long for it.
    pub fn adts(&self, frame: &[u8]) -> Option<Adts> {
        // Two bits for the profile, three for the channels, and always 1024 samples.
        if !matches!(self.object_type, 1..=4)
            || self.channel_configuration > 7
            || self.frame_samples != 1_024
        {
            return None;
        }
        if usize::from(self.rate_index) >= RATES.len() {
            return None;
        }
        let mut layout = BitWriter::default();
        let says_itself = frame.first().is_some_and(|&first| u32::from(first >> 5) == ID_PCE);
        if let Some(program) = self.program.as_ref().filter(|_| !says_itself) {
            layout.put(ID_PCE, 3);
            program.encode(&mut layout);
        }
        let layout = layout.finish();
        let frame_len = AdtsHeader::LEN + layout.len() + frame.len();
        let frame_len = u32::try_from(frame_len).ok().filter(|&len| len < 1 << 13)?;
        let mut header = BitWriter::default();
        // MPEG-4, layer 0, no checksum.
        header.put(0xfff1, 16);
        header.put(u32::from(self.object_type - 1), 2);
        header.put(u32::from(self.rate_index), 4);
        header.put(0, 1);
        header.put(u32::from(self.channel_configuration), 3);
        header.put(0, 4);
        header.put(frame_len, 13);
        // Variable rate, one block.
        header.put(0x7ff, 11);
        header.put(0, 2);
        let header = header.finish().try_into().ok()?;
        Some(Adts { header, layout })
    }

    /// Whether the object type is plain AAC LC, which every player knows.
    pub const fn is_low_complexity(&self) -> bool {
        self.object_type == object::LC
    }
}
