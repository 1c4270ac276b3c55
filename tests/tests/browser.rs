//! What viewers have: Chromium plays what the gateway serves, by every player that somebody may put on a page.

use thalweg_tests::{
    browser::{Browser, Player, Players, Playing, View},
    gateway::Gateway,
    media::publish_live,
};

const CAM: &str = "live/cam";
const SIZE: (u64, u64) = (320, 240);

/// H.264 Constrained Baseline, as the publisher makes it, and AAC.
const CODECS: &str = "avc1.42c00d,mp4a.40.2";

/// More than what a player gets at once when it joins: it goes on.
const PICTURES: u64 = 60;

/// Publishes a stream, plays it by one player, and tells what was shown.
fn play(player: Player, extension: &str, more: &[(&str, &str)]) -> Playing {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 1);
    let (browser, players) = (Browser::start(), Players::start());
    let url = gateway.http(&format!("{CAM}.{extension}"));
    let page = browser.open(&players.page_with(player, &url, more), View::DESK);
    let playing = page.wait_for_pictures(PICTURES);
    page.assert_silent();
    drop(publisher);
    playing
}

#[track_caller]
fn assert_plays(playing: &Playing) {
    assert!(playing.frames >= PICTURES && playing.time_s > 0.0, "{playing:?}");
    assert!(playing.audio_bytes > 0, "there is no sound: {playing:?}");
    assert_eq!(playing.size, SIZE);
}

#[test]
fn mpegts_js_plays_flv() {
    assert_plays(&play(Player::Mpegts, "flv", &[]));
}

#[test]
fn mpegts_js_plays_transport_streams() {
    assert_plays(&play(Player::Mpegts, "ts", &[]));
}

#[test]
fn a_video_element_plays_fragmented_mp4_as_it_comes() {
    assert_plays(&play(Player::Native, "mp4", &[]));
}

#[test]
fn media_source_extensions_play_fragmented_mp4() {
    assert_plays(&play(Player::Mse, "mp4", &[("codecs", CODECS)]));
}
