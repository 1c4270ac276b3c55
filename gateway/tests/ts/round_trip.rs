//! From ffmpeg through demuxer and muxer to ffprobe and ffmpeg.

use crate::capture::{AAC, X264, X264_B, X265, capture};
use crate::check::{Probed, decodes_silently, is_sound, probe, read};
use crate::collect::{Found, concat, demux, mux};
use thalweg_gateway::container::Select;
use thalweg_gateway::media::{Codec, MediaKind};

/// Demuxes and muxes a capture; the same packets come out, all moved by the same time.
fn survives(name: &str, source: &[u8], pcr_ms: i64) -> (Found, Vec<u8>) {
    let found = demux(source, 1_316);
    assert_eq!(found.stats.dropped_units, 0, "{name}: {:?}", found.stats);
    assert_eq!(found.stats.continuity_errors, 0, "{name}");
    let out = concat(&mux(&found, Select::All));
    let before = probe(&format!("{name}-in.ts"), source);
    let after = probe(&format!("{name}-out.ts"), &out);
    agree(name, &before, &after);
    decodes_silently(&format!("{name}-out.ts"), &out);
    is_sound(&out, pcr_ms);
    (found, out)
}

fn agree(name: &str, before: &[Probed], after: &[Probed]) {
    let streams = |packets: &[Probed]| packets.iter().map(|packet| packet.stream).max().unwrap();
    assert_eq!(streams(before), streams(after), "{name}: number of streams");
    let moved =
        after[0].dts - before.iter().find(|packet| packet.stream == after[0].stream).unwrap().dts;
    for stream in 0..=streams(before) {
        let of = |packets: &[Probed]| -> Vec<(i64, i64, bool)> {
            let of = packets.iter().filter(|packet| packet.stream == stream);
            of.map(|packet| (packet.pts, packet.dts, packet.key)).collect()
        };
        let (before, after) = (of(before), of(after));
        assert_eq!(before.len(), after.len(), "{name}: packets of stream {stream}");
        for (n, (a, b)) in before.iter().zip(&after).enumerate() {
            // A tick: ffmpeg rounds the times of frames behind the first in a PES packet its own way.
            let pts = (b.0 - a.0 - moved).abs();
            let dts = (b.1 - a.1 - moved).abs();
            assert!(pts <= 1 && dts <= 1, "{name}: packet {n} of stream {stream}: {a:?}, {b:?}");
            assert_eq!(a.2, b.2, "{name}: whether packet {n} of stream {stream} is a key frame");
        }
    }
}

#[test]
fn h264_without_b_frames_and_aac() {
    let (found, _) = survives("x264", &capture(4, &format!("{X264} {AAC}")), 40);
    let tracks = found.tracks_now();
    let codecs: Vec<Codec> = tracks.iter().map(|track| track.codec).collect();
    assert_eq!(codecs, [Codec::H264, Codec::Aac]);
    assert!(tracks.is_complete());
}

#[test]
fn h264_with_b_frames_and_slices() {
    survives("x264-b", &capture(4, &format!("{X264_B} {AAC}")), 40);
}

#[test]
fn hevc() {
    let (found, _) = survives("x265", &capture(4, &format!("{X265} {AAC}")), 40);
    assert_eq!(found.tracks_now().video().unwrap().codec, Codec::Hevc);
}

#[test]
fn every_audio_codec() {
    let cases = [
        ("aac-latm", "-c:a aac -b:a 128k -mpegts_flags latm", Codec::Aac),
        ("aac-mono-44100", "-c:a aac -b:a 64k -ar 44100 -ac 1", Codec::Aac),
        ("mp3", "-c:a libmp3lame -b:a 128k", Codec::Mp3),
        ("mp3-22050", "-c:a libmp3lame -b:a 48k -ar 22050", Codec::Mp3),
        ("mp2", "-c:a mp2 -b:a 128k", Codec::Mp3),
        ("ac3", "-c:a ac3 -b:a 192k", Codec::Ac3),
        ("ac3-dvb", "-c:a ac3 -b:a 192k -mpegts_flags system_b", Codec::Ac3),
        ("eac3", "-c:a eac3 -b:a 192k", Codec::Eac3),
        ("opus", "-c:a libopus -b:a 96k", Codec::Opus),
        ("one-frame-a-pes", "-c:a aac -b:a 128k -pes_payload_size 0", Codec::Aac),
    ];
    for (name, options, codec) in cases {
        let (found, _) = survives(name, &capture(3, &format!("{X264} {options}")), 40);
        assert_eq!(found.tracks_now().audio().unwrap().codec, codec, "{name}");
    }
}

#[test]
fn audio_alone_and_video_alone() {
    survives("audio-only", &capture(3, &format!("-vn {AAC}")), 40);
    survives("audio-only-44100", &capture(3, "-vn -c:a aac -ar 44100 -ac 1 -b:a 64k"), 40);
    survives("video-only", &capture(3, &format!("{X264} -an")), 100);
    survives("video-only-5-fps", &capture(4, &format!("{X264} -r 5 -an")), 100);
}

#[test]
fn pes_packets_that_declare_their_length() {
    survives("bounded", &capture(4, &format!("{X264} {AAC} -omit_video_pes_length 0")), 40);
}

#[test]
fn languages_and_several_audio_tracks_are_kept() {
    let options = format!(
        "-map 0:v -map 1:a -map 1:a {X264} {AAC} -metadata:s:a:0 language=deu -metadata:s:a:1 language=fra"
    );
    let (_, out) = survives("languages", &capture(2, &options), 40);
    let again = demux(&out, 1_316);
    let languages: Vec<String> = again
        .tracks_now()
        .iter()
        .filter_map(|track| track.language.map(|language| language.to_string()))
        .collect();
    assert_eq!(languages, ["deu", "fra"]);
}

#[test]
fn a_selection_leaves_out_the_other_kind() {
    let found = demux(&capture(2, &format!("{X264} {AAC}")), 1_316);
    for (select, kind, pcr_ms) in
        [(Select::AudioOnly, MediaKind::Audio, 40), (Select::VideoOnly, MediaKind::Video, 100)]
    {
        let chunks = mux(&found, select);
        let out = concat(&chunks);
        is_sound(&out, pcr_ms);
        let again = demux(&out, 1_316);
        let tracks = again.tracks_now();
        assert_eq!(tracks.len(), 1);
        assert_eq!(tracks[0].codec.kind(), kind);
        assert!(chunks[0].head.is_some(), "readers begin with the first chunk");
    }
}

#[test]
fn a_reader_may_begin_with_every_chunk_that_has_a_head() {
    for options in [format!("{X264} {AAC}"), format!("-vn {AAC}")] {
        let chunks = mux(&demux(&capture(3, &options), 1_316), Select::All);
        let starts: Vec<usize> = (0..chunks.len()).filter(|&n| chunks[n].head.is_some()).collect();
        assert!(starts.len() >= 3);
        for &start in starts.iter().step_by(starts.len().div_ceil(4)) {
            let head = chunks[start].head.as_ref().unwrap().concat();
            let joined = [head, concat(&chunks[start..])].concat();
            assert_eq!(read(&joined).continuity_errors, 0);
            let units = demux(&joined, 1_316).stats;
            assert_eq!((units.dropped_units, units.unready_units), (0, 0));
            assert_eq!(units.units as usize, chunks.len() - start, "every chunk is a unit");
            decodes_silently("joined.ts", &joined);
        }
    }
}

#[test]
fn a_wrap_of_the_times_is_no_event() {
    // 2^33 ticks are 95443.7 seconds; ffmpeg begins 1.4 s after what it is told.
    let options = format!("{X264_B} {AAC} -output_ts_offset 95440");
    let source = capture(6, &options);
    let found = demux(&source, 1_316);
    assert_eq!(found.jumps(), []);
    for pid in [0x100, 0x101] {
        let units = found.of(pid);
        let (first, last) = (units[0].0.dts, units[units.len() - 1].0.dts);
        assert!(first.ticks() < 1 << 33 && last.ticks() > 1 << 33, "PID {pid:#x} crosses the wrap");
        for pair in units.windows(2) {
            let step = (pair[1].0.dts - pair[0].0.dts).ticks();
            assert!(step > 0 && step <= 3_600, "PID {pid:#x}: a step of {step}");
        }
    }
    let plain = demux(&capture(6, &format!("{X264_B} {AAC}")), 1_316);
    assert_eq!(found.units().count(), plain.units().count());
    let out = concat(&mux(&found, Select::All));
    is_sound(&out, 40);
    decodes_silently("wrap.ts", &out);
}

#[test]
fn pieces_of_any_size_give_the_same_units() {
    let source = capture(2, &format!("{X264_B} {AAC}"));
    let whole: Vec<_> = demux(&source, source.len()).units().cloned().collect();
    for piece in [1, 100, 187, 188, 189, 1_316, 4_000] {
        assert!(demux(&source, piece).units().eq(&whole), "pieces of {piece}");
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    let source = capture(2, &format!("{X264} {AAC}"));
    let out = || concat(&mux(&demux(&source, 1_316), Select::All));
    assert!(out() == out());
}
