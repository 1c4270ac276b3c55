//! What of a stream WebRTC's viewers see and hear, by its codecs, with Chromium at the other end.

use serde_json::Value;
use thalweg_tests::{
    browser::{Browser, Page, Players, View},
    gateway::Gateway,
    media::publish_live_with,
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
