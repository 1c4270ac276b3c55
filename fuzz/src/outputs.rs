//! A sink that holds access units against what a demuxer promises, and runs them through a muxer.

use std::rc::Rc;
use thalweg_gateway::{
    container::{
        Chunk, Mux, Select, Sink,
        flv::{FlvDemux, FlvMux, TagReader},
        fmp4::Fmp4,
        ts::{Demuxer, Jump, PACKET_LEN, PacketInfo, Passthrough, Programme, TsMux, TsSink},
    },
    media::{
        AccessUnit, Codec, CodecConfig, Tracks,
        nal::{LengthPrefixed, LengthSize},
    },
};

/// Takes what one demuxer finds.
pub(crate) struct Outputs {
    tracks: Tracks,
    /// Bytes of payloads so far.
    payload_len: usize,
    pub(crate) units: Vec<AccessUnit>,
    pub(crate) packets: usize,
    muxer: Muxer,
    passthrough: Passthrough,
    chunks: Vec<Chunk>,
}

/// A muxer, and what reads again what it makes. One for each input, so that more inputs can be tried.
enum Muxer {
    Flv {
        mux: FlvMux,
        /// Reads from the first chunk on at which one may begin.
        reader: Option<TagReader>,
        demux: FlvDemux,
    },
    Fmp4 {
        mux: Fmp4,
        bytes: Vec<u8>,
    },
    Ts {
        mux: TsMux,
        demuxer: Box<Demuxer>,
    },
}

impl Muxer {
    fn new(which: u8) -> Self {
        match which % 3 {
            0 => Self::Flv { mux: FlvMux::new(Select::All), reader: None, demux: FlvDemux::new() },
            1 => Self::Fmp4 { mux: Fmp4::new(Select::All), bytes: Vec::new() },
            _ => Self::Ts {
                mux: TsMux::new(Select::All),
                demuxer: Box::new(Demuxer::new(Programme::First)),
            },
        }
    }

    fn tracks(&mut self, tracks: &Tracks) {
        match self {
            Self::Flv { mux, .. } => mux.tracks(tracks),
            Self::Fmp4 { mux, .. } => mux.tracks(tracks),
            Self::Ts { mux, .. } => mux.tracks(tracks),
        }
    }

    fn unit(&mut self, unit: &AccessUnit, chunks: &mut Vec<Chunk>) {
        match self {
            Self::Flv { mux, reader, demux } => {
                mux.unit(unit, chunks);
                chunks.drain(..).for_each(|chunk| read_flv(&chunk, reader, demux));
                if let Some(fault) = demux.take_fault() {
                    panic!("in our own FLV: {fault}");
                }
            }
            Self::Fmp4 { mux, bytes } => {
                mux.unit(unit, chunks);
                bytes.extend(chunks.drain(..).flat_map(|chunk| chunk.parts).flatten());
            }
            Self::Ts { mux, demuxer } => {
                mux.unit(unit, chunks);
                for part in chunks.drain(..).flat_map(|chunk| chunk.parts) {
                    demuxer.push(&part, &mut Nobody);
                }
            }
        }
    }

    /// What was made must be whole.
    fn finish(self) {
        match self {
            Self::Flv { .. } => {}
            Self::Fmp4 { bytes, .. } => assert_boxes(&bytes),
            Self::Ts { demuxer, .. } => {
                let stats = demuxer.stats();
                for (name, count) in [
                    ("resyncs", stats.resyncs),
                    ("continuity errors", stats.continuity_errors),
                    ("transport errors", stats.transport_errors),
                    ("section errors", stats.psi_errors),
                    ("PES errors", stats.pes_errors),
                ] {
                    assert_eq!(count, 0, "{name} in our own transport stream");
                }
            }
        }
    }
}

fn read_flv(chunk: &Chunk, reader: &mut Option<TagReader>, demux: &mut FlvDemux) {
    if let (None, Some(head)) = (&reader, &chunk.head) {
        let reader = reader.insert(TagReader::default());
        head.iter().for_each(|part| reader.push(part));
    }
    let Some(reader) = reader else { return };
    chunk.parts.iter().for_each(|part| reader.push(part));
    while let Some(tag) = reader.next_tag().expect("our FLV is a file") {
        demux.tag(tag, &mut Nobody);
    }
}

impl Outputs {
    /// With one of the muxers.
    pub(crate) fn new(which: u8) -> Self {
        Self {
            tracks: Tracks::default(),
            payload_len: 0,
            units: Vec::new(),
            packets: 0,
            muxer: Muxer::new(which),
            passthrough: Passthrough::default(),
            chunks: Vec::new(),
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(mut self, input_len: usize) {
        // A length of one byte becomes one of four, so a little more may come out than went in.
        assert!(
            self.payload_len <= 4 * input_len,
            "{} bytes of payload out of {input_len}",
            self.payload_len
        );
        self.passthrough.flush(&mut self.chunks);
        self.muxer.finish();
    }
}

impl Sink for Outputs {
    fn tracks(&mut self, tracks: &Tracks) {
        for (at, track) in tracks.iter().enumerate() {
            assert!(tracks.iter().skip(at + 1).all(|other| other.id != track.id), "an id twice");
            if let Some(config) = &track.config {
                assert_eq!(config.codec(), track.codec);
                describe(config);
            }
        }
        self.tracks = tracks.clone();
        self.muxer.tracks(tracks);
    }

    fn unit(&mut self, unit: AccessUnit) {
        let track = self.tracks.find(unit.track).expect("a unit's track was announced");
        assert_eq!(track.codec, unit.config.codec());
        assert!(track.config.is_some(), "a unit before its track's configuration");
        describe(&unit.config);
        unit.config.samples(&unit.payload);
        if matches!(track.codec, Codec::H264 | Codec::Hevc) {
            let mut nals = LengthPrefixed::new(&unit.payload, LengthSize::Four);
            assert!(nals.all(|nal| nal.is_ok()), "payload is no sequence of NAL units");
        }
        self.payload_len += unit.payload.len();
        self.muxer.unit(&unit, &mut self.chunks);
        self.units.push(unit);
    }
}

impl TsSink for Outputs {
    fn packet(&mut self, packet: &[u8; PACKET_LEN], info: &PacketInfo) {
        self.packets += 1;
        self.passthrough.packet(packet, info, &mut self.chunks);
        for chunk in self.chunks.drain(..) {
            assert_eq!(chunk.len() % PACKET_LEN, 0);
        }
    }

    fn jump(&mut self, _: Jump) {
        self.passthrough.jump();
    }
}

/// Listens to nothing.
pub(crate) struct Nobody;

impl Sink for Nobody {
    fn tracks(&mut self, _: &Tracks) {}

    fn unit(&mut self, _: AccessUnit) {}
}

impl TsSink for Nobody {
    fn packet(&mut self, _: &[u8; PACKET_LEN], _: &PacketInfo) {}
}

/// Asks a configuration for all it can tell.
pub(crate) fn describe(config: &Rc<CodecConfig>) {
    assert!(!config.codec_string().is_empty());
    let described = (
        config.dimensions(),
        config.sample_aspect(),
        config.frame_rate(),
        config.sample_rate(),
        config.channels(),
    );
    std::hint::black_box(described);
}

/// The bytes are ISO boxes, one after the other, and nothing else (ISO/IEC 14496-12:2022 §4.2).
fn assert_boxes(mut bytes: &[u8]) {
    while let Some((size, _)) = bytes.split_first_chunk() {
        let size = u32::from_be_bytes(*size) as usize;
        assert!((8..=bytes.len()).contains(&size), "a box of {size} of {} bytes", bytes.len());
        bytes = &bytes[size..];
    }
    assert!(bytes.is_empty(), "{} bytes after the last box", bytes.len());
}
