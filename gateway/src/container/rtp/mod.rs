//! RTP payloads: what an access unit becomes between the headers of RTP packets; and what receivers tell of them.
//!
//! Headers, times and encryption differ from receiver to receiver and are left to the transport; the payloads are the same
//! for all, so that a unit is taken apart once and its pieces are shared.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod av1;
pub mod feedback;
mod h26x;
mod vpx;

pub use vpx::Numbers;

use crate::media::{AccessUnit, CodecConfig};
use bytes::Bytes;
use std::sync::Arc;

/// The payload of one RTP packet. An `Arc`, since a transport keeps it until nobody can ask for it again.
pub type Payload = Arc<[u8]>;

/// Takes units apart.
#[derive(Clone, Debug)]
pub struct Packetizer {
    /// The most bytes of a payload.
    limit: usize,
    numbers: Numbers,
    is_in_order: bool,
}

/// With fewer bytes than this, the headers within payloads would be most of them.
const LIMIT_MIN: usize = 64;

impl Packetizer {
    /// For payloads of at most `limit` bytes, and not less than 64.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(LIMIT_MIN), numbers: Numbers::default(), is_in_order: false }
    }

    /// From now on the units are only those that are shown in the order in which they come: decoders are told to wait for no
    /// others.
    pub const fn expect_in_order(&mut self) {
        self.is_in_order = true;
    }

    /// What `unit` becomes, in order. A picture where decoding may begin brings its parameter sets with it. Nothing for
    /// what is malformed, and for codecs without an RTP payload format that browsers know.
    pub fn packetize(&mut self, unit: &AccessUnit) -> Vec<Payload> {
        let limit = self.limit;
        match &*unit.config {
            CodecConfig::H264(config) => {
                let sets: Option<Vec<Bytes>> = unit.random_access.then(|| {
                    if self.is_in_order {
                        config.parameter_sets_in_order().collect()
                    } else {
                        config.parameter_sets().cloned().collect()
                    }
                });
                let sets = sets.as_ref().map(|sets| sets.iter());
                h26x::packetize(h26x::Header::H264, sets, &unit.payload, limit)
            }
            CodecConfig::Hevc(config) => {
                let sets = unit.random_access.then(|| config.parameter_sets());
                h26x::packetize(h26x::Header::Hevc, sets, &unit.payload, limit)
            }
            CodecConfig::Av1(config) => {
                let header = unit.random_access.then(|| config.sequence_header());
                av1::packetize(header.as_deref(), &unit.payload, limit)
            }
            CodecConfig::Vp8(_) => vpx::vp8(&mut self.numbers, unit, limit),
            CodecConfig::Vp9(_) => vpx::vp9(&mut self.numbers, unit, limit),
            CodecConfig::Opus(_) => vec![Payload::from(&*unit.payload)],
            CodecConfig::Aac(_)
            | CodecConfig::Mp3(_)
            | CodecConfig::Ac3(_)
            | CodecConfig::Eac3(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
