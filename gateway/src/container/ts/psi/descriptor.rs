//! Descriptors: what a programme map says about a stream beyond its type (ISO/IEC 13818-1:2019 §2.6).
//!
//! Beside the standard's own there are those of DVB (ETSI EN 300 468 V1.16.1) and those of Opus ("Encapsulation of
//! Opus in MPEG Transport Streams", draft 0.1.3, which ffmpeg follows).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::table::{PmtStream, stream_type};
use crate::media::{Codec, Language};

/// Tags of descriptors.
pub(in crate::container::ts) mod tag {
    /// §2.6.8: four letters that tell whose private stream it is.
    pub(in crate::container::ts) const REGISTRATION: u8 = 0x05;
    /// §2.6.18.
    pub(in crate::container::ts) const LANGUAGE: u8 = 0x0a;
    /// ETSI EN 300 468 V1.16.1 annex D.3.
    pub(in crate::container::ts) const DVB_AC3: u8 = 0x6a;
    /// ETSI EN 300 468 V1.16.1 annex D.5.
    pub(in crate::container::ts) const DVB_EAC3: u8 = 0x7a;
    /// ETSI EN 300 468 V1.16.1 §6.2.16.
    pub(in crate::container::ts) const DVB_EXTENSION: u8 = 0x7f;
    /// The extension tag of Opus' channel configuration.
    pub(in crate::container::ts) const OPUS_EXTENSION: u8 = 0x80;
}

/// A list of descriptors: tag and body of each. Ends where a length is wrong.
#[derive(Clone, Debug)]
pub(in crate::container::ts) struct Descriptors<'a>(pub(in crate::container::ts) &'a [u8]);

impl<'a> Iterator for Descriptors<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, length], rest) = self.0.split_first_chunk::<2>()?;
        let (body, rest) = rest.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some((tag, body))
    }
}

impl<'a> Descriptors<'a> {
    /// The body of the first one of this tag.
    pub(in crate::container::ts) fn body(mut self, wanted: u8) -> Option<&'a [u8]> {
        self.find_map(|(tag, body)| (tag == wanted).then_some(body))
    }
}

/// How a stream is coded; `None` if it is nothing that this gateway takes apart.
pub(in crate::container::ts) fn stream_codec(stream: &PmtStream) -> Option<Codec> {
    Some(match stream.stream_type {
        stream_type::MPEG1_AUDIO | stream_type::MPEG2_AUDIO => Codec::Mp3,
        stream_type::AAC_ADTS | stream_type::AAC_LATM => Codec::Aac,
        stream_type::H264 => Codec::H264,
        stream_type::HEVC => Codec::Hevc,
        stream_type::AC3 => Codec::Ac3,
        stream_type::EAC3 => Codec::Eac3,
        stream_type::PRIVATE_PES => return private_codec(Descriptors(&stream.descriptors)),
        _ => return None,
    })
}

fn private_codec(mut descriptors: Descriptors<'_>) -> Option<Codec> {
    descriptors.find_map(|(tag, body)| match (tag, body) {
        (tag::DVB_AC3, _) | (tag::REGISTRATION, [b'A', b'C', b'-', b'3', ..]) => Some(Codec::Ac3),
        (tag::DVB_EAC3, _) | (tag::REGISTRATION, [b'E', b'A', b'C', b'3', ..]) => Some(Codec::Eac3),
        (tag::REGISTRATION, [b'O', b'p', b'u', b's', ..]) => Some(Codec::Opus),
        (tag::REGISTRATION, [b'H', b'E', b'V', b'C', ..]) => Some(Codec::Hevc),
        _ => None,
    })
}

/// The stream's language, if it says one (§2.6.18).
pub(in crate::container::ts) fn language_of(stream: &PmtStream) -> Option<Language> {
    let body = Descriptors(&stream.descriptors).body(tag::LANGUAGE)?;
    Language::new(*body.first_chunk()?)
}

/// Appends a descriptor; its body's end is cut off beyond 255 bytes.
pub(in crate::container::ts) fn push_descriptor(tag: u8, body: &[u8], out: &mut Vec<u8>) {
    let body = body.get(..255).unwrap_or(body);
    out.push(tag);
    out.push(u8::try_from(body.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ts::packet::Pid;

    fn stream(stream_type: u8, descriptors: &[u8]) -> PmtStream {
        PmtStream { stream_type, pid: Pid::new(0x100), descriptors: descriptors.to_vec() }
    }

    #[test]
    fn private_streams_are_known_by_their_descriptors() {
        let codec = |descriptors: &[u8]| stream_codec(&stream(0x06, descriptors));
        assert_eq!(codec(&[0x6a, 1, 0]), Some(Codec::Ac3));
        assert_eq!(codec(&[0x0a, 4, b'e', b'n', b'g', 0, 0x7a, 1, 0]), Some(Codec::Eac3));
        assert_eq!(codec(&[0x05, 4, b'O', b'p', b'u', b's']), Some(Codec::Opus));
        assert_eq!(codec(&[0x05, 4, b'K', b'L', b'V', b'A']), None);
        assert_eq!(codec(&[0x56, 5, 1, 2, 3, 4, 5]), None, "teletext");
        assert_eq!(codec(&[]), None);
    }

    #[test]
    fn types_of_no_codec_of_ours_are_none() {
        for kind in [0x00, 0x05, 0x0d, 0x15, 0x1c, 0x21, 0x42, 0x86, 0xff] {
            assert_eq!(stream_codec(&stream(kind, &[])), None, "stream type {kind:#x}");
        }
    }

    #[test]
    fn a_language_is_read_and_hostile_lengths_end_the_list() {
        let german = stream(0x0f, &[0x52, 1, 9, 0x0a, 4, b'd', b'e', b'u', 0]);
        assert_eq!(language_of(&german), Language::new(*b"deu"));
        assert_eq!(language_of(&stream(0x0f, &[0x0a, 200, b'd', b'e', b'u'])), None);
        assert_eq!(language_of(&stream(0x0f, &[0x0a, 2, b'd', b'e'])), None);
        assert_eq!(language_of(&stream(0x0f, &[0x0a, 4, 0, 1, 2, 3])), None);
    }
}
