//! A source that arrived as MPEG-TS goes out as it came: all PIDs, splice information, subtitles, second audio and all.
//!
//! [`Passthrough`] groups the packets that a [`Demuxer`](super::Demuxer) saw into chunks for everybody; [`Entry`] lets one reader
//! in, and is done after some seconds. Times are never touched. What a reader must not miss (tables) or not see (the rest
//! of units whose front it never got) is put right for it, and where the stream does not go on from what it saw last,
//! `discontinuity_indicator` says so (ISO/IEC 13818-1:2019 §2.4.3.5).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    demux::{PacketInfo, PacketKind},
    packet::{
        Adaptation, PACKET_LEN, Packet, Pid, encode_adaptation_only, set_continuity,
        set_discontinuity,
    },
};
use crate::{
    container::Chunk,
    media::{Span, Timestamp},
};
use bytes::Bytes;
use std::rc::Rc;

/// Groups a source's packets into chunks. Serves all readers.
#[derive(Debug, Default)]
pub struct Passthrough {
    /// The chunk in the making.
    bytes: Vec<u8>,
    head: Option<Rc<[Bytes]>>,
    /// The last decoding time that was told.
    dts: Timestamp,
    pat: Table,
    pmt: Table,
    /// Marks the first packets behind a discontinuity.
    marks: Option<Entry>,
}

/// Lets one reader into a stream of packets, or in again at another place.
///
/// The tables first: what [`Chunk::head`] holds goes through [`admit`](Self::admit) like the chunks behind it.
#[derive(Debug)]
pub struct Entry {
    /// By PID: a bit each for those that have begun.
    begun: Vec<u64>,
    /// PIDs begin at their first unit start.
    waits: bool,
    /// The first packet of each PID says that it does not follow the last one.
    marks: bool,
    last: Option<Timestamp>,
    /// How long the stream has gone on. A jump of its times is no time.
    elapsed: Span,
    is_over: bool,
}

/// The last whole table of a PID.
#[derive(Debug, Default)]
struct Table {
    coming: Vec<u8>,
    whole: Vec<u8>,
    /// The counter of the last packet.
    continuity: u8,
}

impl Passthrough {
    /// Takes a packet. Appends the chunk before it to `out`, if readers may begin with this one.
    pub fn packet(&mut self, packet: &[u8; PACKET_LEN], info: &PacketInfo, out: &mut Vec<Chunk>) {
        if let Some(dts) = info.dts {
            self.dts = dts;
        }
        match info.kind {
            PacketKind::Pat { whole } => self.pat.push(packet, whole),
            PacketKind::Pmt { whole } => self.pmt.push(packet, whole),
            _ => {}
        }
        if info.random_access {
            self.flush(out);
            self.head = self.tables();
        }
        match &mut self.marks {
            Some(marks) => marks.pass(packet, &mut self.bytes),
            None => self.bytes.extend_from_slice(packet),
        }
        if self.marks.as_mut().is_some_and(|marks| marks.is_over_at(self.dts)) {
            self.marks = None;
        }
    }

    /// Appends what there is as a chunk. To be called when nothing more is at hand: packets wait for nobody.
    pub fn flush(&mut self, out: &mut Vec<Chunk>) {
        if self.bytes.is_empty() {
            return;
        }
        let room = self.bytes.len();
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        let parts = vec![Bytes::from(bytes)];
        out.push(Chunk { parts, dts: self.dts, head: self.head.take() });
    }

    /// The source's times jump: what comes does not follow what came.
    pub fn jump(&mut self) {
        self.marks = Some(Entry::new(false, true));
    }

    /// Another connection of the publisher: as a jump, and units begin anew.
    pub fn reconnect(&mut self) {
        self.marks = Some(Entry::new(true, true));
        self.pat = Table::default();
        self.pmt = Table::default();
    }

    /// PAT and PMT as they were last, numbered so that the next ones follow them.
    fn tables(&self) -> Option<Rc<[Bytes]>> {
        let both = [self.pat.numbered()?, self.pmt.numbered()?].concat();
        Some(Rc::from([Bytes::from(both)]))
    }
}

impl Table {
    fn push(&mut self, packet: &[u8; PACKET_LEN], whole: bool) {
        let view = Packet::new(packet);
        self.continuity = view.continuity();
        if view.is_unit_start() {
            self.coming.clear();
        }
        if self.coming.len() < MAX_TABLE {
            self.coming.extend_from_slice(packet);
        }
        if whole {
            self.whole.clone_from(&self.coming);
        }
    }

    fn numbered(&self) -> Option<Vec<u8>> {
        (!self.whole.is_empty()).then(|| renumber(&self.whole, self.continuity.wrapping_add(1)))
    }
}

impl Entry {
    /// For a reader that has seen nothing yet.
    pub fn join() -> Self {
        Self::new(true, false)
    }

    /// For a reader that goes on elsewhere than where it was.
    pub fn skip() -> Self {
        Self::new(true, true)
    }

    fn new(waits: bool, marks: bool) -> Self {
        Self {
            begun: vec![0; Pid::COUNT / 64],
            waits,
            marks,
            last: None,
            elapsed: Span::ZERO,
            is_over: false,
        }
    }

    /// What the reader gets of these packets, which are due at `dts`: themselves, if all of them are for it.
    pub fn admit(&mut self, packets: &Bytes, dts: Timestamp) -> Bytes {
        self.split(packets, dts).0
    }

    /// As [`Self::admit`], and besides the packets that are not for the reader: the ends of units whose beginnings came before
    /// it, which belong to whoever has those.
    pub fn split(&mut self, packets: &Bytes, dts: Timestamp) -> (Bytes, Bytes) {
        if self.is_over {
            return (packets.clone(), Bytes::new());
        }
        let mut out = Vec::with_capacity(packets.len());
        let mut rest = Vec::new();
        let (whole, _) = packets.as_chunks::<PACKET_LEN>();
        for packet in whole {
            let before = out.len();
            self.pass(packet, &mut out);
            if out.len() == before {
                rest.extend_from_slice(packet);
            }
        }
        self.is_over = self.is_over_at(dts);
        let admitted = if out == packets[..] { packets.clone() } else { Bytes::from(out) };
        (admitted, Bytes::from(rest))
    }

    /// Whether all that follows goes to the reader as it is, so that this value is of no more use.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    fn pass(&mut self, bytes: &[u8; PACKET_LEN], out: &mut Vec<u8>) {
        let packet = Packet::new(bytes);
        let pid = packet.pid();
        if pid == Pid::NULL || self.has_begun(pid) {
            out.extend_from_slice(bytes);
            return;
        }
        // A packet with only an adaptation field is of no unit.
        if self.waits && packet.has_payload() && !packet.is_unit_start() {
            return;
        }
        self.begin(pid);
        let mut bytes = *bytes;
        if self.marks && !set_discontinuity(&mut bytes) {
            // There is no room for the flag: a packet of its own in front. Its counter stands still (§2.4.3.3).
            let field = Adaptation { discontinuity: true, ..Adaptation::default() };
            let before = packet.continuity().wrapping_sub(1) & 0x0f;
            encode_adaptation_only(pid, before, &field, out);
        }
        out.extend_from_slice(&bytes);
    }

    fn has_begun(&self, pid: Pid) -> bool {
        let word = self.begun.get(pid.index() / 64).copied().unwrap_or(u64::MAX);
        word & (1 << (pid.index() % 64)) != 0
    }

    fn begin(&mut self, pid: Pid) {
        if let Some(word) = self.begun.get_mut(pid.index() / 64) {
            *word |= 1 << (pid.index() % 64);
        }
    }

    fn is_over_at(&mut self, dts: Timestamp) -> bool {
        let step = dts - self.last.replace(dts).unwrap_or(dts);
        if step > Span::ZERO && step < MAX_STEP {
            self.elapsed = self.elapsed + step;
        }
        self.elapsed >= ENTRY
    }
}

/// The same packets, all of one PID or each PID's in a row, with counters such that `next` follows the last of them.
///
/// What is not whole packets at the end is left out.
pub fn renumber(packets: &[u8], next: u8) -> Vec<u8> {
    let (whole, _) = packets.as_chunks::<PACKET_LEN>();
    let mut whole = whole.to_vec();
    let mut continuity = next;
    for packet in whole.iter_mut().rev() {
        if Packet::new(packet).has_payload() {
            continuity = continuity.wrapping_sub(1);
        }
        set_continuity(packet, continuity);
    }
    whole.into_flattened()
}

/// PIDs that have not begun by then are so rare that the front of a lost unit is all that they may cost.
const ENTRY: Span = Span::from_ms(10_000);

/// Longer steps are jumps, or gaps.
const MAX_STEP: Span = Span::from_ms(1_000);

/// A table of eight sections.
const MAX_TABLE: usize = 48 * PACKET_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, start: bool, continuity: u8) -> [u8; PACKET_LEN] {
        let mut bytes = [0xaa; PACKET_LEN];
        let [high, low] = (pid | u16::from(start) << 14).to_be_bytes();
        bytes[..4].copy_from_slice(&[0x47, high, low, 0x10 | continuity]);
        bytes
    }

    fn info(pid: u16, kind: PacketKind, random_access: bool) -> PacketInfo {
        let unit_start = true;
        PacketInfo { pid: Pid::new(pid), kind, unit_start, random_access, dts: None }
    }

    fn numbers(bytes: &[u8]) -> Vec<(u16, u8, bool)> {
        let view = |packet: &[u8]| {
            let packet: [u8; PACKET_LEN] = packet.try_into().unwrap();
            let packet = Packet::new(&packet);
            let marked = packet.adaptation().is_some_and(|field| field.discontinuity);
            (packet.pid().value(), packet.continuity(), marked)
        };
        bytes.chunks(PACKET_LEN).map(view).collect()
    }

    #[test]
    fn pids_begin_at_their_first_unit_start() {
        let stream = [
            packet(0x101, false, 3),
            packet(0x100, true, 7),
            packet(0x100, false, 8),
            packet(0x101, false, 4),
            packet(0x101, true, 5),
            packet(0x101, false, 6),
            packet(0x1fff, false, 0),
        ];
        let stream = Bytes::from(stream.concat());
        let seen = Entry::join().admit(&stream, Timestamp::ZERO);
        let expected = [(0x100, 7), (0x100, 8), (0x101, 5), (0x101, 6), (0x1fff, 0)];
        assert_eq!(numbers(&seen), expected.map(|(pid, count)| (pid, count, false)));
    }

    #[test]
    fn what_is_not_for_a_reader_belongs_to_the_one_before() {
        let stream = [
            packet(0x101, false, 3),
            packet(0x100, true, 7),
            packet(0x101, false, 4),
            packet(0x101, true, 5),
            packet(0x101, false, 6),
        ];
        let stream = Bytes::from(stream.concat());
        let mut entry = Entry::join();
        let (own, before) = entry.split(&stream, Timestamp::ZERO);
        assert_eq!(numbers(&own).iter().map(|n| n.1).collect::<Vec<_>>(), [7, 5, 6]);
        assert_eq!(numbers(&before).iter().map(|n| n.1).collect::<Vec<_>>(), [3, 4]);
        let (own, before) = entry.split(&stream, Timestamp::ZERO);
        assert_eq!((own, before), (stream, Bytes::new()), "all have begun");
    }

    #[test]
    fn a_skip_is_said_once_on_each_pid() {
        let mut with_field = packet(0x101, true, 9);
        with_field[3] = 0x39;
        with_field[4..6].copy_from_slice(&[7, 0x10]);
        let stream =
            [packet(0x100, true, 7), with_field, packet(0x100, false, 8), packet(0x101, true, 10)];
        let stream = Bytes::from(stream.concat());
        let seen = Entry::skip().admit(&stream, Timestamp::ZERO);
        // Where there is no adaptation field the flag is in a packet before, which counts nothing.
        let expected = [
            (0x100, 6, true),
            (0x100, 7, false),
            (0x101, 9, true),
            (0x100, 8, false),
            (0x101, 10, false),
        ];
        assert_eq!(numbers(&seen), expected);
    }

    #[test]
    fn an_entry_ends_and_costs_nothing_from_then_on() {
        let mut entry = Entry::join();
        let stream = Bytes::from(packet(0x100, true, 0).to_vec());
        let first = entry.admit(&stream, Timestamp::ZERO);
        assert_eq!(first.as_ptr(), stream.as_ptr(), "nothing to change, nothing copied");
        assert!(!entry.is_over());
        // A jump is no time that passes.
        for ms in (500..=10_000).step_by(500).map(|ms| ms + 3_600_000) {
            assert!(!entry.is_over(), "at {ms}");
            entry.admit(&stream, Timestamp::from_ms(ms));
        }
        entry.admit(&stream, Timestamp::from_ms(3_610_500));
        assert!(entry.is_over());
        let late = Bytes::from(packet(0x200, false, 0).to_vec());
        assert_eq!(entry.admit(&late, Timestamp::ZERO), late);
    }

    #[test]
    fn tables_at_the_head_of_a_chunk_are_followed_by_the_next_ones() {
        let mut all = Passthrough::default();
        let mut out = Vec::new();
        let (pat, pmt) = (PacketKind::Pat { whole: true }, PacketKind::Pmt { whole: true });
        let other = PacketKind::Other;
        all.packet(&packet(0, true, 4), &info(0, pat, false), &mut out);
        all.packet(&packet(0x1000, true, 9), &info(0x1000, pmt, false), &mut out);
        // A table that was not whole moves the counter on.
        all.packet(
            &packet(0, true, 5),
            &info(0, PacketKind::Pat { whole: false }, false),
            &mut out,
        );
        all.packet(&packet(0x100, true, 1), &info(0x100, other, true), &mut out);
        all.packet(&packet(0x100, false, 2), &info(0x100, other, false), &mut out);
        all.flush(&mut out);
        assert_eq!(
            out.iter().map(Chunk::len).collect::<Vec<_>>(),
            [3 * PACKET_LEN, 2 * PACKET_LEN]
        );
        assert!(out[0].head.is_none());
        let head = out[1].head.as_ref().unwrap().concat();
        assert_eq!(numbers(&head), [(0, 5, false), (0x1000, 9, false)]);
    }

    #[test]
    fn nobody_begins_where_there_are_no_tables_yet() {
        let mut all = Passthrough::default();
        let mut out = Vec::new();
        all.packet(&packet(0x100, true, 1), &info(0x100, PacketKind::Other, true), &mut out);
        all.flush(&mut out);
        assert!(out[0].head.is_none());
    }

    #[test]
    fn another_connection_is_marked_for_everybody() {
        let mut all = Passthrough::default();
        let mut out = Vec::new();
        let other = info(0x100, PacketKind::Other, false);
        all.packet(&packet(0x100, false, 1), &other, &mut out);
        all.reconnect();
        for (start, continuity) in [(false, 12), (true, 13), (false, 14)] {
            all.packet(&packet(0x100, start, continuity), &other, &mut out);
        }
        all.flush(&mut out);
        let seen = numbers(&out.concat_all());
        assert_eq!(
            seen,
            [1, 12, 13, 14].map(|n| (0x100, n, n == 12)),
            "the rest of a unit is left out"
        );
    }

    #[test]
    fn a_jump_is_marked_on_each_pid_whenever_its_first_packet_comes() {
        let mut all = Passthrough::default();
        let mut out = Vec::new();
        let at = |pid: u16, ms: i64| PacketInfo {
            dts: Some(Timestamp::from_ms(ms)),
            ..info(pid, PacketKind::Other, false)
        };
        all.packet(&packet(0x100, true, 0), &at(0x100, 5_000_000), &mut out);
        all.jump();
        all.packet(&packet(0x100, false, 1), &info(0x100, PacketKind::Other, false), &mut out);
        all.packet(&packet(0x101, true, 5), &at(0x101, 1_000), &mut out);
        all.packet(&packet(0x102, false, 7), &at(0x102, 1_020), &mut out);
        all.flush(&mut out);
        let marked: Vec<u16> =
            numbers(&out.concat_all()).iter().filter(|seen| seen.2).map(|seen| seen.0).collect();
        assert_eq!(marked, [0x100, 0x101, 0x102]);
    }

    trait ConcatAll {
        fn concat_all(&self) -> Vec<u8>;
    }

    impl ConcatAll for Vec<Chunk> {
        fn concat_all(&self) -> Vec<u8> {
            self.iter().flat_map(|chunk| chunk.parts.concat()).collect()
        }
    }

    #[test]
    fn renumbered_packets_lead_to_the_next() {
        let packets = [packet(0, true, 0), packet(0, false, 1), packet(0, false, 2)].concat();
        let counters: Vec<u8> = numbers(&renumber(&packets, 1)).iter().map(|seen| seen.1).collect();
        assert_eq!(counters, [14, 15, 0]);
    }
}
