//! WebRTC on links that are as they are: what is told of them, and what becomes of viewers whose link does not carry the
//! stream.

use serde_json::Value;
use thalweg_tests::{
    api,
    browser::{Browser, Page, Players, View},
    gateway::{Gateway, until},
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
