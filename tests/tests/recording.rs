//! Recordings, as ffmpeg and ffprobe see the files and curl the library, with disks that fail.

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use thalweg_tests::{
    gateway::{Gateway, run, start, test_file, until},
    media::{Clip, Seen, probe, seen},
    play::{Out, record},
};

const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-b:v", "300k"];
const HEVC: &[&str] =
    &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];

const TOKEN: &str = "a-token-of-the-tests";

/// How long ffmpeg and ffprobe may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that records all streams into a folder of its own.
struct Recording {
    gateway: Gateway,
    dir: PathBuf,
}

impl Recording {
    fn start(settings: &[&str]) -> Self {
        let dir = test_file("recordings");
        Self::start_in(dir, settings)
    }

    fn start_in(dir: PathBuf, settings: &[&str]) -> Self {
        let token = format!("api.token={TOKEN}");
        let folder = format!("record.dir={}", dir.display());
        let mut all = vec!["publish.grace_s=1", "record.streams=[\"live/*\"]", &token, &folder];
        all.extend(settings);
        Self { gateway: Gateway::start(&all), dir }
    }

    /// What the API answers to curl, as status and JSON.
    fn api(&self, method: &str, path: &str, body: &str) -> (String, Value) {
        let url = self.gateway.http(path);
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let mut arguments = vec!["-s", "-w", "\n%{http_code}", "-X", method, "-H", &bearer];
        if !body.is_empty() {
            arguments.extend(["-d", body]);
        }
        arguments.push(&url);
        let (output, _) = run("curl", &arguments, PATIENCE);
        let (json, status) = output.rsplit_once('\n').expect("curl writes the status");
        (status.into(), serde_json::from_str(json).unwrap_or(Value::Null))
    }

    /// The files in the library, oldest first.
    fn library(&self) -> Vec<Value> {
        let (_, answer) = self.api("GET", "api/v1/recordings?count=1000", "");
        let list = answer.get("recordings").and_then(Value::as_array).cloned();
        list.unwrap_or_default().into_iter().rev().collect()
    }

    /// The files, once so many have ended.
    fn ended(&self, count: usize) -> Vec<PathBuf> {
        until(&format!("{count} recordings"), || {
            let ended = |entry: &Value| text(entry, "state") != "recording";
            self.library().iter().filter(|entry| ended(entry)).count() >= count
        });
        self.library().iter().map(|entry| self.dir.join(text(entry, "file"))).collect()
    }

    /// How the only recording that runs is.
    fn status(&self) -> Value {
        let (_, answer) = self.api("GET", "api/v1/recorders", "");
        answer.pointer("/recorders/0").cloned().unwrap_or_default()
    }

    /// Waits until so many seconds are in the file that is being written.
    fn wait_for(&self, seconds: f64) {
        until(&format!("{seconds} s of recording"), || {
            self.status().get("duration_s").and_then(Value::as_f64).is_some_and(|s| s >= seconds)
        });
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn clip(name: &'static str, video: &'static [&'static str]) -> (String, Seen) {
    let path = test_file("mkv");
    Clip { name, video, audio: AAC }.make(&path);
    let path = path.to_str().expect("the path of a test file is text").to_owned();
    let original = seen(probe(&path), PATIENCE);
    (path, original)
}

/// Publishes a file in real time, so often.
fn publish(file: &str, times: u32, url: &str) {
    let times = (times - 1).to_string();
    let format = if url.starts_with("srt") { "mpegts" } else { "flv" };
    let url = if format == "flv" { url.to_owned() } else { format!("{url}&linger=5") };
    let arguments = [
        "-v",
        "error",
        "-re",
        "-stream_loop",
        &times,
        "-i",
        file,
        "-c",
        "copy",
        "-f",
        format,
        &url,
    ];
    let (_, _) = run("ffmpeg", &arguments, PATIENCE);
}

fn look(path: &Path) -> Seen {
    seen(probe(path.to_str().expect("the path is text")), PATIENCE)
}

fn duration_s(path: &Path) -> f64 {
    let path = path.to_str().expect("the path is text");
    let arguments = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path];
    run("ffprobe", &arguments, PATIENCE).0.trim().parse().expect("ffprobe tells the duration")
}

/// Decodes all of it; an error of the decoder fails the test.
fn decodes(path: &Path) {
    let path = path.to_str().expect("the path is text");
    let (_, errors) =
        run("ffmpeg", &["-v", "error", "-xerror", "-i", path, "-f", "null", "-"], PATIENCE);
    assert_eq!(errors, "", "{path}");
}

#[test]
fn every_container_holds_what_was_published() {
    let (h264, hevc) = (clip("h264", H264), clip("hevc", HEVC));
    std::thread::scope(|scope| {
        for format in ["mp4", "ts", "flv"] {
            let (h264, hevc) = (&h264, &hevc);
            scope.spawn(move || {
                let recording = Recording::start(&[&format!("record.format={format}")]);
                let gateway = &recording.gateway;
                publish(&h264.0, 1, &gateway.rtmp("live/rtmp"));
                publish(&h264.0, 1, &gateway.srt_publish("live/srt"));
                // The ffprobe of the tests reads no HEVC in FLV.
                if format != "flv" {
                    publish(&hevc.0, 1, &gateway.srt_publish("live/hevc"));
                }
                let originals = [&h264.1, &h264.1, &hevc.1];
                let files = recording.ended(if format == "flv" { 2 } else { 3 });
                for (file, original) in files.iter().zip(originals) {
                    let found = look(file);
                    let case = format!("{}: {found:?}", file.display());
                    assert_eq!(found.count("video"), original.count("video"), "{case}");
                    assert!(found.count("audio") + 1 >= original.count("audio"), "{case}");
                    assert!(found.tracks.iter().all(|track| track.rises()), "{case}");
                    assert!((duration_s(file) - 4.0).abs() < 0.2, "{case}");
                    decodes(file);
                }
            });
        }
    });
}

#[test]
fn segments_begin_at_random_access_points_and_leave_nothing_out() {
    let (file, original) = clip("segments", H264);
    std::thread::scope(|scope| {
        for format in ["mp4", "ts", "flv"] {
            let (file, original) = (&file, &original);
            scope.spawn(move || {
                let settings = [
                    &*format!("record.format={format}"),
                    "record.plan=segment",
                    "record.segment_s=2",
                    "record.path={app}/{stream}.{ext}",
                ];
                let recording = Recording::start(&settings);
                publish(file, 1, &recording.gateway.srt_publish("live/cam"));
                let files = recording.ended(2);
                let parts: Vec<Seen> = files.iter().map(|file| look(file)).collect();
                let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
                let expected = [format!("cam.{format}"), format!("cam-1.{format}")];
                assert_eq!(
                    names,
                    expected.iter().map(|name| name.as_ref()).collect::<Vec<&std::ffi::OsStr>>()
                );
                for kind in ["video", "audio"] {
                    let count: usize = parts.iter().map(|part| part.count(kind)).sum();
                    let missing = original.count(kind).saturating_sub(count);
                    assert!(missing <= usize::from(kind == "audio"), "{format} {kind}: {count}");
                }
                for (part, file) in parts.iter().zip(&files) {
                    let video = part.track("video").expect("there are pictures");
                    assert_eq!(video.packets.len(), 50, "{format}");
                    assert!(video.packets[0].is_key, "{format}");
                    decodes(file);
                }
            });
        }
    });
}

#[test]
fn a_killed_gateway_leaves_files_that_play_and_knows_them_again() {
    let (file, _) = clip("killed", H264);
    for format in ["mp4", "ts", "flv"] {
        let setting = format!("record.format={format}");
        let mut recording = Recording::start(&[&setting]);
        let url = recording.gateway.rtmp("live/cam");
        let publisher = start(
            "ffmpeg",
            &[
                "-v",
                "quiet",
                "-re",
                "-stream_loop",
                "9",
                "-i",
                &file,
                "-c",
                "copy",
                "-f",
                "flv",
                &url,
            ],
        );
        recording.wait_for(3.0);
        recording.gateway.end("KILL");
        publisher.kill();
        let again = Recording::start_in(recording.dir.clone(), &[&setting]);
        let files = again.ended(1);
        assert_eq!(text(&again.library()[0], "state"), "interrupted");
        assert!(look(&files[0]).count("video") >= 70, "{format}");
        assert!(duration_s(&files[0]) >= 2.8, "{format}");
        decodes(&files[0]);
    }
}

#[test]
fn a_publisher_that_comes_back_goes_on_in_the_same_file() {
    let (file, original) = clip("back", H264);
    for format in ["mp4", "flv"] {
        let recording =
            Recording::start(&[&format!("record.format={format}"), "publish.grace_s=3"]);
        publish(&file, 1, &recording.gateway.rtmp("live/cam"));
        publish(&file, 1, &recording.gateway.rtmp("live/cam"));
        let files = recording.ended(1);
        assert_eq!(files.len(), 1, "{format}");
        let found = look(&files[0]);
        assert_eq!(found.count("video"), 2 * original.count("video"), "{format}");
        assert!(found.tracks.iter().all(|track| track.rises()), "{format}");
        assert!((duration_s(&files[0]) - 8.1).abs() < 0.3, "{format}");
        decodes(&files[0]);
    }
}

#[test]
fn a_full_disk_costs_the_recording_and_no_player_and_is_used_again_when_there_is_room() {
    // Mounts of this thread and of the processes that it starts.
    unshare(CloneFlags::CLONE_NEWNS).expect("this test mounts a small disk: run it as root");
    let (_, _) = run("mount", &["--make-rprivate", "/"], PATIENCE);
    let dir = test_file("disk");
    fs::create_dir_all(&dir).expect("the folder of test files can be written");
    let path = dir.to_str().expect("the path is text");
    let (_, _) = run("mount", &["-t", "tmpfs", "-o", "size=400k", "tmpfs", path], PATIENCE);
    let (file, original) = clip("full", H264);
    let recording = Recording::start_in(dir.clone(), &[]);
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
        decodes(&dir.join(text(&full, "file")));
        let (_, _) = run("mount", &["-o", "remount,size=20m", path], PATIENCE);
        until("the disk to be used again", || text(&recording.status(), "state") == "recording");
        publisher.join().expect("publishing does not fail");
    });
    let files = recording.ended(2);
    decodes(&files[1]);
    let played = player.finish();
    assert_eq!(played.probe().count("video"), 4 * original.count("video"), "{}", played.case);
    drop(recording);
    let (_, _) = run("umount", &["-l", path], PATIENCE);
}

#[test]
fn a_file_that_is_deleted_is_followed_by_another() {
    let (file, _) = clip("deleted", H264);
    let recording = Recording::start(&["record.path={stream}.{ext}"]);
    let url = recording.gateway.rtmp("live/cam");
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&file, 2, &url));
        recording.wait_for(1.0);
        fs::remove_file(recording.dir.join("cam.mp4")).expect("it is being written");
        recording.gateway.wait_for_log(&["cam.mp4", "was deleted while it was recorded"]);
    });
    let files = recording.ended(1);
    assert_eq!(files, [recording.dir.join("cam.mp4")]);
    decodes(&files[0]);
}

#[test]
fn the_library_gives_parts_of_files_and_deletes_them() {
    let (file, _) = clip("library", H264);
    let recording = Recording::start(&[]);
    publish(&file, 1, &recording.gateway.rtmp("live/cam"));
    let path = recording.ended(1).remove(0);
    let whole = fs::read(&path).expect("the file is there");
    let url = recording.gateway.http(text(&recording.library()[0], "url").trim_start_matches('/'));
    let part = |range: &str| {
        let to = test_file("part");
        let to = to.to_str().expect("the path is text");
        let range = format!("Range: bytes={range}");
        let (status, _) =
            run("curl", &["-s", "-o", to, "-w", "%{http_code}", "-H", &range, &url], PATIENCE);
        (status, fs::read(to).unwrap_or_default())
    };
    let len = whole.len();
    let thousands = (0..1_000).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    for (range, status, bytes) in [
        ("0-", "206", &whole[..]),
        ("100-299", "206", &whole[100..300]),
        ("-50", "206", &whole[len - 50..]),
        ("100000-999999999999", "206", &whole[100_000..]),
        ("5-2", "200", &whole[..]),
        ("0-9,5-20,0-9", "200", &whole[..]),
        (&*thousands, "200", &whole[..]),
        ("999999999-", "416", &[]),
    ] {
        let (got, body) = part(range);
        assert_eq!((&*got, body.len()), (status, bytes.len()), "{}", &range[..range.len().min(40)]);
        assert!(body == bytes, "{}", &range[..range.len().min(40)]);
    }
    for id in ["..%2F..%2Fetc%2Fpasswd", "%2E%2E", "x", "20261122T145932422Z-0%00"] {
        for end in ["", "/file"] {
            let (status, _) = recording.api("GET", &format!("api/v1/recordings/{id}{end}"), "");
            assert!(["404", "400"].contains(&&*status), "{id}{end}: {status}");
        }
    }
    let id = text(&recording.library()[0], "id").to_owned();
    let (status, _) = recording.api("DELETE", &format!("api/v1/recordings/{id}"), "");
    assert_eq!((&*status, recording.library().len(), path.exists()), ("200", 0, false));
    let (status, _) = recording.api("DELETE", &format!("api/v1/recordings/{id}"), "");
    assert_eq!(status, "404");
    let (status, _) = recording.api("POST", "api/v1/recorders", "{\"stream\": \"live/none\"}");
    assert_eq!(status, "404");
}
