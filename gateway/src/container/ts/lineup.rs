//! Which codecs a piece of a transport stream has, as the tables in front of it say (ISO/IEC 13818-1:2019 §2.4.4).
//!
//! For who cuts streams into files: a player of files looks at the first map, and rarely follows another.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    packet::{PACKET_LEN, Packet, Pid},
    psi::{Pat, Pmt, Sections, stream_codec},
};
use crate::media::Codec;
use bytes::Bytes;

/// Tables stand within so many packets.
const LOOKED_AT: usize = 32;

/// The elementary streams whose codec is known, in the order of the map; `None` when no whole map stands in front.
pub fn lineup<'a>(parts: impl IntoIterator<Item = &'a Bytes>) -> Option<Vec<(Pid, Codec)>> {
    let packets = parts.into_iter().flat_map(|part| part.as_chunks::<PACKET_LEN>().0);
    let (mut pat, mut pmt) = (Sections::default(), Sections::default());
    let mut map_pid = None;
    for packet in packets.take(LOOKED_AT).map(Packet::new) {
        let payload = packet.payload();
        let mut map = None;
        if packet.pid() == Pid::PAT {
            pat.push(packet.is_unit_start(), payload, |section| {
                let first = Pat::parse(section).and_then(|pat| pat.programmes.first().copied());
                map_pid = first.map(|(_, pid)| pid).or(map_pid);
            });
        } else if Some(packet.pid()) == map_pid {
            pmt.push(packet.is_unit_start(), payload, |section| map = Pmt::parse(section));
        }
        if let Some(map) = map {
            let known = |stream: &_| stream_codec(stream);
            let streams = map.streams.iter();
            return Some(streams.filter_map(|s| Some((s.pid, known(s)?))).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ts::psi::{PmtStream, packetize, stream_type};

    #[test]
    fn the_map_in_front_tells_the_codecs() {
        let stream = |stream_type, pid| PmtStream {
            stream_type,
            pid: Pid::new(pid),
            descriptors: Vec::new(),
        };
        let pat = Pat {
            stream_id: 1,
            version: 0,
            section: (0, 0),
            programmes: vec![(1, Pid::new(0x1000))],
        };
        // The second one is of no kind that is known here.
        let streams = vec![stream(stream_type::H264, 0x100), stream(0x86, 0x101)];
        let (programme, pcr_pid, descriptors) = (1, Pid::new(0x100), Vec::new());
        let map = Pmt { programme, version: 0, pcr_pid, descriptors, streams };
        let mut tables = Vec::new();
        let mut continuity = 0;
        packetize(Pid::PAT, &pat.encode(), &mut continuity, &mut tables);
        packetize(Pid::new(0x1000), &map.encode(), &mut continuity, &mut tables);
        let tables = Bytes::from(tables);
        assert_eq!(lineup([&tables]), Some(vec![(Pid::new(0x100), Codec::H264)]));
        assert_eq!(lineup([&tables.slice(..PACKET_LEN)]), None);
        assert_eq!(lineup([&Bytes::from_static(b"no packets")]), None);
    }
}
