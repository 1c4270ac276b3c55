//! The access unit: the common currency between what comes in and what goes out.

use super::{
    CodecConfig, Timestamp, TrackId,
    nal::{Kind, LengthPrefixed, LengthSize, Syntax},
};
use bytes::Bytes;
use std::rc::Rc;

/// One decodable picture, or the audio of one frame.
///
/// Its payload is in the form that most outputs need:
///
/// * H.264 and HEVC: NAL units, each after its length in 4 bytes, without access unit delimiters, end-of-sequence
///   marks and filler; without parameter sets, which are in `config`.
/// * AV1: OBUs with their sizes (low-overhead format), without temporal delimiters.
/// * VP8, VP9, and all audio: the raw frame; AAC without ADTS or LATM around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The track it belongs to.
    pub track: TrackId,
    /// When it is due at the decoder.
    pub dts: Timestamp,
    /// When it is shown; not before `dts`, unless the publisher is wrong.
    pub pts: Timestamp,
    /// Decoding may begin here. Always so for audio.
    pub random_access: bool,
    /// What the decoder must know to decode it. The same `Rc` as its predecessor's unless it changed: a change
    /// is a new sequence header, a new init segment, or in-band parameter sets, as the output needs.
    pub config: Rc<CodecConfig>,
    /// The coded data.
    pub payload: Bytes,
}

impl AccessUnit {
    /// Whether every other picture can be decoded without it. So are B-frames of H.264 that nobody refers to
    /// (`nal_ref_idc` is 0, H.264 (08/2021) §7.4.1), and pictures of HEVC's highest temporal sub-layer that are no reference
    /// within it (H.265 (08/2021) §7.4.2.2): those below may serve pictures of the sub-layers above.
    pub fn is_disposable(&self) -> bool {
        let (syntax, top_layer) = match &*self.config {
            CodecConfig::H264(_) => (Syntax::H264, None),
            CodecConfig::Hevc(config) => (Syntax::Hevc, Some(config.temporal_layers())),
            _ => return false,
        };
        if self.random_access {
            return false;
        }
        let nals = LengthPrefixed::new(&self.payload, LengthSize::Four).map_while(Result::ok);
        let mut slices = nals.filter_map(|nal| match syntax.classify(nal) {
            // `nuh_temporal_id_plus1` is 1 to the number of layers.
            Some(Kind::Slice(slice)) => Some(
                slice.disposable
                    && top_layer.is_none_or(|top| nal.get(1).is_some_and(|b| b & 7 == top)),
            ),
            _ => None,
        });
        slices.next().is_some_and(|first| first && slices.all(|other| other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{h264, hex};

    fn unit(payload: &'static [u8], random_access: bool) -> AccessUnit {
        let sps = hex("6764001facd9405005bb016a0202028000000300800000 1e078c18cb"
            .replace(' ', "")
            .as_str());
        let pps = hex("68ebecb22c");
        let config = h264::Config::from_parameter_sets([&*sps, &*pps]).unwrap();
        let at = Timestamp::from_ms(0);
        AccessUnit {
            track: TrackId(1),
            dts: at,
            pts: at,
            random_access,
            config: Rc::new(CodecConfig::H264(config)),
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn a_picture_that_no_slice_of_another_refers_to_can_be_left_out() {
        // Slices with `nal_ref_idc` 0, then 2; SEI says nothing about it.
        let (free, needed): (&[u8], &[u8]) = (&[0, 0, 0, 2, 0x01, 0x9a], &[0, 0, 0, 2, 0x41, 0x9a]);
        let sei: &[u8] = &[0, 0, 0, 3, 0x06, 0x05, 0x80];
        let joined = |parts: &[&[u8]]| &*Box::leak(parts.concat().into_boxed_slice());
        assert!(unit(free, false).is_disposable());
        assert!(unit(joined(&[sei, free, free]), false).is_disposable());
        for payload in [needed, joined(&[free, needed]), sei, &[], &[0, 0, 0, 9, 1]] {
            assert!(!unit(payload, false).is_disposable(), "{payload:?}");
        }
        assert!(!unit(free, true).is_disposable());
    }
}
