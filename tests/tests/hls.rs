//! HLS and Low-Latency HLS as players have them: what ffmpeg, hls.js and Chromium make of it, and whether playlists keep the rules
//! while the stream goes.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use thalweg_tests::{
    api::{Answer, request},
    browser::{Browser, Player, Players, View},
    gateway::{Gateway, Running, run, start, test_file, until},
    media::{publish_live, publish_live_with, seen_in},
    playlist::{Playlist, attributes},
};

const CAM: &str = "live/cam";
const SIZE: &str = "320x240";

/// ffmpeg of a version that knows HEVC, AV1 and Opus in RTMP and MP4.
const FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/ffmpeg");

/// How long ffmpeg may take for some seconds of a live stream.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway with segments of two seconds and parts of a fifth.
fn gateway(more: &[&str]) -> Gateway {
    let settings = ["hls.target_s=2", "hls.part_ms=200", "play.wait_ms=20000"];
    Gateway::start(&[&settings, more].concat())
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    request(gateway.http, "GET", path).expect("the gateway answers")
}

fn text(gateway: &Gateway, path: &str) -> String {
    let answer = get(gateway, path);
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{path}: {body}");
    body
}

/// The path of the media playlist that the multivariant playlist names last.
fn media_path(gateway: &Gateway) -> String {
    let multivariant = text(gateway, &format!("{CAM}.m3u8"));
    format!("live/{}", multivariant.lines().last().expect("it names a playlist"))
}

fn media(gateway: &Gateway, path: &str) -> Playlist {
    let playlist = Playlist::parse(&text(gateway, path));
    playlist.check();
    playlist
}

/// The playlist once it has what a player would ask for next.
fn reload(gateway: &Gateway, path: &str, last: &Playlist) -> Playlist {
    let (msn, part) = last.next();
    let mark = if path.contains('?') { '&' } else { '?' };
    let query = match last.part_target_s {
        Some(_) => format!("{path}{mark}_HLS_msn={msn}&_HLS_part={part}"),
        None => format!("{path}{mark}_HLS_msn={msn}"),
    };
    let next = media(gateway, &query);
    next.check_follows(last);
    assert!(next.next() > (msn, part), "answered without what was asked for: {}", next.text);
    next
}

fn item(gateway: &Gateway, name: &str) -> Vec<u8> {
    let answer = get(gateway, &format!("{CAM}/{name}"));
    assert_eq!(answer.status, 200, "{name}");
    assert!(answer.head.contains("immutable"), "{}", answer.head);
    answer.body
}

fn count(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.starts_with(what)).count()
}

/// ffmpeg decodes so many seconds; what it complains of.
fn decode(url: &str, seconds: &str) -> String {
    let output =
        run(FFMPEG, &["-v", "error", "-i", url, "-t", seconds, "-f", "null", "-"], PATIENCE);
    output.1
}

#[test]
fn playlists_keep_the_rules_part_by_part_and_parts_are_the_segments_without_a_gap() {
    let gateway = gateway(&[]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    let (first, mut parts) = (playlist.next().0, BTreeMap::new());
    while playlist.next().0 < first + 3 {
        playlist = reload(&gateway, &path, &playlist);
        for segment in playlist.segments.iter().filter(|segment| segment.msn > first) {
            for (at, part) in segment.parts.iter().enumerate() {
                parts.entry((segment.msn, at)).or_insert_with(|| item(&gateway, &part.uri));
            }
        }
    }
    let mut file = Vec::new();
    for segment in playlist.whole() {
        if file.is_empty() {
            file = item(&gateway, segment.map.as_deref().expect("fMP4 has an init segment"));
        }
        let whole = item(&gateway, segment.uri.as_deref().expect("it is whole"));
        if segment.msn > first && segment.msn < playlist.next().0 {
            let own = parts.iter().filter(|((msn, _), _)| *msn == segment.msn);
            let joined: Vec<u8> = own.flat_map(|(_, part)| part.clone()).collect();
            assert!(joined == whole, "parts and segment {} differ", segment.msn);
        }
        file.extend(whole);
    }
    let seconds: f64 = playlist.whole().map(|segment| segment.duration_s).sum();
    let seen = seen_in(&file, "mp4");
    let video = seen.track("video").expect("there are pictures");
    assert!(video.rises() && seen.track("audio").expect("there is sound").rises());
    let frames = (seconds * 25.0).round() as usize;
    assert_eq!(video.packets.len(), frames, "{}", playlist.text);
    let gap = video.packets.windows(2).map(|pair| pair[1].dts_s - pair[0].dts_s);
    assert!(gap.fold(0.0, f64::max) < 0.06, "there is a gap");
    publisher.kill();
}

#[test]
fn a_delta_and_what_was_known_are_the_whole_playlist() {
    let gateway = gateway(&["hls.target_s=1", "hls.segments_kept=30"]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    while playlist.segments.len() < 11 {
        playlist = reload(&gateway, &path, &playlist);
    }
    let (msn, part) = playlist.next();
    let query = format!("{path}&_HLS_msn={msn}&_HLS_part={part}");
    let delta = Playlist::parse(&text(&gateway, &format!("{query}&_HLS_skip=YES")));
    let whole = Playlist::parse(&text(&gateway, &query));
    assert!(delta.skipped > 0 && whole.skipped == 0, "{}", delta.text);
    for segment in &delta.segments {
        let own = whole.segments.iter().find(|own| own.msn == segment.msn).expect("it is there");
        assert_eq!((&own.uri, &own.date), (&segment.uri, &segment.date));
        assert!(own.parts.is_empty() || own.parts.starts_with(&segment.parts));
    }
    let known = playlist.segments.iter().filter(|known| known.msn < delta.segments[0].msn);
    assert_eq!(known.count() as u64, delta.skipped - (delta.first_msn - playlist.first_msn));
    publisher.kill();
}

/// Publishes with ffmpeg 9, which knows Enhanced RTMP.
fn publish_enhanced(gateway: &Gateway, coded: &str) -> Running {
    let url = gateway.rtmp(CAM);
    let picture = format!("testsrc2=size={SIZE}:rate=25");
    let mut arguments = vec!["-v", "error", "-re", "-f", "lavfi", "-i", &picture];
    arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    arguments.extend(coded.split_whitespace());
    arguments.extend(["-pix_fmt", "yuv420p", "-g", "25", "-f", "flv", &url]);
    start(FFMPEG, &arguments)
}

#[test]
fn every_codec_is_named_right_and_plays_in_ffmpeg() {
    let cases = [
        ("-c:v libx265 -preset ultrafast -x265-params log-level=none -c:a ac3", "hvc1.", "ac-3"),
        ("-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -c:a libopus", "av01.", "opus"),
        ("-c:v libx264 -preset ultrafast -c:a eac3", "avc1.", "ec-3"),
        // In MPEG-TS.
        ("-c:v libx264 -preset ultrafast -c:a libmp3lame", "avc1.", "mp4a.40.34"),
    ];
    thread::scope(|scope| {
        for (coded, video, sound) in cases {
            scope.spawn(move || {
                let gateway = gateway(&[]);
                let publisher = publish_enhanced(&gateway, coded);
                let multivariant = text(&gateway, &format!("{CAM}.m3u8"));
                let line = multivariant.lines().rfind(|line| line.starts_with("#EXT-X-STREAM-INF"));
                let stream =
                    attributes(line.expect("a variant").split_once(':').expect("a list").1);
                let codecs = &stream["CODECS"];
                let (first, second) = codecs.split_once(',').expect("two codecs");
                assert!(first.starts_with(video) && second == sound, "{coded}: {codecs}");
                assert_eq!((&*stream["RESOLUTION"], &*stream["FRAME-RATE"]), (SIZE, "25.000"));
                let said = decode(&gateway.http(&format!("{CAM}.m3u8")), "4");
                assert_eq!(said, "", "{coded}");
                publisher.kill();
            });
        }
    });
}

#[test]
fn transport_streams_begin_with_their_tables_and_play() {
    let gateway = gateway(&["hls.segments=ts"]);
    let publisher = publish_live(&gateway.srt_publish(CAM), SIZE);
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    while playlist.whole().count() < 3 {
        playlist = reload(&gateway, &path, &playlist);
    }
    let mut file = Vec::new();
    for segment in playlist.whole() {
        let body = item(&gateway, segment.uri.as_deref().expect("it is whole"));
        assert_eq!((body.len() % 188, &body[..3]), (0, &[0x47, 0x40, 0][..]), "the PAT is first");
        let own = seen_in(&body, "ts");
        let frames = (segment.duration_s * 25.0).round() as usize;
        assert_eq!(own.count("video"), frames, "each segment can be decoded by itself");
        file.extend(body);
    }
    let seen = seen_in(&file, "ts");
    assert!(seen.track("video").expect("pictures").rises());
    assert_eq!(decode(&gateway.http(&format!("{CAM}.m3u8")), "4"), "");
    publisher.kill();
}

#[test]
fn a_publisher_who_comes_back_continues_the_numbers_after_a_discontinuity() {
    let gateway = gateway(&["publish.grace_s=30"]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let before = media(&gateway, &path);
    publisher.kill();
    gateway.wait_for_leave(CAM);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let mut playlist = media(&gateway, &path);
    playlist.check_follows(&before);
    while playlist.whole().filter(|segment| segment.msn > before.next().0).count() < 2 {
        playlist = reload(&gateway, &path, &playlist);
    }
    let joints = playlist.segments.iter().filter(|segment| segment.is_discontinuous).count();
    assert_eq!(joints, 1, "{}", playlist.text);
    publisher.kill();
}

#[test]
fn a_long_group_of_pictures_is_cut_at_the_target_and_warned_about_once() {
    let gateway = gateway(&[]);
    let publisher = publish_live_with(&gateway.rtmp(CAM), SIZE, "-g 1000 -sc_threshold 0");
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    while playlist.whole().count() < 3 {
        playlist = reload(&gateway, &path, &playlist);
    }
    assert!(!playlist.text.contains("#EXT-X-INDEPENDENT-SEGMENTS"), "{}", playlist.text);
    let log = gateway.log();
    assert_eq!(log.matches("longer than hls.target_s").count(), 1, "{log}");
    assert!(log.contains("-g"), "the setting of the encoder is named: {log}");
    publisher.kill();
}

#[test]
fn wrong_requests_are_told_so_and_harm_nobody() {
    let gateway = gateway(&[]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let playlist = media(&gateway, &path);
    let (msn, _) = playlist.next();
    for query in [
        "_HLS_msn=-1".to_owned(),
        "_HLS_msn=18446744073709551615".to_owned(),
        "_HLS_msn=99999999999999999999999".to_owned(),
        format!("_HLS_msn={}", msn + 3),
        format!("_HLS_msn={msn}&_HLS_part=4000"),
        "_HLS_part=0".to_owned(),
        "_HLS_msn=x".to_owned(),
        "_HLS_skip=MAYBE".to_owned(),
    ] {
        assert_eq!(get(&gateway, &format!("{path}&{query}")).status, 400, "{query}");
    }
    let name = playlist.whole().next().and_then(|segment| segment.uri.clone()).expect("a segment");
    for (bad, status) in [
        (format!("live/cam/../cam/{name}"), 400),
        (format!("live/%2e%2e/cam/{name}"), 400),
        (format!("live/cam/..%2f..%2fetc/{name}"), 400),
        (format!("live/other/{name}"), 404),
        (format!("{CAM}/hls-0-main-0.m4s"), 404),
        (format!("{CAM}/{}", name.replace("main", "else")), 404),
        (format!("{CAM}/hls-nothing.m3u8"), 404),
    ] {
        let answer = get(&gateway, &bad);
        assert_eq!(answer.status, status, "{bad}");
        assert!(!answer.head.contains("immutable"), "{bad} must not be kept");
    }
    let head = request(gateway.http, "HEAD", &format!("{CAM}/{name}")).expect("it answers");
    assert!(head.status == 200 && head.body.is_empty() && head.head.contains("video/mp4"));
    assert!(head.head.contains("access-control-allow-origin: *"), "{}", head.head);
    media(&gateway, &path).check_follows(&playlist);
    publisher.kill();
}

/// The answer to a request for some bytes.
fn ranged(gateway: &Gateway, path: &str, range: &str) -> Answer {
    let mut stream = TcpStream::connect(gateway.http).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is no zero");
    let head =
        format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nrange: {range}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the gateway reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the gateway answers");
    Answer::of(&bytes)
}

#[test]
fn ranges_of_segments_are_parts_of_them_and_no_set_of_ranges_gets_more_than_the_whole() {
    let gateway = gateway(&[]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let playlist = media(&gateway, &path);
    let name = playlist.text.lines().find(|line| !line.starts_with('#')).expect("a segment");
    let (path, whole) = (format!("{CAM}/{name}"), item(&gateway, name));
    let len = whole.len();
    let many = |count: usize| (0..count).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",");
    for (range, status, bytes) in [
        ("bytes=0-", 206, &whole[..]),
        ("bytes=100-299", 206, &whole[100..300]),
        ("bytes=-50", 206, &whole[len - 50..]),
        ("bytes=5-2", 200, &whole[..]),
        ("bytes=0-9,5-20,0-9", 200, &whole[..]),
        (&*format!("bytes={}", many(1_000)), 200, &whole[..]),
        ("bytes=99999999999999999999-", 416, &[]),
    ] {
        let answer = ranged(&gateway, &path, range);
        let what = &range[..range.len().min(40)];
        assert_eq!((answer.status, answer.body.len()), (status, bytes.len()), "{what}");
        assert!(answer.body == bytes, "{what}");
    }
    // A head is bounded.
    let absurd = ranged(&gateway, &path, &format!("bytes={}", many(50_000)));
    assert_eq!(absurd.status, 431, "{}", absurd.head);
    publisher.kill();
}

#[test]
fn viewers_are_clients_and_media_playlists_are_the_same_for_all() {
    let gateway = gateway(&[]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let paths = [media_path(&gateway), media_path(&gateway)];
    assert_ne!(paths[0], paths[1], "each viewer has a name");
    let viewers = || gateway.clients(CAM).into_iter().filter(|client| client.protocol == "hls");
    assert_eq!(viewers().count(), 2);
    for path in &paths {
        assert!(!text(&gateway, path).contains("session"), "playlists can be cached");
    }
    assert_eq!(viewers().count(), 2, "a viewer is known again by the name");
    publisher.kill();
}

#[test]
fn a_gateway_that_is_told_to_end_waits_for_no_viewer_of_hls() {
    let mut gateway = gateway(&["timeouts.shutdown_ms=600000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), SIZE);
    let path = media_path(&gateway);
    let _playlist = media(&gateway, &path);
    assert!(gateway.clients(CAM).iter().any(|client| client.protocol == "hls"));
    assert_eq!(gateway.end("TERM"), Some(0));
}

#[test]
fn without_sessions_nothing_names_a_viewer_and_nobody_is_counted() {
    let gateway = gateway(&["hls.sessions=false"]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    assert_eq!(path, format!("{CAM}/hls-main.m3u8"));
    media(&gateway, &path);
    assert!(get(&gateway, &format!("{CAM}.m3u8")).head.contains("max-age"));
    assert!(gateway.clients(CAM).iter().all(|client| client.protocol != "hls"));
    publisher.kill();
}

#[test]
fn encrypted_segments_play_with_the_keys_that_the_playlist_names() {
    let gateway = gateway(&["hls.encrypt=true", "hls.key_segments=1"]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    while playlist.whole().count() < 3 {
        playlist = reload(&gateway, &path, &playlist);
    }
    assert!(count(&playlist.text, "#EXT-X-KEY:METHOD=AES-128") >= 3, "{}", playlist.text);
    assert_eq!(decode(&gateway.http(&format!("{CAM}.m3u8")), "4"), "");
    let asked = plays(&gateway, Player::Hls, &[]);
    assert!(asked.iter().filter(|url| url.ends_with(".m4s")).count() >= 10, "{asked:#?}");
    publisher.kill();
}

#[test]
fn several_tracks_of_sound_are_renditions_to_choose_from() {
    let gateway = gateway(&[]);
    let more = "-f lavfi -i sine=frequency=880:sample_rate=48000 -map 0:v -map 1:a -map 2:a";
    let picture = format!("testsrc2=size={SIZE}:rate=25");
    let url = gateway.srt_publish(CAM);
    let mut arguments = vec!["-v", "error", "-re", "-f", "lavfi", "-i", &picture];
    arguments.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    arguments.extend(more.split_whitespace());
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]);
    arguments.extend(["-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "language=eng"]);
    arguments.extend(["-f", "mpegts", &url]);
    let publisher = start("ffmpeg", &arguments);
    gateway.wait_for_frames(CAM, 30);
    let multivariant = text(&gateway, &format!("{CAM}.m3u8"));
    assert_eq!(count(&multivariant, "#EXT-X-MEDIA:TYPE=AUDIO"), 2, "{multivariant}");
    assert!(multivariant.contains("LANGUAGE=\"eng\""), "{multivariant}");
    for lane in ["main", "audio1", "audio2"] {
        let path = format!("{CAM}/hls-{lane}.m3u8");
        let mut playlist = media(&gateway, &path);
        while playlist.whole().count() < 3 {
            playlist = reload(&gateway, &path, &playlist);
        }
        assert_eq!(count(&playlist.text, "#EXT-X-RENDITION-REPORT"), 2, "{}", playlist.text);
    }
    assert_eq!(decode(&gateway.http(&format!("{CAM}.m3u8")), "4"), "");
    publisher.kill();
}

#[test]
fn copies_on_disk_play_and_a_disk_that_fails_harms_nobody() {
    let folder = test_file("hls");
    let setting = format!("hls.directory={}", folder.display());
    let watched = gateway(&[&setting, "hls.segments_kept=4"]);
    let publisher = publish_live(&watched.rtmp(CAM), SIZE);
    let file = folder.join("live/cam/hls-main.m3u8");
    let playlist = || fs::read_to_string(&file).map(|text| Playlist::parse(&text));
    until("segments to be deleted again", || playlist().is_ok_and(|list| list.first_msn > 7));
    publisher.kill();
    let list = playlist().expect("it was there");
    list.check();
    assert_eq!((list.whole().count(), list.part_target_s), (4, None), "{}", list.text);
    let files = fs::read_dir(folder.join("live/cam")).expect("it is there").count();
    assert!(files < 25, "old files are deleted: {files}");
    let multivariant = folder.join("live/cam.m3u8");
    assert_eq!(decode(multivariant.to_str().expect("it is text"), "4"), "");
    fs::remove_dir_all(&folder).expect("it is ours");

    // A file in the place of the folder.
    let folder = test_file("hls");
    fs::write(&folder, "").expect("the folder of test files can be written");
    let setting = format!("hls.directory={}", folder.display());
    let gateway = gateway(&[&setting]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    let path = media_path(&gateway);
    let mut playlist = media(&gateway, &path);
    while playlist.whole().count() < 3 {
        playlist = reload(&gateway, &path, &playlist);
    }
    assert_eq!(gateway.log().matches("hls.directory").count(), 1, "{}", gateway.log());
    publisher.kill();
}

/// More than what a player gets at once when it joins.
const PICTURES: u64 = 60;

/// Chromium plays the stream with this player, and says nothing. What it asked for.
fn plays(gateway: &Gateway, player: Player, more: &[(&str, &str)]) -> Vec<String> {
    let (browser, players) = (Browser::start(), Players::start());
    let url = gateway.http(&format!("{CAM}.m3u8"));
    let page = browser.open(&players.page_with(player, &url, more), View::DESK);
    let playing = page.wait_for_pictures(PICTURES);
    assert!(playing.audio_bytes > 0 && playing.size == (320, 240), "{playing:?}");
    page.assert_silent();
    let asked = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)");
    let asked = asked.as_array().cloned().unwrap_or_default();
    asked.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

#[test]
fn hls_js_plays_with_low_latency_and_chromium_plays_by_itself() {
    let gateway = gateway(&[]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    gateway.wait_for_frames(CAM, 75);
    // The first viewer, for whom the stream is segmented from its first segment on.
    let asked = plays(&gateway, Player::Hls, &[("config", r#"{"lowLatencyMode":true}"#)]);
    let mut parts: Vec<&String> = asked.iter().filter(|url| url.ends_with(".m4s")).collect();
    let all = parts.len();
    assert!(all >= 10, "{asked:#?}");
    parts.sort();
    parts.dedup();
    assert_eq!(parts.len(), all, "each part is loaded once: {asked:#?}");
    plays(&gateway, Player::Native, &[]);
    publisher.kill();
}

#[test]
fn hls_js_plays_transport_streams() {
    let gateway = gateway(&["hls.segments=ts", "hls.part_ms=0", "hls.always=true"]);
    let publisher = publish_live(&gateway.rtmp(CAM), SIZE);
    gateway.wait_for_frames(CAM, 75);
    plays(&gateway, Player::Hls, &[]);
    publisher.kill();
}
