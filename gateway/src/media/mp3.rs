//! MPEG audio, layers 1 to 3: the frame header (ISO/IEC 11172-3:1993 §2.4.1.3, ISO/IEC 13818-3:1998 §2.4.1).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{ParseError, bits::Bits};

/// What a decoder needs before the first frame. Each frame says so itself; a change is a change of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    version: Version,
    layer: u8,
    sample_rate: u32,
    channels: u8,
}

/// Which standard a frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MPEG-1: 32, 44.1 and 48 kHz.
    One,
    /// MPEG-2: half the rates.
    Two,
    /// A quarter of the rates; no standard has it.
    TwoAndHalf,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    config: Config,
    frame_len: usize,
}

/// kbit/s of MPEG-1, by layer and `bitrate_index` (§2.4.2.3).
const BITRATES_1: [[u16; 14]; 3] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
];

/// kbit/s of MPEG-2, of layer 1 and of the others (ISO/IEC 13818-3:1998 §2.4.2.3).
const BITRATES_2: [[u16; 14]; 2] = [
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

impl FrameHeader {
    /// Bytes in a header.
    pub const LEN: usize = 4;

    /// The header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// When there is none, or one of a frame in free format, whose length shows only with the next.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut bits = Bits::new(bytes);
        if bits.read(11)? != 0x7ff {
            return Err(ParseError::Invalid("syncword"));
        }
        let version = match bits.read(2)? {
            0 => Version::TwoAndHalf,
            2 => Version::Two,
            3 => Version::One,
            _ => return Err(ParseError::Invalid("ID")),
        };
        let layer = match bits.byte(2)? {
            0 => return Err(ParseError::Invalid("layer")),
            code => 4 - code,
        };
        bits.skip(1)?;
        let rate_index = bits.read(4)? as usize;
        let kbps = bitrate(version, layer, rate_index)?;
        let base = [44_100, 48_000, 32_000]
            .get(bits.read(2)? as usize)
            .ok_or(ParseError::Invalid("sampling_frequency"))?;
        let sample_rate = match version {
            Version::One => *base,
            Version::Two => base / 2,
            Version::TwoAndHalf => base / 4,
        };
        let padding = bits.read(1)?;
        bits.skip(1)?;
        let channels = if bits.read(2)? == 3 { 1 } else { 2 };
        let config = Config { version, layer, sample_rate, channels };
        // Slots of 4 bytes in layer 1, of 1 byte otherwise (§2.4.3.1).
        let slot = if layer == 1 { 4 } else { 1 };
        let frame_len =
            (config.frame_samples() / 8 * u32::from(kbps) * 1_000 / (sample_rate * slot) + padding)
                * slot;
        Ok(Self { config, frame_len: frame_len as usize })
    }

    /// Bytes in the frame, its header included.
    pub const fn frame_len(&self) -> usize {
        self.frame_len
    }

    /// What it says.
    pub const fn config(&self) -> Config {
        self.config
    }
}

fn bitrate(version: Version, layer: u8, index: usize) -> Result<u16, ParseError> {
    let table = match (version, layer) {
        (Version::One, layer) => BITRATES_1.get(usize::from(layer) - 1),
        (_, 1) => BITRATES_2.first(),
        _ => BITRATES_2.last(),
    };
    let at = index.checked_sub(1).ok_or(ParseError::Unsupported("bitrate_index"))?;
    table.and_then(|table| table.get(at)).copied().ok_or(ParseError::Invalid("bitrate_index"))
}

impl Config {
    /// From the first frame.
    ///
    /// # Errors
    ///
    /// As [`FrameHeader::parse`].
    pub fn from_frame(frame: &[u8]) -> Result<Self, ParseError> {
        FrameHeader::parse(frame).map(|header| header.config)
    }

    /// Which standard the frames follow.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The layer: 1, 2 or 3.
    pub const fn layer(&self) -> u8 {
        self.layer
    }

    /// Samples a second.
    pub const fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// How many channels there are.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Samples in a frame.
    pub const fn frame_samples(&self) -> u32 {
        match (self.layer, self.version) {
            (1, _) => 384,
            (2, _) | (_, Version::One) => 1_152,
            _ => 576,
        }
    }

    /// `objectTypeIndication` of ISO/IEC 14496-1, as MP4 and RFC 6381 want it.
    pub const fn object_type(&self) -> u8 {
        match self.version {
            Version::One => 0x6b,
            Version::Two | Version::TwoAndHalf => 0x69,
        }
    }

    /// What RFC 6381 §3.3 calls it: `mp4a.6B` or `mp4a.69`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.{:02X}", self.object_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{hex, hostile};

    #[test]
    fn headers_say_length_rate_and_channels() {
        // `ffmpeg -f lavfi -i sine=r=44100 -c:a libmp3lame -b:a 128k`, its second frame; the others by the tables.
        for (header, rate, channels, samples, length, name) in [
            ("fffb90c4", 44_100, 1, 1_152, 417, "mp4a.6B"),
            ("fffb9204", 44_100, 2, 1_152, 418, "mp4a.6B"),
            ("fffd8400", 48_000, 2, 1_152, 384, "mp4a.6B"),
            ("ffff8400", 48_000, 2, 384, 256, "mp4a.6B"),
            ("fff380c4", 22_050, 1, 576, 208, "mp4a.69"),
            ("ffe340c4", 11_025, 1, 576, 208, "mp4a.69"),
        ] {
            let parsed = FrameHeader::parse(&hex(header)).unwrap();
            let config = parsed.config();
            assert_eq!((config.sample_rate(), config.channels()), (rate, channels), "{header}");
            assert_eq!((config.frame_samples(), parsed.frame_len()), (samples, length), "{header}");
            assert_eq!(config.codec_string(), name, "{header}");
        }
    }

    #[test]
    fn free_format_and_forbidden_values_are_errors() {
        assert_eq!(
            FrameHeader::parse(&hex("fffb00c4")),
            Err(ParseError::Unsupported("bitrate_index"))
        );
        assert_eq!(FrameHeader::parse(&hex("fffbf0c4")), Err(ParseError::Invalid("bitrate_index")));
        assert_eq!(
            FrameHeader::parse(&hex("fffb9cc4")),
            Err(ParseError::Invalid("sampling_frequency"))
        );
        assert_eq!(FrameHeader::parse(&hex("fff990c4")), Err(ParseError::Invalid("layer")));
        hostile::each_mutation(&hex("fffb90c4"), |bytes| {
            if let Ok(header) = FrameHeader::parse(bytes) {
                assert!(header.frame_len() > FrameHeader::LEN);
            }
        });
    }
}
