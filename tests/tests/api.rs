//! The API as programs use it: its document against what it does, credentials and audit, metrics and the dashboard made
//! of them, and what is given up when there is too much load.

use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, time::Duration};
use thalweg_srt_io::RejectReason;
use thalweg_tests::{
    api::request,
    gateway::{Gateway, folder, run, test_file, until},
    media::publish_live,
    play::Download,
    rtmp::Conversation,
    srt,
};

const CAM: &str = "live/cam";
const TOKEN: &str = "api.token=\"battery staple\"";
const BEARER: &str = "Authorization: Bearer battery staple";

/// Asks as people do; the status, the head and the body.
fn curl(gateway: &Gateway, path: &str, arguments: &[&str]) -> (u16, String, String) {
    let url = gateway.http(path);
    let all = [&["-s", "-i", "--max-time", "20", &url], arguments].concat();
    let (output, _) = run("curl", &all, Duration::from_secs(30));
    let (head, body) = output.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a head has a status"), head.to_lowercase(), body.to_owned())
}

fn level(gateway: &Gateway) -> String {
    let overload = gateway.api("api/v1/overload");
    overload.pointer("/overload/level").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

#[test]
fn the_api_does_what_its_document_says() {
    let gateway = Gateway::start(&[TOKEN, "overload.lag_ms=60000"]);
    let _by_srt = publish_live(&gateway.srt_publish(CAM), "160x120");
    let _by_rtmp = publish_live(&gateway.rtmp("live/other"), "160x120");
    gateway.wait_for_frames(CAM, 25);
    gateway.wait_for_frames("live/other", 25);
    let _players = ["flv", "ts"].map(|kind| Download::start(&gateway, &format!("{CAM}.{kind}")));
    gateway.wait_for_players(CAM, 2);
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/schemathesis/bin/st");
    let tool = tool.canonicalize().expect("`make setup` installs what tests need");
    let (tool, folder) = (tool.display(), folder());
    // It leaves files in the folder that it runs in.
    let command = format!(
        "cd {} && {tool} run {} --header '{BEARER}' --max-examples 6 --generation-deterministic \
         --no-color >st.log 2>&1 || {{ tail -n 200 st.log >&2; exit 1; }}; cat st.log",
        folder.display(),
        gateway.http("api/openapi.json"),
    );
    let (told, _) = run("sh", &["-c", &command], Duration::from_secs(120));
    assert!(told.contains("Tested: "), "{told}");
}

#[test]
fn who_asks_from_elsewhere_needs_a_credential_and_changes_leave_a_line() {
    let gateway = Gateway::start(&[TOKEN, "api.user=admin", "api.password=\"correct horse\""]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "160x120");
    gateway.wait_for_frames(CAM, 1);
    // As what comes through a proxy on the same machine.
    let elsewhere = ["-H", "X-Forwarded-For: 192.0.2.7"];
    let ask = |path: &str, more: &[&str]| curl(&gateway, path, &[&elsewhere, more].concat());
    for path in ["api/v1/streams", "api/v1/config", "metrics"] {
        let (status, head, body) = ask(path, &[]);
        assert_eq!(status, 401, "{path}: {body}");
        assert!(head.contains("www-authenticate: basic "), "{head}");
        assert!(body.contains("\"code\":401"), "{body}");
        assert_eq!(ask(path, &["-H", BEARER]).0, 200, "{path}");
        assert_eq!(ask(path, &["-u", "admin:correct horse"]).0, 200, "{path}");
        assert_eq!(curl(&gateway, path, &[]).0, 200, "{path}: a program on this machine");
    }
    assert_eq!(ask("healthz", &[]).0, 200);
    let rebound = curl(&gateway, "api/v1/streams", &["-H", "Host: evil.example"]);
    assert_eq!(rebound.0, 401, "{}", rebound.2);
    let (_, _, config) = curl(&gateway, "api/v1/config", &[]);
    assert!(!config.contains("staple") && !config.contains("horse"), "{config}");

    let player = Download::start(&gateway, &format!("{CAM}.flv"));
    gateway.wait_for_players(CAM, 1);
    let clients = gateway.clients(CAM);
    let id = &clients.iter().find(|client| !client.publishes).expect("it plays").id;
    let path = format!("api/v1/clients/{id}");
    let delete = |more: &[&str]| ask(&path, &[&["-X", "DELETE"], more].concat()).0;
    assert_eq!(delete(&[]), 401);
    assert_eq!(delete(&["-H", BEARER, "-H", "Origin: http://evil.example"]), 403);
    assert_eq!(curl(&gateway, &path, &["-X", "DELETE"]).0, 403, "nothing shows that it is meant");
    assert_eq!(delete(&["-H", BEARER]), 200);
    let _ended = player.finish();
    gateway.wait_for_log(&["audit", "changed", "who=token", &path, "status=200"]);
    let events = gateway.api("api/v1/events");
    let kinds: Vec<_> = events
        .pointer("/events")
        .and_then(Value::as_array)
        .expect("it lists")
        .iter()
        .filter_map(|event| event.get("event")?.as_str())
        .collect();
    assert_eq!(kinds, ["published", "played", "kicked", "stopped"]);
}

#[test]
fn streams_and_connections_tell_what_happens_to_them() {
    let gateway = Gateway::start(&[]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "160x120");
    gateway.wait_for_frames(CAM, 25);
    let _player = srt::play(&gateway, CAM);
    gateway.wait_for_players(CAM, 1);
    let stream = gateway.stream(CAM).expect("it is live");
    assert!(number(&stream, "/demux/ts_packets") > 100.0, "{stream}");
    assert!(number(&stream, "/demux/ts_continuity_errors") < 1.0, "{stream}");
    let clients = gateway.api("api/v1/clients");
    let all = clients.pointer("/clients").and_then(Value::as_array).expect("it lists");
    assert_eq!(all.len(), 2, "{clients}");
    for client in all {
        let transport = client.get("transport").and_then(Value::as_object).expect("SRT tells");
        assert!(transport.len() > 50, "{client}");
        assert!(number(client, "/transport/rtt_s") > 0.0, "{client}");
    }
    assert!(number(&all[0], "/transport/recv_bytes") > 1000.0, "{clients}");
    assert_eq!(all[1].pointer("/lag/format").and_then(Value::as_str), Some("ts"), "{clients}");
    // Who is refused while there is a handshake to say it in is known, too.
    let busy = srt::knock(gateway.srt, &format!("#!::r={CAM},m=publish"));
    assert_eq!(busy, Err(RejectReason::CONFLICT));
    let rejections = gateway.api("api/v1/rejections");
    assert!(number(&rejections, "/rejections/0/srt_code") - 1409.0 < 0.5, "{rejections}");
    let told = rejections.pointer("/rejections/0/stream").and_then(Value::as_str);
    assert!(told.is_some_and(|stream| stream.contains(CAM)), "{rejections}");
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let folder = format!("record.dir={}", test_file("recordings").display());
    let gateway = Gateway::start(&["overload.lag_ms=60000", &folder]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "160x120");
    gateway.wait_for_frames(CAM, 1);
    let _player = srt::play(&gateway, CAM);
    gateway.wait_for_players(CAM, 1);
    let answer = request(gateway.http, "GET", "metrics").expect("it answers");
    let metrics = String::from_utf8(answer.body).expect("it is text");
    let known: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana.json");
    let text = fs::read_to_string(path).expect("it is checked in");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let panels = dashboard.get("panels").and_then(Value::as_array).expect("it has panels");
    let mut names = BTreeSet::new();
    for target in panels.iter().filter_map(|panel| panel.get("targets")?.as_array()).flatten() {
        let query = target.get("expr").and_then(Value::as_str).expect("a target has a query");
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let ours = ["thalweg_", "srs_", "process_"];
        names.extend(words.filter(|word| ours.iter().any(|start| word.starts_with(start))));
    }
    assert!(names.len() > 20, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| !known.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in\n{metrics}");
}

#[test]
fn who_asked_for_a_stream_that_is_not_there_is_known_by_every_protocol() {
    let gateway = Gateway::start(&["play.wait_ms=0"]);
    for format in ["flv", "m3u8"] {
        let (status, _, body) = curl(&gateway, &format!("live/none.{format}"), &[]);
        assert_eq!(status, 404, "{body}");
    }
    let mut rtmp = Conversation::begin(gateway.rtmp);
    rtmp.connect("live");
    rtmp.play("none");
    rtmp.wait_for("NetStream.Play.StreamNotFound");
    // In its handshake.
    let _refused = srt::knock(gateway.srt, "#!::r=live/none,m=request");
    until("all of them to be listed", || {
        let rejections = gateway.api("api/v1/rejections");
        let listed = rejections.pointer("/rejections").and_then(Value::as_array);
        let of = |protocol: &str| {
            listed.into_iter().flatten().any(|one| {
                one["protocol"].as_str() == Some(protocol)
                    && one["stream"].as_str().is_some_and(|stream| stream.contains("live/none"))
            })
        };
        ["flv", "http", "rtmp", "srt"].into_iter().all(of)
    });
}

#[test]
fn under_load_nobody_new_may_play_but_whoever_publishes_may() {
    let gateway = Gateway::start(&["overload.memory=\"1MiB\"", "overload.step_ms=3600000"]);
    until("too much load", || level(&gateway) == "refuse_viewers");
    let _publisher = publish_live(&gateway.srt_publish(CAM), "160x120");
    gateway.wait_for_frames(CAM, 1);
    let (status, head, body) = curl(&gateway, &format!("{CAM}.flv"), &[]);
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: "), "{head}");
    let knock = srt::knock(gateway.srt, &format!("#!::r={CAM},m=request"));
    assert_eq!(knock, Err(RejectReason::OVERLOAD));
    let mut rtmp = Conversation::begin(gateway.rtmp);
    rtmp.connect("live");
    rtmp.play("cam");
    rtmp.wait_for("too much load");
    let rejections = gateway.api("api/v1/rejections");
    assert!(number(&rejections, "/total") >= 3.0, "{rejections}");
    let metrics = request(gateway.http, "GET", "metrics").expect("it answers").body;
    let metrics = String::from_utf8(metrics).expect("it is text");
    assert!(metrics.contains("\nthalweg_overload_level 1.0\n"), "{metrics}");
}

#[test]
fn players_are_ended_at_last_and_nobody_new_may_publish() {
    let gateway = (0..5).find_map(|_| {
        let gateway = Gateway::start(&[
            "overload.memory=\"1MiB\"",
            "overload.step_ms=500",
            "play.wait_ms=60000",
        ]);
        // It has to be there before the first step.
        let player = Download::start(&gateway, &format!("{CAM}.flv"));
        until("an answer", || !gateway.clients(CAM).is_empty() || level(&gateway) != "normal");
        let is_there = !gateway.clients(CAM).is_empty();
        is_there.then_some((gateway, player))
    });
    let (gateway, player) = gateway.expect("a player is faster than the first step");
    until("the last step", || level(&gateway) == "end_viewers");
    let _ended = player.finish();
    until("it to be counted", || {
        number(&gateway.api("api/v1/overload"), "/overload/ended_clients") >= 1.0
    });
    let knock = srt::knock(gateway.srt, &format!("#!::r={CAM},m=publish"));
    assert_eq!(knock, Err(RejectReason::OVERLOAD));
    gateway.wait_for_log(&["too much load", "end_viewers"]);
}
