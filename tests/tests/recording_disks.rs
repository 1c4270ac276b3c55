//! Recordings and copies of HLS on disks that fill, hang, are read-only or lose files: what that costs, and what not.

use serde_json::Value;
use std::{fs, net::TcpStream, path::Path};
use thalweg_tests::{
    disk::Disk,
    gateway::{Gateway, until},
    play::{Out, record},
    recordings::{H264, Recording, clip, decodes, look, publish, text},
};

/// Waits for an event of this kind whose detail has these words.
fn wait_for_event(recording: &Recording, kind: &str, words: &str) {
    let is_it =
        |event: &Value| text(event, "event") == kind && text(event, "detail").contains(words);
    until(&format!("{kind}: {words}"), || {
        let (_, answer) = recording.api("GET", "api/v1/events", "");
        answer.get("events").and_then(Value::as_array).is_some_and(|all| all.iter().any(is_it))
    });
}

/// Copies of HLS are complete: ffmpeg plays all that the playlist names. How many pictures that is.
fn plays_from_disk(folder: &Path) -> usize {
    let playlist = folder.join("live/cam.m3u8");
    decodes(&playlist);
    look(&playlist).count("video")
}

#[test]
fn a_full_disk_costs_the_recording_and_no_player_and_is_used_again_when_there_is_room() {
    let disk = Disk::in_memory("size=400k");
    let (file, original) = clip("full", H264);
    let recording = Recording::start_in(disk.path().to_owned(), &[]);
    let player = record(&recording.gateway, Out::Flv, "live/cam");
    recording.gateway.wait_for_players("live/cam", 1);
    let url = recording.gateway.rtmp("live/cam");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&file, 4, &url));
        recording.gateway.wait_for_log(&["recording failed", "No space left on device"]);
        assert_eq!(text(&recording.status(), "state"), "failing");
        assert!(text(&recording.status(), "error").contains("No space left"));
        let full = recording.library().remove(0);
        assert_eq!(text(&full, "state"), "failed");
        decodes(&recording.dir.join(text(&full, "file")));
        wait_for_event(&recording, "recording_failed", "No space left");
        wait_for_event(&recording, "disk_failed", "record.dir");
        disk.remount("size=20m");
        until("the disk to be used again", || text(&recording.status(), "state") == "recording");
        publisher.join().expect("publishing does not fail");
    });
    let files = recording.ended(2);
    assert_eq!(files.len(), 2, "what could not be begun leaves no files");
    decodes(&files[1]);
    wait_for_event(&recording, "disk_works", "record.dir");
    let played = player.finish();
    assert_eq!(played.probe().count("video"), 4 * original.count("video"), "{}", played.case);
}

#[test]
fn a_disk_that_hangs_costs_no_viewer_a_frame_and_no_recording_what_the_ring_holds() {
    let disk = Disk::ext4();
    let (file, original) = clip("hangs", H264);
    let copies = disk.path().join("hls");
    let directory = format!("hls.directory={}", copies.display());
    let settings = [&*directory, "hls.target_s=2", "hub.ring_s=60"];
    let recording = Recording::start_in(disk.path().join("recordings"), &settings);
    let player = record(&recording.gateway, Out::Flv, "live/cam");
    recording.gateway.wait_for_players("live/cam", 1);
    let url = recording.gateway.rtmp("live/cam");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&file, 4, &url));
        recording.wait_for(1.0);
        disk.freeze();
        recording.gateway.wait_for_log(&["record.dir", "has not answered"]);
        assert_eq!(text(&recording.status(), "state"), "stalled");
        recording.gateway.wait_for_log(&["hls.directory", "has not answered"]);
        wait_for_event(&recording, "disk_failed", "record.dir");
        disk.thaw();
        recording.gateway.wait_for_log(&["record.dir", "answers again"]);
        until("the recording to go on", || text(&recording.status(), "state") == "recording");
        publisher.join().expect("publishing does not fail");
    });
    let files = recording.ended(1);
    let played = player.finish();
    for (seen, case) in [(look(&files[0]), "recorded"), (played.probe(), &*played.case)] {
        assert_eq!(seen.count("video"), 4 * original.count("video"), "{case}");
    }
    decodes(&files[0]);
    wait_for_event(&recording, "disk_works", "hls.directory");
    assert!(plays_from_disk(&copies) >= 200);
}

#[test]
fn the_gateway_ends_in_time_though_its_disk_hangs() {
    let disk = Disk::ext4();
    let (file, _) = clip("ends", H264);
    let settings = ["timeouts.shutdown_ms=1000"];
    let mut recording = Recording::start_in(disk.path().join("recordings"), &settings);
    let url = recording.gateway.rtmp("live/cam");
    let before = std::thread::scope(|scope| {
        scope.spawn(|| publish(&file, 1, &url));
        recording.wait_for(2.0);
        disk.freeze();
        recording.status().get("duration_s").and_then(Value::as_f64).unwrap_or_default()
    });
    recording.gateway.signal("TERM");
    // What hangs in the kernel stays there, so the process is not gone: but it serves nobody, and its ports are free.
    let gateway = &recording.gateway;
    until("the gateway to end", || is_over(gateway) && TcpStream::connect(gateway.http).is_err());
    assert!(gateway.log().contains("ended without waiting longer"), "{}", gateway.log());
    disk.thaw();
    assert_eq!(recording.gateway.wait(), Some(0));
    let again = Recording::start_in(recording.dir.clone(), &[]);
    let files = again.ended(1);
    assert_eq!(text(&again.library()[0], "state"), "interrupted");
    assert!(look(&files[0]).count("video") >= (before * 25.0) as usize - 1, "{before}");
    decodes(&files[0]);
}

/// Whether its main thread has ended.
fn is_over(gateway: &Gateway) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

#[test]
fn a_read_only_disk_is_named_and_used_as_soon_as_it_can_be_written() {
    let disk = Disk::in_memory("size=50m,ro");
    let (file, original) = clip("read-only", H264);
    let copies = disk.path().join("hls");
    let directory = format!("hls.directory={}", copies.display());
    let settings = [&*directory, "hls.target_s=2"];
    let recording = Recording::start_in(disk.path().join("recordings"), &settings);
    let player = record(&recording.gateway, Out::Ts, "live/cam");
    recording.gateway.wait_for_players("live/cam", 1);
    let url = recording.gateway.srt_publish("live/cam");
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(&file, 3, &url));
        for key in ["record.dir", "hls.directory"] {
            wait_for_event(&recording, "disk_failed", key);
        }
        recording.gateway.wait_for_log(&["recording failed", "Read-only file system"]);
        recording.gateway.wait_for_log(&["hls.directory", "Read-only file system"]);
        assert_eq!(text(&recording.status(), "state"), "failing");
        assert!(text(&recording.status(), "error").contains("Read-only"));
        disk.remount("rw");
        until("the disk to be used", || text(&recording.status(), "state") == "recording");
        publisher.join().expect("publishing does not fail");
    });
    decodes(&recording.ended(1)[0]);
    let played = player.finish();
    assert_eq!(played.probe().count("video"), 3 * original.count("video"), "{}", played.case);
    wait_for_event(&recording, "disk_works", "hls.directory");
    assert!(plays_from_disk(&copies) >= 200, "segments of before are written later");
}

#[test]
fn a_file_that_is_deleted_is_followed_by_another() {
    let (file, original) = clip("deleted", H264);
    let recording = Recording::start(&["record.path={stream}.{ext}"]);
    let (url, other) = (recording.gateway.rtmp("live/cam"), recording.gateway.rtmp("live/other"));
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&file, 2, &other));
        scope.spawn(|| publish(&file, 2, &url));
        recording.wait_for(1.0);
        fs::remove_file(recording.dir.join("cam.mp4")).expect("it is being written");
        recording.gateway.wait_for_log(&["cam.mp4", "was deleted while it was recorded"]);
    });
    let mut files = recording.ended(2);
    files.sort();
    assert_eq!(files, ["cam.mp4", "other.mp4"].map(|name| recording.dir.join(name)));
    files.iter().for_each(|file| decodes(file));
    let (rest, whole) = (look(&files[0]).count("video"), look(&files[1]).count("video"));
    assert_eq!(whole, 2 * original.count("video"), "another recording is not touched");
    assert!(rest >= 100, "{rest}: it goes on from the last random-access point");
}
