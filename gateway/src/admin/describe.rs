//! Tracks as the API shows them: SRS's words for the first picture and the first sound, ours for all of them.

use serde::Serialize;

use crate::media::{CodecConfig, MediaKind, Track};

/// `video` of a stream, field by field as in SRS.
#[derive(Debug, Serialize)]
pub(super) struct Video {
    codec: &'static str,
    profile: &'static str,
    level: String,
    width: u32,
    height: u32,
}

/// `audio` of a stream, field by field as in SRS.
#[derive(Debug, Serialize)]
pub(super) struct Audio {
    codec: &'static str,
    sample_rate: u32,
    channel: u8,
    profile: &'static str,
}

/// One of `tracks`, which SRS does not have.
#[derive(Debug, Serialize)]
pub(super) struct TrackInfo {
    id: u16,
    kind: &'static str,
    codec: &'static str,
    /// As RFC 6381 names it; `null` until the stream has told.
    codec_string: Option<String>,
    language: Option<String>,
}

impl Video {
    pub(super) fn of(track: &Track) -> Self {
        let config = track.config.as_deref();
        let (profile, level) = config.map_or_else(Default::default, profile_and_level);
        let (width, height) = config.and_then(CodecConfig::dimensions).unwrap_or_default();
        Self { codec: track.codec.name(), profile, level, width, height }
    }
}

impl Audio {
    pub(super) fn of(track: &Track) -> Self {
        let (sample_rate, channel, profile) = match track.config.as_deref() {
            Some(CodecConfig::Aac(config)) => {
                let is_high = config.extension_rate().is_some();
                let profile = aac_profile(config.object_type(), is_high);
                (config.sample_rate(), config.channels(), profile)
            }
            Some(CodecConfig::Mp3(config)) => (config.sample_rate(), config.channels(), ""),
            // Always decoded to that (RFC 6716 §2).
            Some(CodecConfig::Opus(config)) => (48_000, config.channels(), ""),
            Some(CodecConfig::Ac3(config) | CodecConfig::Eac3(config)) => {
                (config.sample_rate(), config.channels(), "")
            }
            _ => (0, 0, ""),
        };
        Self { codec: track.codec.name(), sample_rate, channel, profile }
    }
}

impl TrackInfo {
    pub(super) fn of(track: &Track) -> Self {
        Self {
            id: track.id.0,
            kind: match track.codec.kind() {
                MediaKind::Video => "video",
                MediaKind::Audio => "audio",
            },
            codec: track.codec.name(),
            codec_string: track.config.as_deref().map(CodecConfig::codec_string),
            language: track.language.map(|language| language.to_string()),
        }
    }
}

fn profile_and_level(config: &CodecConfig) -> (&'static str, String) {
    match config {
        // H.264 (08/2021) §A.2, A.3: the level is ten times the number.
        CodecConfig::H264(config) => {
            let level = config.level();
            (h264_profile(config.profile()), format!("{}.{}", level / 10, level % 10))
        }
        // H.265 (08/2021) §A.3, A.4: the level is thirty times the number.
        CodecConfig::Hevc(config) => {
            let level = config.level();
            (h265_profile(config.profile()), format!("{}.{}", level / 30, level % 30 / 3))
        }
        _ => Default::default(),
    }
}

const fn h264_profile(profile: u8) -> &'static str {
    match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High(10)",
        122 => "High(422)",
        244 => "High(444+Predictive)",
        _ => "Other",
    }
}

const fn h265_profile(profile: u8) -> &'static str {
    match profile {
        1 => "Main",
        2 => "Main10",
        3 => "Main Still Picture",
        4 => "Range Extensions",
        _ => "Other",
    }
}

/// ISO/IEC 14496-3:2019 table 1.17. Implicit signalling of SBR leaves the object type at LC.
const fn aac_profile(object_type: u8, is_high: bool) -> &'static str {
    match object_type {
        1 => "Main",
        2 if is_high => "HE",
        2 => "LC",
        3 => "SSR",
        5 => "HE",
        29 => "HEv2",
        _ => "Other",
    }
}
