//! What of a stream WebRTC's viewers see and hear, by its codecs, with Chromium at the other end.

use serde_json::Value;
use std::{fs, thread, time::Duration};
use thalweg_tests::{
    browser::{Browser, Page, Players, View},
    gateway::{Gateway, Running, run, start, test_file, until},
    media::{Seen, probe, publish_live_with, seen},
    rtp::{self, Track},
};

/// Watches a stream; what became of the offer.
fn watch(page: &Page<'_>, gateway: &Gateway, stream: &str) -> Value {
    page.evaluate(&format!("watch('{}', {{}})", gateway.http(&format!("whep/{stream}"))))
}

fn status(answer: &Value) -> u64 {
    answer["status"].as_u64().unwrap_or(0)
}

/// What the API remarks on a stream about this.
fn remark(gateway: &Gateway, stream: &str, about: &str) -> Option<String> {
    let stream = gateway.stream(stream)?;
    let remark = stream["remarks"].as_array()?.iter().find(|remark| remark["about"] == about)?;
    remark["text"].as_str().map(str::to_owned)
}

/// How often the log says this.
fn said(gateway: &Gateway, words: &str) -> usize {
    gateway.log().matches(words).count()
}

/// Opens a stream on the gateway's own page.
fn open_stream(page: &Page<'_>, name: &str) {
    let named = format!(
        "[...document.querySelectorAll('.stream')].find(s => s.querySelector('.name').textContent === {name:?})"
    );
    page.until(&format!("{named}?.querySelector('.row button').click() ?? !!{named}"));
}

#[test]
fn sound_of_which_opus_can_be_made_is_heard_and_of_other_sound_it_is_said_once() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let high = "-preset superfast -profile:v high -bf 0 -c:a libmp3lame -ar 44100";
    let _mp3 = publish_live_with(&gateway.srt_publish("live/mp3"), "320x240", high);
    let _ac3 = publish_live_with(&gateway.srt_publish("live/ac3"), "320x240", "-c:a ac3");
    gateway.wait_for_frames("live/mp3", 30);
    gateway.wait_for_frames("live/ac3", 30);
    let (browser, players) = (Browser::start(), Players::start());
    let open = || browser.open(&players.webrtc_page(), View::DESK);
    let (mp3, ac3, other) = (open(), open(), open());
    assert_eq!(status(&watch(&mp3, &gateway, "live/mp3")), 201);
    mp3.until("figures().then((f) => f.audio?.totalAudioEnergy > 0.001)");
    // A browser keeps sound and pictures together that are of one stream, once it knows which times belong together.
    assert_eq!(mp3.evaluate("new Set(peer.remoteDescription.sdp.match(/msid:\\S+/g)).size"), 1);
    mp3.until("figures().then((f) => f.audio?.estimatedPlayoutTimestamp && f.video?.estimatedPlayoutTimestamp)");
    for page in [&ac3, &other] {
        assert_eq!(status(&watch(page, &gateway, "live/ac3")), 201);
        page.until("figures().then((f) => f.video?.framesDecoded >= 30)");
        assert_eq!(page.evaluate("figures().then((f) => f.audio ?? null)"), Value::Null);
    }
    let hears = remark(&gateway, "live/ac3", "webrtc.sound").unwrap_or_default();
    assert!(hears.contains("AC3"), "{hears}");
    assert_eq!(remark(&gateway, "live/mp3", "webrtc.sound"), None);
    assert_eq!(said(&gateway, "WebRTC's viewers hear nothing"), 1, "{}", gateway.log());
    assert_eq!(said(&gateway, "H.264 High goes to WebRTC's viewers as"), 1, "{}", gateway.log());
    // Chromium plays AC-3 in no other way either: the page settles for the pictures.
    let page = browser.open(&gateway.http(""), View::DESK);
    open_stream(&page, "live/ac3");
    page.until("/^WebRTC.*without its sound/.test(document.querySelector('.stream .detail:not([hidden]) [data-field=playback]')?.textContent)");
    page.until("document.querySelector('.detail:not([hidden]) [data-field=remarks]').innerText.includes('hear nothing')");
    page.assert_silent();
}

#[test]
fn a_browser_that_cannot_play_hevc_is_told_so_and_the_page_tells_who_can() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let hevc = "-c:v libx265 -x265-params log-level=error:bframes=0";
    let _publisher = publish_live_with(&gateway.srt_publish("live/hevc"), "320x240", hevc);
    gateway.wait_for_frames("live/hevc", 10);
    let (browser, players) = (Browser::start(), Players::start());
    let page = browser.open(&players.webrtc_page(), View::DESK);
    let refused = watch(&page, &gateway, "live/hevc");
    assert_eq!(status(&refused), 406, "{refused}");
    assert!(refused["text"].as_str().is_some_and(|why| why.contains("HEVC")), "{refused}");
    let page = browser.open(&gateway.http(""), View::DESK);
    open_stream(&page, "live/hevc");
    page.until(
        "/HEVC.*VLC/s.test(document.querySelector('.detail:not([hidden]) .message')?.textContent)",
    );
    page.assert_silent();
}

#[test]
fn viewers_offer_anew_when_the_publisher_comes_back_with_another_codec() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "publish.grace_s=30"]);
    let publisher = publish_live_with(&gateway.rtmp("live/cam"), "320x240", "");
    gateway.wait_for_frames("live/cam", 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = browser.open(&players.webrtc_page(), View::DESK);
    assert_eq!(status(&watch(&page, &gateway, "live/cam")), 201);
    page.until("figures().then((f) => f.video?.framesDecoded >= 30)");
    publisher.kill();
    let hevc = "-c:v libx265 -x265-params log-level=error:bframes=0";
    let _again = publish_live_with(&gateway.srt_publish("live/cam"), "320x240", hevc);
    gateway.wait_for_log(&["have to offer anew", "HEVC"]);
    gateway.wait_for_log(&["the stream has changed: the viewer has to offer anew"]);
    // Pictures that it cannot decode are of no use to anybody.
    until("the viewer to be gone", || {
        gateway.clients("live/cam").iter().all(|client| client.publishes)
    });
    assert_eq!(status(&watch(&page, &gateway, "live/cam")), 406);
}

/// Publishes a beep at the beginning of each second, at which there is a random-access point of the pictures, too.
fn publish_beeps(url: &str, coding: &str) -> Running {
    let beep = "aevalsrc=exprs='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.2)':s=48000";
    let format = if url.starts_with("rtmp:") { "flv" } else { "mpegts" };
    let mut arguments =
        vec!["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"];
    arguments.extend(["-re", "-f", "lavfi", "-i", beep, "-c:v", "libx264", "-preset", "ultrafast"]);
    arguments.extend(["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25"]);
    arguments.extend(coding.split(' '));
    arguments.extend(["-f", format, url]);
    start("ffmpeg", &arguments)
}

/// When pictures are shown at which decoding can begin.
fn random_access_points(video: &Track) -> Vec<f64> {
    // RFC 6184 §5.4 to 5.8: a whole slice of one, or the first part of it.
    let begins = |payload: &[u8]| match payload {
        [nal, ..] if nal & 0x1f == 5 => true,
        [nal, header, ..] => nal & 0x1f == 28 && header & 0x9f == 0x85,
        _ => false,
    };
    let packets = video.packets();
    packets.iter().filter(|(_, payload)| begins(payload)).map(|(at, _)| *at).collect()
}

/// When beeps begin to be heard.
fn beeps(audio: &Track) -> Vec<f64> {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).expect("it is a rate");
    let (mut quiet, mut found) = (0, Vec::new());
    for (at, payload) in audio.packets() {
        let mut samples = [0.0_f32; 960];
        let count = decoder.decode_float(payload, &mut samples, false).expect("it is Opus");
        for (index, sample) in (0_u32..).zip(&samples[..count]) {
            if sample.abs() < 0.05 {
                quiet += 1;
                continue;
            }
            // A tenth of a second of silence: not between two waves.
            if quiet > 4_800 {
                found.push(at + f64::from(index) / 48_000.0);
            }
            quiet = 0;
        }
    }
    found
}

#[test]
fn sound_belongs_to_its_pictures_whatever_it_was_made_of() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let publishers = [
        (gateway.srt_publish("live/aac"), "-c:a aac -ar 44100"),
        (gateway.rtmp("live/flv"), "-c:a aac"),
        (gateway.srt_publish("live/mp3"), "-c:a libmp3lame"),
        (gateway.srt_publish("live/opus"), "-c:a libopus"),
    ]
    .map(|(url, coding)| publish_beeps(&url, coding));
    let gateway = &gateway;
    thread::scope(|scope| {
        for stream in ["live/aac", "live/flv", "live/mp3", "live/opus"] {
            scope.spawn(move || {
                // In the middle of a second: what was there before goes out faster, and what comes then as it comes.
                gateway.wait_for_frames(stream, 60);
                let received = rtp::receive(gateway, stream, Duration::from_secs(5));
                let (flashes, beeps) =
                    (random_access_points(&received.video), beeps(&received.audio));
                assert!(beeps.len() >= 3, "{stream}: beeps at {beeps:?}");
                // Where sound is late, the picture of the first was there before, and went out faster.
                for beep in beeps.into_iter().skip(1) {
                    let off = flashes.iter().map(|flash| beep - flash);
                    let off = off.min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
                    assert!(off.abs() < 0.04, "{stream}: a beep is {off} s from its picture");
                }
                for track in [&received.video, &received.audio] {
                    let off = track.disagreement_s();
                    assert!(off < 0.04, "{stream}: reports differ by {off} s");
                }
            });
        }
    });
    drop(publishers);
}

/// So many seconds of a stream, as ffmpeg copies them.
fn recorded(url: &str, seconds: &str) -> Seen {
    let path = test_file("nut");
    let file = path.to_str().expect("the path of a test file is text");
    let arguments = ["-v", "error", "-i", url, "-t", seconds, "-map", "0", "-c", "copy", file];
    let (_, _) = run("ffmpeg", &arguments, Duration::from_secs(40));
    let seen = seen(probe(file), Duration::from_secs(20));
    fs::remove_file(&path).expect("it is ours");
    seen
}

/// That some seconds of a stream have all of a camera, and more than one picture to begin with.
fn assert_carried(url: &str, codec: &str) {
    let seen = recorded(url, "5");
    let codecs: Vec<_> = seen.tracks.iter().map(|track| track.codec.as_str()).collect();
    for codec in [codec, "aac", "opus"] {
        assert!(codecs.contains(&codec), "{url}: {codecs:?}");
    }
    let video = seen.track("video").expect("it was just found");
    assert!(video.rises() && video.packets.len() > 30, "{url}: {} pictures", video.packets.len());
    let keys = video.packets.iter().filter(|packet| packet.is_key).count();
    assert!(keys >= 2, "{url}: {keys} random-access points in 5 s");
}

#[test]
fn a_camera_comes_out_of_hls_and_srt_and_vp8_of_what_can_carry_it() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let (browser, players) = (Browser::start(), Players::start());
    let open = || browser.open(&players.webrtc_page(), View::DESK);
    let (h264, vp8) = (open(), open());
    for (page, stream, codec) in [(&h264, "live/h264", "H264"), (&vp8, "live/vp8", "VP8")] {
        let url = gateway.http(&format!("whip/{stream}"));
        let answer = page.evaluate(&format!("publish('{url}', 'video/{codec}')"));
        assert_eq!(status(&answer), 201, "{answer}");
    }
    gateway.wait_for_frames("live/h264", 60);
    gateway.wait_for_frames("live/vp8", 30);
    thread::scope(|scope| {
        for (url, codec) in [
            (gateway.http("live/h264.m3u8"), "h264"),
            (gateway.srt_play("live/h264"), "h264"),
            (gateway.http("live/vp8.mp4"), "vp8"),
        ] {
            scope.spawn(move || assert_carried(&url, codec));
        }
    });
    // A transport stream has no way to carry VP8, and is sound alone.
    let seen = recorded(&gateway.http("live/vp8.ts"), "2");
    assert_eq!(seen.count("video"), 0);
    gateway.wait_for_log(&["a track is left out", "live/vp8", "format=\"ts\""]);
}
