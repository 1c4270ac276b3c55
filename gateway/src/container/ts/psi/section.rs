//! Sections: tables cut into pieces of up to 1024 bytes, laid into the payloads of packets one after the other
//! (ISO/IEC 13818-1:2019 §2.4.4.1 and §2.4.4.11, CRC in annex A).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use crate::container::ts::packet::{HEADER_LEN, Header, PACKET_LEN, Pid};

/// Collects the sections of one PID.
#[derive(Debug, Default)]
pub(in crate::container::ts) struct Sections {
    /// The front of a section that is not whole yet.
    held: Vec<u8>,
    /// Whether `held` is being filled; if not, everything up to the next start is passed over.
    in_section: bool,
    /// Sections that were whole but wrong.
    pub(in crate::container::ts) errors: u64,
}

impl Sections {
    /// Takes the payload of the next packet. Calls `found` with each whole section whose CRC is right.
    pub(in crate::container::ts) fn push(
        &mut self,
        unit_start: bool,
        payload: &[u8],
        mut found: impl FnMut(&[u8]),
    ) {
        if !unit_start {
            return self.collect(payload, &mut found);
        }
        // §2.4.4.2: the pointer counts what still belongs to the section before.
        let Some((&pointer, rest)) = payload.split_first() else { return };
        let Some((before, from)) = rest.split_at_checked(usize::from(pointer)) else {
            self.reset();
            self.errors += 1;
            return;
        };
        self.collect(before, &mut found);
        self.held.clear();
        self.in_section = true;
        self.collect(from, &mut found);
    }

    /// Packets are missing: what is not whole never will be.
    pub(in crate::container::ts) fn reset(&mut self) {
        self.held.clear();
        self.in_section = false;
    }

    fn collect(&mut self, mut bytes: &[u8], found: &mut impl FnMut(&[u8])) {
        while self.in_section && !bytes.is_empty() {
            // §2.4.4.1: behind the last section a payload is stuffed with 0xff, which is no table_id.
            if self.held.is_empty() && bytes.first() == Some(&0xff) {
                self.in_section = false;
                return;
            }
            let wanted = self.wanted();
            let take = wanted.saturating_sub(self.held.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(take);
            self.held.extend_from_slice(taken);
            bytes = rest;
            if self.held.len() >= SECTION_HEAD && self.held.len() == self.wanted() {
                // CRC_32 leaves no remainder; sections without one (§2.4.4.11) are not among ours.
                if crc32(&self.held) == 0 && self.held.len() > SECTION_HEAD {
                    found(&self.held);
                } else {
                    self.errors += 1;
                }
                self.held.clear();
            }
        }
    }

    /// How long the section is, as far as is known: its head first. At most 4098.
    fn wanted(&self) -> usize {
        match *self.held.as_slice() {
            [_, high, low, ..] => SECTION_HEAD + (usize::from(high & 0x0f) << 8 | usize::from(low)),
            _ => SECTION_HEAD,
        }
    }
}

/// Up to and with `section_length`.
const SECTION_HEAD: usize = 3;

/// A section of the long form around `body`, current, the only one of its table (§2.4.4.4, §2.4.4.9).
///
/// # Panics
///
/// If `body` is longer than the 1012 bytes that the tables of this crate may have.
pub(in crate::container::ts) fn encode_section(
    table_id: u8,
    extension: u16,
    version: u8,
    body: &[u8],
) -> Vec<u8> {
    assert!(body.len() <= MAX_BODY, "tables are kept to one section");
    let length = u16::try_from(body.len() + 9).expect("bounded above");
    let mut section = vec![table_id];
    section.extend_from_slice(&(0xb000 | length).to_be_bytes());
    section.extend_from_slice(&extension.to_be_bytes());
    section.extend_from_slice(&[0xc1 | ((version & 0x1f) << 1), 0, 0]);
    section.extend_from_slice(body);
    let crc = crc32(&section);
    section.extend_from_slice(&crc.to_be_bytes());
    section
}

/// §2.4.4.4 and §2.4.4.9: `section_length` is at most 1021.
pub(in crate::container::ts) const MAX_BODY: usize = 1021 - 9;

/// Appends the packets that carry `section`, and counts `continuity`, the counter of the next packet, on.
pub(in crate::container::ts) fn packetize(
    pid: Pid,
    section: &[u8],
    continuity: &mut u8,
    out: &mut Vec<u8>,
) {
    let mut rest = section;
    let mut unit_start = true;
    while unit_start || !rest.is_empty() {
        let end = out.len() + PACKET_LEN;
        let header = Header {
            pid,
            unit_start,
            has_adaptation: false,
            has_payload: true,
            continuity: *continuity,
        };
        *continuity = (*continuity + 1) & 0x0f;
        out.extend_from_slice(&header.encode());
        let mut room = PACKET_LEN - HEADER_LEN;
        if unit_start {
            out.push(0);
            room -= 1;
        }
        let (now, later) = rest.split_at(room.min(rest.len()));
        out.extend_from_slice(now);
        out.resize(end, 0xff);
        (rest, unit_start) = (later, false);
    }
}

/// Annex A: polynomial 0x04C11DB7, all ones to begin with, most significant bit first, nothing inverted at the end.
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        let index = (crc >> 24) ^ u32::from(byte);
        (crc << 8) ^ CRC_TABLE.get(index as usize & 0xff).copied().unwrap_or(0)
    })
}

const CRC_TABLE: [u32; 256] = crc_table();

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks it")]
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0_u8;
    loop {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000_0000 != 0 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[index as usize] = crc;
        if index == u8::MAX {
            return table;
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ts::packet::Packet;

    fn collected(packets: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut sections = Sections::default();
        let mut found = Vec::new();
        for packet in packets.chunks(PACKET_LEN) {
            let packet = Packet::new(packet.try_into().unwrap());
            sections.push(packet.is_unit_start(), packet.payload(), |section| {
                found.push(section.to_vec());
            });
        }
        (found, sections.errors)
    }

    #[test]
    fn the_crc_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7, "CRC-32/MPEG-2 of the check string");
    }

    #[test]
    fn sections_of_every_length_come_back() {
        for length in 0..=MAX_BODY {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let section = encode_section(2, 7, 3, &body);
            let mut packets = Vec::new();
            let mut continuity = 14;
            packetize(Pid::new(0x30), &section, &mut continuity, &mut packets);
            assert_eq!(packets.len() % PACKET_LEN, 0);
            assert_eq!(usize::from(continuity), (14 + packets.len() / PACKET_LEN) % 16);
            assert_eq!(collected(&packets), (vec![section], 0));
        }
    }

    #[test]
    fn sections_that_share_packets_are_told_apart() {
        let first = encode_section(2, 1, 0, &[1; 180]);
        let second = encode_section(2, 2, 0, &[2; 30]);
        // The first ends in the second packet, where the second begins behind the pointer.
        let mut payloads = vec![[&[0][..], &first[..183]].concat()];
        let rest = &first[183..];
        payloads.push([&[rest.len() as u8][..], rest, &second, &[0xff; 100]].concat());
        let mut sections = Sections::default();
        let mut found = Vec::new();
        for payload in &payloads {
            sections.push(true, payload, |section| found.push(section.to_vec()));
        }
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn a_wrong_bit_loses_its_section_only() {
        let section = encode_section(2, 1, 0, &[1; 50]);
        let mut wrong = section.clone();
        wrong[20] ^= 4;
        let mut sections = Sections::default();
        let mut found = 0;
        sections.push(true, &[&[0][..], &wrong, &section].concat(), |_| found += 1);
        assert_eq!((found, sections.errors), (1, 1));
    }

    #[test]
    fn hostile_lengths_keep_the_buffer_bounded() {
        let mut sections = Sections::default();
        for pointer in 0..=255_u8 {
            let mut payload = [0x0f; 184];
            payload[0] = pointer;
            sections.push(true, &payload, |_| panic!("no section is there"));
            for _ in 0..60 {
                sections.push(false, &[0x55; 184], |_| {});
            }
            assert!(sections.held.len() <= 4098);
        }
    }
}
