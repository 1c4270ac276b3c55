//! The access unit: the common currency between what comes in and what goes out.

use super::{CodecConfig, Timestamp, TrackId};
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
