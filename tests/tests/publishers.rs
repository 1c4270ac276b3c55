//! Publishers that come back, come twice, vanish or say nothing, as their players and the log see it.

use std::sync::Arc;
use thalweg_srt_io::RejectReason;
use thalweg_tests::{
    gateway::{Gateway, start},
    media::{Seen, seen_in, transport_stream},
    play::{ALL, Out, Recording, record},
    rtmp::Conversation,
    srt,
    ts::{by_pid, continuity_errors, packets},
};

const H264_AAC: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 300k -c:a aac";
const CAM: &str = "live/cam";

/// Three times as fast as it plays, so that tests are short.
fn speed(clip: &[u8], seconds: u64) -> u64 {
    3 * clip.len() as u64 / seconds
}

fn publish(gateway: &Gateway, clip: &Arc<[u8]>, seconds: u64) -> srt::Publisher {
    srt::publish(gateway, CAM, Arc::clone(clip), speed(clip, seconds))
}

#[test]
fn players_stay_and_their_times_rise_while_a_publisher_comes_back() {
    let gateway =
        Gateway::start(&["publish.grace_s=2", "play.wait_ms=20000", "srt.latency_ms=500"]);
    let clip = transport_stream(3, H264_AAC);
    let original = seen_in(&clip, "ts");
    let players: Vec<_> = ALL.iter().map(|&out| (out, record(&gateway, out, CAM))).collect();
    gateway.wait_for_players(CAM, ALL.len());
    for _ in 0..2 {
        publish(&gateway, &clip, 3).finish().expect("there is no other publisher");
        gateway.wait_for_leave(CAM);
    }
    for (out, player) in players {
        let recording = player.finish();
        let played = recording.probe();
        let case = &recording.case;
        // The last frame of sound may be incomplete when the publisher leaves.
        assert_eq!(played.count("video"), 2 * original.count("video"), "{case}");
        assert!(played.count("audio") + 2 >= 2 * original.count("audio"), "{case}");
        if out.is_passthrough() {
            assert_marks_the_second_begin(&recording);
        } else {
            assert!(played.tracks.iter().all(|track| track.rises()), "{case}: {played:?}");
            recording.assert_decodes_silently();
        }
    }
    assert_eq!(gateway.clients(CAM).len(), 0);
}

/// Passed-on packets keep their times, which begin again; the first of each stream says so.
fn assert_marks_the_second_begin(recording: &Recording) {
    let packets = packets(&recording.bytes);
    let case = &recording.case;
    assert_eq!(continuity_errors(&packets), [], "{case}");
    for (pid, packets) in
        by_pid(&packets).into_iter().filter(|(pid, _)| (0x100..0x102).contains(pid))
    {
        let marks = packets.iter().filter(|packet| packet.is_discontinuity()).count();
        assert_eq!(marks, 1, "{case}: marks of {pid}");
    }
}

#[test]
fn a_second_srt_publisher_is_rejected_with_conflict_before_the_handshake_ends() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "publish.grace_s=0"]);
    let clip = transport_stream(3, H264_AAC);
    let original = seen_in(&clip, "ts");
    let player = record(&gateway, ALL[0], CAM);
    gateway.wait_for_players(CAM, 1);
    let first = publish(&gateway, &clip, 3);
    gateway.wait_for_frames(CAM, 5);
    for stream_id in ["#!::r=live/cam,m=publish", "#!::m=publish,r=cam", "publish:live/cam"] {
        let refused = srt::knock(gateway.srt, stream_id).expect_err(stream_id);
        assert_eq!((refused, refused.code()), (RejectReason::CONFLICT, 1409), "{stream_id}");
    }
    assert_eq!(gateway.log().matches("publishes").count(), 1, "nobody else got that far");
    first.finish().expect("it was there first");
    let played = player.finish().probe();
    assert_eq!(played.count("video"), original.count("video"), "the first was not disturbed");
}

#[test]
fn ffmpeg_as_the_second_publisher_reports_a_rejected_handshake() {
    let gateway = Gateway::start(&[]);
    let clip = transport_stream(4, H264_AAC);
    let first = publish(&gateway, &clip, 4);
    gateway.wait_for_frames(CAM, 5);
    let url = gateway.srt_publish(CAM);
    let arguments = ["-v", "info", "-f", "lavfi", "-i", "sine=duration=1", "-f", "mpegts", &url];
    let (said, is_well) = start("ffmpeg", &arguments).end();
    assert!(!is_well, "{said}");
    // It shows the text of libsrt, which has one for all codes from 1000 on.
    assert!(said.contains("Application-defined rejection reason"), "{said}");
    first.finish().expect("it was there first");
}

#[test]
fn a_second_publisher_takes_over_where_that_is_configured() {
    let settings = ["publish.second=\"takeover\"", "publish.grace_s=1", "play.wait_ms=20000"];
    let gateway = Gateway::start(&settings);
    let clip = transport_stream(3, H264_AAC);
    let original = seen_in(&clip, "ts");
    let players: Vec<_> = ALL.iter().map(|&out| (out, record(&gateway, out, CAM))).collect();
    gateway.wait_for_players(CAM, ALL.len());
    let first = publish(&gateway, &clip, 3);
    gateway.wait_for_frames(CAM, 30);
    let second = publish(&gateway, &clip, 3);
    gateway.wait_for_log(&["closed", "another publisher took the stream over"]);
    first.finish().expect("it was there first");
    second.finish().expect("it took over");
    for (out, player) in players {
        let recording = player.finish();
        let played = recording.probe();
        let (whole, got) = (original.count("video"), played.count("video"));
        assert!(got >= whole + 25 && got < 2 * whole, "{}: {got} pictures", recording.case);
        if !out.is_passthrough() {
            assert!(played.tracks.iter().all(|track| track.rises()), "{}", recording.case);
        }
    }
}

#[test]
fn a_publisher_that_vanishes_without_a_word_is_missed_and_its_players_are_told() {
    let gateway = Gateway::start(&["publish.grace_s=0", "timeouts.publisher_ms=1000"]);
    let url = gateway.srt_publish(CAM);
    let encoder = start("ffmpeg", &realtime(&url, "mpegts"));
    gateway.wait_for_frames(CAM, 10);
    let players: Vec<_> = ALL.iter().map(|&out| record(&gateway, out, CAM)).collect();
    gateway.wait_for_players(CAM, ALL.len());
    gateway.wait_for_frames(CAM, 40);
    // Killed, it closes nothing: SRT has no kernel that would do so in its place.
    encoder.kill();
    for player in players {
        let recording = player.finish();
        let played: Seen = recording.probe();
        assert!(played.count("video") > 10, "{}: {played:?}", recording.case);
    }
    gateway.wait_for_log(&["closed", "protocol=\"srt\"", "sent nothing for 1s"]);
    gateway.wait_for_end(CAM);
}

/// Arguments that make ffmpeg publish a picture and a tone as they play, without end.
fn realtime<'a>(url: &'a str, format: &'a str) -> Vec<&'a str> {
    let coded = H264_AAC.split_whitespace();
    ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"]
        .into_iter()
        .chain(["-re", "-f", "lavfi", "-i", "sine=sample_rate=48000"])
        .chain(coded)
        .chain(["-f", format, url])
        .collect()
}

#[test]
fn a_publisher_that_sends_nothing_is_disconnected_after_the_time_for_that() {
    let gateway = Gateway::start(&["publish.grace_s=0", "timeouts.publisher_ms=400"]);
    let silent = srt::publish_nothing(&gateway, CAM);
    let got = silent.finish().expect("it is admitted");
    assert!(got.is_empty());
    gateway.wait_for_log(&["closed", "the publisher sent nothing for 400ms"]);
    gateway.wait_for_end(CAM);
    assert_eq!(gateway.clients(CAM).len(), 0);
}

#[test]
fn a_second_rtmp_publisher_is_told_bad_name_and_the_first_goes_on() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "publish.grace_s=0"]);
    let url = gateway.rtmp(CAM);
    let encoder = start("ffmpeg", &realtime(&url, "flv"));
    gateway.wait_for_frames(CAM, 10);
    let mut second = Conversation::begin(gateway.rtmp);
    second.connect("live");
    second.wait_for("NetConnection.Connect.Success");
    second.publish("cam");
    second.wait_for("NetStream.Publish.BadName");
    gateway.wait_for_log(&["closed", "refused: live/cam is being published by somebody else"]);
    gateway.wait_for_frames(CAM, gateway.frames(CAM) + 10);
    encoder.kill();
    gateway.wait_for_end(CAM);
}

#[test]
fn an_rtmp_publisher_comes_back_to_the_players_of_an_srt_publisher() {
    let gateway = Gateway::start(&["publish.grace_s=3", "play.wait_ms=20000"]);
    let clip = transport_stream(3, H264_AAC);
    let players: Vec<_> =
        [Out::Rtmp, Out::Flv, Out::Mp4].iter().map(|&out| record(&gateway, out, CAM)).collect();
    gateway.wait_for_players(CAM, players.len());
    publish(&gateway, &clip, 3).finish().expect("there is no other publisher");
    gateway.wait_for_leave(CAM);
    let url = gateway.rtmp(CAM);
    let encoder = start("ffmpeg", &realtime(&url, "flv"));
    gateway.wait_for_frames(CAM, 75 + 30);
    encoder.kill();
    for player in players {
        let recording = player.finish();
        let played = recording.probe();
        assert!(played.count("video") >= 75 + 25, "{}: {played:?}", recording.case);
        assert!(played.tracks.iter().all(|track| track.rises()), "{}", recording.case);
    }
}
