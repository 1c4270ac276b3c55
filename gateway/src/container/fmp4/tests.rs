//! Init segments, decode times and fragments, read back with `mp4-atom`. What ffmpeg makes of them is in `tests/fmp4`.

use super::*;
use crate::{
    container::{Chunk, LeftOut, Mux as _, Select},
    media::{
        AccessUnit, Codec, CodecConfig, Language, MediaKind, ParseError, Span, Timestamp, Track,
        TrackId, Tracks, aac, ac3, av1, h264, h265, hex, mp3, opus, vpx,
    },
};
use bytes::Bytes;
use mp4_atom::{Decode as _, Ftyp, Moof, Moov};
use std::rc::Rc;

const VIDEO: TrackId = TrackId(256);
const AUDIO: TrackId = TrackId(257);

/// The parameter sets of `media::h264`'s tests: 1280x720 at 30 Hz, and 1918x1078.
fn h264_config(sps: &str, pps: &str) -> Rc<CodecConfig> {
    let sets = [hex(sps), hex(pps)];
    Rc::new(CodecConfig::H264(
        h264::Config::from_parameter_sets(sets.iter().map(Vec::as_slice)).unwrap(),
    ))
}

fn high() -> Rc<CodecConfig> {
    h264_config("6764001facd9405005bb0110000003001000000303c0f1831960", "68ebe3cb22c0")
}

fn baseline() -> Rc<CodecConfig> {
    h264_config("6742c028d900780227a9b01100000303e90000ea600f183248", "68cb83cb20")
}

/// AAC LC, 44.1 kHz, stereo.
fn aac_config() -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0x12, 0x10]).unwrap()))
}

fn track(id: TrackId, codec: Codec, config: Option<Rc<CodecConfig>>) -> Track {
    Track { id, codec, language: Language::new(*b"deu"), config }
}

fn unit(track: TrackId, config: &Rc<CodecConfig>, ticks: i64, random_access: bool) -> AccessUnit {
    AccessUnit {
        track,
        dts: Timestamp::from_ticks(ticks),
        pts: Timestamp::from_ticks(ticks),
        random_access,
        config: Rc::clone(config),
        payload: Bytes::from_static(&[0, 0, 0, 2, 0x41, 0x9a]),
    }
}

/// A packager of one source, and what came out of it.
struct Bench {
    packager: Packager,
    inits: Vec<Rc<Init>>,
    samples: Vec<Sample>,
}

impl Bench {
    fn new(select: Select, tracks: impl IntoIterator<Item = Track>) -> Self {
        let mut packager = Packager::new(select);
        packager.tracks(&tracks.into_iter().collect());
        Self { packager, inits: Vec::new(), samples: Vec::new() }
    }

    fn push(&mut self, unit: &AccessUnit) {
        let mut out = Vec::new();
        self.packager.unit(unit, &mut out);
        for output in out {
            match output {
                Output::Init(init) => self.inits.push(init),
                Output::Sample(sample) => self.samples.push(sample),
            }
        }
    }
}

fn moov(init: &Init) -> Moov {
    let bytes = init.bytes();
    let mut rest = bytes.as_ref();
    Ftyp::decode(&mut rest).unwrap();
    let moov = Moov::decode(&mut rest).unwrap();
    assert!(rest.is_empty());
    moov
}

/// The `moof` of a chunk, and how long its data are.
fn moof(chunk: &Chunk) -> (Moof, usize) {
    let bytes = chunk.parts.concat();
    let mut rest = bytes.as_slice();
    let moof = Moof::decode(&mut rest).unwrap();
    let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
    assert_eq!((&rest[4..8], rest.len()), (&b"mdat"[..], length));
    let offset = moof.traf[0].trun[0].data_offset.unwrap() as usize;
    assert_eq!(offset, bytes.len() - length + 8);
    (moof, length - 8)
}

#[test]
fn every_codec_has_a_sample_entry_with_its_own_record() {
    fn parsed<T>(config: Result<T, ParseError>, wrap: impl Fn(T) -> CodecConfig) -> CodecConfig {
        wrap(config.unwrap())
    }
    let hevc = [
        "40010c01ffff01600000030090000003000003005d959809",
        "42010101600000030090000003000003005da00280802d165959a4932bc05a020000030002000003003210",
        "4401c172b46240",
    ]
    .map(hex);
    let hevc = h265::Config::from_parameter_sets(hevc.iter().map(Vec::as_slice));
    let av1 = av1::Config::from_av1c(&hex("81010c000a0b0000000cc4ff673ffe6010"));
    let vp9 = vpx::Config::from_vp9(&hex("824983420027f016760a38241c184a"));
    let vp8 = vpx::Config::from_vp8(&hex("909c009d012a80026801"));
    let mut eac3 = hex("0b7701bf3f87c0002080200002004000");
    eac3.resize(896, 0);
    let mp3 = mp3::Config::from_frame(&hex("fffb90c4"));
    let configs: Vec<(CodecConfig, &[u8], Bytes)> = vec![
        (high().as_ref().clone(), b"avcC", {
            let CodecConfig::H264(config) = high().as_ref().clone() else { unreachable!() };
            config.avcc()
        }),
        (parsed(hevc.clone(), CodecConfig::Hevc), b"hvcC", hevc.unwrap().hvcc()),
        (parsed(av1.clone(), CodecConfig::Av1), b"av1C", av1.unwrap().av1c()),
        (parsed(vp9, CodecConfig::Vp9), b"vpcC", vp9.unwrap().vpcc()),
        (parsed(vp8, CodecConfig::Vp8), b"vpcC", vp8.unwrap().vpcc()),
        (aac_config().as_ref().clone(), b"\x05\x02", Bytes::from_static(&[0x12, 0x10])),
        (parsed(mp3, CodecConfig::Mp3), b"mp4a", Bytes::new()),
        (parsed(opus::Config::with_channels(6), CodecConfig::Opus), b"dOps", {
            opus::Config::with_channels(6).unwrap().dops()
        }),
        (
            parsed(
                ac3::Config::from_unit(&hex("0b77b50b1e40ebf8403eff99ff0841fc")),
                CodecConfig::Ac3,
            ),
            b"dac3",
            Bytes::from_static(&[0x10, 0x3d, 0xe0]),
        ),
        (
            parsed(ac3::Config::from_unit(&eac3), CodecConfig::Eac3),
            b"dec3",
            Bytes::from_static(&[0x07, 0x00, 0x20, 0x0f, 0x00]),
        ),
    ];
    for (config, kind, record) in configs {
        let config = Rc::new(config);
        let info = InitTrack { id: 1, source: VIDEO, language: None, config: Rc::clone(&config) };
        let init = Init::new(1, vec![info]).unwrap_or_else(|| panic!("{config:?} has no entry"));
        let boxed = [kind, &record].concat();
        let found = init.bytes().windows(boxed.len()).any(|window| window == boxed);
        assert!(found, "{config:?}: {:02x?}", init.bytes());
        let moov = moov(&init);
        let minf = &moov.trak[0].mdia.minf;
        assert_eq!(minf.vmhd.is_some(), config.codec().kind() == MediaKind::Video);
        assert_eq!(minf.stbl.stsd.codecs.len(), 1);
    }
}

#[test]
fn an_init_names_its_tracks_for_players() {
    let tracks = [
        track(VIDEO, Codec::H264, Some(high())),
        track(AUDIO, Codec::Aac, Some(aac_config())),
        track(TrackId(258), Codec::Aac, Some(aac_config())),
    ];
    let mut bench = Bench::new(Select::All, tracks);
    bench.push(&unit(VIDEO, &high(), 0, true));
    let init = &bench.inits[0];
    assert_eq!(init.mime(), "video/mp4; codecs=\"avc1.64001F,mp4a.40.2\"");
    let moov = moov(init);
    let scales: Vec<_> = moov.trak.iter().map(|trak| trak.mdia.mdhd.timescale).collect();
    assert_eq!(scales, [90_000, 44_100, 44_100]);
    let ids: Vec<_> =
        moov.trak.iter().map(|trak| (trak.tkhd.track_id, trak.tkhd.enabled)).collect();
    assert_eq!(ids, [(1, true), (2, true), (3, false)]);
    assert_eq!(moov.trak[1].mdia.mdhd.language, "deu");
    assert_eq!(moov.mvex.unwrap().trex.len(), 3);
}

#[test]
fn selections_leave_the_others_out() {
    let tracks: Tracks =
        [track(VIDEO, Codec::H264, Some(high())), track(AUDIO, Codec::Aac, Some(aac_config()))]
            .into_iter()
            .collect();
    for (select, expected, mime) in [
        (Select::AudioOnly, AUDIO, "audio/mp4; codecs=\"mp4a.40.2\""),
        (Select::VideoOnly, VIDEO, "video/mp4; codecs=\"avc1.64001F\""),
    ] {
        let mut bench = Bench::new(select, tracks.iter().cloned());
        bench.push(&unit(VIDEO, &high(), 0, true));
        bench.push(&unit(AUDIO, &aac_config(), 0, true));
        let init = &bench.inits[0];
        assert_eq!((init.tracks()[0].source, init.mime().as_str()), (expected, mime));
        assert_eq!(bench.samples.len(), 1);
        assert_eq!(bench.packager.left_out().count(), 0, "what is not selected is not missed");
    }
}

#[test]
fn units_wait_for_a_configuration_and_lose_nothing() {
    let tracks = [track(VIDEO, Codec::H264, None), track(AUDIO, Codec::Aac, None)];
    let mut bench = Bench::new(Select::All, tracks);
    bench.push(&unit(VIDEO, &high(), 90_000, true));
    bench.push(&unit(VIDEO, &high(), 93_000, false));
    assert!(bench.inits.is_empty());
    bench.push(&unit(AUDIO, &aac_config(), 45_000, true));
    assert_eq!((bench.inits.len(), bench.samples.len()), (1, 3));
    // The earliest unit is a second after the origin.
    let times: Vec<_> = bench.samples.iter().map(|sample| sample.decode_time).collect();
    assert_eq!(times, [135_000, 138_000, 44_100]);
}

#[test]
fn a_track_without_configuration_keeps_nobody_waiting_for_long_and_comes_in_later() {
    let tracks = [track(VIDEO, Codec::H264, None), track(AUDIO, Codec::Aac, None)];
    let mut bench = Bench::new(Select::All, tracks);
    for frame in 0..62 {
        bench.push(&unit(VIDEO, &high(), frame * 3_000, frame == 0));
    }
    assert_eq!((bench.inits.len(), bench.samples.len()), (1, 62));
    assert_eq!(bench.inits[0].tracks().len(), 1);
    assert_eq!(bench.packager.left_out().collect::<Vec<_>>(), [(AUDIO, LeftOut::NoConfig)]);
    bench.push(&unit(AUDIO, &aac_config(), 62 * 3_000, true));
    assert_eq!(bench.samples.len(), 62, "not in the present init");
    bench.push(&unit(VIDEO, &high(), 62 * 3_000, true));
    bench.push(&unit(AUDIO, &aac_config(), 63 * 3_000, true));
    assert_eq!((bench.inits.len(), bench.samples.len()), (2, 64));
    assert_eq!((bench.inits[1].version(), bench.inits[1].tracks().len()), (2, 2));
    assert!(
        bench
            .samples
            .windows(2)
            .all(|two| two[0].track != two[1].track || two[0].decode_time < two[1].decode_time)
    );
}

#[test]
fn audio_on_a_grid_of_milliseconds_comes_out_without_gaps() {
    let mut bench = Bench::new(Select::All, [track(AUDIO, Codec::Aac, Some(aac_config()))]);
    for frame in 0..10_000_i64 {
        let ms = frame * 1_024 * 1_000 / 44_100;
        bench.push(&unit(AUDIO, &aac_config(), ms * 90, true));
    }
    for two in bench.samples.windows(2) {
        assert_eq!(two[1].decode_time - two[0].decode_time, 1_024);
        assert_eq!(two[0].duration, 1_024);
    }
}

#[test]
fn audio_follows_a_jump_and_a_drift_of_its_source() {
    let mut bench = Bench::new(Select::All, [track(AUDIO, Codec::Aac, Some(aac_config()))]);
    bench.push(&unit(AUDIO, &aac_config(), 0, true));
    bench.push(&unit(AUDIO, &aac_config(), 2_090, true));
    // A second is missing.
    bench.push(&unit(AUDIO, &aac_config(), 94_180, true));
    bench.push(&unit(AUDIO, &aac_config(), 96_270, true));
    let times: Vec<_> = bench.samples.iter().map(|sample| sample.decode_time - 44_100).collect();
    assert_eq!(times, [0, 1_024, 46_148, 47_172]);
    // Back by as much: what was said cannot be taken back, and time still grows.
    bench.push(&unit(AUDIO, &aac_config(), 4_180, true));
    assert_eq!(bench.samples[4].decode_time - 44_100, 48_196);
}

#[test]
fn video_keeps_its_times_and_a_sample_lasts_as_long_as_the_one_before() {
    let mut bench = Bench::new(Select::All, [track(VIDEO, Codec::H264, Some(high()))]);
    for (dts, pts) in [(0, 6_000), (3_000, 15_000), (6_000, 9_000), (10_500, 9_000)] {
        let mut unit = unit(VIDEO, &high(), dts, dts == 0);
        unit.pts = Timestamp::from_ticks(pts);
        bench.push(&unit);
    }
    let times: Vec<_> = bench
        .samples
        .iter()
        .map(|s| (s.decode_time - 90_000, s.duration, s.composition_offset))
        .collect();
    assert_eq!(
        times,
        [(0, 3_000, 6_000), (3_000, 3_000, 12_000), (6_000, 3_000, 3_000), (10_500, 4_500, -1_500)]
    );
}

#[test]
fn decode_times_grow_whatever_the_source_does() {
    let mut bench = Bench::new(Select::All, [track(VIDEO, Codec::H264, Some(high()))]);
    let hostile = [0, 0, -90_000, i64::MIN, 3_000, i64::MAX, 0, i64::MAX];
    for ticks in hostile {
        bench.push(&unit(VIDEO, &high(), ticks, true));
    }
    assert_eq!(bench.samples.len(), hostile.len());
    assert!(bench.samples.windows(2).all(|two| two[0].decode_time < two[1].decode_time));

    let mut bench = Bench::new(Select::All, [track(AUDIO, Codec::Aac, Some(aac_config()))]);
    for ticks in hostile {
        bench.push(&unit(AUDIO, &aac_config(), ticks, true));
    }
    assert!(bench.samples.windows(2).all(|two| two[0].decode_time < two[1].decode_time));
}

#[test]
fn another_configuration_makes_another_init_at_the_random_access_unit() {
    let mut mux = Fmp4::new(Select::All);
    let tracks =
        [track(VIDEO, Codec::H264, Some(high())), track(AUDIO, Codec::Aac, Some(aac_config()))];
    mux.tracks(&tracks.into_iter().collect());
    let mut chunks = Vec::new();
    let mono = Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0x12, 0x08]).unwrap()));
    mux.unit(&unit(VIDEO, &high(), 0, true), &mut chunks);
    mux.unit(&unit(AUDIO, &aac_config(), 0, true), &mut chunks);
    mux.unit(&unit(AUDIO, &mono, 2_090, true), &mut chunks);
    assert_eq!(chunks.len(), 2, "audio of which the init does not know waits for the next");
    assert!(chunks[0].head.is_some() && chunks[1].head.is_none());
    chunks.clear();
    mux.unit(&unit(VIDEO, &baseline(), 3_000, true), &mut chunks);
    assert_eq!(chunks.len(), 2);
    let init = Rc::clone(mux.init().unwrap());
    assert_eq!(chunks[0].parts, [init.bytes()], "readers before it find it in the stream");
    assert_eq!(chunks[1].head.as_deref(), Some(&[init.bytes()][..]), "others at their start");
    // Those who cannot take another `moov` find the sets in the sample.
    let (moof, length) = moof(&chunks[1]);
    assert_eq!(moof.mfhd.sequence_number, 3);
    assert_eq!(length, 6 + 4 + 25 + 4 + 5);
    assert_eq!(init.tracks()[1].config, mono);
    chunks.clear();
    mux.unit(&unit(AUDIO, &mono, 4_180, true), &mut chunks);
    mux.unit(&unit(VIDEO, &baseline(), 6_000, false), &mut chunks);
    assert_eq!(chunks.len(), 2);
    assert_eq!(self::moof(&chunks[1]).1, 6, "only where decoding may begin");
}

#[test]
fn a_track_in_place_of_another_keeps_its_number() {
    let mut mux = Fmp4::new(Select::All);
    mux.tracks(&[track(VIDEO, Codec::H264, Some(high()))].into_iter().collect());
    let mut chunks = Vec::new();
    mux.unit(&unit(VIDEO, &high(), 0, true), &mut chunks);
    // As when a publisher comes back by another protocol.
    let other = TrackId(VIDEO.0 + 700);
    mux.tracks(&[track(other, Codec::H264, Some(baseline()))].into_iter().collect());
    chunks.clear();
    mux.unit(&unit(other, &baseline(), 3_000, true), &mut chunks);
    let init = mux.init().unwrap();
    assert_eq!((init.tracks()[0].id, init.tracks()[0].source), (1, other));
    // Those who cannot take another `moov` find the sets in the sample.
    assert_eq!(moof(&chunks[1]).1, 6 + 4 + 25 + 4 + 5);
}

#[test]
fn an_equal_configuration_is_no_change() {
    let mut bench = Bench::new(Select::All, [track(VIDEO, Codec::H264, Some(high()))]);
    bench.push(&unit(VIDEO, &high(), 0, true));
    bench.push(&unit(VIDEO, &high(), 3_000, true));
    assert_eq!((bench.inits.len(), bench.samples.len()), (1, 2));
    assert!(bench.samples.iter().all(|sample| sample.prefix.is_empty()));
}

#[test]
fn readers_of_audio_begin_anywhere() {
    let mut mux = Fmp4::new(Select::AudioOnly);
    mux.tracks(&[track(AUDIO, Codec::Aac, Some(aac_config()))].into_iter().collect());
    let mut chunks = Vec::new();
    for frame in 0..3 {
        mux.unit(&unit(AUDIO, &aac_config(), frame * 2_090, true), &mut chunks);
    }
    assert!(chunks.len() == 3 && chunks.iter().all(|chunk| chunk.head.is_some()));
}

#[test]
fn a_chunk_is_one_fragment_that_shares_its_payload() {
    let mut mux = Fmp4::new(Select::All);
    mux.tracks(&[track(VIDEO, Codec::H264, Some(high()))].into_iter().collect());
    let mut chunks = Vec::new();
    let mut first = unit(VIDEO, &high(), 0, true);
    first.payload = Bytes::from(vec![7; 1_000]);
    mux.unit(&first, &mut chunks);
    mux.unit(&unit(VIDEO, &high(), 3_000, false), &mut chunks);
    assert_eq!(chunks[0].parts[1].as_ptr(), first.payload.as_ptr());
    let (moof, length) = moof(&chunks[0]);
    assert_eq!((moof.mfhd.sequence_number, length), (1, 1_000));
    let traf = &moof.traf[0];
    assert!(traf.tfhd.default_base_is_moof);
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, 90_000);
    let entry = traf.trun[0].samples.iter().next().unwrap();
    assert_eq!(
        (entry.size, entry.duration, entry.flags),
        (Some(1_000), Some(3_000), Some(0x0200_0000))
    );
    let (moof, _) = self::moof(&chunks[1]);
    assert_eq!(moof.traf[0].trun[0].samples.iter().next().unwrap().flags, Some(0x0101_0000));
}

#[test]
fn a_fragment_of_several_tracks_has_true_durations_and_offsets() {
    let tracks =
        [track(VIDEO, Codec::H264, Some(high())), track(AUDIO, Codec::Aac, Some(aac_config()))];
    let mut bench = Bench::new(Select::All, tracks);
    for frame in 0..4 {
        bench.push(&unit(VIDEO, &high(), frame * 3_600, frame == 0));
        bench.push(&unit(AUDIO, &aac_config(), frame * 2_090, true));
    }
    let mut fragment = Fragment::default();
    bench.samples.iter().cloned().for_each(|sample| fragment.push(sample));
    assert!(fragment.is_independent() && fragment.count() == 8 && fragment.len() == 48);
    let bytes = fragment.take(9).concat();
    assert!(fragment.is_empty() && fragment.take(10).is_empty());
    let mut rest = bytes.as_slice();
    let moof = Moof::decode(&mut rest).unwrap();
    assert_eq!((moof.mfhd.sequence_number, moof.traf.len(), rest.len()), (9, 2, 8 + 48));
    let durations = |at: usize| -> Vec<_> {
        moof.traf[at].trun[0].samples.iter().map(|entry| entry.duration.unwrap()).collect()
    };
    assert_eq!(durations(0), [3_600; 4]);
    assert_eq!(durations(1), [1_024; 4]);
    let offset = |at: usize| moof.traf[at].trun[0].data_offset.unwrap() as usize;
    assert_eq!(offset(0), bytes.len() - 48);
    assert_eq!(offset(1), bytes.len() - 24);
    bench.samples[2..].iter().cloned().for_each(|sample| fragment.push(sample));
    assert!(!fragment.is_independent());
}

#[test]
fn an_opus_packet_that_says_no_length_is_left_out() {
    let config = Rc::new(CodecConfig::Opus(opus::Config::with_channels(2).unwrap()));
    let mut bench = Bench::new(Select::All, [track(AUDIO, Codec::Opus, Some(Rc::clone(&config)))]);
    for (at, payload) in [(0, &[0xfc, 0][..]), (1, &[]), (1, &[0xff]), (1, &[0xfc, 1])] {
        let mut unit = unit(AUDIO, &config, 0, true);
        unit.dts = Timestamp::from_ticks(0) + Span::from_ms(20 * at);
        unit.payload = Bytes::from_static(payload);
        bench.push(&unit);
    }
    let times: Vec<_> = bench.samples.iter().map(|sample| sample.decode_time).collect();
    assert_eq!(times, [48_000, 48_960]);
    let codecs = moov(&bench.inits[0]).trak[0].mdia.minf.stbl.stsd.codecs.clone();
    assert!(matches!(codecs[..], [mp4_atom::Codec::Opus(_)]));
}
