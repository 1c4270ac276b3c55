//! Bodies of tags as bytes, legacy and Enhanced; every cut, and random ones.

use super::*;

fn audio(body: &[u8]) -> Vec<Result<Packet, PacketError>> {
    Packets::of_audio(Bytes::copy_from_slice(body)).collect()
}

fn video(body: &[u8]) -> Vec<Result<Packet, PacketError>> {
    Packets::of_video(Bytes::copy_from_slice(body)).collect()
}

fn packet(track: u8, codec: Codec, content: Content) -> Result<Packet, PacketError> {
    Ok(Packet { track, codec, content })
}

fn config(record: &'static [u8]) -> Content {
    Content::Config(Bytes::from_static(record))
}

fn frame(composition_ms: i64, key: bool, data: &'static [u8]) -> Content {
    let composition = Span::from_ms(composition_ms);
    Content::Frame { composition, key, data: Bytes::from_static(data) }
}

#[test]
fn legacy_audio_is_understood() {
    let aac = |content| vec![packet(0, Codec::Aac, content)];
    assert_eq!(audio(b"\xaf\0\x12\x10"), aac(config(b"\x12\x10")));
    assert_eq!(audio(b"\xaf\x01data"), aac(frame(0, true, b"data")));
    assert_eq!(audio(b"\x2fdata"), [packet(0, Codec::Mp3, frame(0, true, b"data"))]);
    assert_eq!(audio(b"\xb2speex"), [Err(PacketError::AudioFormat(11))]);
    assert_eq!(audio(b"\xaf\x02"), [Err(PacketError::PacketType(2))]);
}

#[test]
fn legacy_video_is_understood() {
    let avc = |content| vec![packet(0, Codec::H264, content)];
    assert_eq!(video(b"\x17\0\0\0\0avcC"), avc(config(b"avcC")));
    assert_eq!(video(b"\x17\x01\0\0\x50data"), avc(frame(80, true, b"data")));
    assert_eq!(video(b"\x27\x01\xff\xff\xd8data"), avc(frame(-40, false, b"data")));
    assert_eq!(video(b"\x17\x02\0\0\0"), avc(Content::End));
    assert_eq!(video(b"\x1c\x01\0\0\0data"), [packet(0, Codec::Hevc, frame(0, true, b"data"))]);
    assert_eq!(video(b"\x12h263"), [Err(PacketError::VideoCodec(2))]);
    assert_eq!(video(b"\x57\0"), [], "a command is nothing to decode");
    assert_eq!(video(b""), []);
}

#[test]
fn enhanced_packets_are_understood() {
    assert_eq!(audio(b"\x90OpusHead"), [packet(0, Codec::Opus, config(b"Head"))]);
    assert_eq!(audio(b"\x91ac-3data"), [packet(0, Codec::Ac3, frame(0, true, b"data"))]);
    assert_eq!(audio(b"\x92ec-3"), [packet(0, Codec::Eac3, Content::End)]);
    assert_eq!(audio(b"\x94mp4a\x01\x02\0\0\0\x03"), [], "the order of channels");
    assert_eq!(video(b"\x90hvc1hvcC"), [packet(0, Codec::Hevc, config(b"hvcC"))]);
    assert_eq!(video(b"\x91hvc1\0\0\x21data"), [packet(0, Codec::Hevc, frame(33, true, b"data"))]);
    assert_eq!(video(b"\xa3avc1data"), [packet(0, Codec::H264, frame(0, false, b"data"))]);
    assert_eq!(video(b"\xa1av01data"), [packet(0, Codec::Av1, frame(0, false, b"data"))]);
    assert_eq!(video(b"\x94av01\x02\0\x09colorInfo"), []);
    assert_eq!(video(b"\xd4av01\x02\0\x09colorInfo"), [], "metadata whatever the kind of frame");
    assert_eq!(video(b"\xd1\0"), [], "a command");
}

#[test]
fn what_is_not_carried_is_named() {
    assert_eq!(audio(b"\x91fLaCdata"), [Err(PacketError::FourCc(*b"fLaC"))]);
    assert_eq!(audio(b"\x91avc1data"), [Err(PacketError::FourCc(*b"avc1"))], "a video codec");
    assert_eq!(video(b"\x91vvc1data"), [Err(PacketError::FourCc(*b"vvc1"))]);
    assert_eq!(video(b"\x9favc1"), [Err(PacketError::PacketType(15))]);
    assert_eq!(audio(b"\x93mp4a"), [Err(PacketError::PacketType(3))]);
    assert_eq!(audio(b"\x95\x31mp4a\x01"), [Err(PacketError::MultitrackType(3))]);
    assert_eq!(
        audio(b"\x95\x05mp4a\x01"),
        [Err(PacketError::PacketType(5))],
        "multitrack in multitrack"
    );
}

#[test]
fn one_track_packets_name_their_track() {
    assert_eq!(audio(b"\x95\x00mp4a\x01\x12\x10"), [packet(1, Codec::Aac, config(b"\x12\x10"))]);
    assert_eq!(audio(b"\x95\x01Opus\xffdata"), [packet(255, Codec::Opus, frame(0, true, b"data"))]);
    let expected = [packet(2, Codec::Hevc, frame(-1, true, b"data"))];
    assert_eq!(video(b"\x96\x01hvc1\x02\xff\xff\xffdata"), expected);
}

#[test]
fn many_tracks_share_a_packet() {
    let same = b"\x95\x11mp4a\0\0\0\x02aa\x01\0\0\x01b\x02\0\0\0";
    let aac = |track, data| packet(track, Codec::Aac, frame(0, true, data));
    assert_eq!(audio(same), [aac(0, b"aa"), aac(1, b"b"), aac(2, b"")]);
    let different = b"\x95\x21mp4a\0\0\0\x02aafLaC\x01\0\0\x01xOpus\x02\0\0\x01o";
    let opus = packet(2, Codec::Opus, frame(0, true, b"o"));
    let expected = [aac(0, b"aa"), Err(PacketError::FourCc(*b"fLaC")), opus];
    assert_eq!(audio(different), expected, "the others go on");
}

#[test]
fn modifiers_shift_the_time_or_are_skipped() {
    // 500 µs, and then one that nobody knows.
    let body = b"\x97\x02\x07\xa1\x20\x07\x00\xaa\x11Opusdata";
    let packets = Packets::of_audio(Bytes::from_static(body));
    assert_eq!(packets.offset(), Span::from_ticks(45));
    assert_eq!(packets.collect::<Vec<_>>(), [packet(0, Codec::Opus, frame(0, true, b"data"))]);
    let mut long = b"\x97\xff\x01\x2b".to_vec();
    long.extend([0; 300]);
    long.extend(b"\x11Opusdata");
    assert_eq!(audio(&long), [packet(0, Codec::Opus, frame(0, true, b"data"))]);
}

#[test]
fn every_truncation_of_a_header_is_an_error() {
    let bodies: [(&[u8], usize); 6] = [
        (b"\x17\x01\0\0\x50", 5),
        (b"\x91hvc1\0\0\x21", 8),
        (b"\x96\x01hvc1\x02\xff\xff\xff", 10),
        (b"\x96\x11hvc1\0\0\0\x04\0\0\0v", 14),
        (b"\x96\x21hvc1\0\0\0\x04\0\0\0v", 14),
        (b"\x97\x02\x07\xa1\x20\x01hvc1\0\0\0", 13),
    ];
    for (body, len) in bodies {
        assert_eq!(body.len(), len);
        assert!(video(body).iter().all(Result::is_ok), "{body:?}");
        // One byte is a kind of frame without anything; a list of no tracks is no error.
        for cut in 1..len {
            let packets = video(&body[..cut]);
            let is_list_without_tracks = body[0] == 0x96 && (cut == 6 || cut == 2) && body[1] != 1;
            let expected = vec![Err(PacketError::Truncated)];
            assert!(
                packets == expected || is_list_without_tracks && packets.is_empty(),
                "{body:?} {cut}"
            );
        }
    }
}

#[test]
fn random_bodies_end() {
    let mut seed = 88_172_645_463_325_252_u64;
    for _ in 0..20_000 {
        let body: Vec<u8> = (0..40)
            .map(|n| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                if n == 0 { 0x90 | (seed as u8 & 7) } else { (seed >> 5) as u8 & 0x27 }
            })
            .collect();
        assert!(audio(&body).len() <= 40 && video(&body).len() <= 40, "{body:?}");
    }
}
