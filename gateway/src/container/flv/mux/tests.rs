//! The muxer by what its readers get: heads, sequence headers, fronts of bodies, places to begin.

use super::*;
use crate::{
    container::flv::{FlvDemux, Tag, TagReader},
    media::{Track, aac, mp3, opus},
};

fn aac_config() -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Aac(aac::Config::from_asc(b"\x12\x10").unwrap()))
}

fn opus_config(channels: u8) -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Opus(opus::Config::with_channels(channels).unwrap()))
}

fn vp9_config() -> Rc<CodecConfig> {
    // `ffmpeg -f lavfi -i testsrc=s=640x360 -c:v libvpx-vp9`, the front of a key frame.
    let frame = b"\x82\x49\x83\x42\x00\x27\xf0\x16\x76\x00\x38\x24\x1c\x18";
    Rc::new(CodecConfig::Vp9(crate::media::vpx::Config::from_vp9(frame).unwrap()))
}

fn track(id: u16, config: &Rc<CodecConfig>) -> Track {
    let config = Some(Rc::clone(config));
    Track { id: TrackId(id), codec: config.as_ref().unwrap().codec(), language: None, config }
}

fn unit(id: u16, ticks: i64, random_access: bool, config: &Rc<CodecConfig>) -> AccessUnit {
    let at = Timestamp::from_ticks(ticks);
    AccessUnit {
        track: TrackId(id),
        dts: at,
        pts: at,
        random_access,
        config: Rc::clone(config),
        payload: Bytes::from_static(b"payload"),
    }
}

/// The tags of a file that begins with the first head in `chunks`.
fn file(chunks: &[Chunk]) -> Vec<Tag> {
    let first = chunks.iter().position(|chunk| chunk.head.is_some()).unwrap();
    let mut reader = TagReader::default();
    chunks[first].head.iter().flat_map(|head| head.iter()).for_each(|part| reader.push(part));
    chunks[first..].iter().flat_map(|chunk| &chunk.parts).for_each(|part| reader.push(part));
    std::iter::from_fn(|| reader.next_tag().unwrap()).collect()
}

fn mux<F: Framing>(mux: &mut TagMux<F>, tracks: &[Track], units: &[AccessUnit]) -> Vec<Chunk> {
    mux.tracks(&tracks.iter().cloned().collect());
    let mut chunks = Vec::new();
    units.iter().for_each(|unit| mux.unit(unit, &mut chunks));
    chunks
}

#[test]
fn a_file_begins_with_metadata_and_sequence_headers() {
    let (video, audio) = (vp9_config(), aac_config());
    let tracks = [track(1, &video), track(2, &audio)];
    let units = [
        unit(2, 0, true, &audio),
        unit(1, 0, true, &video),
        unit(2, 2090, true, &audio),
        unit(1, 3000, false, &video),
    ];
    let chunks = mux(&mut FlvMux::new(Select::All), &tracks, &units);
    assert!(chunks[0].head.is_none(), "where there are pictures nobody begins in the sound");
    let head = chunks[1].head.as_ref().unwrap();
    assert_eq!(head[0][..], [b'F', b'L', b'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0]);
    assert_eq!(after_skip(head).len(), head.len() - 1);
    let expected: [(u32, &[u8]); 6] = [
        (0, b"\x02\0\x0aonMetaData"),
        (0, b"\x90vp09\x01\0\0\0"),
        (0, b"\xaf\0\x12\x10"),
        (0, b"\x91vp09payload"),
        (23, b"\xaf\x01payload"),
        (33, b"\xa1vp09payload"),
    ];
    let tags = file(&chunks);
    assert_eq!(tags.len(), expected.len());
    for (tag, (ms, front)) in tags.iter().zip(expected) {
        assert_eq!(tag.timestamp_ms, ms);
        assert!(tag.body.starts_with(front), "{tag:?}");
    }
}

#[test]
fn the_payload_is_shared() {
    let audio = aac_config();
    let unit = unit(2, 0, true, &audio);
    let chunks =
        mux(&mut FlvMux::new(Select::All), &[track(2, &audio)], std::slice::from_ref(&unit));
    assert_eq!(chunks[0].parts[1].as_ptr(), unit.payload.as_ptr());
}

#[test]
fn a_new_configuration_is_a_sequence_header_before_its_unit_and_no_data_track() {
    let (mono, stereo) = (opus_config(1), opus_config(2));
    let units = [
        unit(2, 0, true, &mono),
        unit(2, 900, true, &opus_config(1)),
        unit(2, 1800, true, &stereo),
    ];
    let chunks = mux(&mut FlvMux::new(Select::All), &[track(2, &mono)], &units);
    let tags = file(&chunks);
    let kinds: Vec<_> = tags.iter().map(|tag| tag.body[..1].to_vec()).collect();
    let expected = [2, 0x90, 0x91, 0x91, 0x90, 0x91].map(|byte| vec![byte]);
    assert_eq!(kinds, expected, "an equal configuration in another place is none");
    assert_eq!(tags[4].timestamp_ms, 20);
}

#[test]
fn a_configuration_that_is_announced_late_reaches_who_began_without_it() {
    let (video, audio) = (vp9_config(), aac_config());
    let promised = Track { config: None, ..track(2, &audio) };
    let mut flv = FlvMux::new(Select::All);
    let mut chunks = mux(&mut flv, &[track(1, &video), promised], &[unit(1, 0, true, &video)]);
    let sound = [unit(2, 900, true, &audio), unit(2, 3000, true, &audio)];
    chunks.extend(mux(&mut flv, &[track(1, &video), track(2, &audio)], &sound));
    let tags = file(&chunks);
    let bodies: Vec<_> =
        tags.iter().filter(|t| t.kind == TagKind::Audio).map(|t| &t.body[..]).collect();
    assert_eq!(bodies, [&b"\xaf\0\x12\x10"[..], b"\xaf\x01payload", b"\xaf\x01payload"]);
}

#[test]
fn the_head_stays_the_same_until_something_changes() {
    let (mono, stereo) = (opus_config(1), opus_config(2));
    let mut flv = FlvMux::new(Select::All);
    let units =
        [unit(2, 0, true, &mono), unit(2, 90_000, true, &mono), unit(2, 180_000, true, &stereo)];
    let chunks = mux(&mut flv, &[track(2, &mono)], &units);
    let heads: Vec<_> = chunks.iter().filter_map(|chunk| chunk.head.clone()).collect();
    assert!(Rc::ptr_eq(&heads[0], &heads[1]));
    assert!(!Rc::ptr_eq(&heads[1], &heads[2]));
}

#[test]
fn sound_alone_may_begin_twice_a_second() {
    let audio = aac_config();
    let units: Vec<_> = (0..100).map(|n| unit(2, n * 2090, true, &audio)).collect();
    let chunks = mux(
        &mut FlvMux::new(Select::AudioOnly),
        &[track(1, &vp9_config()), track(2, &audio)],
        &units,
    );
    let begins = chunks.iter().filter(|chunk| chunk.head.is_some()).count();
    assert_eq!((chunks.len(), begins), (100, 5));
    assert!(chunks[0].head.is_some());
}

#[test]
fn sound_will_do_when_promised_pictures_do_not_come() {
    let audio = aac_config();
    let mut promised = track(1, &vp9_config());
    promised.config = None;
    let units: Vec<_> = (0..600).map(|n| unit(2, n * 2090, true, &audio)).collect();
    let chunks = mux(&mut FlvMux::new(Select::All), &[promised, track(2, &audio)], &units);
    let first = chunks.iter().position(|chunk| chunk.head.is_some()).unwrap();
    assert!((5_000..5_100).contains(&chunks[first].dts.ms()));
}

#[test]
fn further_tracks_are_written_only_for_those_who_know_them() {
    let (one, two) = (aac_config(), opus_config(2));
    let tracks = [track(1, &one), track(2, &one), track(3, &two)];
    let units = [unit(1, 0, true, &one), unit(2, 0, true, &one), unit(3, 0, true, &two)];
    let fronts = |carriage| {
        let mut flv = TagMux::with_framing(FileFraming, Select::All, carriage);
        let chunks = mux(&mut flv, &tracks, &units);
        let frames: Vec<_> = file(&chunks)
            .iter()
            .filter(|tag| tag.body.ends_with(b"payload"))
            .map(|tag| tag.body[..tag.body.len() - 7].to_vec())
            .collect();
        (frames, flv.left_out().to_vec())
    };
    let first = b"\xaf\x01".to_vec();
    let not_first = |id| (TrackId(id), LeftOut::NotFirst);
    let codec = (TrackId(3), LeftOut::Codec);
    assert_eq!(fronts(Carriage::Legacy), (vec![first.clone()], vec![not_first(2), codec]));
    assert_eq!(fronts(Carriage::Enhanced), (vec![first.clone()], vec![not_first(2), not_first(3)]));
    let all = vec![first, b"\x95\x01mp4a\x01".to_vec(), b"\x95\x01Opus\x02".to_vec()];
    assert_eq!(fronts(Carriage::Multitrack), (all, vec![]));
}

#[test]
fn what_flv_cannot_carry_is_left_out_and_named() {
    // MPEG-1, layer 2, 48 kHz.
    let layer_2 = mp3::Config::from_frame(b"\xff\xfd\x84\x04").unwrap();
    let layer_2 = Rc::new(CodecConfig::Mp3(layer_2));
    let mut flv = FlvMux::new(Select::All);
    let chunks = mux(&mut flv, &[track(1, &layer_2)], &[unit(1, 0, true, &layer_2)]);
    assert!(chunks.is_empty());
    assert_eq!(flv.left_out(), [(TrackId(1), LeftOut::Codec)]);
}

#[test]
fn composition_times_are_signed_and_bounded() {
    let front = |ticks: i64| {
        let carried =
            Carried { id: TrackId(1), number: 0, codec: Codec::H264, config: None, is_news: false };
        let mut unit = unit(1, 0, false, &aac_config());
        unit.pts = Timestamp::from_ticks(ticks);
        let mut front = Front::default();
        carried.write_front(&mut front, Part::Frame(&unit));
        front.bytes().to_vec()
    };
    assert_eq!(front(90 * 80), b"\x27\x01\0\0\x50");
    assert_eq!(front(-90 * 40), b"\x27\x01\xff\xff\xd8");
    assert_eq!(front(i64::MAX), b"\x27\x01\x7f\xff\xff");
    assert_eq!(front(i64::MIN), b"\x27\x01\x80\0\0");
}

#[test]
fn what_is_muxed_is_demuxed_again() {
    #[derive(Default)]
    struct Units(Vec<AccessUnit>);
    impl crate::container::Sink for Units {
        fn tracks(&mut self, _: &Tracks) {}
        fn unit(&mut self, unit: AccessUnit) {
            self.0.push(unit);
        }
    }
    let (one, two) = (aac_config(), aac_config());
    let units: Vec<_> = (0..200)
        .flat_map(|n| [0x200, 0x201].map(|id| unit(id, n * 1024 * 900 / 441, true, &one)))
        .collect();
    let mut flv = TagMux::with_framing(FileFraming, Select::All, Carriage::Multitrack);
    let chunks = mux(&mut flv, &[track(0x200, &one), track(0x201, &two)], &units);
    let (mut demux, mut found) = (FlvDemux::new(), Units::default());
    file(&chunks).into_iter().for_each(|tag| demux.tag(tag, &mut found));
    assert_eq!(demux.take_fault(), None);
    assert_eq!(found.0.len(), units.len());
    for (found, unit) in found.0.iter().zip(&units) {
        assert_eq!(found.track, unit.track);
        assert!((found.dts - unit.dts).abs() <= Span::from_ticks(1), "on the grid again");
    }
}
