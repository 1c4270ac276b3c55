//! From access units to a transport stream of one programme (ISO/IEC 13818-1:2019).
//!
//! Each unit becomes a PES packet of its own, and each PES packet a chunk, so that nothing waits for anything. There is no
//! timer: what the standards want at intervals (tables, clock references) goes in front of or behind the unit
//! that reaches them, and where units are further apart than that, with times in between.
//!
//! | file | what it does |
//! |---|---|
//! | `layout` | tracks to PIDs, stream types and descriptors: the tables |
//! | `pace` | the programme's clock: which PCR, when |
//! | `payload` | a unit's payload as its codec stands in TS |
//! | `packetizer` | PES packets into packets |
//!
//! AAC that ADTS cannot express, AV1, VP8 and VP9 are left out. LATM is read but never written: what it could say beyond
//! ADTS, no player of TS expects.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod layout;
mod pace;
mod packetizer;
mod payload;

#[cfg(test)]
mod tests;

use super::{
    packet::{Adaptation, Pcr, encode_adaptation_only},
    pes::encode_header,
};
use crate::{
    container::{Chunk, LeftOut, Mux, Select},
    media::{AccessUnit, MediaKind, Track, TrackId, Tracks},
};
use bytes::Bytes;
use layout::Layout;
use pace::Pace;
use packetizer::Packetizer;
use payload::Payload;
use std::rc::Rc;

/// Muxes the units of a source into MPEG-TS.
#[derive(Debug)]
pub struct TsMux {
    layout: Layout,
    pace: Pace,
    /// What a reader needs who begins with a chunk that has no tables itself.
    head: Option<Rc<[Bytes]>>,
    /// For chunks that begin with their tables.
    no_head: Rc<[Bytes]>,
    /// The next chunk begins with its tables, whatever it is.
    restarts: bool,
}

impl TsMux {
    /// With the tracks that `select` says.
    pub fn new(select: Select) -> Self {
        let (layout, pace) = (Layout::new(select), Pace::new());
        Self { layout, pace, head: None, no_head: Rc::from([]), restarts: false }
    }

    /// A file of its own begins with the next chunk, so that has the tables in front: a segment of HLS.
    pub const fn restart(&mut self) {
        self.restarts = true;
    }

    /// Whether MPEG-TS has a place for such a track.
    pub fn carries(track: &Track) -> bool {
        layout::is_carried(track)
    }

    /// Appends the tables, and remembers them for readers that begin before the next.
    fn put_tables(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        self.layout.encode(out);
        self.pace.note_tables();
        let tables = Bytes::copy_from_slice(out.get(start..).unwrap_or(&[]));
        self.head = Some(Rc::from([tables]));
    }

    /// Appends a packet with nothing but the clock.
    fn put_clock(&self, pcr: Pcr, discontinuity: bool, out: &mut Vec<u8>) {
        let Some((pid, continuity)) = self.layout.clock_pid() else { return };
        let field = Adaptation { pcr: Some(pcr), discontinuity, ..Adaptation::default() };
        encode_adaptation_only(pid, continuity.wrapping_sub(1) & 0x0f, &field, out);
    }
}

impl Mux for TsMux {
    fn tracks(&mut self, tracks: &Tracks) {
        self.layout.update(tracks);
    }

    fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        self.layout.left_out().to_vec()
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        let Some(index) = self.layout.place(unit) else { return };
        let Some(output) = self.layout.output(index) else { return };
        let with_sets = unit.random_access || output.has_new_config(unit);
        let Some(payload) = Payload::new(unit, with_sets) else { return };
        let (kind, stream_id) = (output.kind(), output.stream_id());
        let opens = unit.random_access && (kind == MediaKind::Video || !self.layout.has_video());

        let mut bytes = Vec::new();
        self.pace.arrive(unit.dts, self.layout.max_step());
        let is_due = std::mem::take(&mut self.restarts);
        let has_tables = is_due || self.layout.is_fresh() || (opens && kind == MediaKind::Video);
        if has_tables {
            self.put_tables(&mut bytes);
        }
        let head = opens.then(|| match &self.head {
            Some(head) if !has_tables => Rc::clone(head),
            _ => Rc::clone(&self.no_head),
        });
        while let Some(step) = self.pace.step_before() {
            self.put_clock(step.pcr, step.discontinuity, &mut bytes);
            if self.pace.tables_are_due() {
                self.put_tables(&mut bytes);
            }
        }
        let clock = if self.layout.is_clock(index) { self.pace.step_at() } else { None };
        let adaptation = Adaptation {
            random_access: opens,
            discontinuity: clock.is_some_and(|step| step.discontinuity),
            pcr: clock.map(|step| step.pcr),
            ..Adaptation::default()
        };
        let (pts, dts) = (pace::coded(unit.pts.max(unit.dts)), pace::coded(unit.dts));
        let mut header = Vec::with_capacity(19);
        encode_header(stream_id, pts, dts, payload.len(), &mut header);
        if let Some(output) = self.layout.output_mut(index) {
            output.note(unit);
            let len = header.len() + payload.len();
            let mut packets =
                Packetizer::new(output.pid, &mut output.continuity, adaptation, len, &mut bytes);
            packets.put(&header);
            payload.write(|part| packets.put(part));
        }
        // Behind the unit, where the clock has just been told: an interval that a receiver measures is that of the clock.
        if clock.is_some() && self.pace.tables_are_due() {
            self.put_tables(&mut bytes);
        }
        // Chunks are kept: room that is not used would be, too.
        bytes.shrink_to_fit();
        out.push(Chunk { parts: vec![Bytes::from(bytes)], dts: unit.dts, head });
    }
}
