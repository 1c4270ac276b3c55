//! Enhanced RTMP, spoken by an ffmpeg that knows it: who gets which codecs, and several tracks of sound.

use std::time::Duration;
use thalweg_tests::{
    gateway::{Gateway, run, start, test_file},
    media::{Seen, probe, seen, transport_stream},
    play::{Out, record},
    srt,
};

const CAM: &str = "live/cam";

/// How long ffmpeg may take for any of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ffmpeg that knows Enhanced RTMP, which `make setup` installs.
const FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/ffmpeg");

fn codecs(seen: &Seen) -> Vec<&str> {
    seen.tracks.iter().map(|track| &*track.codec).collect()
}

#[test]
fn players_get_new_codecs_when_they_announce_them_or_the_configuration_says_so() {
    let seconds = 3;
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25 -c:a aac";
    let clip = transport_stream(seconds, hevc);
    let announced = ["-rtmp_enhanced_codecs", "hvc1"];
    for (setting, announces, expected) in [
        ("enhanced", &[][..], &["hevc", "aac"][..]),
        ("legacy", &[], &["aac"]),
        ("legacy", &announced, &["hevc", "aac"]),
    ] {
        let setting = format!("rtmp.silent_player=\"{setting}\"");
        let gateway = Gateway::start(&[&setting, "publish.grace_s=0", "play.wait_ms=20000"]);
        let (url, path) = (gateway.rtmp(CAM), test_file("mkv"));
        let file = path.to_str().expect("the path of a test file is text");
        let copy = ["-i", &url, "-map", "0", "-c", "copy", file];
        let player = start(FFMPEG, &[&["-v", "error"], announces, &copy].concat());
        gateway.wait_for_players(CAM, 1);
        let rate = clip.len() as u64 / u64::from(seconds);
        srt::publish(&gateway, CAM, clip.clone(), rate).finish().expect("nobody else publishes");
        let (_, _) = player.finish(PATIENCE);
        let played = seen(probe(file), PATIENCE);
        let mut found = codecs(&played);
        found.sort_by_key(|codec| *codec == "aac");
        assert_eq!(found, expected, "{setting}, announced: {announces:?}");
        if expected.len() == 1 {
            gateway.wait_for_log(&["a track is left out", "rtmp-legacy"]);
        }
    }
}

#[test]
fn every_track_of_sound_reaches_ts_and_fmp4() {
    let path = test_file("mkv");
    let file = path.to_str().expect("the path of a test file is text");
    let inputs = "-f lavfi -i testsrc2=size=320x240:rate=25 -f lavfi -i sine=440 -f lavfi -i sine=880 \
                  -map 0 -map 1 -map 2 -map 1 -t 4";
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 300k -c:a:0 aac -ar:a:0 48000 \
                 -c:a:1 aac -ar:a:1 44100 -ac:a:1 1 -c:a:2 libopus";
    let words = [inputs, coded].map(str::split_whitespace).into_iter().flatten();
    let arguments: Vec<_> = ["-v", "error"].into_iter().chain(words).chain([file]).collect();
    let (_, _) = run("ffmpeg", &arguments, PATIENCE);
    let original = seen(probe(file), PATIENCE);

    let gateway = Gateway::start(&["publish.grace_s=0", "play.wait_ms=20000"]);
    let outs = [Out::Ts, Out::Srt, Out::Mp4];
    let players = outs.map(|out| record(&gateway, out, CAM));
    gateway.wait_for_players(CAM, outs.len());
    let url = gateway.rtmp(CAM);
    let publish = ["-v", "error", "-re", "-i", file, "-map", "0", "-c", "copy", "-f", "flv", &url];
    let (_, _) = run(FFMPEG, &publish, PATIENCE);
    for player in players {
        let recording = player.finish();
        let (case, played) = (&recording.case, recording.probe());
        assert_eq!(codecs(&played), codecs(&original), "{case}");
        for (before, after) in original.tracks.iter().zip(&played.tracks) {
            let (was, is) = (before.packets.len(), after.packets.len());
            // What is heard begins with the first picture, and a last frame may be cut off.
            assert!(is <= was && is + 6 >= was, "{case}: {is} of {was} of {}", before.codec);
            assert!(after.rises(), "{case}: {}", before.codec);
        }
        recording.assert_decodes_silently();
    }
}
