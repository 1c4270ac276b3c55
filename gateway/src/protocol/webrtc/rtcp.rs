//! What can be told of SRTCP without its key: the first eight bytes of a packet are in the clear (RFC 3711 §3.4).

/// RTPFB (RFC 4585 §6.1).
const TRANSPORT_FEEDBACK: u8 = 205;

/// Version 2, no padding, format 15: transport-wide congestion control
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
const CONGESTION: u8 = 2 << 6 | 15;
const CONGESTION_PADDED: u8 = CONGESTION | 1 << 5;

/// The index and the longest authentication tag at the end (RFC 3711 §3.4, RFC 7714 §9.2).
const TRAILER_MAX: usize = 4 + 16;

/// Whether a packet is feedback on congestion and nothing else: whatever it says can wait for the next look at the peer.
pub(super) fn is_congestion_feedback(packet: &[u8]) -> bool {
    let &[CONGESTION | CONGESTION_PADDED, TRANSPORT_FEEDBACK, high, low, ..] = packet else {
        return false;
    };
    let words = usize::from(u16::from_be_bytes([high, low])) + 1;
    // A receiver report or a NACK would need more room than there is in the trailer.
    packet.len() <= words * 4 + TRAILER_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with `words` after the first, and a trailer.
    fn packet(first: u8, kind: u8, words: u8, trailer: usize) -> Vec<u8> {
        let mut packet = vec![first, kind, 0, words];
        packet.resize(4 + usize::from(words) * 4 + trailer, 7);
        packet
    }

    #[test]
    fn only_feedback_on_congestion_that_is_alone_can_wait() {
        for first in [0x8f, 0xaf] {
            assert!(is_congestion_feedback(&packet(first, 205, 5, 20)));
            assert!(is_congestion_feedback(&packet(first, 205, 5, 14)));
            // Something comes after it.
            assert!(!is_congestion_feedback(&packet(first, 205, 5, 20 + 8)));
        }
        // A NACK, a request for a picture, a report.
        assert!(!is_congestion_feedback(&packet(0x81, 205, 3, 20)));
        assert!(!is_congestion_feedback(&packet(0x81, 206, 2, 20)));
        assert!(!is_congestion_feedback(&packet(0x81, 201, 7, 20)));
        assert!(!is_congestion_feedback(&[0x8f, 205]));
        assert!(!is_congestion_feedback(&[]));
    }
}
