//! The demuxer by tables of tags: what comes of them, in which order, and what is left out.

use super::*;
use crate::container::flv::amf0::Value;
use bytes::BytesMut;

#[derive(Default)]
struct Found {
    tracks: Vec<Tracks>,
    units: Vec<AccessUnit>,
}

impl Sink for Found {
    fn tracks(&mut self, tracks: &Tracks) {
        self.tracks.push(tracks.clone());
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.units.push(unit);
    }
}

/// `ffmpeg -f lavfi -i testsrc2=s=64x48:r=25 -c:v libx264 -profile:v baseline`.
const AVCC: &[u8] =
    b"\x01\x42\xc0\x0a\xff\xe1\x00\x17\x67\x42\xc0\x0a\xd9\x04\x7b\x01\x10\x00\x00\x03\x00\x10\x00\
    \x00\x03\x03\x20\xf1\x22\x64\x80\x01\x00\x05\x68\xcb\x83\xcb\x20";

/// The SPS of the same at another level, 2.
const OTHER_SPS: &[u8] =
    b"\x67\x42\xc0\x14\xd9\x04\x7b\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x22\x64\x80";

const IDR: &[u8] = b"\x65\x88\x84\x05";
const INTER: &[u8] = b"\x41\x9a\x38\x3b";

/// LC, 44.1 kHz, stereo.
const ASC: &[u8] = b"\x12\x10";

fn tag(kind: TagKind, timestamp_ms: u32, parts: &[&[u8]]) -> Tag {
    Tag { kind, timestamp_ms, body: parts.concat().into() }
}

fn video(timestamp_ms: u32, parts: &[&[u8]]) -> Tag {
    tag(TagKind::Video, timestamp_ms, parts)
}

fn audio(timestamp_ms: u32, parts: &[&[u8]]) -> Tag {
    tag(TagKind::Audio, timestamp_ms, parts)
}

fn nal(nal: &[u8]) -> Vec<u8> {
    [&(nal.len() as u32).to_be_bytes(), nal].concat()
}

fn demux(tags: impl IntoIterator<Item = Tag>) -> (Found, Vec<Fault>) {
    let (mut demux, mut found) = (FlvDemux::new(), Found::default());
    tags.into_iter().for_each(|tag| demux.tag(tag, &mut found));
    let faults = std::iter::from_fn(|| demux.take_fault()).collect();
    (found, faults)
}

fn avc_config() -> Tag {
    video(0, &[b"\x17\0\0\0\0", AVCC])
}

fn aac_config() -> Tag {
    audio(0, &[b"\xaf\0", ASC])
}

#[test]
fn tracks_are_told_together_before_the_first_unit() {
    let (found, faults) = demux([
        avc_config(),
        aac_config(),
        audio(0, &[b"\xaf\x01frame"]),
        video(33, &[b"\x17\x01\0\0\x42", &nal(IDR)]),
        video(66, &[b"\x27\x01\xff\xff\xdf", &nal(INTER)]),
    ]);
    assert_eq!(faults, []);
    let [tracks] = &found.tracks[..] else { panic!("{:?}", found.tracks) };
    assert!(tracks.is_complete());
    assert_eq!(tracks.iter().map(|t| t.codec).collect::<Vec<_>>(), [Codec::H264, Codec::Aac]);
    let [sound, idr, inter] = &found.units[..] else { panic!("{:?}", found.units) };
    assert_eq!((sound.dts.ms(), &sound.payload[..], sound.random_access), (0, &b"frame"[..], true));
    assert_eq!((idr.dts.ms(), idr.pts.ms(), idr.random_access), (33, 99, true));
    assert_eq!((inter.dts.ms(), inter.pts.ms(), inter.random_access), (66, 33, false));
    assert!(Rc::ptr_eq(&idr.config, &inter.config));
}

#[test]
fn repeated_sequence_headers_change_nothing_and_new_ones_the_configuration() {
    let mut other = AVCC.to_vec();
    other[3] = 0x14;
    other[11] = 0x14;
    let frame = |ms| video(ms, &[b"\x17\x01\0\0\0", &nal(IDR)]);
    let (found, faults) = demux([
        avc_config(),
        frame(0),
        avc_config(),
        frame(40),
        video(80, &[b"\x17\0\0\0\0", &other]),
        frame(80),
    ]);
    assert_eq!((faults, found.tracks.len()), (vec![], 1));
    let [first, second, third] = &found.units[..] else { panic!() };
    assert!(Rc::ptr_eq(&first.config, &second.config));
    assert_ne!(second.config, third.config);
}

#[test]
fn parameter_sets_in_band_are_a_new_configuration_and_leave_the_payload() {
    let (found, faults) = demux([
        avc_config(),
        video(0, &[b"\x17\x01\0\0\0", &nal(IDR)]),
        video(40, &[b"\x17\x01\0\0\0", &nal(b"\x09\xf0"), &nal(OTHER_SPS), &nal(IDR)]),
    ]);
    assert_eq!(faults, []);
    let [first, second] = &found.units[..] else { panic!() };
    assert_ne!(first.config, second.config);
    assert_eq!(second.payload[..], nal(IDR));
}

#[test]
fn a_stream_without_sequence_header_begins_with_parameter_sets_in_band() {
    let (sps, pps) = (&AVCC[8..31], &AVCC[34..]);
    let (found, faults) = demux([
        video(0, &[b"\x27\x01\0\0\0", &nal(INTER)]),
        video(40, &[b"\x17\x01\0\0\0", &nal(sps), &nal(pps), &nal(IDR)]),
    ]);
    assert_eq!(faults, [Fault::NoConfig(Codec::H264)]);
    assert_eq!(found.units.len(), 1);
    assert!(found.tracks[0].is_complete());
}

#[test]
fn parameter_sets_in_a_tag_of_their_own_are_told_before_the_first_unit() {
    let (_, sps_and_pps) = AVCC.split_at(8);
    let (sps, pps) = (&sps_and_pps[..23], &sps_and_pps[26..]);
    let promise = Value::EcmaArray(vec![("videocodecid".into(), 7.0.into())]);
    let mut body = BytesMut::new();
    Value::from("onMetaData").encode(&mut body);
    promise.encode(&mut body);
    let (found, faults) = demux([
        aac_config(),
        tag(TagKind::Script, 0, &[&body]),
        audio(0, &[b"\xaf\x01frame"]),
        video(33, &[b"\x17\x01\0\0\0", &nal(sps), &nal(pps)]),
        video(66, &[b"\x17\x01\0\0\0", &nal(IDR)]),
    ]);
    assert_eq!((faults, found.units.len()), (Vec::new(), 2));
    let [promised, told] = &found.tracks[..] else { panic!("{:?}", found.tracks) };
    assert!(!promised.is_complete() && told.is_complete());
}

#[test]
fn every_track_of_a_multitrack_publisher_is_a_track() {
    let (found, faults) = demux([
        aac_config(),
        audio(0, &[b"\x95\0mp4a\x01", ASC]),
        audio(0, &[b"\x95\0mp4a\x02", ASC]),
        audio(0, &[b"\xaf\x01zero"]),
        audio(0, &[b"\x95\x11mp4a\x01\0\0\x03one\x02\0\0\x03two"]),
        audio(23, &[b"\x95\x01ac-3\x05no frame"]),
    ]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(found.tracks[0].len(), 3);
    let ids: Vec<_> = found.units.iter().map(|unit| unit.track.0).collect();
    assert_eq!(ids, [0x200, 0x201, 0x202]);
}

#[test]
fn what_metadata_promises_is_told_and_forgotten_if_it_does_not_come() {
    let mut body = BytesMut::new();
    Value::from("onMetaData").encode(&mut body);
    let properties = [("videocodecid", Value::from(7.0)), ("audiocodecid", 10.0.into())];
    Value::object(properties).encode(&mut body);
    let metadata = tag(TagKind::Script, 0, &[&body]);
    let frames = (0..200).map(|n| video(n * 40, &[b"\x17\x01\0\0\0", &nal(IDR)]));
    let (found, _) = demux([metadata, avc_config()].into_iter().chain(frames));
    let [promised, without] = &found.tracks[..] else { panic!("{:?}", found.tracks) };
    let shape =
        |tracks: &Tracks| tracks.iter().map(|t| (t.codec, t.config.is_some())).collect::<Vec<_>>();
    assert_eq!(shape(promised), [(Codec::H264, true), (Codec::Aac, false)]);
    assert_eq!(shape(without), [(Codec::H264, true)]);
}

#[test]
fn a_track_that_comes_late_is_told_at_once() {
    let frame = |ms| video(ms, &[b"\x17\x01\0\0\0", &nal(IDR)]);
    let (found, _) = demux([avc_config(), frame(0), aac_config(), frame(40)]);
    assert_eq!(found.tracks.iter().map(|tracks| tracks.len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn sound_lies_on_the_grid_of_its_samples() {
    let frames = (0..1000_u32).map(|n| audio((n * 20_480 / 441).div_ceil(2), &[b"\xaf\x01x"]));
    let (found, _) = demux([aac_config()].into_iter().chain(frames));
    for (n, unit) in (0..).zip(&found.units) {
        assert_eq!(unit.dts, Timestamp::ZERO + Span::from_units(n * 1024, 44_100));
    }
}

#[test]
fn times_go_on_past_the_wrap_and_offsets_are_added() {
    let (found, _) = demux([
        avc_config(),
        video(u32::MAX - 19, &[b"\x17\x01\0\0\0", &nal(IDR)]),
        video(20, &[b"\x97\x02\x07\xa1\x20\x03avc1", &nal(IDR)]),
    ]);
    // The sequence header's 0 is taken as it is, and the next is the one nearest to it.
    let times: Vec<_> = found.units.iter().map(|unit| unit.dts.ticks()).collect();
    assert_eq!(times, [-20 * 90, 20 * 90 + 45]);
}

#[test]
fn faults_are_reported_once_and_end_nothing() {
    let bad = || audio(0, &[b"\xb2speex"]);
    let broken = || video(40, &[b"\x17\x01\0\0\0\0\0\0\xff\x65"]);
    let (found, faults) = demux([
        bad(),
        bad(),
        video(0, &[b"\x17\0\0\0\0\x01"]),
        avc_config(),
        broken(),
        broken(),
        video(40, &[b"\x17\x01\0\0\0", &nal(IDR)]),
    ]);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(faults[0], Fault::Packet(PacketError::AudioFormat(11)));
    assert!(matches!(faults[1], Fault::Config(Codec::H264, _)));
    assert!(matches!(faults[2], Fault::Frame(Codec::H264, _)));
    assert_eq!(found.units.len(), 1);
}

#[test]
fn tracks_without_end_are_bounded() {
    let tags = (0..=255_u8).map(|n| audio(0, &[b"\x95\x01Opus", &[n], b"\xfcx"]));
    let (found, faults) = demux(tags);
    assert_eq!(faults, [Fault::TooManyTracks]);
    assert_eq!(found.tracks.last().unwrap().len(), MAX_TRACKS);
}

#[test]
fn flipped_and_cut_tags_never_panic() {
    let tags = [
        avc_config(),
        aac_config(),
        video(0, &[b"\x17\x01\0\0\0", &nal(b"\x09\xf0"), &nal(OTHER_SPS), &nal(IDR)]),
        audio(0, &[b"\x95\x11mp4a\x01\0\0\x03one\x02\0\0\x03two"]),
        video(20, &[b"\x97\x02\x07\xa1\x20\x03avc1", &nal(IDR)]),
    ];
    for (which, tag) in tags.iter().enumerate() {
        for at in 0..tag.body.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut body = tag.body.to_vec();
                body[at] ^= flip;
                let mut tags = tags.to_vec();
                tags[which].body = body.into();
                demux(tags);
            }
            let mut tags = tags.to_vec();
            tags[which].body.truncate(at);
            demux(tags);
        }
    }
}
