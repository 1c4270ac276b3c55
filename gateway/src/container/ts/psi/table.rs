//! The programme association table (ISO/IEC 13818-1:2019 §2.4.4.4) and the programme map table (§2.4.4.9).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::section::{MAX_BODY, encode_section};
use crate::container::ts::packet::Pid;

/// One section of the table that leads to the programmes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::container::ts) struct Pat {
    pub(in crate::container::ts) stream_id: u16,
    pub(in crate::container::ts) version: u8,
    /// Which section of the table this is, and which is the last.
    pub(in crate::container::ts) section: (u8, u8),
    /// Programme number and PID of its map, in their order; the network's PID (number 0) left out.
    pub(in crate::container::ts) programmes: Vec<(u16, Pid)>,
}

/// The map of one programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::container::ts) struct Pmt {
    pub(in crate::container::ts) programme: u16,
    pub(in crate::container::ts) version: u8,
    pub(in crate::container::ts) pcr_pid: Pid,
    /// Of the programme, as they stand there.
    pub(in crate::container::ts) descriptors: Vec<u8>,
    pub(in crate::container::ts) streams: Vec<PmtStream>,
}

/// One elementary stream in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::container::ts) struct PmtStream {
    pub(in crate::container::ts) stream_type: u8,
    pub(in crate::container::ts) pid: Pid,
    /// As they stand there.
    pub(in crate::container::ts) descriptors: Vec<u8>,
}

impl Pat {
    /// From a whole section with a right CRC; `None` if it is none, or not in force yet.
    pub(in crate::container::ts) fn parse(section: &[u8]) -> Option<Self> {
        let head = Head::parse(section, PAT_TABLE)?;
        let (entries, _) = head.body.as_chunks::<4>();
        let programmes = entries
            .iter()
            .map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), Pid::new(u16::from_be_bytes([c, d]))))
            .filter(|(number, _)| *number != 0)
            .collect();
        Some(Self {
            stream_id: head.extension,
            version: head.version,
            section: head.section,
            programmes,
        })
    }

    /// As a section.
    pub(in crate::container::ts) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, pid) in &self.programmes {
            body.extend_from_slice(&number.to_be_bytes());
            body.extend_from_slice(&(0xe000 | pid.value()).to_be_bytes());
        }
        encode_section(PAT_TABLE, self.stream_id, self.version, &body)
    }
}

impl Pmt {
    /// From a whole section with a right CRC; `None` if it is none, or not in force yet. Streams behind one whose
    /// length is wrong are left out.
    pub(in crate::container::ts) fn parse(section: &[u8]) -> Option<Self> {
        let head = Head::parse(section, PMT_TABLE)?;
        let (&[a, b, c, d], rest) = head.body.split_first_chunk::<4>()?;
        let (descriptors, mut rest) = rest.split_at_checked(length12(c, d))?;
        let mut streams = Vec::new();
        while let Some((&[stream_type, b, c, d, e], after)) = rest.split_first_chunk::<5>() {
            let Some((descriptors, after)) = after.split_at_checked(length12(d, e)) else { break };
            let pid = Pid::new(u16::from_be_bytes([b, c]));
            streams.push(PmtStream { stream_type, pid, descriptors: descriptors.to_vec() });
            rest = after;
        }
        Some(Self {
            programme: head.extension,
            version: head.version,
            pcr_pid: Pid::new(u16::from_be_bytes([a, b])),
            descriptors: descriptors.to_vec(),
            streams,
        })
    }

    /// As a section. Streams that do not fit into one are left out, the last first: there is room for more than 40.
    pub(in crate::container::ts) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&(0xe000 | self.pcr_pid.value()).to_be_bytes());
        push_length12(self.descriptors.len(), &mut body);
        body.extend_from_slice(&self.descriptors);
        for stream in &self.streams {
            if body.len() + 5 + stream.descriptors.len() > MAX_BODY {
                break;
            }
            body.push(stream.stream_type);
            body.extend_from_slice(&(0xe000 | stream.pid.value()).to_be_bytes());
            push_length12(stream.descriptors.len(), &mut body);
            body.extend_from_slice(&stream.descriptors);
        }
        encode_section(PMT_TABLE, self.programme, self.version, &body)
    }
}

/// What every section of the long form begins with (§2.4.4.4).
struct Head<'a> {
    extension: u16,
    version: u8,
    section: (u8, u8),
    /// Without the CRC.
    body: &'a [u8],
}

impl<'a> Head<'a> {
    fn parse(section: &'a [u8], table_id: u8) -> Option<Self> {
        let (&[id, high, _, a, b, version, number, last], rest) =
            section.split_first_chunk::<8>()?;
        let (body, _crc) = rest.split_last_chunk::<4>()?;
        let has_long_form = high & 0x80 != 0;
        let is_current = version & 1 != 0;
        (id == table_id && has_long_form && is_current).then(|| Self {
            extension: u16::from_be_bytes([a, b]),
            version: (version >> 1) & 0x1f,
            section: (number, last),
            body,
        })
    }
}

/// A length of 12 bits behind 4 reserved ones.
fn length12(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}

fn push_length12(length: usize, out: &mut Vec<u8>) {
    let length = u16::try_from(length).unwrap_or(0x0fff) & 0x0fff;
    out.extend_from_slice(&(0xf000 | length).to_be_bytes());
}

/// §2.4.4.4, table 2-31.
const PAT_TABLE: u8 = 0x00;

/// §2.4.4.4, table 2-31.
const PMT_TABLE: u8 = 0x02;

/// Stream types (table 2-34), and those that ATSC A/53 part 3 §6.7 assigns.
pub(in crate::container::ts) mod stream_type {
    /// MPEG-1 audio.
    pub(in crate::container::ts) const MPEG1_AUDIO: u8 = 0x03;
    /// MPEG-2 audio: the lower sampling rates.
    pub(in crate::container::ts) const MPEG2_AUDIO: u8 = 0x04;
    /// Private PES packets: what it is, descriptors tell.
    pub(in crate::container::ts) const PRIVATE_PES: u8 = 0x06;
    /// AAC in ADTS.
    pub(in crate::container::ts) const AAC_ADTS: u8 = 0x0f;
    /// AAC in LATM.
    pub(in crate::container::ts) const AAC_LATM: u8 = 0x11;
    /// H.264.
    pub(in crate::container::ts) const H264: u8 = 0x1b;
    /// HEVC.
    pub(in crate::container::ts) const HEVC: u8 = 0x24;
    /// AC-3 (ATSC).
    pub(in crate::container::ts) const AC3: u8 = 0x81;
    /// Enhanced AC-3 (ATSC).
    pub(in crate::container::ts) const EAC3: u8 = 0x87;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pmt() -> Pmt {
        Pmt {
            programme: 1,
            version: 5,
            pcr_pid: Pid::new(0x100),
            descriptors: vec![0x0e, 3, 1, 2, 3],
            streams: vec![
                PmtStream { stream_type: 0x1b, pid: Pid::new(0x100), descriptors: Vec::new() },
                PmtStream {
                    stream_type: 0x0f,
                    pid: Pid::new(0x101),
                    descriptors: vec![0x0a, 4, b'd', b'e', b'u', 0],
                },
            ],
        }
    }

    #[test]
    fn tables_come_back_as_they_were() {
        let pat = Pat {
            stream_id: 9,
            version: 31,
            section: (0, 0),
            programmes: vec![(1, Pid::new(0x1000)), (2, Pid::new(0x1fe0))],
        };
        assert_eq!(Pat::parse(&pat.encode()), Some(pat));
        assert_eq!(Pmt::parse(&pmt().encode()), Some(pmt()));
        let empty = Pmt { streams: Vec::new(), ..pmt() };
        assert_eq!(Pmt::parse(&empty.encode()), Some(empty), "a programme without streams");
    }

    #[test]
    fn the_network_pid_is_no_programme() {
        let section = encode_section(PAT_TABLE, 1, 0, &[0, 0, 0xe0, 0x10, 0, 5, 0xe1, 0]);
        assert_eq!(Pat::parse(&section).unwrap().programmes, [(5, Pid::new(0x100))]);
    }

    #[test]
    fn a_table_that_is_not_in_force_yet_is_none() {
        let mut section = pmt().encode();
        section[5] &= !1;
        assert_eq!(Pmt::parse(&section), None);
    }

    #[test]
    fn wrong_lengths_cost_the_streams_behind_them_only() {
        let mut section = pmt().encode();
        let at = section.len() - 4 - 8;
        assert_eq!(section[at], 0xf0, "the length of the second stream's descriptors");
        section[at + 1] = 200;
        assert_eq!(Pmt::parse(&section).unwrap().streams.len(), 1);
    }

    #[test]
    fn every_truncation_is_survived() {
        let section = pmt().encode();
        for length in 0..section.len() {
            let pmt = Pmt::parse(&section[..length]);
            assert!(pmt.is_none_or(|pmt| pmt.streams.len() < 2), "{length} bytes");
            assert_eq!(Pat::parse(&section[..length]), None);
        }
    }

    #[test]
    fn a_programme_of_very_many_streams_stays_within_a_section() {
        let stream = pmt().streams.remove(1);
        let many = Pmt { streams: vec![stream; 500], ..pmt() };
        let parsed = Pmt::parse(&many.encode()).unwrap();
        assert!(parsed.streams.len() > 80);
    }
}
