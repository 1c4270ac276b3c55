//! Viewers that take nothing: what becomes of them, of the others, and of the gateway's memory.

use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use std::{
    io,
    net::TcpStream,
    sync::{Arc, OnceLock},
    thread,
};
use thalweg_tests::{
    gateway::{Gateway, until},
    media::{seen_in, transport_stream},
    play::{Out, Recorder, ask, record},
    srt,
};

const CAM: &str = "live/cam";
const SECONDS: u32 = 8;

/// SRT drops what comes later than this; a busy machine needs longer than the default.
const LATENCY: &str = "srt.latency_ms=500";

/// So much that it fits no socket's buffer: 8 Mbit/s, with a random-access point every fifth of a second.
fn clip() -> Arc<[u8]> {
    static CLIP: OnceLock<Arc<[u8]>> = OnceLock::new();
    let make = || {
        let coded = "-vf noise=alls=60:allf=t -c:v libx264 -preset ultrafast -bf 0 -g 5 \
                     -b:v 8M -minrate 8M -maxrate 8M -bufsize 2M -c:a aac";
        transport_stream(SECONDS, coded)
    };
    Arc::clone(CLIP.get_or_init(make))
}

fn publish(gateway: &Gateway) -> srt::Publisher {
    let clip = clip();
    let bytes_per_s = 3 * clip.len() as u64 / u64::from(SECONDS);
    srt::publish(gateway, CAM, clip, bytes_per_s)
}

/// A viewer that reads nothing, and whose system takes little in its place.
fn lazy(gateway: &Gateway, extension: &str) -> TcpStream {
    let stream = ask(gateway, &format!("{CAM}.{extension}"));
    // Less than a segment of the loopback would make a slow viewer of one that reads, too.
    setsockopt(&stream, RcvBuf, &(128 << 10)).expect("the system grants less");
    stream
}

/// The stream that was watched all the while has lost nothing.
fn assert_whole(watched: Recorder) {
    let recording = watched.finish();
    let (played, original) = (recording.probe(), seen_in(&clip(), "ts"));
    assert_eq!(played.count("video"), original.count("video"), "{}", recording.case);
    assert!(played.count("audio") + 2 >= original.count("audio"), "{}", recording.case);
}

#[test]
fn a_viewer_that_was_too_slow_goes_on_at_the_newest_picture_and_is_counted() {
    let settings = ["hub.ring_bytes=\"2MiB\"", "publish.grace_s=2", "play.wait_ms=20000", LATENCY];
    let gateway = Gateway::start(&settings);
    // Not by SRT, which drops what comes late by design, as it does on a busy machine at this rate.
    let watched = record(&gateway, Out::Flv, CAM);
    let mut slow = lazy(&gateway, "ts");
    gateway.wait_for_players(CAM, 2);
    let publisher = publish(&gateway);
    gateway.wait_for_frames(CAM, 160);
    let reading = thread::spawn(move || io::copy(&mut slow, &mut io::sink()));
    until("the slow viewer to be counted", || {
        gateway.clients(CAM).iter().any(|client| client.protocol == "ts" && client.skips > 0)
    });
    publisher.finish().expect("nobody else publishes");
    assert_whole(watched);
    reading.join().expect("reading does not panic").expect("it is served to the end");
}

#[test]
fn viewers_that_take_nothing_are_cut_after_the_time_for_that_and_nobody_else_notices() {
    let settings = ["timeouts.player_ms=700", "publish.grace_s=0", "play.wait_ms=20000", LATENCY];
    let gateway = Gateway::start(&settings);
    let watched = [Out::Ts, Out::Flv].map(|out| record(&gateway, out, CAM));
    let lazy = ["ts", "flv", "mp4"].map(|extension| lazy(&gateway, extension));
    gateway.wait_for_players(CAM, 5);
    let publisher = publish(&gateway);
    until("three lines of three viewers", || {
        gateway.log().matches("the player took nothing for 700ms").count() == 3
    });
    publisher.finish().expect("nobody else publishes");
    watched.into_iter().for_each(assert_whole);
    drop(lazy);
}

#[test]
fn twenty_viewers_that_read_nothing_cost_no_memory() {
    let settings = ["hub.ring_bytes=\"1MiB\"", "publish.grace_s=0", "play.wait_ms=20000", LATENCY];
    let gateway = Gateway::start(&settings);
    let watched = record(&gateway, Out::Flv, CAM);
    let lazy: Vec<_> =
        ["ts", "flv", "mp4", "flv"].iter().cycle().take(20).map(|e| lazy(&gateway, e)).collect();
    gateway.wait_for_players(CAM, 21);
    let publisher = publish(&gateway);
    // What anybody's stack and every ring need is there by now.
    gateway.wait_for_frames(CAM, 20);
    let before = gateway.resident_bytes();
    let mut most = before;
    until("the end of the clip", || {
        most = most.max(gateway.resident_bytes());
        gateway.frames(CAM) >= u64::from(25 * SECONDS) - 1
    });
    // Rings for units, packets, FLV and MP4 of 1 MiB each; all viewers together were sent 160 MB.
    let grown = most.saturating_sub(before);
    assert!(grown <= 16 << 20, "from {before} to {most} bytes");
    publisher.finish().expect("nobody else publishes");
    assert_whole(watched);
    drop(lazy);
}
