//! Recordings, as ffmpeg and ffprobe see the files and curl the library.

use std::{fs, path::Path};
use thalweg_tests::{
    gateway::{run, start, test_file, until},
    hook_server::{HookServer, YES},
    media::Seen,
    recordings::{H264, HEVC, PATIENCE, Recording, clip, decodes, duration_s, look, publish, text},
};

/// H.264 of another size than the rest.
const LARGE: &[&str] =
    &["-s", "640x480", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-b:v", "500k"];

/// The ffmpeg that knows Enhanced RTMP, which `make setup` installs.
const FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/ffmpeg");

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
fn another_size_or_codec_loses_nothing_and_every_file_plays() {
    let (small, large, hevc) = (clip("small", H264), clip("large", LARGE), clip("other", HEVC));
    std::thread::scope(|scope| {
        for format in ["mp4", "ts", "flv"] {
            // The ffprobe of the tests reads no HEVC in FLV.
            let is_flv = format == "flv";
            let all = [&small, &large, &hevc];
            let clips = if is_flv { &all[..2] } else { &all[..] }.to_vec();
            scope.spawn(move || {
                let setting = format!("record.format={format}");
                let recording = Recording::start(&[&setting, "publish.grace_s=5"]);
                let url = recording.gateway.rtmp("live/cam");
                for (file, _) in &clips {
                    let input = ["-v", "error", "-re", "-i", file, "-c", "copy", "-f", "flv"];
                    let (_, _) = run(FFMPEG, &[&input[..], &[&url]].concat(), PATIENCE);
                }
                recording.gateway.wait_for_end("live/cam");
                let files = recording.ended(if format == "ts" { 2 } else { clips.len() });
                let found: Vec<_> = files.iter().map(|file| look(file)).collect();
                let count: usize = found.iter().map(|seen| seen.count("video")).sum();
                let published: usize = clips.iter().map(|(_, seen)| seen.count("video")).sum();
                assert_eq!(count, published, "{format}: {files:?} {found:?}");
                for (file, seen) in files.iter().zip(&found) {
                    assert!(seen.tracks.iter().all(|track| track.rises()), "{format}");
                    assert!(seen.count("audio") > 170, "{format}: {}", seen.count("audio"));
                    decodes(file);
                }
                // Pictures of another size may stand in one transport stream, but not in one file of the others.
                let sizes = found.iter().filter_map(|seen| seen.track("video")).map(|v| v.size);
                let sizes: Vec<_> = sizes.map(|(width, _)| width).collect();
                let expected: &[u64] = match format {
                    "mp4" => &[320, 640, 320],
                    "ts" => &[320, 320],
                    _ => &[320, 640],
                };
                assert_eq!(sizes, expected, "{format}");
            });
        }
    });
}

#[test]
fn a_hook_is_told_of_each_file_when_it_is_finished() {
    let (file, _) = clip("told", H264);
    let fields = "server_id service_id action client_id ip vhost app \
                  tcUrl stream param cwd file stream_url stream_id";
    for (plan, count) in [("session", 1), ("segment", 2)] {
        let server = HookServer::start(|call| {
            // It is whole by now.
            decodes(Path::new(&call.text("file")));
            YES
        });
        let hooks = server.settings(&["on_dvr"]);
        let publishers = HookServer::start(|_| YES);
        let others = publishers.settings(&["on_publish"]);
        let plan = format!("record.plan={plan}");
        let settings = [&*plan, "record.segment_s=2", &hooks[0], &others[0]];
        let recording = Recording::start(&settings);
        publish(&file, 1, &format!("{}?token=x", recording.gateway.rtmp("live/cam")));
        let files = recording.ended(count);
        until("the hook", || server.calls().len() >= count);
        let publisher = publishers.wait_for("on_publish");
        for (call, file) in server.calls().iter().zip(&files) {
            assert_eq!(call.fields(), fields.split_whitespace().collect::<Vec<_>>());
            let texts = ["action", "vhost", "app", "stream", "param", "stream_url"];
            let expected = ["on_dvr", "__defaultVhost__", "live", "cam", "?token=x", "/live/cam"];
            assert_eq!(texts.map(|field| call.text(field)), expected);
            assert_eq!(Path::new(&call.text("file")), file);
            for field in ["client_id", "ip", "tcUrl", "stream_id", "server_id", "service_id"] {
                assert_eq!(call.text(field), publisher.text(field), "{field}");
            }
            assert!(Path::new(&call.text("cwd")).is_dir());
        }
        assert_eq!((server.calls().len(), files.len()), (count, count));
    }
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
