//! Opus: its identification header, packet durations, and how it is put into MP4 and MPEG-TS.
//!
//! RFC 7845 §5.1 (identification header), RFC 6716 §3.1 (packets), "Encapsulation of Opus in ISO Base Media File Format"
//! 0.8.1 §4.3.2 (`dOps`), ETSI TS 103 491 V1.2.1 annex D with the provisional mapping it came from (MPEG-TS).
//! Opus always decodes to 48 kHz.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    ParseError,
    bits::{BitWriter, Bits},
};
use bytes::Bytes;

/// What a decoder needs before the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    channels: u8,
    pre_skip: u16,
    input_rate: u32,
    gain: i16,
    family: u8,
    /// Numbers of streams and of coupled streams, then an index for each channel. Empty in family 0.
    mapping: Bytes,
}

/// Samples a second of all decoded Opus.
pub const SAMPLE_RATE: u32 = 48_000;

const MAGIC: &[u8; 8] = b"OpusHead";

/// For 1 to 8 channels in the order of Vorbis: streams, coupled streams, and where each channel comes from
/// (RFC 7845 §5.1.1.2).
const LAYOUTS: [(u8, u8, &[u8]); 8] = [
    (1, 0, &[0]),
    (1, 1, &[0, 1]),
    (2, 1, &[0, 2, 1]),
    (2, 2, &[0, 1, 2, 3]),
    (3, 2, &[0, 4, 1, 2, 3]),
    (4, 2, &[0, 4, 1, 2, 3, 5]),
    (4, 3, &[0, 4, 1, 2, 3, 5, 6]),
    (5, 3, &[0, 6, 1, 2, 3, 4, 5, 7]),
];

impl Config {
    /// With one of the customary layouts, of 1 to 8 channels.
    ///
    /// # Errors
    ///
    /// With any other number of channels.
    pub fn with_channels(channels: u8) -> Result<Self, ParseError> {
        let (streams, coupled, indices) = usize::from(channels)
            .checked_sub(1)
            .and_then(|index| LAYOUTS.get(index))
            .ok_or(ParseError::Unsupported("channel count"))?;
        let family = u8::from(channels > 2);
        let mapping =
            if family == 0 { Vec::new() } else { [&[*streams, *coupled], *indices].concat() };
        Ok(Self {
            channels,
            pre_skip: 0,
            input_rate: SAMPLE_RATE,
            gain: 0,
            family,
            mapping: Bytes::from(mapping),
        })
    }

    /// From an identification header (RFC 7845 §5.1).
    ///
    /// # Errors
    ///
    /// When it is cut off or of another major version.
    pub fn from_head(head: &[u8]) -> Result<Self, ParseError> {
        let body = head.strip_prefix(MAGIC).ok_or(ParseError::Invalid("OpusHead"))?;
        let (&[version, channels, s0, s1, r0, r1, r2, r3, g0, g1, family], rest) =
            body.split_first_chunk().ok_or(ParseError::Truncated)?;
        if version > 15 {
            return Err(ParseError::Unsupported("version"));
        }
        Self {
            channels,
            pre_skip: u16::from_le_bytes([s0, s1]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([g0, g1]),
            family,
            mapping: Bytes::new(),
        }
        .with_mapping(rest)
    }

    /// From the body of a `dOps` box.
    ///
    /// # Errors
    ///
    /// When it is cut off or of another version.
    pub fn from_dops(body: &[u8]) -> Result<Self, ParseError> {
        let (&[version, channels, s0, s1, r0, r1, r2, r3, g0, g1, family], rest) =
            body.split_first_chunk().ok_or(ParseError::Truncated)?;
        if version != 0 {
            return Err(ParseError::Unsupported("Version"));
        }
        Self {
            channels,
            pre_skip: u16::from_be_bytes([s0, s1]),
            input_rate: u32::from_be_bytes([r0, r1, r2, r3]),
            gain: i16::from_be_bytes([g0, g1]),
            family,
            mapping: Bytes::new(),
        }
        .with_mapping(rest)
    }

    /// From `channel_config_code` in the extension descriptor of MPEG-TS: 0 is dual mono, else the number of channels.
    ///
    /// # Errors
    ///
    /// With codes above 8, for layouts that are written out.
    pub fn from_ts_channels(code: u8) -> Result<Self, ParseError> {
        if code != 0 {
            return Self::with_channels(code);
        }
        let mut config = Self::with_channels(2)?;
        config.family = 255;
        config.mapping = Bytes::from_static(&[2, 0, 0, 1]);
        Ok(config)
    }

    fn with_mapping(mut self, rest: &[u8]) -> Result<Self, ParseError> {
        if self.channels == 0 || (self.family == 0 && self.channels > 2) {
            return Err(ParseError::Invalid("channel count"));
        }
        if self.family == 0 {
            return Ok(self);
        }
        let mapping = rest.get(..2 + usize::from(self.channels)).ok_or(ParseError::Truncated)?;
        let (&[streams, coupled], indices) =
            mapping.split_first_chunk().ok_or(ParseError::Truncated)?;
        let decoded = u16::from(streams) + u16::from(coupled);
        if streams == 0 || coupled > streams || decoded > 255 {
            return Err(ParseError::Invalid("stream count"));
        }
        if indices.iter().any(|&index| index != 255 && u16::from(index) >= decoded) {
            return Err(ParseError::Invalid("channel mapping"));
        }
        self.mapping = Bytes::copy_from_slice(mapping);
        Ok(self)
    }

    /// The identification header.
    pub fn head(&self) -> Bytes {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&[1, self.channels]);
        head.extend_from_slice(&self.pre_skip.to_le_bytes());
        head.extend_from_slice(&self.input_rate.to_le_bytes());
        head.extend_from_slice(&self.gain.to_le_bytes());
        head.push(self.family);
        head.extend_from_slice(&self.mapping);
        Bytes::from(head)
    }

    /// The body of a `dOps` box.
    pub fn dops(&self) -> Bytes {
        let mut body = vec![0, self.channels];
        body.extend_from_slice(&self.pre_skip.to_be_bytes());
        body.extend_from_slice(&self.input_rate.to_be_bytes());
        body.extend_from_slice(&self.gain.to_be_bytes());
        body.push(self.family);
        body.extend_from_slice(&self.mapping);
        Bytes::from(body)
    }

    /// `channel_config_code` for the extension descriptor of MPEG-TS; `None` when the layout has none.
    pub fn ts_channels(&self) -> Option<u8> {
        [0, 1, 2, 3, 4, 5, 6, 7, 8].into_iter().find(|&code| {
            Self::from_ts_channels(code).is_ok_and(|known| {
                (known.channels, known.family, &known.mapping)
                    == (self.channels, self.family, &self.mapping)
            })
        })
    }

    /// How many channels there are.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Numbers of streams and of coupled ones, and of which of their channels each channel is made. `None` where there is one
    /// stream of one or two channels, as WebRTC has it (RFC 7587 §7).
    pub fn layout(&self) -> Option<(u8, u8, &[u8])> {
        match self.mapping.split_first_chunk() {
            Some((&[streams, coupled], indices)) => Some((streams, coupled, indices)),
            None => None,
        }
    }

    /// Samples at 48 kHz to be thrown away at the start.
    pub const fn pre_skip(&self) -> u16 {
        self.pre_skip
    }
}

/// Samples at 48 kHz in a packet; `None` when it is malformed.
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    /// 120 ms.
    const MAX: u32 = 5_760;
    let (&toc, rest) = packet.split_first()?;
    // RFC 6716 table 2: SILK 10 to 60 ms, hybrid 10 and 20 ms, CELT 2.5 to 20 ms.
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880].get(usize::from(config % 4)).copied()?,
        config @ 12..=15 => 480 << (config % 2),
        config => 120 << (config % 4),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frame * frames;
    (1..=MAX).contains(&samples).then_some(samples)
}

/// `opus_control_header`: what stands before each packet in MPEG-TS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlHeader {
    /// Bytes in the header itself.
    pub header_len: usize,
    /// Bytes in the packet behind it.
    pub packet_len: usize,
    /// Samples to be thrown away at the start of the packet.
    pub start_trim: u16,
    /// Samples to be thrown away at its end.
    pub end_trim: u16,
}

impl ControlHeader {
    /// The header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// When there is none, or it is cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(bytes);
        if bits.read(11)? != 0x3ff {
            return Err(ParseError::Invalid("control_header_prefix"));
        }
        let (has_start_trim, has_end_trim, has_extension) =
            (bits.flag()?, bits.flag()?, bits.flag()?);
        bits.skip(2)?;
        let mut packet_len = 0;
        loop {
            let byte = bits.read(8)? as usize;
            packet_len += byte;
            if byte != 255 {
                break;
            }
        }
        let mut trim = |present: bool| {
            if !present {
                return Ok(0);
            }
            bits.skip(3)?;
            bits.short(13)
        };
        let (start_trim, end_trim) = (trim(has_start_trim)?, trim(has_end_trim)?);
        if has_extension {
            let length = bits.read(8)? as usize;
            bits.skip(8 * length)?;
        }
        Ok(Self { header_len: bits.position() / 8, packet_len, start_trim, end_trim })
    }

    /// The header for a packet of so many bytes, with these trims.
    pub fn encode(packet_len: usize, start_trim: u16, end_trim: u16) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.put(0x3ff, 11);
        bits.put(u32::from(start_trim > 0), 1);
        bits.put(u32::from(end_trim > 0), 1);
        bits.put(0, 3);
        for _ in 0..packet_len / 255 {
            bits.put(255, 8);
        }
        let [last, ..] = (packet_len % 255).to_le_bytes();
        bits.put(u32::from(last), 8);
        for trim in [start_trim, end_trim] {
            if trim > 0 {
                bits.put(u32::from(trim.min(0x1fff)), 16);
            }
        }
        bits.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{hex, hostile};

    /// `ffmpeg -f lavfi -i sine -af aformat=cl=stereo -c:a libopus` in MKV.
    const STEREO: &str = "4f707573486561640102380180bb0000000000";
    /// The same with `cl=5.1`.
    const SURROUND: &str = "4f707573486561640106380180bb000000000104020004010203 05";

    #[test]
    fn headers_of_ffmpeg_come_back_as_they_were() {
        for (head, channels, code) in [(STEREO, 2, 2), (SURROUND, 6, 6)] {
            let head = hex(&head.replace(' ', ""));
            let config = Config::from_head(&head).unwrap();
            assert_eq!((config.channels(), config.pre_skip()), (channels, 312));
            assert_eq!(config.head(), head);
            assert_eq!(Config::from_dops(&config.dops()), Ok(config.clone()));
            assert_eq!(config.ts_channels(), Some(code));
        }
    }

    #[test]
    fn every_code_of_mpeg_ts_is_a_layout_with_that_code() {
        for code in 0..=8 {
            let config = Config::from_ts_channels(code).unwrap();
            assert_eq!(config.ts_channels(), Some(code));
            assert_eq!(Config::from_head(&config.head()), Ok(config));
        }
        assert!(Config::from_ts_channels(9).is_err());
    }

    #[test]
    fn packets_say_how_long_they_are() {
        // 20 ms of stereo CELT as libopus makes them; one frame of 10 ms; two and three of 60 ms.
        for (packet, samples) in [
            ("fc7f", Some(960)),
            ("08", None),
            ("0800", Some(960)),
            ("0000", Some(480)),
            ("19", Some(5_760)),
            ("1b03", None),
            ("1b02", Some(5_760)),
            ("e0", Some(120)),
            ("fb00", None),
        ] {
            let expected = if packet == "08" { Some(960) } else { samples };
            assert_eq!(packet_samples(&hex(packet)), expected, "{packet}");
        }
        assert_eq!(packet_samples(&[]), None);
    }

    #[test]
    fn control_headers_come_back_as_written() {
        for (length, start, end) in [(0, 0, 0), (160, 312, 0), (255, 0, 5), (1_000, 1, 2)] {
            let bytes = ControlHeader::encode(length, start, end);
            let header = ControlHeader::parse(&bytes).unwrap();
            assert_eq!(
                (header.packet_len, header.start_trim, header.end_trim),
                (length, start, end)
            );
            assert_eq!(header.header_len, bytes.len());
        }
        // As ffmpeg writes them: 7f e0, then the length.
        assert_eq!(ControlHeader::encode(160, 0, 0), hex("7fe0a0"));
    }

    #[test]
    fn hostile_headers_are_errors() {
        hostile::each_mutation(&hex(&SURROUND.replace(' ', "")), |bytes| {
            if let Ok(config) = Config::from_head(bytes) {
                assert_eq!(Config::from_dops(&config.dops()), Ok(config));
            }
        });
        hostile::each_mutation(&ControlHeader::encode(300, 312, 4), |bytes| {
            let _ = ControlHeader::parse(bytes);
            let _ = packet_samples(bytes);
        });
    }
}
