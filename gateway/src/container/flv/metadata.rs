//! `onMetaData`: what it promises, and what we say in it.
//!
//! "Enhancing onMetaData" of Enhanced RTMP (V2); E.5 of Adobe's "Video File Format Specification Version 10.1". Nothing
//! in it is needed to decode, and encoders lie in it, so that of what comes in only the codecs are looked at.

use super::{
    amf0::Value,
    packet::{code_of, codec_of},
};
use crate::media::{Codec, CodecConfig, MediaKind};
use bytes::{Bytes, BytesMut};

/// One track in what we say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described<'a> {
    /// Its number among those of its kind.
    pub(super) number: u8,
    pub(super) config: &'a CodecConfig,
    /// The codec is written as a code of four letters.
    pub(super) is_enhanced: bool,
}

/// The codecs that the body of a script tag says there will be: at most one of each kind.
pub(super) fn promised_codecs(mut body: &[u8]) -> Vec<Codec> {
    let Some(metadata) = find_metadata(&mut body) else { return Vec::new() };
    let video =
        metadata.property("videocodecid").and_then(|value| codec_in(value, MediaKind::Video));
    let audio =
        metadata.property("audiocodecid").and_then(|value| codec_in(value, MediaKind::Audio));
    video.into_iter().chain(audio).collect()
}

/// The body of a script tag with these tracks, the first of each kind first.
pub(super) fn encode(tracks: &[Described<'_>]) -> Bytes {
    let mut properties = vec![("encoder".to_owned(), Value::from("Thalweg"))];
    for (kind, map) in
        [(MediaKind::Video, "videoTrackIdInfoMap"), (MediaKind::Audio, "audioTrackIdInfoMap")]
    {
        let mut of_kind = tracks.iter().filter(|track| track.config.codec().kind() == kind);
        let Some(first) = of_kind.next() else { continue };
        properties.extend(describe(first));
        let others: Vec<_> = of_kind
            .map(|track| (track.number.to_string(), Value::Object(describe(track))))
            .collect();
        if !others.is_empty() {
            properties.push((map.to_owned(), Value::Object(others)));
        }
    }
    let mut out = BytesMut::with_capacity(384);
    Value::from("onMetaData").encode(&mut out);
    Value::EcmaArray(properties).encode(&mut out);
    out.freeze()
}

/// The argument of `onMetaData`, also when that is what `@setDataFrame` sets.
fn find_metadata(body: &mut &[u8]) -> Option<Value> {
    let mut name = Value::parse(body).ok()?;
    if name.as_str() == Some("@setDataFrame") {
        name = Value::parse(body).ok()?;
    }
    if name.as_str() != Some("onMetaData") {
        return None;
    }
    Value::parse(body).ok()
}

/// A codec as a number of the legacy tables, as the number that four letters are, or as the letters.
fn codec_in(value: &Value, kind: MediaKind) -> Option<Codec> {
    let code = match value {
        Value::Number(number) => {
            #[expect(clippy::cast_possible_truncation, reason = "a cast of floats saturates")]
            let number = *number as u32;
            match (kind, number) {
                (MediaKind::Video, 7) => return Some(Codec::H264),
                (MediaKind::Video, 12) => return Some(Codec::Hevc),
                (MediaKind::Audio, 2 | 14) => return Some(Codec::Mp3),
                (MediaKind::Audio, 10) => return Some(Codec::Aac),
                _ => number.to_be_bytes(),
            }
        }
        Value::String(letters) => letters.as_bytes().try_into().ok()?,
        _ => return None,
    };
    codec_of(code).filter(|codec| codec.kind() == kind)
}

fn describe(track: &Described<'_>) -> Vec<(String, Value)> {
    let id = match track.config.codec() {
        Codec::H264 if !track.is_enhanced => 7.0,
        Codec::Aac if !track.is_enhanced => 10.0,
        Codec::Mp3 if !track.is_enhanced => 2.0,
        codec => u32::from_be_bytes(code_of(codec)).into(),
    };
    let mut properties = Vec::new();
    let mut add = |name: &str, value: Value| properties.push((name.to_owned(), value));
    match track.config.codec().kind() {
        MediaKind::Video => {
            add("videocodecid", id.into());
            if let Some((width, height)) = track.config.dimensions() {
                add("width", f64::from(width).into());
                add("height", f64::from(height).into());
            }
            if let Some(rate) = track.config.frame_rate() {
                add("framerate", rate.into());
            }
        }
        MediaKind::Audio => {
            add("audiocodecid", id.into());
            if let (Some(rate), Some(channels)) =
                (track.config.sample_rate(), track.config.channels())
            {
                add("audiosamplerate", f64::from(rate).into());
                add("audiochannels", f64::from(channels).into());
                add("stereo", (channels == 2).into());
            }
            add("audiosamplesize", 16.0.into());
        }
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(values: &[Value]) -> BytesMut {
        let mut out = BytesMut::new();
        values.iter().for_each(|value| value.encode(&mut out));
        out
    }

    fn promised(video: Value, audio: Value) -> Vec<Codec> {
        let map = vec![("videocodecid".to_owned(), video), ("audiocodecid".to_owned(), audio)];
        promised_codecs(&body(&[
            "@setDataFrame".into(),
            "onMetaData".into(),
            Value::EcmaArray(map),
        ]))
    }

    #[test]
    fn codecs_are_promised_as_numbers_codes_or_letters() {
        assert_eq!(promised(7.0.into(), 10.0.into()), [Codec::H264, Codec::Aac]);
        assert_eq!(promised("avc1".into(), "mp4a".into()), [Codec::H264, Codec::Aac]);
        let (av01, opus) = (f64::from(0x6176_3031), f64::from(0x4f70_7573));
        assert_eq!(promised(av01.into(), opus.into()), [Codec::Av1, Codec::Opus]);
        assert_eq!(promised(12.0.into(), 2.0.into()), [Codec::Hevc, Codec::Mp3]);
    }

    #[test]
    fn nonsense_promises_nothing() {
        assert_eq!(promised(opus(), opus()), [Codec::Opus], "not as video");
        assert_eq!(promised(f64::NAN.into(), f64::INFINITY.into()), []);
        assert_eq!(promised("".into(), Value::Null), []);
        assert_eq!(promised_codecs(&body(&["onCuePoint".into(), Value::Null])), []);
        assert_eq!(promised_codecs(&[0xff]), []);
        assert_eq!(promised_codecs(&[]), []);
    }

    fn opus() -> Value {
        "Opus".into()
    }
}
