//! One transport packet: its header and its adaptation field (ISO/IEC 13818-1:2019 §2.4.3.2 to §2.4.3.5).
//!
//! [`Packet`] is a view that checks nothing but what it needs to stay inside its 188 bytes; [`Header`] and
//! [`Adaptation`] are what a muxer writes. Finding packets in bytes is `sync`'s part, following their counters
//! `continuity`'s.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

/// Bytes in a transport packet.
pub const PACKET_LEN: usize = 188;

/// The first byte of every packet.
pub(super) const SYNC_BYTE: u8 = 0x47;

/// Bytes in a packet's header.
pub(super) const HEADER_LEN: usize = 4;

/// A packet identifier: 13 bits that tell what a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(u16);

impl Pid {
    /// The programme association table.
    pub const PAT: Self = Self(0);

    /// Packets without content.
    pub const NULL: Self = Self(0x1fff);

    /// How many there are.
    pub(super) const COUNT: usize = 0x2000;

    /// Of the low 13 bits of `value`.
    pub const fn new(value: u16) -> Self {
        Self(value & 0x1fff)
    }

    /// The number itself.
    pub const fn value(self) -> u16 {
        self.0
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A programme clock reference in ticks of 27 MHz, below 2^33 × 300 (§2.4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pcr(pub(super) u64);

impl Pcr {
    /// In ticks of 90 kHz: the 33 bits that compare with a PTS.
    pub(super) const fn base(self) -> u64 {
        self.0 / 300
    }

    fn parse(bytes: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        let base = (u64::from(u32::from_be_bytes([a, b, c, d])) << 1) | u64::from(e >> 7);
        let extension = (u64::from(e & 1) << 8) | u64::from(f);
        Self(base * 300 + extension)
    }

    fn encode(self) -> [u8; 6] {
        let (base, extension) = ((self.0 / 300) & ((1 << 33) - 1), self.0 % 300);
        let word = (base << 15) | (0x3f << 9) | extension;
        let [_, _, bytes @ ..] = word.to_be_bytes();
        bytes
    }
}

/// A view of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    bytes: &'a [u8; PACKET_LEN],
}

impl<'a> Packet<'a> {
    pub(super) fn new(bytes: &'a [u8; PACKET_LEN]) -> Self {
        Self { bytes }
    }

    fn header(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d, ..] = *self.bytes;
        [a, b, c, d]
    }

    pub(super) fn pid(self) -> Pid {
        let [_, high, low, _] = self.header();
        Pid::new(u16::from_be_bytes([high, low]))
    }

    /// A demodulator found an uncorrectable error: nothing in the packet can be relied on.
    pub(super) fn has_transport_error(self) -> bool {
        self.header()[1] & 0x80 != 0
    }

    /// A PES packet or a section begins in the payload.
    pub(super) fn is_unit_start(self) -> bool {
        self.header()[1] & 0x40 != 0
    }

    pub(super) fn is_scrambled(self) -> bool {
        self.header()[3] & 0xc0 != 0
    }

    pub(super) fn has_adaptation(self) -> bool {
        self.header()[3] & 0x20 != 0
    }

    pub(super) fn has_payload(self) -> bool {
        self.header()[3] & 0x10 != 0
    }

    pub(super) fn continuity(self) -> u8 {
        self.header()[3] & 0x0f
    }

    /// What the payload is; empty if there is none, or if the adaptation field claims more than the packet.
    pub(super) fn payload(self) -> &'a [u8] {
        if !self.has_payload() {
            return &[];
        }
        let start = match self.adaptation_bytes() {
            _ if !self.has_adaptation() => HEADER_LEN,
            Some(adaptation) => HEADER_LEN + 1 + adaptation.len(),
            None => PACKET_LEN,
        };
        self.bytes.get(start..).unwrap_or(&[])
    }

    /// The adaptation field, if there is one that fits.
    pub(super) fn adaptation(self) -> Option<Adaptation> {
        self.adaptation_bytes().map(Adaptation::parse)
    }

    /// The adaptation field after its length.
    fn adaptation_bytes(self) -> Option<&'a [u8]> {
        if !self.has_adaptation() {
            return None;
        }
        let (length, rest) = self.bytes.get(HEADER_LEN..)?.split_first()?;
        rest.get(..usize::from(*length))
    }
}

/// What an adaptation field says, as far as anybody here asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Adaptation {
    /// The counter, and on a PID with PCR the clock, may jump here.
    pub(super) discontinuity: bool,
    /// The elementary stream can be entered here.
    pub(super) random_access: bool,
    pub(super) pcr: Option<Pcr>,
    /// Private data or an extension is present.
    pub(super) private: bool,
    /// Bytes that say nothing. The flags and the length count when they say nothing, too.
    pub(super) stuffing: usize,
}

impl Adaptation {
    fn parse(field: &[u8]) -> Self {
        let Some((&flags, rest)) = field.split_first() else {
            // §2.4.3.5: length 0 stuffs a single byte.
            return Self { stuffing: 1, ..Self::default() };
        };
        let has = |bit: u8| flags & bit != 0;
        let pcr = if has(0x10) { rest.first_chunk::<6>().copied().map(Pcr::parse) } else { None };
        let mut used =
            6 * usize::from(has(0x10)) + 6 * usize::from(has(0x08)) + usize::from(has(0x04));
        for present in [has(0x02), has(0x01)] {
            if present {
                used += 1 + usize::from(rest.get(used).copied().unwrap_or(0));
            }
        }
        let spare = rest.len().saturating_sub(used);
        Self {
            discontinuity: has(0x80),
            random_access: has(0x40),
            pcr,
            private: has(0x02) || has(0x01),
            stuffing: if flags == 0 { spare + 2 } else { spare },
        }
    }

    /// Bytes that [`encode`](Self::encode) takes at least, the length byte counted.
    pub(super) fn min_len(&self) -> usize {
        let is_empty = !self.discontinuity && !self.random_access && self.pcr.is_none();
        if is_empty { 0 } else { 2 + 6 * usize::from(self.pcr.is_some()) }
    }

    /// Appends the field, stuffed to `len` bytes with its length byte; nothing if `len` is 0.
    ///
    /// # Panics
    ///
    /// If `len` is less than [`min_len`](Self::min_len) or more than a packet has room for.
    pub(super) fn encode(&self, len: usize, out: &mut Vec<u8>) {
        assert!(
            len >= self.min_len() && len <= PACKET_LEN - HEADER_LEN,
            "the muxer reserves the room"
        );
        let end = out.len() + len;
        let Some(length) = len.checked_sub(1) else { return };
        out.push(u8::try_from(length).expect("a packet is shorter than 256 bytes"));
        if length > 0 {
            let flag = |on: bool, bit: u8| if on { bit } else { 0 };
            out.push(
                flag(self.discontinuity, 0x80)
                    | flag(self.random_access, 0x40)
                    | flag(self.pcr.is_some(), 0x10),
            );
        }
        if let Some(pcr) = self.pcr {
            out.extend_from_slice(&pcr.encode());
        }
        out.resize(end, 0xff);
    }
}

/// A packet's first four bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) pid: Pid,
    pub(super) unit_start: bool,
    pub(super) has_adaptation: bool,
    pub(super) has_payload: bool,
    pub(super) continuity: u8,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_LEN] {
        let [high, low] = self.pid.value().to_be_bytes();
        let control = (u8::from(self.has_adaptation) << 5) | (u8::from(self.has_payload) << 4);
        let start = u8::from(self.unit_start) << 6;
        [SYNC_BYTE, high | start, low, control | (self.continuity & 0x0f)]
    }
}

/// Appends a packet that carries only an adaptation field. Its counter is that of the packet before it on its PID
/// (§2.4.3.3: the counter stands still where there is no payload).
pub(super) fn encode_adaptation_only(
    pid: Pid,
    continuity: u8,
    adaptation: &Adaptation,
    out: &mut Vec<u8>,
) {
    let header =
        Header { pid, unit_start: false, has_adaptation: true, has_payload: false, continuity };
    out.extend_from_slice(&header.encode());
    adaptation.encode(PACKET_LEN - HEADER_LEN, out);
}

/// The same packet with another counter.
pub(super) fn set_continuity(packet: &mut [u8; PACKET_LEN], continuity: u8) {
    let [_, _, _, control, ..] = packet;
    *control = (*control & 0xf0) | (continuity & 0x0f);
}

/// Sets the discontinuity indicator in place; false when the packet has no flags to set it in.
pub(super) fn set_discontinuity(packet: &mut [u8; PACKET_LEN]) -> bool {
    let has_adaptation = Packet::new(packet).has_adaptation();
    let [_, _, _, _, length, flags, ..] = packet;
    if !has_adaptation || *length == 0 {
        return false;
    }
    *flags |= 0x80;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: &[u8]) -> [u8; PACKET_LEN] {
        let mut packet = [0xff; PACKET_LEN];
        packet[..bytes.len()].copy_from_slice(bytes);
        packet
    }

    #[test]
    fn header_fields_are_read_from_their_bits() {
        let bytes = packet(&[0x47, 0x41, 0x00, 0x1a]);
        let packet = Packet::new(&bytes);
        assert_eq!(packet.pid(), Pid::new(0x100));
        assert!(packet.is_unit_start() && packet.has_payload());
        assert!(
            !packet.has_adaptation() && !packet.is_scrambled() && !packet.has_transport_error()
        );
        assert_eq!(packet.continuity(), 10);
        assert_eq!(packet.payload().len(), 184);
    }

    #[test]
    fn a_pcr_survives_both_ways() {
        for value in [0, 1, 299, 300, 27_000_000, (1 << 33) * 300 - 1] {
            let mut bytes = Vec::new();
            let field =
                Adaptation { pcr: Some(Pcr(value)), random_access: true, ..Default::default() };
            encode_adaptation_only(Pid::new(0x20), 3, &field, &mut bytes);
            let bytes: [u8; PACKET_LEN] = bytes.try_into().unwrap();
            let parsed = Packet::new(&bytes).adaptation().unwrap();
            assert_eq!(parsed.pcr, Some(Pcr(value)));
            assert!(parsed.random_access && !parsed.discontinuity);
            assert_eq!(parsed.stuffing, 184 - 8);
            assert_eq!(Packet::new(&bytes).payload(), &[] as &[u8]);
        }
    }

    #[test]
    fn stuffing_is_what_no_flag_explains() {
        let stuffing = |field: &[u8]| {
            let mut bytes = vec![0x47, 0, 0x20, 0x30];
            bytes.extend_from_slice(field);
            Packet::new(&packet(&bytes)).adaptation().unwrap().stuffing
        };
        assert_eq!(stuffing(&[0]), 1);
        assert_eq!(stuffing(&[1, 0]), 2);
        assert_eq!(stuffing(&[5, 0, 255, 255, 255, 255]), 6);
        assert_eq!(stuffing(&[1, 0x40]), 0, "a random access indicator alone");
        assert_eq!(stuffing(&[7, 0x10, 0, 0, 0, 0, 0, 0]), 0, "a PCR alone");
        assert_eq!(stuffing(&[5, 0x02, 3, 1, 2, 3]), 0, "private data alone");
        assert_eq!(stuffing(&[5, 0x02, 200, 1, 2, 3]), 0, "private data longer than its field");
    }

    #[test]
    fn an_adaptation_field_longer_than_its_packet_leaves_no_payload() {
        for length in 184..=255 {
            let bytes = packet(&[0x47, 0, 0x20, 0x30, length]);
            assert!(Packet::new(&bytes).payload().is_empty());
            assert_eq!(Packet::new(&bytes).adaptation(), None);
        }
        let bytes = packet(&[0x47, 0, 0x20, 0x30, 182]);
        assert_eq!(Packet::new(&bytes).payload().len(), 1);
    }

    #[test]
    fn discontinuity_needs_a_flags_byte() {
        let mut without = packet(&[0x47, 0, 0x20, 0x10]);
        assert!(!set_discontinuity(&mut without));
        let mut empty = packet(&[0x47, 0, 0x20, 0x30, 0]);
        assert!(!set_discontinuity(&mut empty));
        let mut with = packet(&[0x47, 0, 0x20, 0x30, 1, 0]);
        assert!(set_discontinuity(&mut with));
        assert!(Packet::new(&with).adaptation().unwrap().discontinuity);
    }
}
