//! What a receiver of RTP tells of what it got, as RTCP has it: reports (RFC 3550 §6.4), packets that are missing and pictures that
//! cannot be decoded (RFC 4585 §6, RFC 5104 §4.3.1), and what became of each packet
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! It comes from whoever may receive, and is believed as little as anything else: what is cut off or contradicts itself ends the
//! reading, and nothing is kept that is longer than a packet.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

/// One thing that a receiver tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feedback<'a> {
    /// What it received of a stream.
    Report(Report),
    /// Packets of a stream that it misses.
    Missing {
        /// Which stream.
        ssrc: u32,
        /// Which packets.
        packets: Missing<'a>,
    },
    /// It cannot decode the pictures of a stream until the next at which that can begin.
    RandomAccess {
        /// Which stream.
        ssrc: u32,
    },
    /// What became of packets that were numbered across streams.
    Arrivals(Arrivals<'a>),
}

/// What it received of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Which stream.
    pub ssrc: u32,
    /// The share of packets that were lost since the report before.
    pub loss: f32,
    /// The middle of the NTP time of the last report of ours that it got; 0 when there was none.
    pub last: u32,
    /// How long ago that was, in 1/65 536 s.
    pub since: u32,
}

/// Sequence numbers in words of a first and the 16 after it (RFC 4585 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Missing<'a>(&'a [u8]);

/// The arrivals of packets from one number on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrivals<'a> {
    first: u16,
    count: u16,
    /// Chunks, which tell of packets whether they arrived, and after them by how much later than the one before.
    chunks: &'a [u8],
}

/// Packet types.
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;

/// Formats of feedback.
const GENERIC_NACK: u8 = 1;
const CONGESTION: u8 = 15;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA_REQUEST: u8 = 4;

/// The header of a packet of RTCP.
const HEADER: usize = 4;

/// A block of a report.
const BLOCK: usize = 24;

/// Reads a compound of RTCP, all that it tells.
pub fn read(compound: &[u8], mut tell: impl FnMut(Feedback<'_>)) {
    let mut rest = compound;
    while let Some((&[first, kind, high, low], _)) = rest.split_first_chunk::<HEADER>() {
        let len = HEADER + 4 * usize::from(u16::from_be_bytes([high, low]));
        let Some((packet, after)) = rest.split_at_checked(len) else { return };
        if first >> 6 != 2 {
            return;
        }
        let body = packet.get(HEADER..).unwrap_or_default();
        read_one(kind, first & 0x1f, body, &mut tell);
        rest = after;
    }
}

fn read_one(kind: u8, format: u8, body: &[u8], tell: &mut impl FnMut(Feedback<'_>)) {
    match (kind, format) {
        // Of who reports, and of what it sends, there is nothing to know.
        (SENDER_REPORT, count) => read_blocks(body.get(24..).unwrap_or_default(), count, tell),
        (RECEIVER_REPORT, count) => read_blocks(body.get(4..).unwrap_or_default(), count, tell),
        (TRANSPORT, GENERIC_NACK) => {
            if let Some((_, ssrc, words)) = targets(body) {
                tell(Feedback::Missing { ssrc, packets: Missing(words) });
            }
        }
        (TRANSPORT, CONGESTION) => {
            if let Some((_, _, &[f0, f1, c0, c1, _, _, _, _, ref chunks @ ..])) = targets(body) {
                let (first, count) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([c0, c1]));
                tell(Feedback::Arrivals(Arrivals { first, count, chunks }));
            }
        }
        (PAYLOAD, PICTURE_LOSS) => {
            if let Some((_, ssrc, _)) = targets(body) {
                tell(Feedback::RandomAccess { ssrc });
            }
        }
        (PAYLOAD, FULL_INTRA_REQUEST) => {
            let Some((_, _, entries)) = targets(body) else { return };
            for entry in entries.as_chunks::<8>().0 {
                let &[a, b, c, d, ..] = entry;
                tell(Feedback::RandomAccess { ssrc: u32::from_be_bytes([a, b, c, d]) });
            }
        }
        _ => {}
    }
}

fn read_blocks(blocks: &[u8], count: u8, tell: &mut impl FnMut(Feedback<'_>)) {
    for block in blocks.as_chunks::<BLOCK>().0.iter().take(count.into()) {
        let word = |at: usize| {
            let word = block.get(at..).and_then(<[u8]>::first_chunk);
            word.map_or(0, |&word| u32::from_be_bytes(word))
        };
        let [lost, ..] = word(4).to_be_bytes();
        let loss = f32::from(lost) / 256.0;
        tell(Feedback::Report(Report { ssrc: word(0), loss, last: word(16), since: word(20) }));
    }
}

/// Who tells, of which stream, and the rest (RFC 4585 §6.1).
fn targets(body: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (&sender, rest) = body.split_first_chunk()?;
    let (&ssrc, rest) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(sender), u32::from_be_bytes(ssrc), rest))
}

impl Missing<'_> {
    /// Their sequence numbers.
    pub fn sequences(self) -> impl Iterator<Item = u16> {
        self.0.as_chunks::<4>().0.iter().flat_map(|&[p0, p1, m0, m1]| {
            let (first, mask) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([m0, m1]));
            let after = (0..16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(after.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

impl Arrivals<'_> {
    /// Of each packet its number, and whether it arrived (§3.1.1, §3.1.3, §3.1.4).
    pub fn each(self) -> impl Iterator<Item = (u16, bool)> {
        let statuses = self.chunks.as_chunks::<2>().0.iter().flat_map(|&chunk| {
            let chunk = u16::from_be_bytes(chunk);
            let (is_vector, is_wide) = (chunk >> 15 == 1, chunk >> 14 & 1 == 1);
            let len = match (is_vector, is_wide) {
                (false, _) => chunk & 0x1fff,
                (true, false) => 14,
                (true, true) => 7,
            };
            (0..len).map(move |at| match (is_vector, is_wide) {
                // 1 and 2 arrived, 0 did not, 3 is reserved.
                (false, _) => matches!(chunk >> 13 & 3, 1 | 2),
                (true, false) => chunk >> (13 - at) & 1 == 1,
                (true, true) => matches!(chunk >> (12 - 2 * at) & 3, 1 | 2),
            })
        });
        let numbers = (0..self.count).map(move |at| self.first.wrapping_add(at));
        numbers.zip(statuses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(kind: u8, format: u8, body: &[u8]) -> Vec<u8> {
        let words = u16::try_from(body.len() / 4).unwrap().to_be_bytes();
        [&[0x80 | format, kind, words[0], words[1]], body].concat()
    }

    fn told(compound: &[u8]) -> Vec<String> {
        let mut told = Vec::new();
        read(compound, |feedback| {
            told.push(match feedback {
                Feedback::Missing { ssrc, packets } => {
                    format!("{ssrc} misses {:?}", packets.sequences().collect::<Vec<_>>())
                }
                Feedback::Arrivals(arrivals) => {
                    let each = arrivals
                        .each()
                        .map(|(n, is_there)| format!("{n}{}", if is_there { '+' } else { '-' }));
                    each.collect::<Vec<_>>().join(" ")
                }
                other => format!("{other:?}"),
            });
        });
        told
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_compound_tells_all_that_is_in_it() {
        let report = words(&[1, 7, 0x4000_0003, 9, 5, 0xabcd_1234, 65_536]);
        let compound = [
            packet(RECEIVER_REPORT, 1, &report),
            packet(202, 1, &words(&[1, 0])),
            packet(TRANSPORT, GENERIC_NACK, &words(&[1, 7, 0xffff_8001])),
            packet(PAYLOAD, PICTURE_LOSS, &words(&[1, 7])),
            packet(PAYLOAD, FULL_INTRA_REQUEST, &words(&[1, 0, 9, 0x0500_0000])),
        ]
        .concat();
        let told = told(&compound);
        assert_eq!(
            told,
            [
                "Report(Report { ssrc: 7, loss: 0.25, last: 2882343476, since: 65536 })",
                "7 misses [65535, 0, 15]",
                "RandomAccess { ssrc: 7 }",
                "RandomAccess { ssrc: 9 }"
            ]
        );
    }

    #[test]
    fn arrivals_are_told_by_runs_and_by_vectors() {
        // Three that arrived, one bit each for fourteen, two bits each for seven; 65534 is the first of nineteen.
        let chunks = [0x2003_u16, 0x8000 | 1 << 13 | 1, 0xc000 | 1 << 12 | 2 << 10];
        let mut body = words(&[1, 0, 0xfffe_0013, 0]);
        body.extend(chunks.iter().flat_map(|chunk| chunk.to_be_bytes()));
        body.extend([0; 2]);
        let told = told(&packet(TRANSPORT, CONGESTION, &body));
        let numbers = "65534+ 65535+ 0+ 1+ 2- 3- 4- 5- 6- 7- 8- 9- 10- 11- 12- 13- 14+ 15+ 16+";
        assert_eq!(told, [numbers]);
    }

    #[test]
    fn what_is_cut_off_ends_the_reading() {
        let loss = packet(PAYLOAD, PICTURE_LOSS, &words(&[1, 7]));
        let compound = [loss.clone(), loss].concat();
        for len in 0..compound.len() {
            assert_eq!(told(&compound[..len]).len(), len / 12, "{len}");
        }
        assert_eq!(told(&packet(PAYLOAD, PICTURE_LOSS, &words(&[1]))), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(first in 0x80_u8..0xa0, kind in 200_u8..208, body: Vec<u32>, junk: Vec<u8>) {
            let mut compound = packet(kind, first & 0x1f, &words(&body));
            compound.extend(junk);
            read(&compound, |feedback| match feedback {
                Feedback::Missing { packets, .. } => assert!(packets.sequences().count() <= 17 * body.len()),
                Feedback::Arrivals(arrivals) => assert!(arrivals.each().count() <= usize::from(u16::MAX)),
                _ => {}
            });
        }
    }
}
