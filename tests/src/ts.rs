//! Packets of MPEG-TS as a test counts and compares them (ISO/IEC 13818-1:2019 §2.4.3.2).

use std::collections::BTreeMap;

/// Bytes of a packet.
pub const PACKET_LEN: usize = 188;

/// One packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a>(pub &'a [u8]);

impl Packet<'_> {
    /// Which stream it belongs to.
    #[must_use]
    pub fn pid(&self) -> u16 {
        u16::from_be_bytes([self.0[1] & 0x1f, self.0[2]])
    }

    /// Its continuity counter.
    #[must_use]
    pub fn continuity(&self) -> u8 {
        self.0[3] & 0x0f
    }

    /// Whether it has a payload; only then the counter counts.
    #[must_use]
    pub fn has_payload(&self) -> bool {
        self.0[3] & 0x10 != 0
    }

    /// Whether a unit or section begins in it.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.0[1] & 0x40 != 0
    }

    /// Whether it says that its counter does not go on where the last one ended (§2.4.3.4).
    #[must_use]
    pub fn is_discontinuity(&self) -> bool {
        self.0[3] & 0x20 != 0 && self.0[4] > 0 && self.0[5] & 0x80 != 0
    }
}

/// The packets in order.
///
/// # Panics
///
/// When the bytes are no whole packets.
#[must_use]
pub fn packets(bytes: &[u8]) -> Vec<Packet<'_>> {
    assert_eq!(bytes.len() % PACKET_LEN, 0, "half a packet");
    let packets: Vec<_> = bytes.chunks_exact(PACKET_LEN).map(Packet).collect();
    let wrong = packets.iter().position(|packet| packet.0[0] != 0x47);
    assert_eq!(wrong, None, "there is no sync byte in packet");
    packets
}

/// The packets of each stream, in order.
#[must_use]
pub fn by_pid<'a>(packets: &[Packet<'a>]) -> BTreeMap<u16, Vec<Packet<'a>>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for packet in packets {
        found.entry(packet.pid()).or_default().push(*packet);
    }
    found
}

/// Places where a counter does not go on and no mark says so: PID, and how manieth packet of it.
#[must_use]
pub fn continuity_errors(packets: &[Packet<'_>]) -> Vec<(u16, usize)> {
    let mut errors = Vec::new();
    for (pid, packets) in by_pid(packets) {
        if pid == 0x1fff {
            // Null packets count nothing.
            continue;
        }
        for (at, pair) in packets.windows(2).enumerate() {
            let [before, after] = pair else { continue };
            let step = u8::from(after.has_payload());
            let goes_on = after.continuity() == (before.continuity() + step) & 0x0f;
            if !goes_on && !after.is_discontinuity() {
                errors.push((pid, at + 1));
            }
        }
    }
    errors
}

impl std::fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {} continuity {}", self.pid(), self.continuity())
    }
}
