//! Every way in to every way out, with ffmpeg as the publisher and ffprobe as the players.
//!
//! A clip is published once for each way in; players of all outputs are there before it begins. When the publisher has
//! left and the grace time is over the players' streams end, and what they saw is compared with the clip.

use std::{thread, time::Duration};
use thalweg_tests::{
    gateway::{Gateway, folder, start},
    media::{Clip, Packet, Seen, Track, probe, seen},
};

const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-b:v", "300k"];
const H264_B: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "50"];
const HEVC: &[&str] =
    &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25"];
const AV1: &[&str] =
    &["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-b:v", "200k", "-g", "25"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];
const AAC_44K_MONO: &[&str] = &["-c:a", "aac", "-ar", "44100", "-ac", "1"];
const MP3: &[&str] = &["-c:a", "libmp3lame"];
const AC3: &[&str] = &["-c:a", "ac3"];
const OPUS: &[&str] = &["-c:a", "libopus"];

/// The clips, and what carries them: ways in, and ways out that carry all their tracks.
const CLIPS: &[(Clip, &[In], &[Out])] = &[
    (clip("h264_aac", H264, AAC), &[In::Srt, In::Rtmp], ALL),
    (clip("b_frames_mono", H264_B, AAC_44K_MONO), &[In::Srt, In::Rtmp], ALL),
    (clip("audio_only", &[], AAC), &[In::Srt, In::Rtmp], ALL),
    (clip("video_only", H264, &[]), &[In::Srt, In::Rtmp], ALL),
    (clip("h264_mp3", H264, MP3), &[In::Srt, In::Rtmp], ALL),
    // ffmpeg 5.1 reads and writes HEVC, AC-3 and Opus neither in RTMP nor in FLV.
    (clip("hevc_aac", HEVC, AAC), &[In::Srt], &[Out::Srt, Out::Ts, Out::Mp4]),
    (clip("h264_ac3", H264, AC3), &[In::Srt], &[Out::Srt, Out::Ts, Out::Mp4]),
    (clip("h264_opus", H264, OPUS), &[In::Srt], &[Out::Srt, Out::Ts, Out::Mp4]),
    (clip("hevc_opus", HEVC, OPUS), &[In::EnhancedRtmp], &[Out::Srt, Out::Ts, Out::Mp4]),
    (clip("av1_opus", AV1, OPUS), &[In::EnhancedRtmp], &[Out::Mp4]),
];

const ALL: &[Out] = &[Out::Srt, Out::Rtmp, Out::Flv, Out::Ts, Out::Mp4];

#[derive(Clone, Copy, Debug, PartialEq)]
enum In {
    Srt,
    Rtmp,
    EnhancedRtmp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Out {
    Srt,
    Rtmp,
    Flv,
    Ts,
    Mp4,
}

/// How long a player may take beyond the clip.
const PATIENCE: Duration = Duration::from_secs(60);

const fn clip(
    name: &'static str,
    video: &'static [&'static str],
    audio: &'static [&'static str],
) -> Clip {
    Clip { name, video, audio }
}

#[test]
fn what_is_published_arrives_at_every_player() {
    let gateway =
        Gateway::start(&["publish.grace_s=1", "play.wait_ms=60000", "srt.latency_ms=200"]);
    // A few at a time: each has five players.
    let jobs: Vec<_> = CLIPS
        .iter()
        .flat_map(|(clip, ins, outs)| ins.iter().map(move |way| (*clip, *way, *outs)))
        .collect();
    for jobs in jobs.chunks(4) {
        thread::scope(|scope| {
            let gateway = &gateway;
            for &(clip, way, outs) in jobs {
                scope.spawn(move || relay(gateway, clip, way, outs));
            }
        });
    }
}

fn relay(gateway: &Gateway, clip: Clip, way: In, outs: &[Out]) {
    let path = folder().join(format!("{}-{way:?}.mkv", clip.name));
    clip.make(&path);
    let file = path.to_str().expect("the path of a test file is text");
    let original = seen(probe(file), PATIENCE);
    let stream = format!("live/{}_{way:?}", clip.name);
    let players: Vec<_> =
        outs.iter().map(|&out| (out, probe(&address(gateway, out, &stream)))).collect();
    gateway.wait_for_players(&stream, outs.len());
    let (format, url) = match way {
        // Without it ffmpeg throws away what it has not sent when the clip ends.
        In::Srt => ("mpegts", format!("{}&linger=5", gateway.srt_publish(&stream))),
        In::Rtmp | In::EnhancedRtmp => ("flv", gateway.rtmp(&stream)),
    };
    let mut arguments = vec!["-v", "error", "-re", "-i", file, "-c", "copy", "-f", format];
    let program = if way == In::EnhancedRtmp {
        arguments.extend(["-rtmp_enhanced_codecs", "hvc1,av01,vp09"]);
        newer_ffmpeg()
    } else {
        "ffmpeg".to_owned()
    };
    arguments.push(&url);
    let (_, _) = start(&program, &arguments).finish(PATIENCE);
    for (out, player) in players {
        let case = format!("{} by {way:?} to {out:?}", clip.name);
        compare(&case, out, &original, &seen(player, PATIENCE));
    }
}

/// The ffmpeg that knows Enhanced RTMP, which `make setup` installs.
fn newer_ffmpeg() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/ffmpeg").to_owned()
}

fn address(gateway: &Gateway, out: Out, stream: &str) -> String {
    match out {
        Out::Srt => gateway.srt_play(stream),
        Out::Rtmp => gateway.rtmp(stream),
        Out::Flv => gateway.http(&format!("{stream}.flv")),
        Out::Ts => gateway.http(&format!("{stream}.ts")),
        Out::Mp4 => gateway.http(&format!("{stream}.mp4")),
    }
}

fn compare(case: &str, out: Out, original: &Seen, played: &Seen) {
    for track in &original.tracks {
        let same = played.track(&track.kind);
        let same = same.unwrap_or_else(|| panic!("{case}: there is no {}: {played:?}", track.kind));
        assert_eq!(same.codec, track.codec, "{case}");
        assert_eq!(same.size, track.size, "{case}");
        compare_packets(case, out, track, same);
    }
    assert_eq!(played.tracks.len(), original.tracks.len(), "{case}");
    if let (Some(before), Some(after)) = (original.audio_offsets_s(), played.audio_offsets_s()) {
        // What is missing at one end shifts that end; sound that is off is off at both.
        let off = (before.0 - after.0).abs().min((before.1 - after.1).abs());
        assert!(off <= 0.04, "{case}: sound was {before:?} s, is {after:?} s later");
    }
}

fn compare_packets(case: &str, out: Out, original: &Track, played: &Track) {
    let kind = &original.kind;
    let (before, after) = (original.packets.len(), played.packets.len());
    // What is heard begins with the first picture: the sound before that, and a last frame without an end, may be left out.
    // ffmpeg takes the end of an SRT connection for a failure, and gives up what its demuxer holds back at that moment:
    // the same bytes are all there when it only copies them.
    let (lost, missing_s) = match (kind.as_str(), out) {
        ("video", Out::Srt) => (2, 0.2),
        ("video", _) => (0, 0.1),
        (_, Out::Srt) => (16, 0.4),
        _ => (4, 0.1),
    };
    assert!(after + lost >= before && after <= before + lost, "{case}: {after} of {before} {kind}");
    let rises = |packets: &[Packet]| packets.windows(2).all(|pair| pair[0].dts_s < pair[1].dts_s);
    assert!(rises(&played.packets), "{case}: decode times of {kind} do not rise: {played:?}");
    let span = |packets: &[Packet]| match packets {
        [first, .., last] => last.dts_s - first.dts_s,
        _ => 0.0,
    };
    let (was, is) = (span(&original.packets), span(&played.packets));
    assert!((was - is).abs() <= missing_s, "{case}: {kind} took {was} s, takes {is} s");
}
