//! PES packets: the headers that carry times, and where packets begin and end (ISO/IEC 13818-1:2019 §2.4.3.6, §2.4.3.7).
//!
//! [`PesReader`] takes the payloads of one PID and says what they are made of. It keeps nothing but a header that is
//! not whole yet; the payload is the codecs' to assemble.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

/// Takes the payloads of the packets of one PID.
#[derive(Debug, Default)]
pub(super) struct PesReader {
    state: State,
    /// The front of a header; at most the 264 bytes that one can have, and one packet's payload.
    head: Vec<u8>,
    /// PES packets whose header made no sense.
    pub(super) errors: u64,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing that can be told before the next start.
    #[default]
    Waiting,
    /// Part of a header.
    Header,
    /// Payload: so many bytes more, or up to the next start.
    Payload(Option<usize>),
}

/// What [`PesReader::push`] finds, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PesPart<'a> {
    /// A PES packet begins.
    Begin(PesTimes),
    /// Some of its payload; never empty.
    Data(&'a [u8]),
    /// It is whole: it told its length. One of open length has no end but the next beginning.
    End,
}

/// The times of the first access unit that begins in a PES packet (§2.4.3.7), in ticks of 90 kHz, 33 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PesTimes {
    pub(super) pts: Option<u64>,
    /// The same as the PTS where it is not coded.
    pub(super) dts: Option<u64>,
}

impl PesReader {
    /// Takes the payload of the next packet; `unit_start` is its `payload_unit_start_indicator`.
    pub(super) fn push<'a>(
        &mut self,
        unit_start: bool,
        payload: &'a [u8],
        mut found: impl FnMut(PesPart<'a>),
    ) {
        if unit_start {
            self.head.clear();
            self.state = State::Header;
        }
        let payload = match self.state {
            State::Waiting => return,
            State::Payload(_) => payload,
            State::Header => {
                let before = self.head.len();
                self.head.extend_from_slice(payload);
                let header = match Header::parse(&self.head) {
                    Parsed::Whole(header) => header,
                    Parsed::Partial => return,
                    Parsed::Wrong => {
                        self.errors += 1;
                        self.reset();
                        return;
                    }
                };
                self.head.clear();
                self.state = State::Payload(header.payload_len);
                found(PesPart::Begin(header.times));
                // What was held before this packet is header from its first byte to its last.
                payload.get(header.len.saturating_sub(before)..).unwrap_or(&[])
            }
        };
        let State::Payload(left) = &mut self.state else { return };
        let data = match left {
            Some(left) => {
                let data = payload.get(..*left).unwrap_or(payload);
                *left -= data.len();
                data
            }
            None => payload,
        };
        let is_whole = *left == Some(0);
        if !data.is_empty() {
            found(PesPart::Data(data));
        }
        if is_whole {
            self.state = State::Waiting;
            found(PesPart::End);
        }
    }

    /// Packets are missing: nothing can be told before the next start.
    pub(super) fn reset(&mut self) {
        self.state = State::Waiting;
        self.head.clear();
    }
}

/// A PES packet's header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Of the header, in bytes.
    len: usize,
    /// `None` when the packet ends where the next one begins.
    payload_len: Option<usize>,
    times: PesTimes,
}

enum Parsed {
    Whole(Header),
    /// It takes more bytes.
    Partial,
    /// It never will be one.
    Wrong,
}

impl Header {
    fn parse(bytes: &[u8]) -> Parsed {
        let Some((&[a, b, c, stream_id, d, e], rest)) = bytes.split_first_chunk::<6>() else {
            return Parsed::Partial;
        };
        // §2.4.3.7: these stream_ids have no flags and times, and carry none of our codecs.
        let is_bare = matches!(stream_id, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff);
        if (a, b, c) != (0, 0, 1) || stream_id < 0xbc || is_bare {
            return Parsed::Wrong;
        }
        let Some((&[marker, flags, rest_len], rest)) = rest.split_first_chunk::<3>() else {
            return Parsed::Partial;
        };
        if marker & 0xc0 != 0x80 {
            return Parsed::Wrong;
        }
        let Some(fields) = rest.get(..usize::from(rest_len)) else { return Parsed::Partial };
        let len = 9 + usize::from(rest_len);
        let payload_len = match usize::from(u16::from_be_bytes([d, e])) {
            0 => None,
            // The length counts from behind itself.
            length => Some((length + 6).saturating_sub(len)),
        };
        Parsed::Whole(Self { len, payload_len, times: PesTimes::parse(flags, fields) })
    }
}

impl PesTimes {
    fn parse(flags: u8, fields: &[u8]) -> Self {
        let Some((pts, rest)) = fields.split_first_chunk().filter(|_| flags & 0x80 != 0) else {
            return Self::default();
        };
        let Some(pts) = parse_time(*pts) else { return Self::default() };
        let dts = rest.first_chunk().filter(|_| flags & 0x40 != 0).copied().and_then(parse_time);
        Self { pts: Some(pts), dts: dts.or(Some(pts)) }
    }

    /// Of the PES packet that begins in this payload, if its times are in there.
    pub(super) fn peek(payload: &[u8]) -> Option<Self> {
        match Header::parse(payload) {
            Parsed::Whole(header) => Some(header.times),
            Parsed::Partial | Parsed::Wrong => None,
        }
    }
}

/// §2.4.3.6: three groups of bits, each with a marker behind it. Without a marker it is no time.
fn parse_time([a, b, c, d, e]: [u8; 5]) -> Option<u64> {
    if a & c & e & 1 == 0 {
        return None;
    }
    let high = u64::from(a >> 1) & 7;
    let middle = u64::from(u16::from_be_bytes([b, c]) >> 1);
    let low = u64::from(u16::from_be_bytes([d, e]) >> 1);
    Some((high << 30) | (middle << 15) | low)
}

fn encode_time(prefix: u8, time: u64, out: &mut Vec<u8>) {
    let bits = |shift: u32, mask: u64| u16::try_from((time >> shift) & mask).unwrap_or(0);
    let high = u8::try_from(bits(30, 7)).unwrap_or(0);
    out.push((prefix << 4) | (high << 1) | 1);
    out.extend_from_slice(&((bits(15, 0x7fff) << 1) | 1).to_be_bytes());
    out.extend_from_slice(&((bits(0, 0x7fff) << 1) | 1).to_be_bytes());
}

/// Appends the header of a PES packet that begins with an access unit: the DTS only where it differs from the PTS,
/// the length 0, which only video may have (§2.4.3.7), when it does not fit.
pub(super) fn encode_header(
    stream_id: u8,
    pts_33: u64,
    dts_33: u64,
    payload_len: usize,
    out: &mut Vec<u8>,
) {
    let has_dts = pts_33 != dts_33;
    let fields = if has_dts { 10 } else { 5 };
    let length = u16::try_from(payload_len + 3 + usize::from(fields)).unwrap_or(0);
    out.extend_from_slice(&[0, 0, 1, stream_id]);
    out.extend_from_slice(&length.to_be_bytes());
    // `data_alignment_indicator` is set: an access unit begins here (§2.6.10).
    out.extend_from_slice(&[0x84, if has_dts { 0xc0 } else { 0x80 }, fields]);
    if has_dts {
        encode_time(3, pts_33, out);
        encode_time(1, dts_33, out);
    } else {
        encode_time(2, pts_33, out);
    }
}

/// The longest header there can be.
#[cfg(test)]
const MAX_HEADER: usize = 9 + 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(payloads: &[(bool, &[u8])]) -> Vec<String> {
        let mut reader = PesReader::default();
        let mut parts = Vec::new();
        for (start, payload) in payloads {
            reader.push(*start, payload, |part| {
                parts.push(match part {
                    PesPart::Begin(times) => format!("begin {:?} {:?}", times.pts, times.dts),
                    PesPart::Data(data) => format!("{} bytes", data.len()),
                    PesPart::End => "end".to_owned(),
                });
            });
            assert!(reader.head.len() <= MAX_HEADER + 184);
        }
        parts
    }

    fn pes(pts: u64, dts: u64, declared: usize, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_header(0xe0, pts, dts, declared, &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn times_of_33_bits_come_back() {
        for time in [0, 1, 0x7fff, 0x8000, 1 << 30, (1 << 33) - 1, 0x1_2345_6789] {
            let bytes = pes(time, time, 3, &[1, 2, 3]);
            let expected = format!("begin Some({time}) Some({time})");
            assert_eq!(parts(&[(true, &bytes)]), [&expected, "3 bytes", "end"]);
            let bytes = pes(time, 77, 70_000, &[1, 2, 3]);
            let expected = format!("begin Some({time}) Some(77)");
            assert_eq!(parts(&[(true, &bytes)]), [&expected, "3 bytes"], "of open length");
        }
    }

    #[test]
    fn a_header_may_span_packets_anywhere() {
        let bytes = pes(9, 3, 4, &[1, 2, 3, 4]);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let mut seen = parts(&[(true, a), (false, b)]);
            seen.retain(|part| !part.ends_with("bytes"));
            assert_eq!(seen, ["begin Some(9) Some(3)", "end"], "cut at {cut}");
        }
        let bytewise: Vec<(bool, &[u8])> =
            bytes.chunks(1).enumerate().map(|(n, byte)| (n == 0, byte)).collect();
        let seen = parts(&bytewise);
        assert_eq!(seen.len(), 1 + 4 + 1, "{seen:?}");
    }

    #[test]
    fn what_follows_a_declared_end_is_left_out() {
        let bytes = pes(9, 9, 4, &[1, 2, 3, 4, 0xff, 0xff]);
        assert_eq!(
            parts(&[(true, &bytes), (false, &[1; 184])]),
            ["begin Some(9) Some(9)", "4 bytes", "end"]
        );
    }

    #[test]
    fn headers_that_make_no_sense_give_nothing() {
        for wrong in [
            &[0, 0, 2, 0xe0, 0, 0, 0x80, 0, 0][..],
            &[0, 0, 1, 0xbe, 0, 4, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 1, 0x09, 0, 0, 0x80, 0, 0],
            &[0, 0, 1, 0xe0, 0, 0, 0x40, 0, 0],
        ] {
            assert_eq!(parts(&[(true, wrong), (false, &[1; 184])]), [] as [&str; 0], "{wrong:x?}");
        }
        let without_marker = [0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 0, 7];
        assert_eq!(parts(&[(true, &without_marker)]), ["begin None None", "1 bytes"]);
    }
}
