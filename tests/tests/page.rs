//! The page at `/` in Chromium: what it shows, plays, copies and ends, and what it looks like.

use std::time::Duration;
use thalweg_tests::{
    browser::{Browser, Page, View},
    gateway::{Gateway, run, test_file, until},
    media::{publish_live, publish_live_with},
    srt,
};

const CAM: &str = "live/cam";

/// What a stranger may call a stream, who hopes that somebody takes it for HTML.
const HOSTILE: &str = "live/<img src=x onerror=alert(1)>";

fn page(gateway: &Gateway) -> String {
    gateway.http("")
}

/// Waits until the page lists a stream, and opens it.
fn open_stream(page: &Page<'_>, name: &str) {
    let named = format!(
        "[...document.querySelectorAll('.stream')].find(s => s.querySelector('.name').textContent === {name:?})"
    );
    page.until(&format!("!!{named}"));
    page.until(&format!("{named}.querySelector('.row button').click(), true"));
}

/// Waits until the opened stream shows so many pictures, and goes on.
fn wait_for_pictures(page: &Page<'_>, count: u64) {
    let video = "document.querySelector('.detail:not([hidden]) video')";
    page.until(&format!("{video}.getVideoPlaybackQuality().totalVideoFrames >= {count}"));
    let time = page.evaluate(&format!("{video}.currentTime")).as_f64().expect("it is a number");
    page.until(&format!("{video}.currentTime > {time}"));
}

fn assert_fits(page: &Page<'_>) {
    let (width, view) =
        (page.evaluate("document.documentElement.scrollWidth"), page.evaluate("innerWidth"));
    assert_eq!(width, view, "one has to scroll sideways");
}

#[test]
fn a_stream_with_a_hostile_name_is_shown_as_text_and_plays_for_who_has_no_mouse() {
    let gateway = Gateway::start(&[]);
    let publisher = publish_live(&gateway.srt_publish(HOSTILE), "320x240");
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::DESK);
    let name = "document.querySelector('.stream .name')?.textContent";
    page.until(&format!("{name} === {HOSTILE:?}"));
    let is_there = |_: &u32| {
        page.press("Tab");
        page.evaluate("document.activeElement.matches('.stream button')") == true
    };
    assert!((0..20).find(is_there).is_some(), "no way there by the keyboard");
    page.press("Enter");
    assert_eq!(page.evaluate("document.activeElement.ariaExpanded"), "true");
    wait_for_pictures(&page, 50);
    assert_eq!(page.evaluate("document.querySelectorAll('img').length"), 0);
    let row = page.until(
        "/320×240 · 2\\d(\\.\\d)? fps/.test(document.querySelector('.media').textContent) \
                          && document.querySelector('.row').innerText",
    );
    let row = row.as_str().expect("it is text");
    assert!(row.contains("H.264") && row.contains("AAC · by SRT"), "{row}");
    let is_hidden = page.evaluate("document.querySelector('[data-field=recorder]').hidden");
    assert_eq!(is_hidden, true, "there is no folder for recordings");
    page.assert_silent();
    drop(publisher);
}

#[test]
fn what_webrtc_can_carry_is_played_by_it() {
    let gateway = Gateway::start(&[]);
    let publisher = publish_live_with(&gateway.srt_publish(CAM), "320x240", "-c:a libopus");
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::DESK);
    open_stream(&page, CAM);
    wait_for_pictures(&page, 50);
    let players = || gateway.clients(CAM).into_iter().filter(|client| !client.publishes);
    assert!(players().all(|client| client.protocol == "webrtc"), "{:?}", gateway.clients(CAM));
    // Who closes it leaves, and is not just silent.
    page.click(".row button");
    until("the viewer to be gone", || players().count() == 0);
    page.assert_silent();
    drop(publisher);
}

#[test]
fn a_camera_is_published_from_the_page_by_who_may_and_stopped_there() {
    let users = r#"users = [{ name = "studio", password = "battery staple" }]"#;
    let access = format!(r#"access=[{{ streams = "live/*", publish = {{ {users} }} }}]"#);
    let gateway = Gateway::start(&["publish.grace_s=0", &access]);
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::DESK);
    page.until("document.querySelector('#publish').open");
    page.fill("#publish input", "live/desk");
    page.click(".camera button");
    page.until("!document.querySelector('.camera .credential').hidden");
    page.fill("[name=publisher]", "studio");
    page.fill("[name=publisher-secret]", "battery staple");
    page.click(".camera button");
    page.until(
        "document.querySelector('.camera [data-field=told]').textContent === 'Live as live/desk'",
    );
    let publishers = || gateway.clients("live/desk").into_iter().filter(|client| client.publishes);
    assert!(
        publishers().all(|client| client.protocol == "webrtc"),
        "{:?}",
        gateway.clients("live/desk")
    );
    open_stream(&page, "live/desk");
    wait_for_pictures(&page, 25);
    let _kept = page.whole_screenshot("page-camera");
    page.click(".camera button");
    until("the camera to be gone", || publishers().count() == 0);
    assert_eq!(
        page.evaluate("document.querySelector('.camera video').srcObject"),
        serde_json::Value::Null
    );
    // But for the answer that said that it may not yet.
    let complaints = page.complaints();
    assert!(complaints.iter().all(|complaint| complaint.contains("401")), "{complaints:?}");
}

#[test]
fn a_browser_with_neither_webrtc_nor_media_source_extensions_plays_by_hls() {
    let gateway = Gateway::start(&[]);
    let publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::PHONE);
    page.until("delete window.MediaSource && delete window.RTCPeerConnection");
    open_stream(&page, CAM);
    wait_for_pictures(&page, 25);
    page.until("/^HLS/.test(document.querySelector('[data-field=playback]').textContent)");
    page.assert_silent();
    drop(publisher);
}

#[test]
fn who_has_no_credential_is_asked_for_one_and_no_dialog_of_the_browser_is() {
    let gateway = Gateway::start(&["api.token=\"battery staple\"", "play.wait_ms=30000"]);
    let player = srt::play(&gateway, CAM);
    let browser = Browser::start();
    // Not the name of a local program.
    let named = format!("http://gateway.test:{}/", gateway.http.port());
    let page = browser.open(&named, View::PHONE);
    page.until("!document.querySelector('#sign-in').hidden");
    assert_eq!(page.evaluate("document.querySelector('#connections').hidden"), true);
    assert_fits(&page);
    let _kept = page.whole_screenshot("page-sign-in");
    page.fill("[name=secret]", "wrong");
    page.press("Enter");
    page.until("/credential is wrong/.test(document.querySelector('#sign-in').innerText)");
    page.fill("[name=secret]", "battery staple");
    page.press("Enter");
    page.until("!document.querySelector('#connections').hidden");
    page.click("#connections summary");
    page.click("#connections .kick");
    page.click("#connections .kick.sure");
    until("the player to be gone", || gateway.clients(CAM).is_empty());
    page.click("[data-field=sign-out]");
    page.until("!document.querySelector('#sign-in').hidden");
    drop(player);
}

#[test]
fn the_page_is_fit_to_be_seen_on_desks_and_phones_by_day_and_by_night() {
    let gateway = Gateway::start(&[]);
    let publishers = [
        publish_live(&gateway.srt_publish(CAM), "640x360"),
        publish_live(&gateway.rtmp("remote/studio-with-a-rather-long-name-of-its-own"), "320x240"),
        publish_live(&gateway.srt_publish(HOSTILE), "320x240"),
    ];
    let browser = Browser::start();
    let views = [
        ("desk-light", View::DESK),
        ("desk-dark", View::DESK.dark()),
        ("phone-light", View::PHONE),
        ("phone-dark", View::PHONE.dark()),
    ];
    // All at once, so that all have something to draw after a few seconds.
    let pages = views.map(|(name, view)| {
        let page = browser.open(&page(&gateway), view);
        page.until("document.querySelectorAll('.stream').length === 3");
        open_stream(&page, CAM);
        page.click("#connections summary");
        (name, page)
    });
    for (name, page) in pages {
        wait_for_pictures(&page, 10);
        page.until("document.querySelectorAll('#connections tbody tr').length >= 7");
        page.until("document.querySelectorAll('.events li').length >= 3");
        page.until(
            "document.querySelector('.graph .line').getAttribute('d').split('L').length > 8",
        );
        assert_fits(&page);
        let _kept = page.whole_screenshot(&format!("page-{name}"));
        page.assert_silent();
    }
    drop(publishers);
}

#[test]
fn who_finds_nothing_live_is_told_how_to_publish_and_sees_it_come_and_go() {
    let gateway = Gateway::start(&["publish.grace_s=0"]);
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::PHONE);
    page.until("document.querySelector('#empty').hidden === false");
    let told = page.evaluate("document.querySelector('#publish').innerText");
    let told = told.as_str().expect("it is text");
    let (srt, rtmp) = (gateway.srt_publish(CAM), gateway.rtmp(CAM));
    for needed in [srt.as_str(), rtmp.as_str(), "-f mpegts", "-f flv", "Stream key"] {
        assert!(told.contains(needed), "{needed} is missing: {told}");
    }
    assert_fits(&page);
    let _kept = page.whole_screenshot("page-empty");
    let publisher = publish_live(&srt, "320x240");
    open_stream(&page, CAM);
    wait_for_pictures(&page, 25);
    publisher.kill();
    page.until("document.querySelector('#empty').hidden === false");
    page.until("document.querySelectorAll('.stream').length === 0");
    page.assert_silent();
}

#[test]
fn a_connection_is_ended_by_the_second_click_on_kick() {
    let gateway = Gateway::start(&["play.wait_ms=30000"]);
    let player = srt::play(&gateway, CAM);
    gateway.wait_for_players(CAM, 1);
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View::DESK);
    page.until("document.querySelector('#connections').hidden === false");
    page.click("#connections summary");
    page.click("#connections .kick");
    page.until("document.querySelector('#connections .kick').textContent === 'Sure?'");
    assert_eq!(gateway.clients(CAM).len(), 1, "one click is no decision");
    page.click("#connections .kick");
    until("the player to be gone", || gateway.clients(CAM).is_empty());
    page.until("document.querySelectorAll('#connections tbody tr').length === 0");
    page.until("/kicked live\\/cam by SRT/.test(document.querySelector('.events').innerText.replace(/\\s+/g, ' '))");
    page.assert_silent();
    drop(player);
}

#[test]
fn addresses_are_copied_also_where_a_page_has_no_clipboard() {
    let gateway = Gateway::start(&[]);
    let browser = Browser::start();
    let local = browser.open(&page(&gateway), View::DESK);
    // What is no secure context has no `navigator.clipboard`: a name on a local network, http.
    let named = format!("http://gateway.test:{}/", gateway.http.port());
    let foreign = browser.open(&named, View::DESK);
    assert_eq!(foreign.evaluate("isSecureContext"), false);
    let camera = foreign.until("document.querySelector('.camera:not([hidden])').innerText");
    assert!(camera.as_str().is_some_and(|it| it.contains("over HTTPS")), "{camera}");
    for (page, host) in [(&local, "127.0.0.1"), (&foreign, "gateway.test")] {
        page.until("document.querySelector('#publish').open");
        page.click("#publish [data-field=addresses] .copy");
        page.until("document.querySelector('#publish .copy').textContent === 'Copied'");
        let expected =
            format!("srt://{host}:{}?streamid=#!::r=live/cam,m=publish", gateway.srt.port());
        // The other one may look into it.
        local.until(&format!("navigator.clipboard.readText().then(text => text === {expected:?})"));
    }
    local.assert_silent();
}

#[test]
fn without_scripts_the_page_tells_the_addresses() {
    let gateway = Gateway::start(&[]);
    let browser = Browser::start();
    let page = browser.open(&page(&gateway), View { script: false, ..View::PHONE });
    let told = page.text("noscript");
    assert!(told.contains(&gateway.srt_publish(CAM)), "{told}");
    assert!(told.contains(&gateway.http("live/cam.mp4")), "{told}");
    let _kept = page.whole_screenshot("page-without-script");
}

#[test]
fn a_recording_is_begun_and_ended_from_the_page_by_who_has_the_credential() {
    let folder = format!("record.dir={}", test_file("recordings").display());
    let gateway = Gateway::start(&[&*folder, "api.token=\"battery staple\""]);
    let publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    let browser = Browser::start();
    // Not the name of a local program.
    let named = format!("http://gateway.test:{}/", gateway.http.port());
    let page = browser.open(&named, View::PHONE);
    page.until("!document.querySelector('#sign-in').hidden");
    page.fill("[name=secret]", "battery staple");
    page.press("Enter");
    open_stream(&page, CAM);
    page.click(".stream [data-field=start]");
    page.until("document.querySelector('.stream .record:not([hidden])')?.textContent === 'Rec'");
    page.click("#recordings summary");
    let row = "document.querySelector('#recordings tbody tr')";
    page.until(&format!("/recording/.test({row}?.innerText)"));
    assert_fits(&page);
    let _kept = page.screenshot("page-recorder");
    page.click(".stream [data-field=stop]");
    page.until("document.querySelector('[data-field=stop]').textContent === 'Sure?'");
    assert_eq!(page.evaluate("document.querySelector('.stream .record').hidden"), false);
    page.click(".stream [data-field=stop]");
    page.until("document.querySelector('.stream .record').hidden");
    page.until(&format!("/finished/.test({row}.innerText)"));
    page.until("!document.querySelector('[data-field=start]').hidden");
    drop(publisher);
}

#[test]
fn recordings_are_seen_downloaded_and_deleted_by_who_has_the_credential() {
    let dir = test_file("recordings");
    let folder = format!("record.dir={}", dir.display());
    let token = "api.token=\"battery staple\"";
    let settings = [&*folder, token, "record.streams=[\"live/*\"]", "publish.grace_s=0"];
    let gateway = Gateway::start(&settings);
    let publisher = publish_live(&gateway.srt_publish(CAM), "640x360");
    let browser = Browser::start();
    // Not the name of a local program.
    let named = format!("http://gateway.test:{}/", gateway.http.port());
    let open = |view| {
        let page = browser.open(&named, view);
        page.until("!document.querySelector('#sign-in').hidden");
        page.fill("[name=secret]", "battery staple");
        page.press("Enter");
        page.until(
            "document.querySelector('.stream .record:not([hidden])')?.textContent === 'Rec'",
        );
        page.until("document.querySelector('#recordings').hidden === false");
        page.click("#recordings summary");
        page.until("/recording/.test(document.querySelector('#recordings tbody').innerText)");
        page
    };
    let (phone, desk) = (open(View::PHONE.dark()), open(View::DESK));
    let row = "document.querySelector('#recordings tbody tr')";
    assert_eq!(phone.evaluate(&format!("{row}.querySelector('.kick').hidden")), true);
    let _kept = (phone.screenshot("page-recording-phone"), desk.screenshot("page-recording-desk"));
    publisher.kill();
    for (name, page) in [("phone", &phone), ("desk", &desk)] {
        page.until(&format!("/finished/.test({row}.innerText)"));
        let text = page.evaluate(&format!("{row}.innerText"));
        let text = text.as_str().expect("it is text");
        assert!(text.contains("live/cam") && text.contains(".mp4"), "{text}");
        assert_fits(page);
        let _kept = page.whole_screenshot(&format!("page-recordings-{name}"));
    }
    // A link brings no credential along; what it names is the whole file.
    let link = desk.evaluate(&format!("{row}.querySelector('a').href"));
    let link = link.as_str().expect("it is text").replace("gateway.test", "127.0.0.1");
    let foreign = |link: &str| {
        let arguments = ["-s", "-H", "Host: gateway.test", "-o", "/dev/null", "-w"];
        let arguments = [&arguments[..], &["%{http_code} %{size_download}", link]].concat();
        run("curl", &arguments, Duration::from_secs(20)).0
    };
    let size = desk.evaluate(
        "fetch('api/v1/recordings', { headers: { Authorization: 'Bearer battery staple' } }) \
         .then(answer => answer.json()).then(answer => answer.bytes)",
    );
    assert_eq!(foreign(&link), format!("200 {size}"));
    let bare = link.split('?').next().unwrap_or_default();
    assert!(foreign(bare).starts_with("401 "), "{bare}");
    assert!(foreign(&format!("{bare}?ticket=9999999999-00")).starts_with("401 "));
    phone.click("#recordings .kick");
    phone.click("#recordings .kick.sure");
    for page in [&phone, &desk] {
        page.until("document.querySelectorAll('#recordings tbody tr').length === 0");
        page.until("/file deleted/.test(document.querySelector('.events').innerText)");
    }
}
