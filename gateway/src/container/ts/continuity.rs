//! Continuity counters: whether packets of a PID are missing before this one (ISO/IEC 13818-1:2019 §2.4.3.3).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::packet::{Packet, Pid};

/// Follows the counters of all PIDs.
#[derive(Debug)]
pub(super) struct Counters {
    /// The last packet with a payload, by PID: [`SEEN`], then the counter in bits 32 to 35, then the fingerprint,
    /// which tells a packet that was sent twice from one that comes 16 later. Plain zeros to begin with, so that
    /// only the pages of PIDs that occur take memory.
    last: Vec<u64>,
}

/// How a packet continues its PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// Nothing is missing, as far as a counter of 4 bits can tell.
    Next,
    /// Sent twice, which is allowed once: leave this one out.
    Duplicate,
    /// The counter jumps, and the packet says that it does (§2.4.3.5).
    Jump,
    /// Packets are missing before this one.
    Gap,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { last: vec![0; Pid::COUNT] }
    }

    /// Takes the next packet.
    pub(super) fn next(&mut self, packet: Packet<'_>) -> Continuity {
        let pid = packet.pid();
        // §2.4.3.3: it stands still without payload, and is undefined for null packets.
        if pid == Pid::NULL || !packet.has_payload() {
            return Continuity::Next;
        }
        let Some(last) = self.last.get_mut(pid.index()) else { return Continuity::Next };
        let counter = packet.continuity();
        let print = fingerprint(packet);
        let now = SEEN | (u64::from(counter) << 32) | u64::from(print);
        let before = std::mem::replace(last, now);
        let counts_on = (before >> 32) & 0x0f == u64::from(counter.wrapping_sub(1) & 0x0f);
        if before & SEEN == 0 || counts_on {
            Continuity::Next
        } else if before == now {
            Continuity::Duplicate
        } else if packet.adaptation().is_some_and(|field| field.discontinuity) {
            Continuity::Jump
        } else {
            Continuity::Gap
        }
    }
}

/// Of the last bytes of the payload, since a duplicate may differ in its PCR (§2.4.3.3), and since payloads of one PID often
/// begin alike.
fn fingerprint(packet: Packet<'_>) -> u32 {
    let payload = packet.payload();
    let tail = payload.last_chunk::<16>().map_or(0, |tail| u128::from_le_bytes(*tail));
    let (high, low) = (tail >> 64, tail & u128::from(u64::MAX));
    // Of the product, the bits in the middle depend on all of both.
    let high = high ^ 0x9e37_79b9_7f4a_7c15;
    let low = low ^ 0xd1b5_4a32_d192_ed03 ^ payload.len() as u128;
    u32::try_from(((high * low) >> 48) & u128::from(u32::MAX)).unwrap_or(0)
}

const SEEN: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ts::packet::PACKET_LEN;

    fn packet(pid: u16, control: u8, fill: u8) -> [u8; PACKET_LEN] {
        let mut bytes = [fill; PACKET_LEN];
        let [high, low] = pid.to_be_bytes();
        bytes[..4].copy_from_slice(&[0x47, high, low, control]);
        bytes
    }

    fn follow(packets: &[[u8; PACKET_LEN]]) -> Vec<Continuity> {
        let mut counters = Counters::new();
        packets.iter().map(|bytes| counters.next(Packet::new(bytes))).collect()
    }

    #[test]
    fn counters_are_kept_for_each_pid_and_wrap() {
        use Continuity::{Gap, Next};
        let seen = follow(&[
            packet(1, 0x1e, 1),
            packet(2, 0x13, 1),
            packet(1, 0x1f, 2),
            packet(1, 0x10, 3),
            packet(2, 0x15, 2),
            packet(2, 0x16, 3),
        ]);
        assert_eq!(seen, [Next, Next, Next, Next, Gap, Next]);
    }

    #[test]
    fn a_packet_sent_twice_is_told_from_a_loss_of_sixteen() {
        let seen = follow(&[
            packet(1, 0x11, 7),
            packet(1, 0x11, 7),
            packet(1, 0x12, 8),
            packet(1, 0x12, 9),
        ]);
        assert_eq!(
            seen,
            [Continuity::Next, Continuity::Duplicate, Continuity::Next, Continuity::Gap]
        );
    }

    #[test]
    fn packets_without_payload_and_null_packets_count_nothing() {
        let seen = follow(&[
            packet(1, 0x11, 1),
            packet(1, 0x21, 1),
            packet(1, 0x12, 2),
            packet(0x1fff, 0x13, 1),
            packet(0x1fff, 0x19, 1),
        ]);
        assert!(seen.iter().all(|continuity| *continuity == Continuity::Next), "{seen:?}");
    }

    #[test]
    fn an_announced_jump_of_the_counter_is_no_gap() {
        let mut jump = packet(1, 0x39, 3);
        jump[4..6].copy_from_slice(&[1, 0x80]);
        assert_eq!(follow(&[packet(1, 0x11, 1), jump]), [Continuity::Next, Continuity::Jump]);
    }
}
