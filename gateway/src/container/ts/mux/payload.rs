//! A unit's payload as its codec stands in a PES packet.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::media::{
    AccessUnit, CodecConfig,
    nal::{LengthPrefixed, LengthSize, Syntax},
    opus::ControlHeader,
};
use bytes::Bytes;

/// What goes into the PES packet of one unit.
#[derive(Debug)]
pub(super) struct Payload<'a> {
    /// A NAL unit each, to be put behind start codes: delimiter and parameter sets.
    sets: Vec<&'a [u8]>,
    /// Before the payload: headers of audio frames.
    head: Vec<u8>,
    body: Body<'a>,
    len: usize,
}

#[derive(Debug)]
enum Body<'a> {
    /// NAL units after their lengths.
    Nals(&'a [u8]),
    /// As it is.
    Raw(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// `None` if the unit is nothing that TS can carry. With parameter sets, if the codec has any and `with_sets` says so.
    pub(super) fn new(unit: &'a AccessUnit, with_sets: bool) -> Option<Self> {
        let raw = Body::Raw(&unit.payload);
        let (sets, head, body) = match &*unit.config {
            CodecConfig::H264(config) => {
                let sets = sets(Syntax::H264, config.parameter_sets(), with_sets);
                (sets, Vec::new(), Body::Nals(&unit.payload))
            }
            CodecConfig::Hevc(config) => {
                let sets = sets(Syntax::Hevc, config.parameter_sets(), with_sets);
                (sets, Vec::new(), Body::Nals(&unit.payload))
            }
            CodecConfig::Aac(config) => {
                let adts = config.adts(&unit.payload)?;
                (Vec::new(), [&adts.header[..], &adts.layout].concat(), raw)
            }
            CodecConfig::Opus(_) => {
                (Vec::new(), ControlHeader::encode(unit.payload.len(), 0, 0), raw)
            }
            CodecConfig::Mp3(_) | CodecConfig::Ac3(_) | CodecConfig::Eac3(_) => {
                (Vec::new(), Vec::new(), raw)
            }
            CodecConfig::Av1(_) | CodecConfig::Vp8(_) | CodecConfig::Vp9(_) => return None,
        };
        let mut payload = Self { sets, head, body, len: 0 };
        let mut len = 0;
        payload.write(|part| len += part.len());
        payload.len = len;
        Some(payload)
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of it, part by part. Behind a NAL unit whose length is wrong nothing follows.
    pub(super) fn write(&self, mut put: impl FnMut(&[u8])) {
        for set in &self.sets {
            put(START_CODE);
            put(set);
        }
        put(&self.head);
        match self.body {
            Body::Raw(raw) => put(raw),
            Body::Nals(payload) => {
                for nal in LengthPrefixed::new(payload, LengthSize::Four).map_while(Result::ok) {
                    put(START_CODE);
                    put(nal);
                }
            }
        }
    }
}

/// What stands before the slices: the delimiter, which TS demands (ISO/IEC 13818-1:2019 §2.14.1 and §2.17.1), then the
/// parameter sets.
fn sets<'a>(
    syntax: Syntax,
    parameters: impl Iterator<Item = &'a Bytes>,
    with_sets: bool,
) -> Vec<&'a [u8]> {
    let delimiter = std::iter::once(syntax.delimiter());
    delimiter
        .chain(parameters.take(if with_sets { usize::MAX } else { 0 }).map(|set| &set[..]))
        .collect()
}

/// With its `zero_byte`, which the first NAL unit of a unit and parameter sets must have, and others may
/// (H.264 (08/2021) §B.1.2).
const START_CODE: &[u8] = &[0, 0, 0, 1];
