//! The progressive stream: an init segment, then a fragment for each access unit as soon as it is there.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{Init, Output, Packager};
use crate::{
    container::{Chunk, LeftOut, Mux, Select},
    media::{AccessUnit, MediaKind, TrackId, Tracks},
};
use bytes::Bytes;
use std::rc::Rc;

/// The muxer of fMP4 over HTTP.
///
/// A reader may begin at a random-access unit of the video, or at any unit when there is only audio.
#[derive(Debug)]
pub struct Fmp4 {
    packager: Packager,
    /// `sequence_number` of the last fragment.
    sequence: u32,
    /// The init in force, as the head of chunks.
    head: Option<Rc<[Bytes]>>,
    /// Empty between calls; kept for its room.
    output: Vec<Output>,
}

impl Fmp4 {
    /// That carries what is selected.
    pub fn new(select: Select) -> Self {
        Self { packager: Packager::new(select), sequence: 0, head: None, output: Vec::new() }
    }

    /// The init that is in force.
    pub const fn init(&self) -> Option<&Rc<Init>> {
        self.packager.init()
    }

    fn chunk(&mut self, output: Output, unit: &AccessUnit) -> Option<Chunk> {
        match output {
            Output::Init(init) => {
                let follows = self.head.is_some();
                self.head = Some(Rc::new([init.bytes()]));
                // Whoever begins at the first chunk has it as the head.
                follows.then(|| Chunk { parts: vec![init.bytes()], dts: unit.dts, head: None })
            }
            Output::Sample(sample) => {
                let has_video = self.init().is_some_and(|init| init.has_video());
                let begins =
                    sample.random_access && (sample.kind == MediaKind::Video || !has_video);
                self.sequence = self.sequence.wrapping_add(1);
                Some(Chunk {
                    dts: sample.dts,
                    parts: sample.into_fragment(self.sequence),
                    head: self.head.clone().filter(|_| begins),
                })
            }
        }
    }
}

impl Mux for Fmp4 {
    fn tracks(&mut self, tracks: &Tracks) {
        self.packager.tracks(tracks);
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        let mut output = std::mem::take(&mut self.output);
        self.packager.unit(unit, &mut output);
        for output in output.drain(..) {
            out.extend(self.chunk(output, unit));
        }
        self.output = output;
    }

    fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        self.packager.left_out().collect()
    }
}
