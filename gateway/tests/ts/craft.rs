//! Transport streams that no encoder at hand makes: units laid into PES packets in all the ways that occur.

use thalweg_gateway::container::{Mux, Select, ts::TsMux};
use thalweg_gateway::media::nal::{LengthPrefixed, LengthSize};
use thalweg_gateway::media::{AccessUnit, CodecConfig, Tracks};

/// Writes packets of one video PID, 0x100.
pub(crate) struct Craft {
    pub(crate) bytes: Vec<u8>,
    continuity: u8,
}

/// How a PES packet is laid out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pes {
    /// PTS and DTS.
    pub(crate) times: Option<(u64, u64)>,
    /// Its length is in its header.
    pub(crate) declared: bool,
    /// This packet is stuffed though more follow.
    pub(crate) stuffed: Option<usize>,
}

impl Craft {
    /// Begins with the tables of a stream with these tracks.
    pub(crate) fn new(tracks: &Tracks, first: &AccessUnit) -> Self {
        let mut mux = TsMux::new(Select::VideoOnly);
        let mut chunks = Vec::new();
        mux.tracks(tracks);
        mux.unit(first, &mut chunks);
        let bytes = chunks[0].parts.concat()[..2 * 188].to_vec();
        assert_eq!(bytes[188 + 1] & 0x1f, 0x10, "PAT, then PMT on PID 0x1000");
        Self { bytes, continuity: 0 }
    }

    /// How many packets there are.
    pub(crate) fn packets(&self) -> usize {
        self.bytes.len() / 188
    }

    /// Appends a PES packet. The last packet is stuffed by its adaptation field.
    pub(crate) fn pes(&mut self, payload: &[u8], pes: Pes) {
        let mut header = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0];
        if let Some((pts, dts)) = pes.times {
            header[7] = 0xc0;
            header[8] = 10;
            header.extend(time(3, pts));
            header.extend(time(1, dts));
        }
        if pes.declared {
            let length = u16::try_from(header.len() + payload.len() - 6).unwrap();
            header[4..6].copy_from_slice(&length.to_be_bytes());
        }
        let mut rest = &[header, payload.to_vec()].concat()[..];
        let mut number = 0;
        while !rest.is_empty() {
            let room = if pes.stuffed == Some(number) { 100 } else { 184 };
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.packet(now, number == 0);
            (rest, number) = (later, number + 1);
        }
    }

    fn packet(&mut self, payload: &[u8], start: bool) {
        let end = self.bytes.len() + 188;
        let stuffing = 184 - payload.len();
        let control = if stuffing > 0 { 0x30 } else { 0x10 };
        self.bytes.extend([0x47, 1 | u8::from(start) << 6, 0, control | self.continuity]);
        self.continuity = (self.continuity + 1) % 16;
        if stuffing > 0 {
            self.bytes.push(u8::try_from(stuffing - 1).unwrap());
        }
        if stuffing > 1 {
            self.bytes.push(0);
        }
        self.bytes.resize(end - payload.len(), 0xff);
        self.bytes.extend(payload);
    }
}

fn time(prefix: u8, time: u64) -> [u8; 5] {
    let group = |shift: u32| u16::try_from(time >> shift & 0x7fff).unwrap() << 1 | 1;
    let [b, c] = group(15).to_be_bytes();
    let [d, e] = group(0).to_be_bytes();
    [prefix << 4 | u8::try_from(time >> 30 & 7).unwrap() << 1 | 1, b, c, d, e]
}

/// The NAL units of a unit as a byte stream each, parameter sets in front of random access points.
pub(crate) fn nals(unit: &AccessUnit, delimiter: bool) -> Vec<Vec<u8>> {
    let CodecConfig::H264(config) = &*unit.config else { panic!("not H.264") };
    let sets = config.parameter_sets().filter(|_| unit.random_access).map(|set| &set[..]);
    let slices = LengthPrefixed::new(&unit.payload, LengthSize::Four).map(Result::unwrap);
    let delimiter = [&[0x09, 0xf0][..]].into_iter().filter(|_| delimiter);
    let all = delimiter.chain(sets).chain(slices);
    all.map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect()
}

/// The times of a unit as a PES packet has them.
pub(crate) fn times(unit: &AccessUnit) -> Option<(u64, u64)> {
    Some((unit.pts.ticks() as u64, unit.dts.ticks() as u64))
}
