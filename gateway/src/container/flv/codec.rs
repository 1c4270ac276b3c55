//! The records of codecs in sequence headers.

use crate::media::{
    Codec, CodecConfig, ParseError, aac, ac3, av1, h264, h265, mp3, nal::LengthSize, opus, vpx,
};
use bytes::Bytes;

/// What a sequence header says, and how long the lengths of NAL units are in what follows it. `None` for codecs whose
/// frames say it all, and where the header is empty.
///
/// # Errors
///
/// When the record cannot be understood.
pub(super) fn parse_record(
    codec: Codec,
    record: &[u8],
) -> Result<Option<(CodecConfig, LengthSize)>, ParseError> {
    let mut length_size = LengthSize::Four;
    let config = match codec {
        Codec::H264 => {
            let (config, size) = h264::Config::from_avcc(record)?;
            length_size = size;
            CodecConfig::H264(config)
        }
        Codec::Hevc => {
            let (config, size) = h265::Config::from_hvcc(record)?;
            length_size = size;
            CodecConfig::Hevc(config)
        }
        Codec::Av1 => CodecConfig::Av1(av1::Config::from_av1c(record)?),
        Codec::Aac => CodecConfig::Aac(aac::Config::from_asc(record)?),
        Codec::Opus if !record.is_empty() => CodecConfig::Opus(opus::Config::from_head(record)?),
        Codec::Vp8 | Codec::Vp9 | Codec::Opus | Codec::Mp3 | Codec::Ac3 | Codec::Eac3 => {
            return Ok(None);
        }
    };
    Ok(Some((config, length_size)))
}

/// What a frame says of its own decoding; `None` for codecs whose frames don't, and between key frames.
///
/// # Errors
///
/// When the frame cannot be understood.
pub(super) fn config_in_frame(
    codec: Codec,
    frame: &[u8],
) -> Result<Option<CodecConfig>, ParseError> {
    Ok(Some(match codec {
        Codec::Vp8 if vpx::is_vp8_key(frame) => CodecConfig::Vp8(vpx::Config::from_vp8(frame)?),
        Codec::Vp9 if vpx::is_vp9_key(frame) => CodecConfig::Vp9(vpx::Config::from_vp9(frame)?),
        Codec::Mp3 => CodecConfig::Mp3(mp3::Config::from_frame(frame)?),
        Codec::Ac3 => CodecConfig::Ac3(ac3::Config::from_unit(frame)?),
        Codec::Eac3 => CodecConfig::Eac3(ac3::Config::from_unit(frame)?),
        _ => return Ok(None),
    }))
}

/// The sequence header; `None` for codecs that have none.
pub(super) fn record(config: &CodecConfig) -> Option<Bytes> {
    Some(match config {
        CodecConfig::H264(config) => config.avcc(),
        CodecConfig::Hevc(config) => config.hvcc(),
        CodecConfig::Av1(config) => config.av1c(),
        CodecConfig::Vp8(config) | CodecConfig::Vp9(config) => config.vpcc(),
        CodecConfig::Aac(config) => config.asc(),
        CodecConfig::Opus(config) => config.head(),
        CodecConfig::Mp3(_) | CodecConfig::Ac3(_) | CodecConfig::Eac3(_) => return None,
    })
}

/// Whether FLV has a place for it: of MPEG audio only for layer 3.
pub(super) const fn is_carried(config: &CodecConfig) -> bool {
    match config {
        CodecConfig::Mp3(config) => config.layer() == 3,
        _ => true,
    }
}
