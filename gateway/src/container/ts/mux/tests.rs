//! Tests of the muxer as a whole, by way of the demuxer. With real streams: `gateway/tests/ts`.

use super::*;
use crate::{
    container::{
        Sink,
        ts::{Demuxer, PACKET_LEN, PacketInfo, PacketKind, Programme, TsSink},
    },
    media::{Codec, CodecConfig, Language, Timestamp, TrackId, aac, mp3, opus},
};

#[derive(Default)]
struct Found {
    tracks: Tracks,
    units: Vec<AccessUnit>,
    maps: usize,
}

impl Sink for Found {
    fn tracks(&mut self, tracks: &Tracks) {
        self.tracks = tracks.clone();
        self.maps += 1;
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.units.push(unit);
    }
}

impl TsSink for Found {
    fn packet(&mut self, _: &[u8; PACKET_LEN], info: &PacketInfo) {
        assert!(
            info.kind != PacketKind::Other,
            "a packet on PID {:?} of which no table knows",
            info.pid
        );
    }
}

fn demux(chunks: &[Chunk]) -> Found {
    let mut found = Found::default();
    let mut demuxer = Demuxer::new(Programme::First);
    for chunk in chunks {
        demuxer.push(&chunk.parts.concat(), &mut found);
    }
    demuxer.finish(&mut found);
    assert_eq!(demuxer.stats().continuity_errors, 0);
    found
}

fn hex(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

/// 48 kHz stereo.
fn aac_config() -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0x11, 0x90]).unwrap()))
}

fn track(id: u16, config: &Rc<CodecConfig>) -> Track {
    Track {
        id: TrackId(id),
        codec: config.codec(),
        language: None,
        config: Some(Rc::clone(config)),
    }
}

fn unit(id: u16, config: &Rc<CodecConfig>, ms: i64, payload: &'static [u8]) -> AccessUnit {
    let time = Timestamp::from_ms(ms);
    AccessUnit {
        track: TrackId(id),
        dts: time,
        pts: time,
        random_access: true,
        config: Rc::clone(config),
        payload: Bytes::from_static(payload),
    }
}

#[test]
fn audio_of_every_kind_comes_back_as_it_was() {
    let opus = Rc::new(CodecConfig::Opus(opus::Config::with_channels(2).unwrap()));
    let aac = aac_config();
    let mut mux = TsMux::new(Select::All);
    let german = Track { language: Language::new(*b"deu"), ..track(7, &aac) };
    mux.tracks(&[german, track(9, &opus)].into_iter().collect());
    let mut chunks = Vec::new();
    // A packet of 20 ms begins with a byte that says so.
    let packet: &[u8] = &[0xfc; 300];
    for n in 0..50 {
        mux.unit(&unit(7, &aac, n * 20, &[0x21; 200]), &mut chunks);
        mux.unit(&unit(9, &opus, n * 20, packet), &mut chunks);
    }
    let found = demux(&chunks);
    let codecs: Vec<_> = found.tracks.iter().map(|track| track.codec).collect();
    assert_eq!(codecs, [Codec::Aac, Codec::Opus]);
    assert_eq!(found.tracks[0].language, Language::new(*b"deu"));
    assert_eq!(found.units.len(), 100);
    for (n, pair) in found.units.chunks(2).enumerate() {
        assert_eq!((&pair[0].payload[..], &pair[1].payload[..]), (&[0x21; 200][..], packet));
        assert_eq!((*pair[0].config).clone(), *aac);
        let ms = n as i64 * 20 + 1_400;
        assert_eq!((pair[0].pts, pair[1].pts), (Timestamp::from_ms(ms), Timestamp::from_ms(ms)));
    }
}

#[test]
fn tables_change_when_tracks_do_and_only_then() {
    let aac = aac_config();
    let mut mux = TsMux::new(Select::All);
    let mut chunks = Vec::new();
    let one: Tracks = [track(1, &aac)].into_iter().collect();
    let two: Tracks = [track(1, &aac), track(2, &aac)].into_iter().collect();
    let mut ms = 0;
    for tracks in [&one, &one, &two, &two, &one, &two] {
        mux.tracks(tracks);
        for track in tracks.iter() {
            for _ in 0..10 {
                ms += 10;
                mux.unit(&unit(track.id.0, &aac, ms, &[0x21; 100]), &mut chunks);
            }
        }
    }
    let found = demux(&chunks);
    // Each map, and once more with the configuration of a track that is new.
    assert_eq!(found.maps, 4 + 3, "{:?}", found.tracks);
    assert_eq!(found.units.len(), 90);
    let pids: Vec<u16> = found.tracks.iter().map(|track| track.id.0).collect();
    assert_eq!(pids, [0x100, 0x102], "a track that went and came is another");
}

#[test]
fn what_the_container_cannot_carry_is_left_out() {
    let aac = aac_config();
    // Low delay: no profile of ADTS.
    let low_delay = Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0xb9, 0x90, 0]).unwrap()));
    let unknown = Track { id: TrackId(3), codec: Codec::Av1, language: None, config: None };
    let mut mux = TsMux::new(Select::All);
    mux.tracks(&[track(1, &low_delay), track(2, &aac), unknown.clone()].into_iter().collect());
    assert!(!TsMux::carries(&unknown) && !TsMux::carries(&track(1, &low_delay)));
    let mut chunks = Vec::new();
    mux.unit(&unit(1, &low_delay, 0, &[1; 10]), &mut chunks);
    mux.unit(&unit(77, &aac, 0, &[1; 10]), &mut chunks);
    assert!(chunks.is_empty());
    mux.unit(&unit(2, &aac, 0, &[1; 10]), &mut chunks);
    assert_eq!(demux(&chunks).tracks.len(), 1);
}

#[test]
fn the_stream_type_of_mpeg_audio_follows_its_rate() {
    // 22.05 kHz, layer 3, mono, 32 kbit/s: a frame of 104 bytes.
    let frame: &'static [u8] = &[0xff, 0xf3, 0x40, 0xc0];
    let config = Rc::new(CodecConfig::Mp3(mp3::Config::from_frame(frame).unwrap()));
    let mut mux = TsMux::new(Select::All);
    mux.tracks(&[Track { config: None, ..track(1, &config) }].into_iter().collect());
    let mut chunks = Vec::new();
    mux.unit(&unit(1, &config, 0, frame), &mut chunks);
    let bytes = chunks[0].parts.concat();
    let map = &bytes[PACKET_LEN..2 * PACKET_LEN];
    assert_eq!(map[5 + 12], 0x04, "MPEG-2 audio");
}

#[test]
fn a_wrong_length_inside_a_unit_ends_the_unit_there() {
    let sps = hex("6764001facd9405005bb0110000003001000000303c0f1831960");
    let pps = hex("68ebe3cb22c0");
    let config = crate::media::h264::Config::from_parameter_sets([&sps[..], &pps]).unwrap();
    let config = Rc::new(CodecConfig::H264(config));
    let mut mux = TsMux::new(Select::All);
    mux.tracks(&[track(1, &config)].into_iter().collect());
    let mut chunks = Vec::new();
    for n in 0..3 {
        mux.unit(
            &unit(1, &config, n * 40, &[0, 0, 0, 3, 0x65, 0x88, 0x84, 0, 9, 9, 9, 0x65]),
            &mut chunks,
        );
    }
    let found = demux(&chunks);
    assert_eq!(found.units.len(), 3);
    assert!(found.units.iter().all(|unit| unit.payload[..] == [0, 0, 0, 3, 0x65, 0x88, 0x84]));
    assert!(found.units.iter().all(|unit| unit.random_access && unit.config == config));
}

#[test]
fn a_map_that_gives_a_pid_two_meanings_is_followed_as_far_as_it_makes_sense() {
    use super::super::{
        packet::Pid,
        psi::{Pat, Pmt, PmtStream, packetize, stream_type},
    };
    let map = Pid::new(0x1000);
    let entry =
        |pid| PmtStream { stream_type: stream_type::AAC_ADTS, pid, descriptors: Vec::new() };
    let audio = Pid::new(0x100);
    let streams = [map, Pid::PAT, Pid::NULL, audio, audio].map(entry).to_vec();
    let pmt =
        Pmt { programme: 1, version: 0, pcr_pid: Pid::NULL, descriptors: Vec::new(), streams };
    let pat = Pat { stream_id: 1, version: 0, section: (0, 0), programmes: vec![(1, map)] };
    let mut bytes = Vec::new();
    packetize(Pid::PAT, &pat.encode(), &mut 0, &mut bytes);
    packetize(map, &pmt.encode(), &mut 0, &mut bytes);
    let mut found = Found::default();
    Demuxer::new(Programme::First).push(&bytes, &mut found);
    let pids: Vec<u16> = found.tracks.iter().map(|track| track.id.0).collect();
    assert_eq!(pids, [0x100]);
}
