//! Tracks: what a stream consists of, and what a decoder must know before its first unit.

use super::{Colour, aac, ac3, av1, h264, h265, mp3, opus, vpx};
use std::{fmt, rc::Rc};

/// Tells the tracks of one source apart. In a TS source it is the PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u16);

/// Whether a track is seen or heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// How a track is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// H.264, ISO/IEC 14496-10.
    H264,
    /// H.265, ISO/IEC 23008-2.
    Hevc,
    /// AV1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AAC, ISO/IEC 14496-3.
    Aac,
    /// MPEG-1 and MPEG-2 audio, layers 1 to 3; MP3 is layer 3.
    Mp3,
    /// Opus, RFC 6716.
    Opus,
    /// AC-3, ETSI TS 102 366.
    Ac3,
    /// Enhanced AC-3, ETSI TS 102 366 annex E.
    Eac3,
}

/// What a decoder must know before the first unit, by codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecConfig {
    /// Parameter sets of H.264.
    H264(h264::Config),
    /// Parameter sets of HEVC.
    Hevc(h265::Config),
    /// Sequence header of AV1.
    Av1(av1::Config),
    /// Of VP8.
    Vp8(vpx::Config),
    /// Of VP9.
    Vp9(vpx::Config),
    /// The `AudioSpecificConfig` of AAC.
    Aac(aac::Config),
    /// From the frame header of MPEG audio.
    Mp3(mp3::Config),
    /// The identification header of Opus.
    Opus(opus::Config),
    /// From the frame header of AC-3.
    Ac3(ac3::Config),
    /// From the frame header of Enhanced AC-3.
    Eac3(ac3::Config),
}

/// A language as ISO 639-2 writes it: three lower-case letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language([u8; 3]);

/// One elementary stream of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Which one.
    pub id: TrackId,
    /// How it is coded.
    pub codec: Codec,
    /// Its language, if the publisher says so.
    pub language: Option<Language>,
    /// What its decoder needs; `None` until the stream has told.
    pub config: Option<Rc<CodecConfig>>,
}

/// The tracks of a source, in the publisher's order. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracks(Rc<[Track]>);

impl Tracks {
    /// The track of this id.
    pub fn find(&self, id: TrackId) -> Option<&Track> {
        self.iter().find(|track| track.id == id)
    }

    /// The first track that is seen.
    pub fn video(&self) -> Option<&Track> {
        self.iter().find(|track| track.codec.kind() == MediaKind::Video)
    }

    /// The first track that is heard.
    pub fn audio(&self) -> Option<&Track> {
        self.iter().find(|track| track.codec.kind() == MediaKind::Audio)
    }

    /// Whether every track's configuration is known.
    pub fn is_complete(&self) -> bool {
        self.iter().all(|track| track.config.is_some())
    }
}

impl std::ops::Deref for Tracks {
    type Target = [Track];

    fn deref(&self) -> &[Track] {
        &self.0
    }
}

impl FromIterator<Track> for Tracks {
    fn from_iter<I: IntoIterator<Item = Track>>(tracks: I) -> Self {
        Self(tracks.into_iter().collect())
    }
}

impl Codec {
    /// Whether it is seen or heard.
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 | Self::Vp8 | Self::Vp9 => MediaKind::Video,
            Self::Aac | Self::Mp3 | Self::Opus | Self::Ac3 | Self::Eac3 => MediaKind::Audio,
        }
    }

    /// Its customary name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Aac => "AAC",
            Self::Mp3 => "MP3",
            Self::Opus => "Opus",
            Self::Ac3 => "AC3",
            Self::Eac3 => "EAC3",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl CodecConfig {
    /// The codec it is for.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::Hevc(_) => Codec::Hevc,
            Self::Av1(_) => Codec::Av1,
            Self::Vp8(_) => Codec::Vp8,
            Self::Vp9(_) => Codec::Vp9,
            Self::Aac(_) => Codec::Aac,
            Self::Mp3(_) => Codec::Mp3,
            Self::Opus(_) => Codec::Opus,
            Self::Ac3(_) => Codec::Ac3,
            Self::Eac3(_) => Codec::Eac3,
        }
    }
}

impl CodecConfig {
    /// What RFC 6381 calls it, such as `avc1.64001F`, for MIME types and playlists.
    pub fn codec_string(&self) -> String {
        match self {
            Self::H264(config) => config.codec_string(),
            Self::Hevc(config) => config.codec_string(),
            Self::Av1(config) => config.codec_string(),
            Self::Vp8(config) | Self::Vp9(config) => config.codec_string(),
            Self::Aac(config) => config.codec_string(),
            Self::Mp3(config) => config.codec_string(),
            Self::Opus(_) => "opus".to_owned(),
            Self::Ac3(config) | Self::Eac3(config) => config.codec_string(),
        }
    }

    /// Width and height in pixels; `None` for what is heard.
    pub const fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => Some(config.dimensions()),
            Self::Hevc(config) => Some(config.dimensions()),
            Self::Av1(config) => Some(config.dimensions()),
            Self::Vp8(config) | Self::Vp9(config) => Some(config.dimensions()),
            Self::Aac(_) | Self::Mp3(_) | Self::Opus(_) | Self::Ac3(_) | Self::Eac3(_) => None,
        }
    }

    /// Width to height of a pixel, when the stream says so and it is not 1.
    pub fn sample_aspect(&self) -> Option<(u16, u16)> {
        match self {
            Self::H264(config) => config.sample_aspect(),
            Self::Hevc(config) => config.sample_aspect(),
            _ => None,
        }
        .filter(|(width, height)| width != height)
    }

    /// What its samples mean as colours, when the stream says so. VP9 says it in its record.
    pub const fn colour(&self) -> Option<Colour> {
        match self {
            Self::H264(config) => config.colour(),
            Self::Hevc(config) => config.colour(),
            Self::Av1(config) => config.colour(),
            _ => None,
        }
    }

    /// Frames a second, when the stream says so; `None` for what is heard.
    pub fn frame_rate(&self) -> Option<f64> {
        match self {
            Self::H264(config) => config.frame_rate(),
            Self::Hevc(config) => config.frame_rate(),
            Self::Av1(config) => config.frame_rate(),
            _ => None,
        }
    }

    /// Samples a second, in whose number frames are counted; `None` for what is seen. HE-AAC is heard at
    /// twice this rate.
    pub const fn sample_rate(&self) -> Option<u32> {
        match self {
            Self::Aac(config) => Some(config.sample_rate()),
            Self::Mp3(config) => Some(config.sample_rate()),
            Self::Opus(_) => Some(opus::SAMPLE_RATE),
            Self::Ac3(config) | Self::Eac3(config) => Some(config.sample_rate()),
            Self::H264(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp8(_) | Self::Vp9(_) => None,
        }
    }

    /// How many channels are coded; `None` for what is seen.
    pub const fn channels(&self) -> Option<u8> {
        match self {
            Self::Aac(config) => Some(config.channels()),
            Self::Mp3(config) => Some(config.channels()),
            Self::Opus(config) => Some(config.channels()),
            Self::Ac3(config) | Self::Eac3(config) => Some(config.channels()),
            Self::H264(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp8(_) | Self::Vp9(_) => None,
        }
    }

    /// How many samples at [`sample_rate`](Self::sample_rate) an access unit with this payload lasts; `None` for
    /// what is seen, and for what is malformed.
    pub fn samples(&self, payload: &[u8]) -> Option<u32> {
        match self {
            Self::Aac(config) => Some(config.frame_samples()),
            Self::Mp3(config) => Some(config.frame_samples()),
            Self::Opus(_) => opus::packet_samples(payload),
            Self::Ac3(config) | Self::Eac3(config) => Some(config.frame_samples()),
            Self::H264(_) | Self::Hevc(_) | Self::Av1(_) | Self::Vp8(_) | Self::Vp9(_) => None,
        }
    }
}

impl Language {
    /// From three letters; `None` when they are not.
    pub fn new(letters: [u8; 3]) -> Option<Self> {
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(letters.map(|l| l.to_ascii_lowercase())))
    }

    /// The three letters.
    pub const fn letters(self) -> [u8; 3] {
        self.0
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| fmt::Write::write_char(f, char::from(letter)))
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
