//! Packets in a byte stream: where they begin, and where they begin again after garbage or lost bytes.
//!
//! Packets begin with 0x47 and follow one another at a fixed distance: 188 bytes, 192 where a recorder put a time
//! before each, 204 where a demodulator left its check bytes behind (ISO/IEC 13818-1:2019 §2.4.3.2; annex G
//! of the standard recommends to look for several sync bytes at that distance, as [`Framer`] does).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::packet::{PACKET_LEN, SYNC_BYTE};

/// Cuts bytes, pushed in pieces of any size, into packets.
///
/// In step, a packet leaves on the push of its last byte. Out of step, it takes three sync bytes at the right
/// distance to get in step again, or a push of two packets or more that is whole packets from its first to its last
/// byte, which is what SRT and UDP carry.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// Bytes of pushes before, which are not a whole packet yet, or among which no packet is certain yet.
    held: Vec<u8>,
    /// Bytes between the last packet and the next one that have not arrived yet.
    skip: usize,
    /// The next packet is known to begin at the front of what is held.
    in_step: bool,
    /// The distance of packets, once known.
    stride: Option<usize>,
}

/// What [`Framer::push`] finds, in order.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Packet(&'a [u8; PACKET_LEN]),
    /// Packets do not follow one another here: the last one may have lost its end, and others may be missing.
    Lost,
}

impl Framer {
    pub(super) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Found<'_>)) {
        // Pieces bound what is copied where pushes do not end with a packet.
        for piece in bytes.chunks(PIECE_LEN) {
            let (skipped, piece) = piece.split_at(self.skip.min(piece.len()));
            self.skip -= skipped.len();
            if piece.is_empty() {
                continue;
            }
            if self.held.is_empty() {
                if !self.in_step && skipped.is_empty() && is_message(piece) {
                    (self.in_step, self.stride) = (true, Some(PACKET_LEN));
                }
                let used = self.scan(piece, &mut found);
                self.held.extend_from_slice(piece.get(used..).unwrap_or(&[]));
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(piece);
                let used = self.scan(&held, &mut found);
                held.drain(..used);
                self.held = held;
            }
        }
    }

    /// Reports what `buffer` holds; returns how much of it is done with.
    fn scan(&mut self, buffer: &[u8], found: &mut impl FnMut(Found<'_>)) -> usize {
        let mut at = 0;
        while at < buffer.len() {
            if !self.in_step {
                match self.hunt(buffer, at) {
                    Hunt::Found(start) => (at, self.in_step) = (start, true),
                    Hunt::Wait(start) => return start,
                }
                continue;
            }
            let stride = self.stride.unwrap_or(PACKET_LEN);
            let rest = buffer.get(at..).unwrap_or(&[]);
            if rest.first() != Some(&SYNC_BYTE) {
                self.lose(found);
                continue;
            }
            let Some(packet) = rest.first_chunk() else { break };
            if rest.get(stride).is_none_or(|&next| next == SYNC_BYTE) {
                found(Found::Packet(packet));
                at += stride;
                continue;
            }
            // The next packet is not where it should be. If the one behind it is, only a sync byte is wrong. If not, bytes
            // are missing in this packet or have come into it, for all that can be told.
            if rest.get(2 * stride) == Some(&SYNC_BYTE) {
                found(Found::Packet(packet));
                at += stride;
            } else {
                at += 1;
            }
            self.lose(found);
        }
        self.skip = at.saturating_sub(buffer.len());
        at.min(buffer.len())
    }

    fn lose(&mut self, found: &mut impl FnMut(Found<'_>)) {
        self.in_step = false;
        found(Found::Lost);
    }

    /// Looks for the first packet from `from` on.
    fn hunt(&mut self, buffer: &[u8], from: usize) -> Hunt {
        let known = self.stride;
        let candidates =
            buffer.iter().enumerate().skip(from).filter(|(_, byte)| **byte == SYNC_BYTE);
        for (start, _) in candidates {
            let strides = known.as_ref().map_or(&STRIDES[..], std::slice::from_ref);
            let mut is_open = false;
            for &stride in strides {
                let Some(count) = chain(buffer, start, stride) else { continue };
                if count >= 2 {
                    self.stride = Some(stride);
                    return Hunt::Found(start);
                }
                is_open = true;
            }
            if is_open {
                return Hunt::Wait(start);
            }
        }
        Hunt::Wait(buffer.len())
    }
}

enum Hunt {
    /// A packet begins here.
    Found(usize),
    /// One may begin here; it takes more bytes to tell.
    Wait(usize),
}

/// Whether `bytes` are packets from the first byte to the last.
fn is_message(bytes: &[u8]) -> bool {
    let (packets, rest) = bytes.as_chunks::<PACKET_LEN>();
    packets.len() >= 2
        && rest.is_empty()
        && packets.iter().all(|packet| packet.first() == Some(&SYNC_BYTE))
}

/// How many sync bytes follow the one at `start`, as far as `buffer` goes and at most 3; `None` if one is missing.
fn chain(buffer: &[u8], start: usize, stride: usize) -> Option<usize> {
    let mut count = 0;
    while let Some(&byte) = buffer.get(start + (count + 1) * stride)
        && count < 3
    {
        if byte != SYNC_BYTE {
            return None;
        }
        count += 1;
    }
    Some(count)
}

const STRIDES: [usize; 3] = [PACKET_LEN, 192, 204];

/// A whole number of packets.
const PIECE_LEN: usize = 256 * PACKET_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` packets with their number in the second byte and no other sync byte.
    fn packets(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|n| [&[SYNC_BYTE, 0x80 | n][..], &[0x11; 186]].concat()).collect()
    }

    /// The numbers of the packets found, -1 for each loss, when `stream` arrives in pieces of `size`.
    fn found(stream: &[u8], size: usize) -> Vec<i32> {
        let mut framer = Framer::default();
        let mut numbers = Vec::new();
        for piece in stream.chunks(size) {
            framer.push(piece, |found| {
                numbers.push(match found {
                    Found::Packet(packet) => i32::from(packet[1] & 0x7f),
                    Found::Lost => -1,
                });
            });
            assert!(framer.held.len() <= 4 * 204);
        }
        numbers
    }

    #[test]
    fn a_packet_leaves_with_its_last_byte() {
        let stream = packets(20).concat();
        let mut framer = Framer::default();
        let mut count = 0;
        for (n, byte) in stream.iter().enumerate() {
            framer.push(&[*byte], |_| count += 1);
            if n + 1 >= 3 * PACKET_LEN {
                assert_eq!(count, (n + 1) / PACKET_LEN, "after byte {n}");
            }
        }
    }

    #[test]
    fn a_message_of_whole_packets_is_enough_to_begin_with() {
        assert_eq!(found(&packets(2).concat(), 376), [0, 1]);
        assert_eq!(found(&packets(7).concat(), 1316), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn every_distance_and_every_piece_size_gives_the_same_packets() {
        for (before, after) in [(0, 0), (4, 0), (0, 16)] {
            let stream: Vec<u8> = packets(12)
                .iter()
                .flat_map(|p| [&vec![0; before][..], p, &vec![0; after]].concat())
                .collect();
            for size in 1..=stream.len() {
                assert_eq!(found(&stream, size), (0..12).collect::<Vec<_>>(), "pieces of {size}");
            }
        }
    }

    #[test]
    fn garbage_costs_at_most_the_packet_before_it() {
        let all = packets(10);
        let garbage: Vec<u8> =
            (0..700).map(|n| if n % 9 == 0 { SYNC_BYTE } else { 0x22 }).collect();
        let stream =
            [&garbage[..], &all[..5].concat(), &garbage[1..], &all[5..].concat()[..]].concat();
        for size in [1, 7, 100, 188, 1316, 5_000] {
            // Where the garbage has arrived with the packet, that may have got some of it.
            let mut seen = found(&stream, size);
            seen.retain(|number| *number != 4);
            assert_eq!(seen, [0, 1, 2, 3, -1, 5, 6, 7, 8, 9], "pieces of {size}");
        }
    }

    #[test]
    fn a_packet_that_lost_bytes_is_left_out() {
        let all = packets(9);
        for cut in 1..PACKET_LEN {
            let stream = [all[..4].concat(), all[4][..cut].to_vec(), all[5..].concat()].concat();
            assert_eq!(found(&stream, 5_000), [0, 1, 2, 3, -1, 5, 6, 7, 8], "cut to {cut} bytes");
        }
    }

    #[test]
    fn a_wrong_sync_byte_costs_its_own_packet_only() {
        let mut all = packets(9);
        all[4][0] = 0x46;
        assert_eq!(found(&all.concat(), 5_000), [0, 1, 2, 3, -1, 5, 6, 7, 8]);
    }
}
