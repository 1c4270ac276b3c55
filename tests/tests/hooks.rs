//! Web hooks as a server of them and the clients see them: fields, order, refusals, and servers that misbehave.

use std::time::Duration;
use thalweg_tests::{
    api::request,
    gateway::{Gateway, run, start, test_file, until},
    hook_server::{Answer, Call, HookServer, YES},
    media::{publish_live, seen_in, transport_stream},
    play::{Out, record},
    srt,
};

const CAM: &str = "live/cam";

const ALL: &[&str] =
    &["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop"];

const H264_AAC: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 300k -c:a aac";

fn gateway(server: &HookServer, hooks: &[&str], more: &[&str]) -> Gateway {
    let settings = server.settings(hooks);
    let settings: Vec<&str> =
        settings.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Gateway::start(&settings)
}

/// What all bodies begin with.
const FIRST: [&str; 7] = ["server_id", "service_id", "action", "client_id", "ip", "vhost", "app"];

fn assert_fields(call: &Call, rest: &[&str]) {
    let fields = call.fields();
    assert_eq!(fields, FIRST.iter().chain(rest).copied().collect::<Vec<_>>(), "{}", call.action());
    assert_eq!((&*call.text("ip"), &*call.text("app")), ("127.0.0.1", "live"), "{}", call.text);
    assert!(call.head.to_ascii_lowercase().contains("content-type: application/json"));
}

const STREAM: &[&str] = &["tcUrl", "stream", "param", "stream_url", "stream_id"];
const PLAY: &[&str] = &["stream", "tcUrl", "param", "pageUrl", "stream_url", "stream_id"];

#[test]
fn rtmp_and_http_players_are_told_of_as_srs_tells() {
    let server = HookServer::start(|_| YES);
    let gateway = gateway(&server, ALL, &["play.wait_ms=20000", "api.open=true"]);
    let publisher = publish_live(&format!("{}?token=x&vhost=", gateway.rtmp(CAM)), "160x120");
    gateway.wait_for_frames(CAM, 10);
    let published = server.wait_for("on_publish");
    assert_fields(&published, STREAM);
    assert_eq!(published.text("tcUrl"), format!("rtmp://{}/live", gateway.rtmp));
    assert!(published.text("param").starts_with("?token=x"), "{}", published.text);
    assert_eq!(published.text("stream_url"), "/live/cam");
    let connected = server.wait_for("on_connect");
    assert_fields(&connected, &["stream", "param", "tcUrl", "pageUrl"]);
    assert_eq!(connected.text("stream"), "");
    // The API knows it by the same names.
    let stream = gateway.stream(CAM).expect("it is live");
    assert_eq!(stream["id"], published.body["stream_id"]);
    assert_eq!(gateway.api("api/v1/versions")["server"], published.body["server_id"]);

    let url = gateway.http("live/cam.flv?key=1");
    let arguments = ["-s", "-m", "1", "-e", "http://page/", "-o", "/dev/null", &url];
    let (_, _) = start("curl", &arguments).end();
    let played = server.wait_for("on_play");
    assert_fields(&played, PLAY);
    let texts = ["stream", "param", "pageUrl", "tcUrl"].map(|field| played.text(field));
    assert_eq!(texts, ["cam", "?key=1", "http://page/", "rtmp://__defaultVhost__/live"]);
    assert_fields(&server.wait_for("on_stop"), STREAM);
    let player = played.text("client_id");
    until("the player's end", || server.actions(&player).len() == 4);
    assert_eq!(server.actions(&player), ["on_connect", "on_play", "on_stop", "on_close"]);

    publisher.kill();
    assert_fields(&server.wait_for("on_unpublish"), STREAM);
    let client = published.text("client_id");
    until("the publisher's end", || server.actions(&client).len() == 4);
    assert_eq!(server.actions(&client), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    let calls = server.calls();
    let closed = calls.iter().rfind(|call| call.action() == "on_close").expect("it was told");
    assert_fields(closed, &["send_bytes", "recv_bytes"]);
    assert!(
        closed.body["recv_bytes"].as_u64().is_some_and(|bytes| bytes > 1000),
        "{}",
        closed.text
    );
}

#[test]
fn finished_segments_are_told_and_all_calls_are_counted() {
    let server = HookServer::start(|_| YES);
    let more = ["hls.always=true", "hls.target_s=1", "hls.part_ms=0", "api.open=true"];
    let gateway = gateway(&server, &["on_publish", "on_hls"], &more);
    let publisher = publish_live(&gateway.rtmp(CAM), "160x120");
    let segment = server.wait_for("on_hls");
    let own = ["duration", "cwd", "file", "url", "m3u8", "m3u8_url", "seq_no"];
    let fields: Vec<&str> = ["tcUrl", "stream", "param"]
        .into_iter()
        .chain(own)
        .chain(["stream_url", "stream_id"])
        .collect();
    assert_fields(&segment, &fields);
    assert_eq!(segment.text("client_id"), server.wait_for("on_publish").text("client_id"));
    assert!(
        segment.body["duration"].is_f64() && segment.body["seq_no"].is_u64(),
        "{}",
        segment.text
    );
    let answer = request(gateway.http, "GET", &segment.text("url")).expect("it can be had");
    assert_eq!(answer.status, 200, "{}", segment.text("url"));
    publisher.kill();
    let metrics = request(gateway.http, "GET", "metrics").expect("they can be had");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let calls = "thalweg_hook_calls_total{hook=\"on_publish\",result=\"accepted\"} 1.0";
    assert!(metrics.contains(calls), "{metrics}");
    assert!(
        metrics.contains("thalweg_hook_seconds_bucket{le=\"+Inf\",hook=\"on_publish\"} 1"),
        "{metrics}"
    );
}

#[test]
fn srt_peers_are_told_of_with_what_else_their_stream_id_has() {
    let server = HookServer::start(|_| YES);
    let gateway = gateway(&server, ALL, &["play.wait_ms=20000", "api.open=true"]);
    let url = format!("srt://{}?streamid=#!::r={CAM},m=publish,token=x,bmd_name=a", gateway.srt);
    let publisher = publish_live(&url, "160x120");
    gateway.wait_for_frames(CAM, 10);
    let published = server.wait_for("on_publish");
    assert_fields(&published, STREAM);
    assert_eq!(published.text("param"), "token=x&bmd_name=a");
    assert_eq!(published.text("tcUrl"), "srt://127.0.0.1/live");
    assert_fields(&server.wait_for("on_connect"), &["stream", "param", "tcUrl", "pageUrl"]);
    let player = srt::play(&gateway, CAM);
    assert_fields(&server.wait_for("on_play"), PLAY);
    drop(player);
    publisher.kill();
    let client = published.text("client_id");
    until("the publisher's end", || server.actions(&client).len() == 4);
    assert_eq!(server.actions(&client), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
}

#[test]
fn no_frame_is_lost_while_a_hook_takes_its_time() {
    let server = HookServer::start(|call| match &*call.action() {
        "on_publish" => Answer::Late(Duration::from_millis(500)),
        _ => YES,
    });
    let gateway = gateway(&server, &["on_publish"], &["play.wait_ms=20000", "publish.grace_s=0"]);
    let clip = transport_stream(3, H264_AAC);
    let original = seen_in(&clip, "ts");
    let file = test_file("ts");
    std::fs::write(&file, &clip).expect("test files can be written");

    let player = record(&gateway, Out::Flv, CAM);
    gateway.wait_for_players(CAM, 1);
    let speed = 3 * clip.len() as u64 / 3;
    srt::publish(&gateway, CAM, clip, speed).finish().expect("it may publish");
    let played = player.finish().probe();
    assert_eq!(played.count("video"), original.count("video"), "by SRT");

    let player = record(&gateway, Out::Flv, "live/other");
    gateway.wait_for_players("live/other", 1);
    let (file, url) = (file.to_str().expect("it is text"), gateway.rtmp("live/other"));
    let arguments = ["-v", "error", "-re", "-i", file, "-c", "copy", "-f", "flv", &url];
    let (_, _) = run("ffmpeg", &arguments, Duration::from_secs(30));
    let played = player.finish().probe();
    assert_eq!(played.count("video"), original.count("video"), "by RTMP");
}

#[test]
fn who_is_refused_sees_it_and_leaves_nothing() {
    let server = HookServer::start(|call| match &*call.action() {
        "on_publish" if call.text("stream") == "cam" => YES,
        _ => Answer::Say(200, r#"{"code":403}"#),
    });
    let hooks = ["on_publish", "on_unpublish", "on_play"];
    let gateway = gateway(&server, &hooks, &["play.wait_ms=20000", "api.open=true"]);
    let publisher = publish_live(&gateway.rtmp(CAM), "160x120");
    gateway.wait_for_frames(CAM, 5);

    let (told, is_well) = publish_live(&gateway.rtmp("live/other"), "160x120").end();
    assert!(!is_well, "{told}");
    let (told, is_well) = publish_live(&gateway.srt_publish("live/other"), "160x120").end();
    assert!(!is_well, "{told}");
    gateway.wait_for_log(&["refused after the handshake", "on_publish refuses it"]);
    assert!(gateway.stream("live/other").is_none());

    let (head, _) =
        run("curl", &["-s", "-i", &gateway.http("live/cam.flv")], Duration::from_secs(20));
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let rtmp = gateway.rtmp(CAM);
    let (told, is_well) = start("ffprobe", &["-v", "error", &rtmp]).end();
    assert!(!is_well, "{told}");
    publisher.kill();
    assert_eq!(server.wait_for("on_unpublish").text("stream"), "cam");
    assert_eq!(server.calls().iter().filter(|call| call.action() == "on_unpublish").count(), 1);
}

#[test]
fn servers_that_misbehave_refuse_and_harm_no_live_stream() {
    let server = HookServer::start(|call| match &*call.text("stream") {
        "hang" => Answer::Hang,
        "break" => Answer::Break,
        "junk" => Answer::Junk,
        "flood" => Answer::Flood,
        "trickle" => Answer::Trickle,
        "empty" => Answer::Say(200, ""),
        "redirect" => Answer::Say(302, "0"),
        _ => YES,
    });
    let url = server.settings(&["on_play"])[0].replace("/on_play", "/on_play?token=hidden");
    let more = ["hooks.timeout_ms=300", "play.wait_ms=20000", "publish.grace_s=0", &url];
    let gateway = gateway(&server, &[], &more);
    let clip = transport_stream(6, H264_AAC);
    let original = seen_in(&clip, "ts");
    let player = record(&gateway, Out::Ts, CAM);
    gateway.wait_for_players(CAM, 1);
    let speed = clip.len() as u64 / 6;
    let publisher = srt::publish(&gateway, CAM, clip, speed);
    for (stream, status) in [
        ("hang", "503"),
        ("break", "503"),
        ("empty", "403"),
        ("junk", "503"),
        ("flood", "503"),
        ("redirect", "403"),
        ("trickle", "503"),
    ] {
        let url = gateway.http(&format!("live/{stream}.flv"));
        let arguments = ["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", &url];
        let (code, _) = run("curl", &arguments, Duration::from_secs(30));
        assert_eq!(code, status, "{stream}");
    }
    publisher.finish().expect("it may publish");
    let played = player.finish().probe();
    assert_eq!(played.count("video"), original.count("video"));
    gateway.wait_for_log(&["a web hook did not answer", "/on_play?***", "no answer in time"]);
    assert!(!gateway.log().contains("token=hidden"));
}
