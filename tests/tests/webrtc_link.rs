//! WebRTC on links that are as they are: what is told of them, and what becomes of viewers whose link does not carry the
//! stream.

use serde_json::Value;
use std::{fs, thread, time::Duration};
use thalweg_badlink::Link;
use thalweg_tests::{
    api,
    browser::{Browser, Page, Players, View},
    feedback,
    gateway::{Gateway, test_file, thalweg, until},
    media::{publish_live, publish_live_with},
    rtp,
};

const CAM: &str = "live/cam";

/// Watches or publishes; asserts that the offer is answered.
fn begin(page: &Page<'_>, call: &str) {
    let answer = page.evaluate(call);
    assert_eq!(answer["status"], 201, "{answer}");
}

/// Those who publish the stream, or those who play it, as the API shows them.
fn clients(gateway: &Gateway, publishes: bool) -> Vec<Value> {
    let answer = gateway.api("api/v1/clients?count=1000");
    let all = answer["clients"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|client| client["publish"] == publishes).collect()
}

fn figure(client: &Value, name: &str) -> Option<f64> {
    client["transport"][name].as_f64()
}

#[test]
fn the_api_the_metrics_and_the_page_tell_of_each_peers_link() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let (browser, players) = (Browser::start(), Players::start());
    let open = || browser.open(&players.webrtc_page(), View::DESK);
    let (camera, viewer) = (open(), open());
    begin(&camera, &format!("publish('{}', 'video/H264')", gateway.http(&format!("whip/{CAM}"))));
    gateway.wait_for_frames(CAM, 10);
    begin(&viewer, &format!("watch('{}')", gateway.http(&format!("whep/{CAM}"))));
    let knows = |publishes, names: &[&str]| {
        let all = clients(&gateway, publishes);
        let knows = |client: &Value| names.iter().all(|name| figure(client, name).is_some());
        !all.is_empty() && all.iter().all(knows)
    };
    let counted = ["video_packets", "video_nacks", "video_plis", "audio_packets", "rtt_s"];
    until("figures of the viewer", || {
        knows(false, &counted) && knows(false, &["sent_loss_ratio", "send_bits_per_s"])
    });
    until("figures of the publisher", || {
        knows(true, &counted) && knows(true, &["received_loss_ratio", "recv_bits_per_s"])
    });
    for client in clients(&gateway, true).iter().chain(&clients(&gateway, false)) {
        let path = &client["path"];
        assert_eq!(path["network"], "udp", "{client:#}");
        assert_eq!(path["local"], gateway.webrtc().to_string(), "{client:#}");
        let remote = path["remote"].as_str().unwrap_or_default();
        assert!(remote.starts_with("127.0.0.1:"), "{client:#}");
        assert!(figure(client, "rtt_s") < Some(0.5), "{client:#}");
    }
    let metrics = api::request(gateway.http, "GET", "metrics").expect("the metrics answer");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for name in [
        "thalweg_webrtc_rtt_seconds{",
        "thalweg_webrtc_sent_loss_ratio{",
        "thalweg_webrtc_video_nacks_total{",
        "thalweg_webrtc_send_bits_per_second{",
        "thalweg_connection_path{",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    let page = browser.open(&gateway.http(""), View::DESK);
    page.until("document.querySelector('#connections').hidden === false");
    page.click("#connections summary");
    page.until(
        "[...document.querySelectorAll('#connections tbody tr')].filter((row) => {
            const text = (name) => row.querySelector(`[data-field=${name}]`).textContent;
            return /WebRTC/.test(text('does')) && / ms/.test(text('rtt')) && /%/.test(text('loss'));
        }).length === 2",
    );
    page.assert_silent();
}

/// Of how many pictures, and of how many to begin with, the viewer has made something, and for how long it froze.
fn seen(page: &Page<'_>) -> [f64; 3] {
    let figures = page.evaluate("figures()");
    let figure = |name: &str| figures["video"][name].as_f64().unwrap_or(0.0);
    [figure("framesDecoded"), figure("keyFramesDecoded"), figure("totalFreezesDuration")]
}

#[test]
fn a_viewer_whose_link_does_not_carry_the_stream_skips_instead_of_falling_behind() {
    // Noise, so that the stream has the rate that is asked for: 2 Mbit/s.
    const NOISE: &str = "-vf noise=alls=30:allf=t -b:v 2M -maxrate 2M -bufsize 500k";
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live_with(&gateway.srt_publish(CAM), "320x240", NOISE);
    gateway.wait_for_frames(CAM, 30);
    // What five seconds bring waits before it: a viewer that gets everything is five seconds late.
    let link = Link::builder().queue_limit(Duration::from_secs(5)).start(gateway.webrtc());
    let link = link.expect("a relay on the loopback");
    let (browser, players) = (Browser::start(), Players::start());
    let open = || browser.open(&players.webrtc_page(), View::DESK);
    let (near, far) = (open(), open());
    let url = gateway.http(&format!("whep/{CAM}"));
    begin(&near, &format!("watch('{url}')"));
    begin(&far, &format!("watch('{url}', {{ through: {} }})", link.addr().port()));
    for page in [&near, &far] {
        page.until("figures().then((f) => f.video?.framesDecoded >= 50)");
    }
    let of = |remote: &str| {
        let all = clients(&gateway, false);
        let skips = |client: &Value| client["skips"].as_u64();
        all.iter().find(|it| (skips(it) > Some(0)) == (remote == "far")).cloned()
    };
    assert!(of("far").is_none(), "nobody skips while the link carries the stream");

    link.set_rate_limit(Some(1_300_000));
    let [_, keys, _] = seen(&far);
    let mut longest = 0.0_f64;
    until("several skips", || {
        let far = of("far");
        longest = far.iter().filter_map(|it| figure(it, "rtt_s")).fold(longest, f64::max);
        far.is_some_and(|it| it["skips"].as_u64() >= Some(3))
    });
    assert!(seen(&far)[1] >= keys + 2.0, "pictures to begin with arrive: {:?}", seen(&far));
    assert!(longest < 2.5, "packets waited for {longest} s, of the 5 s that may wait");
    let client = of("far").expect("it skips");
    let carries = figure(&client, "link_bits_per_s").expect("what the link carries is told");
    assert!((400_000.0..2_000_000.0).contains(&carries), "{carries} of 1 300 000 bit/s");
    gateway.wait_for_log(&["the viewer's link does not carry the stream"]);

    link.set_rate_limit(None);
    let more = |count: u32| {
        let [pictures, ..] = seen(&far);
        far.until(&format!("figures().then((f) => f.video.framesDecoded >= {pictures} + {count})"));
    };
    // A machine that has too much to do stops both.
    let frozen = || seen(&far)[2] - seen(&near)[2];
    // It may just have begun to skip.
    until("it is smooth again for two seconds", || {
        let before = frozen();
        more(60);
        frozen() - before < 0.5
    });
    let near_client = of("near").expect("it does not skip");
    assert_eq!(near_client["skips"], 0);
    assert_eq!(near.evaluate("figures().then((f) => f.video.packetsLost)"), 0);
    let lines = gateway.log();
    let told = lines.matches("the viewer's link does not carry the stream").count();
    assert_eq!(told, 1, "once for all skips: {lines}");
}

#[test]
fn a_browser_that_publishes_is_asked_when_a_viewer_cannot_go_on() {
    // By itself it would be asked after a minute.
    let gateway = Gateway::start(&["play.wait_ms=20000", "webrtc.random_access_ms=60000"]);
    let link = Link::builder().start(gateway.webrtc()).expect("a relay on the loopback");
    let (browser, players) = (Browser::start(), Players::start());
    let open = || browser.open(&players.webrtc_page(), View::DESK);
    let (camera, viewer) = (open(), open());
    begin(&camera, &format!("publish('{}', 'video/H264')", gateway.http(&format!("whip/{CAM}"))));
    gateway.wait_for_frames(CAM, 10);
    let options = format!("{{ videoOnly: true, through: {} }}", link.addr().port());
    begin(&viewer, &format!("watch('{}', {options})", gateway.http(&format!("whep/{CAM}"))));
    viewer.until("figures().then((f) => f.video?.framesDecoded >= 40)");
    let keys = || {
        let keys = camera.evaluate("figures().then((f) => f.video.keyFramesEncoded)");
        keys.as_u64().expect("it is a number")
    };
    let before = keys();
    // More is lost than is kept to be sent again.
    let frames = gateway.frames(CAM);
    link.cut();
    gateway.wait_for_frames(CAM, frames + 60);
    link.restore();
    let [pictures, ..] = seen(&viewer);
    viewer.until(&format!("figures().then((f) => f.video.framesDecoded >= {pictures} + 40)"));
    let asked = keys() - before;
    assert!((1..10).contains(&asked), "asked {asked} times");
}

#[test]
fn peers_that_come_after_a_reload_are_told_other_addresses() {
    let path = test_file("toml");
    fs::write(&path, "[webrtc]\ncandidates = ['192.0.2.7']\n").expect("the folder is ours");
    let mut command = thalweg(&["play.wait_ms=20000"]);
    let gateway = Gateway::start_by(command.arg("--config").arg(&path));
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = browser.open(&players.webrtc_page(), View::DESK);
    let told = || {
        begin(&page, &format!("watch('{}')", gateway.http(&format!("whep/{CAM}"))));
        page.evaluate("peer.remoteDescription.sdp").as_str().unwrap_or_default().to_owned()
    };
    let answer = told();
    assert!(answer.contains(" 192.0.2.7 ") && !answer.contains(" 192.0.2.8 "), "{answer}");
    fs::write(&path, "[webrtc]\ncandidates = ['192.0.2.8']\nlisten = '127.0.0.1:1'\n")
        .expect("it is ours");
    gateway.signal("HUP");
    gateway.wait_for_log(&["changed: webrtc.candidates"]);
    let answer = told();
    assert!(answer.contains(" 192.0.2.8 ") && !answer.contains(" 192.0.2.7 "), "{answer}");
}

#[test]
fn feedback_that_no_browser_sends_harms_nobody_not_even_its_sender() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let other = thread::scope(|scope| {
        let other = scope.spawn(|| rtp::receive(&gateway, CAM, Duration::from_secs(5)));
        let spoilt = rtp::watch(&gateway, CAM, feedback::spoiling(), |received| {
            feedback::spoilt() < 10 || received.video.span_s() < 3.0
        });
        assert!(spoilt.video.span_s() >= 3.0, "its sender saw {} s", spoilt.video.span_s());
        other.join().expect("it sees and hears")
    });
    assert!(other.video.span_s() > 3.0, "the other one saw {} s", other.video.span_s());
    let metrics = api::request(gateway.http, "GET", "metrics").expect("the metrics answer");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("thalweg_runtime_panics_total 0"), "{metrics}");
}
