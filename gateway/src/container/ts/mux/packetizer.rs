//! A PES packet into transport packets: 184 bytes each, the last one stuffed (ISO/IEC 13818-1:2019 §2.4.3.3, §2.4.3.5).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::super::packet::{Adaptation, HEADER_LEN, Header, PACKET_LEN, Pid};

/// Writes one PES packet of a length that is known from the start.
#[derive(Debug)]
pub(super) struct Packetizer<'a> {
    pid: Pid,
    continuity: &'a mut u8,
    /// Of the first packet; taken when that is begun.
    adaptation: Option<Adaptation>,
    /// Bytes that have no packet yet.
    left: usize,
    /// Bytes that the packet which was begun last still lacks.
    room: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Packetizer<'a> {
    /// `len` bytes will be [put](Self::put), `adaptation` goes into the first packet. Room for them is made in `out`.
    pub(super) fn new(
        pid: Pid,
        continuity: &'a mut u8,
        adaptation: Adaptation,
        len: usize,
        out: &'a mut Vec<u8>,
    ) -> Self {
        let packets = (len + adaptation.min_len()).div_ceil(PACKET_LEN - HEADER_LEN);
        out.reserve_exact(packets * PACKET_LEN);
        Self { pid, continuity, adaptation: Some(adaptation), left: len, room: 0, out }
    }

    /// More of the PES packet.
    pub(super) fn put(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            if self.room == 0 {
                self.begin();
            }
            let (now, later) = part.split_at(self.room.min(part.len()));
            self.out.extend_from_slice(now);
            self.room -= now.len();
            part = later;
            debug_assert!(
                self.room > 0 || self.left > 0 || part.is_empty(),
                "more than was announced"
            );
        }
    }

    fn begin(&mut self) {
        let first = self.adaptation.take();
        let adaptation = first.unwrap_or_default();
        let space = PACKET_LEN - HEADER_LEN;
        self.room = self.left.min(space - adaptation.min_len());
        self.left -= self.room;
        let adaptation_len = space - self.room;
        let header = Header {
            pid: self.pid,
            unit_start: first.is_some(),
            has_adaptation: adaptation_len > 0,
            has_payload: true,
            continuity: *self.continuity,
        };
        *self.continuity = (*self.continuity + 1) & 0x0f;
        self.out.extend_from_slice(&header.encode());
        adaptation.encode(adaptation_len, self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ts::packet::{Packet, Pcr};

    #[test]
    fn every_length_fills_whole_packets_and_comes_back() {
        let fields = [
            Adaptation::default(),
            Adaptation { random_access: true, ..Adaptation::default() },
            Adaptation { pcr: Some(Pcr(5)), ..Adaptation::default() },
        ];
        for len in 1..600 {
            for field in fields {
                let data: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
                let (mut out, mut continuity) = (Vec::new(), 15);
                let mut packets =
                    Packetizer::new(Pid::new(0x100), &mut continuity, field, len, &mut out);
                data.chunks(7).for_each(|part| packets.put(part));
                assert_eq!(out.len() % PACKET_LEN, 0, "{len} bytes");
                let mut back = Vec::new();
                for (n, packet) in out.chunks(PACKET_LEN).enumerate() {
                    let packet = Packet::new(packet.try_into().unwrap());
                    assert_eq!(packet.is_unit_start(), n == 0);
                    assert_eq!(usize::from(packet.continuity()), (15 + n) % 16);
                    let seen = packet.adaptation().unwrap_or_default();
                    assert_eq!((n == 0, seen.pcr), (n == 0, field.pcr.filter(|_| n == 0)));
                    assert_eq!(seen.random_access, n == 0 && field.random_access);
                    back.extend_from_slice(packet.payload());
                }
                assert_eq!(back, data);
            }
        }
    }
}
