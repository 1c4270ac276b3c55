//! WebRTC with Chromium at the other end: what is watched by WHEP, what is published by WHIP, and what is refused.

use serde_json::Value;
use std::{fs, net::UdpSocket, time::Duration};
use thalweg_badlink::Link;
use thalweg_tests::{
    browser::{Browser, Page, Players, View},
    gateway::{Gateway, run, test_file, until},
    media::{publish_live, publish_live_with},
};

const CAM: &str = "live/cam";

/// Pictures without B pictures, as `zerolatency` makes them; more than what is there when a viewer comes.
const PICTURES: u64 = 90;

fn open<'b>(browser: &'b Browser, players: &Players) -> Page<'b> {
    browser.open(&players.webrtc_page(), View::DESK)
}

/// Watches a stream; what became of the offer.
fn watch(page: &Page<'_>, gateway: &Gateway, stream: &str, options: &str) -> Value {
    let url = gateway.http(&format!("whep/{stream}"));
    page.evaluate(&format!("watch('{url}', {options})"))
}

/// Waits until so many pictures were decoded, and the page has heard something if it was to; its figures.
fn wait_for_pictures(page: &Page<'_>, count: u64) -> Value {
    page.until(&format!("figures().then((f) => f.video?.framesDecoded >= {count})"));
    page.evaluate("figures()")
}

/// Waits until, by what the browser says of itself, sound has been heard within so many ms of its pictures for a second. A
/// browser brings them together by some 50 ms each second.
fn wait_for_sound_with_pictures(page: &Page<'_>, within_ms: u32) {
    page.until(&format!(
        "figures().then(({{ audio, video }}) => {{
            const apart = Math.abs(audio?.estimatedPlayoutTimestamp - video?.estimatedPlayoutTimestamp);
            const now = performance.now();
            globalThis.togetherSince = apart < {within_ms} ? globalThis.togetherSince ?? now : null;
            return togetherSince !== null && now - togetherSince > 1000;
        }})"
    ));
}

fn status(answer: &Value) -> u64 {
    answer["status"].as_u64().unwrap_or(0)
}

#[test]
fn a_stream_of_srt_with_aac_is_seen_and_heard() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    // As much sound as comes by itself, not a third of a second at once.
    let coding = "-ar 44100 -pes_payload_size 0";
    let _publisher = publish_live_with(&gateway.srt_publish(CAM), "320x240", coding);
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    let answer = watch(&page, &gateway, CAM, "{}");
    assert_eq!(status(&answer), 201, "{answer}");
    page.until("figures().then((f) => f.audio?.totalAudioEnergy > 0.001)");
    let figures = wait_for_pictures(&page, PICTURES);
    assert_eq!(figures["state"], "connected");
    assert_eq!(figures["size"], serde_json::json!([320, 240]));
    assert_eq!(figures["video"]["packetsLost"], 0, "{figures:#}");
    assert_eq!(figures["audio"]["packetsLost"], 0, "{figures:#}");
    wait_for_sound_with_pictures(&page, 100);
    let clients = gateway.clients(CAM);
    assert!(clients.iter().any(|client| client.protocol == "webrtc"), "{clients:?}");
    assert_eq!(page.evaluate("leave()"), 200);
    until("the viewer to be gone", || {
        gateway.clients(CAM).iter().all(|client| client.protocol != "webrtc")
    });
    page.assert_silent();
}

#[test]
fn a_stream_of_rtmp_goes_on_for_its_viewers_when_the_publisher_comes_back() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "publish.grace_s=30"]);
    let publisher = publish_live(&gateway.rtmp(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    assert_eq!(status(&watch(&page, &gateway, CAM, "{}")), 201);
    // About what EBU R 37 asks of broadcasters.
    wait_for_sound_with_pictures(&page, 60);
    let before = wait_for_pictures(&page, 60)["video"]["framesDecoded"].as_u64().unwrap_or(0);
    publisher.kill();
    let _again = publish_live(&gateway.rtmp(CAM), "320x240");
    let after = wait_for_pictures(&page, before + PICTURES);
    assert_eq!(after["state"], "connected");
}

#[test]
fn b_pictures_are_left_out_or_the_offer_is_refused_with_what_to_change() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let plain = "-tune film -bf 2 -x264-params b-pyramid=none:scenecut=0";
    let _plain = publish_live_with(&gateway.srt_publish("live/plain"), "320x240", plain);
    let pyramid = "-tune film -bf 3 -x264-params b-pyramid=normal:b-adapt=0:scenecut=0";
    let _pyramid = publish_live_with(&gateway.srt_publish("live/pyramid"), "320x240", pyramid);
    gateway.wait_for_frames("live/plain", 60);
    gateway.wait_for_frames("live/pyramid", 60);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    let refused = watch(&page, &gateway, "live/pyramid", "{}");
    assert_eq!(status(&refused), 406, "{refused}");
    assert!(refused["text"].as_str().is_some_and(|why| why.contains("b-pyramid")), "{refused}");
    assert_eq!(status(&watch(&page, &gateway, "live/plain", "{}")), 201);
    // One picture of three is left.
    wait_for_pictures(&page, 30);
    gateway.wait_for_log(&["B pictures are left out"]);
}

#[test]
fn a_camera_in_a_browser_comes_out_of_everything() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let (browser, players) = (Browser::start(), Players::start());
    let camera = open(&browser, &players);
    let url = gateway.http(&format!("whip/{CAM}"));
    let answer = camera.evaluate(&format!("publish('{url}', 'video/H264')"));
    assert_eq!(status(&answer), 201, "{answer}");
    gateway.wait_for_frames(CAM, 30);
    let viewer = open(&browser, &players);
    assert_eq!(status(&watch(&viewer, &gateway, CAM, "{}")), 201);
    wait_for_pictures(&viewer, PICTURES);
    viewer.until("figures().then((f) => f.audio?.totalAudioEnergy > 0)");
    for url in [gateway.http(&format!("{CAM}.ts")), gateway.srt_play(CAM), gateway.rtmp(CAM)] {
        let entries = "stream=codec_name,width,height,r_frame_rate";
        let arguments = [
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            entries,
            "-of",
            "csv=p=0",
            &url,
        ];
        let (seen, _) = run("ffprobe", &arguments, Duration::from_secs(30));
        assert!(seen.contains("h264,640,360"), "{url}: {seen}");
    }
    // Who watches is not kept waiting for a picture to begin with.
    let keys = camera.evaluate("figures().then((f) => f.video.keyFramesEncoded)");
    assert!(keys.as_u64() >= Some(2), "{keys} random-access points");
    let busy = viewer.evaluate(&format!("publish('{url}', 'video/H264')"));
    assert_eq!(status(&busy), 409, "{busy}");
    assert_eq!(camera.evaluate("leave()"), 200);
}

#[test]
fn pictures_go_on_when_a_twentieth_of_the_packets_is_lost() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let link = Link::builder()
        .loss(5.0)
        .reorder(5.0, Duration::from_millis(10))
        .seed(7)
        .start(gateway.webrtc())
        .expect("a relay on the loopback");
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    let through = format!("{{ through: {} }}", link.addr().port());
    assert_eq!(status(&watch(&page, &gateway, CAM, &through)), 201);
    let figures = wait_for_pictures(&page, 150);
    assert!(figures["video"]["nackCount"].as_u64() > Some(0), "{figures:#}");
    assert!(figures["video"]["retransmittedPacketsReceived"].as_u64() > Some(0), "{figures:#}");
}

#[test]
fn junk_on_the_port_disturbs_no_viewer() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    assert_eq!(status(&watch(&page, &gateway, CAM, "{}")), 201);
    let before = wait_for_pictures(&page, 30);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
    // STUN for nobody, DTLS, RTP, RTCP, and what is none of them, of every length.
    let heads: [&[u8]; 5] = [
        &[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42],
        &[22, 0xfe, 0xfd, 0, 0],
        &[0x80, 96, 0, 1],
        &[0x80, 200, 0, 1],
        &[0xff; 4],
    ];
    for round in 0..2_000_usize {
        let mut datagram = heads[round % heads.len()].to_vec();
        datagram.resize(datagram.len() + round % 1_400, u8::try_from(round % 251).unwrap_or(0));
        socket.send_to(&datagram, gateway.webrtc()).expect("the loopback carries it");
    }
    let count = before["video"]["framesDecoded"].as_u64().unwrap_or(0);
    let after = wait_for_pictures(&page, count + 60);
    // Whether a picture is late for a moment is up to who else uses the machine.
    for lost in ["packetsLost", "pliCount"] {
        assert_eq!(after["video"][lost], before["video"][lost], "{after:#}");
    }
}

#[test]
fn ice_can_be_restarted_and_addresses_can_be_added() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    let answer = watch(&page, &gateway, CAM, "{}");
    let tag = answer["tag"].as_str().expect("sessions have tags").to_owned();
    wait_for_pictures(&page, 30);
    let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\\r\\n";
    let patch = |tag: &str| page.evaluate(&format!("patch('{candidate}', {tag})"));
    assert_eq!(status(&patch("null")), 428);
    assert_eq!(status(&patch("'\"other\"'")), 412);
    assert_eq!(status(&patch(&format!("'{tag}'"))), 204);
    let restarted = page.evaluate("restart()");
    assert_eq!(status(&restarted), 200, "{restarted}");
    assert_ne!(restarted["tag"], tag.as_str(), "another session of ICE has another tag");
    let count = page.evaluate("figures().then((f) => f.video.framesDecoded)").as_u64().unwrap_or(0);
    let after = wait_for_pictures(&page, count + 60);
    assert_eq!(after["state"], "connected");
}

/// Posts an offer by curl; status and text.
fn post(gateway: &Gateway, path: &str, kind: &str, body: &str) -> (String, String) {
    let (url, kind) = (gateway.http(path), format!("content-type: {kind}"));
    let file = test_file("offer");
    fs::write(&file, body).expect("the folder of test files can be written");
    let data = format!("@{}", file.display());
    let arguments = ["-s", "-w", "\n%{http_code}", "-H", &kind, "--data-binary", &data, &url];
    let (answer, _) = run("curl", &arguments, Duration::from_secs(30));
    let (text, status) = answer.rsplit_once('\n').unwrap_or(("", &answer));
    (status.to_owned(), text.to_owned())
}

#[test]
fn offers_that_cannot_be_answered_are_told_why() {
    let gateway = Gateway::start(&["play.wait_ms=0"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 5);
    let sdp = "application/sdp";
    assert_eq!(post(&gateway, "whep/live/none", sdp, "v=0\r\n").0, "404");
    assert_eq!(post(&gateway, "whep/live/cam", "text/plain", "v=0\r\n").0, "415");
    for junk in ["", "junk", "v=0\r\n", "v=0\r\nm=\r\n\r\n"] {
        let (status, text) = post(&gateway, "whep/live/cam", sdp, junk);
        assert_eq!(status, "400", "{junk:?}: {text}");
    }
    let (status, text) =
        post(&gateway, "whip/live/other", sdp, &"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n".repeat(1_000));
    assert!(status == "400" && text.contains("m= sections"), "{status} {text}");
    let candidates = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(1_000);
    let (status, text) = post(&gateway, "whip/live/other", sdp, &candidates);
    assert!(status == "400" && text.contains("candidates"), "{status} {text}");
    let (status, _) = post(&gateway, "whep/live/cam", sdp, &"x".repeat(70_000));
    assert_eq!(status, "413");
    let (status, text) = post(&gateway, "rtc/v1/play/", "application/json", "{}");
    assert!(status == "400" && text.contains("sdp"), "{status} {text}");
}
