//! The transport stream demuxer behind its checksums and counters: sections and PES packets in packets that are right.
//!
//! The input is a script of records, so that a change of one byte reaches the parsers of tables, PES packets and
//! codecs instead of ending at a CRC. The first byte decides which muxer gets the units. A record is a head of one byte and a piece after its length in two bytes:
//!
//! | bits of the head | |
//! |---|---|
//! | 0–2 | where to: 0 the PAT, 1 the map, 2 to 7 the PIDs 0x100 to 0x105 |
//! | 3 | the piece goes on with what this PID had before: no unit starts |
//! | 4 | for sections: the CRC is left as it is. For others: the first packet is only half full |
//! | 5 | a packet of this PID was lost before |
//! | 6 | a clock reference in front, whose time follows: six bytes before the piece's length |
//! | 7 | the discontinuity is announced |

use crate::{outputs::Outputs, script::Script, ts::assert_counts_rise};
use thalweg_gateway::{
    container::{
        Sink,
        ts::{Demuxer, PACKET_LEN, PacketInfo, Programme, TsSink},
    },
    media::{AccessUnit, Tracks},
};

/// Where the map is, as the seeds' PAT says.
const MAP_PID: u16 = 0x1000;

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let mut outputs = Outputs::new(script.byte());
    let packets = packets(script);
    // In messages of seven packets, as SRT has them, and cut anywhere.
    demux(packets.chunks(7 * PACKET_LEN), &mut outputs);
    let mut units = Units::default();
    demux(packets.chunks(1_000), &mut units);
    assert!(outputs.units == units.0, "what is found depends on how it is pushed");
    outputs.finish(input.len());
}

fn demux<'a>(pushes: impl Iterator<Item = &'a [u8]>, sink: &mut impl TsSink) {
    let mut demuxer = Demuxer::new(Programme::First);
    let mut before = *demuxer.stats();
    for push in pushes {
        demuxer.push(push, sink);
        assert_counts_rise(&before, demuxer.stats());
        before = *demuxer.stats();
    }
    demuxer.finish(sink);
}

/// Nothing but the units.
#[derive(Default)]
struct Units(Vec<AccessUnit>);

impl Sink for Units {
    fn tracks(&mut self, _: &Tracks) {}

    fn unit(&mut self, unit: AccessUnit) {
        self.0.push(unit);
    }
}

impl TsSink for Units {
    fn packet(&mut self, _: &[u8; PACKET_LEN], _: &PacketInfo) {}
}

/// The packets that a script stands for.
fn packets(mut script: Script<'_>) -> Vec<u8> {
    let mut counters = [0_u8; 8];
    let mut out = Vec::new();
    while !script.is_over() && out.len() < OUT_MAX {
        let head = script.byte();
        let to = head & 7;
        let pcr = (head & 0x40 != 0).then(|| script.piece(6));
        let piece = script.sized_piece();
        let Some(counter) = counters.get_mut(usize::from(to)) else { continue };
        if head & 0x20 != 0 {
            *counter = counter.wrapping_add(1);
        }
        let packet = Packet {
            pid: match to {
                0 => 0,
                1 => MAP_PID,
                _ => 0x100 + u16::from(to - 2),
            },
            starts: head & 8 == 0,
            is_halved: to >= 2 && head & 0x10 != 0,
            is_pes: to >= 2,
            pcr,
            is_discontinuous: head & 0x80 != 0,
        };
        if to < 2 {
            let mut section = piece.to_vec();
            if head & 0x10 == 0 {
                close_section(&mut section);
            }
            if packet.starts {
                section.insert(0, 0);
            }
            packet.put(&section, counter, &mut out);
        } else {
            packet.put(piece, counter, &mut out);
        }
    }
    out
}

/// How much a script may become: each record is a packet at least.
const OUT_MAX: usize = 256 << 10;

/// Makes length and CRC of a section right (ISO/IEC 13818-1:2019 §2.4.4.11).
fn close_section(section: &mut Vec<u8>) {
    section.truncate(1021);
    let len = section.len() + 1;
    if let [_, high, low, ..] = &mut section[..] {
        *high = *high & 0xf0 | (len >> 8) as u8;
        *low = len as u8;
    }
    let crc = section.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    });
    section.extend_from_slice(&crc.to_be_bytes());
}

/// What the packets of one record have in common.
struct Packet<'a> {
    pid: u16,
    starts: bool,
    /// The first packet is only half full, and stuffed.
    is_halved: bool,
    /// Stuffing is in an adaptation field, not behind the payload.
    is_pes: bool,
    pcr: Option<&'a [u8]>,
    is_discontinuous: bool,
}

impl Packet<'_> {
    /// Appends the packets of `payload` (§2.4.3.2); at least one.
    fn put(&self, payload: &[u8], counter: &mut u8, out: &mut Vec<u8>) {
        let mut rest = payload;
        let mut is_first = true;
        while is_first || !rest.is_empty() {
            let mut field = if is_first { self.field() } else { Vec::new() };
            let room = PACKET_LEN - 4 - if field.is_empty() { 0 } else { 1 + field.len() };
            let usable = if is_first && self.is_halved { room / 2 } else { room };
            let (now, later) = rest.split_at(rest.len().min(usable));
            let spare = room - now.len();
            let has_field = !field.is_empty() || self.is_pes && spare > 0;
            if self.is_pes && field.is_empty() && spare > 1 {
                // Its length, no flags, stuffing.
                field.push(0);
                field.resize(spare - 1, 0xff);
            } else if self.is_pes && !field.is_empty() {
                field.resize(field.len() + spare, 0xff);
            }
            let end = out.len() + PACKET_LEN;
            let [high, low] = self.pid.to_be_bytes();
            let unit_start = if is_first && self.starts { 0x40 } else { 0 };
            let control = if has_field { 0x30 } else { 0x10 };
            out.extend_from_slice(&[0x47, unit_start | high, low, control | *counter & 0x0f]);
            *counter = counter.wrapping_add(1);
            if has_field {
                out.push(u8::try_from(field.len()).expect("a field fits a packet"));
                out.extend_from_slice(&field);
            }
            out.extend_from_slice(now);
            out.resize(end, 0xff);
            (rest, is_first) = (later, false);
        }
    }

    /// The adaptation field without its length; empty when there is nothing to say (§2.4.3.4).
    fn field(&self) -> Vec<u8> {
        let mut field = Vec::new();
        if self.is_discontinuous || self.pcr.is_some() {
            field.push(u8::from(self.is_discontinuous) << 7 | u8::from(self.pcr.is_some()) << 4);
        }
        if let Some(pcr) = self.pcr {
            field.extend_from_slice(pcr);
            field.resize(7, 0);
        }
        field
    }
}
