//! API, metrics and page, asked over HTTP in memory.

mod access;
mod document;
mod views;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thalweg_runtime::sync::duplex;

use super::*;
use crate::auth::{Action, Ask, Gate};
use crate::container::Sink;
use crate::http::{Peer, Server, Settings};
use crate::hub::{self, Bounds, Publisher, Role};
use crate::key::StreamKey;
use crate::media::{
    AccessUnit, Codec, CodecConfig, Span, Timestamp, Track, TrackId, Tracks, aac, h264,
};

/// A gateway with nothing in it, and a way to ask it.
struct Gateway {
    admin: Rc<Admin>,
    server: Rc<Server>,
}

/// What a page of the gateway's own sends.
const ORIGIN: &str = "Origin: http://gw:8080\r\n";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Gateway {
    /// One that is open, so that anybody may see all of it.
    fn new(streams_max: usize) -> Self {
        let access = AccessSettings { is_open: true, ..AccessSettings::default() };
        Self::guarded(streams_max, access)
    }

    fn guarded(streams_max: usize, access: AccessSettings) -> Self {
        let hosts = vec!["localhost".into(), "127.0.0.1".into(), "gw:8080".into()];
        let access = AccessSettings { hosts, ..access };
        let settings = super::Settings { access, metrics_streams_max: 500 };
        let registry = Registry::new(hub::Settings {
            bounds: Bounds { bytes: 1 << 20, span: Span::from_ms(10_000) },
            grace: Duration::from_secs(5),
            merge_window: Duration::ZERO,
            streams_max,
            publishers_max: usize::MAX,
            publisher_rate_bps: None,
        });
        let addresses = Addresses {
            srt: vec!["0.0.0.0:10080".parse().unwrap(), "[::]:10080".parse().unwrap()],
            rtmp: vec!["0.0.0.0:1935".parse().unwrap()],
            http: vec!["0.0.0.0:8080".parse().unwrap()],
            webrtc: vec!["0.0.0.0:8000".parse().unwrap()],
            rtmps: vec!["0.0.0.0:1936".parse().unwrap()],
            has_hls: true,
            ..Addresses::default()
        };
        let admin = Admin::new(registry, Clients::default(), addresses, settings, || 7);
        let mut router = Router::new();
        admin.route(&mut router);
        Self { admin, server: Rc::new(Server::new(router, Settings::default())) }
    }

    fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        self.ask_from("192.0.2.1:1234", "gw:8080", method, target, headers)
    }

    fn ask_from(
        &self,
        address: &str,
        host: &str,
        method: &str,
        target: &str,
        headers: &str,
    ) -> Answer {
        let (mut near, mut far) = duplex(1 << 22);
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
        );
        near.write_all(request.as_bytes()).unwrap();
        near.shutdown_write();
        let address = address.parse().unwrap();
        let peer = Peer { address, local: "192.0.2.2:8080".parse().unwrap(), is_secure: false };
        self.server.serve(&mut far, &peer);
        drop(far);
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer { status: head[9..12].parse().unwrap(), head: head.into(), body: body.into() }
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }

    /// A connection that publishes.
    fn publish(&self, name: &str) -> (Publisher, Rc<hub::Client>) {
        let key: StreamKey = name.parse().unwrap();
        let client = self.admin.clients.enter("srt", "198.51.100.1:9000".parse().unwrap());
        client.set_role(Role::Publisher(key.clone()));
        client.set_detail(|| {
            vec![("rtt_s", 0.025), ("recv_packets", 12.0), ("link_bits_per_s", 1e6)]
        });
        let ask = Ask::new(Action::Publish, &key, "srt", client.peer());
        let grant = Gate::open().publish(&ask).unwrap();
        let mut publisher = self.admin.registry.publish(&grant, false).unwrap();
        publisher.tracks(&tracks());
        publisher.unit(picture());
        client.add_received(1000);
        publisher.add_received(1000);
        (publisher, client)
    }

    fn play(&self, name: &str) -> Rc<hub::Client> {
        let client = self.admin.clients.enter("flv", "[2001:db8::1]:9001".parse().unwrap());
        client.set_role(Role::Player(name.parse().unwrap()));
        client.add_sent(5000);
        client
    }
}

fn video() -> Rc<CodecConfig> {
    let sps: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x6a, 0x02, 0x02, 0x02,
        0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x1e, 0x07, 0x8c, 0x18, 0xcb,
    ];
    let pps: &[u8] = &[0x68, 0xeb, 0xec, 0xb2, 0x2c];
    Rc::new(CodecConfig::H264(h264::Config::from_parameter_sets([sps, pps]).unwrap()))
}

fn tracks() -> Tracks {
    let audio = Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0x12, 0x10]).unwrap()));
    let track =
        |id, codec, config| Track { id: TrackId(id), codec, language: None, config: Some(config) };
    [track(256, Codec::H264, video()), track(257, Codec::Aac, audio)].into_iter().collect()
}

fn picture() -> AccessUnit {
    let at = Timestamp::from_ms(0);
    let payload = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]);
    AccessUnit {
        track: TrackId(256),
        dts: at,
        pts: at,
        random_access: true,
        config: video(),
        payload,
    }
}

fn simulate(f: impl FnOnce() + 'static) {
    rt::Runtime::builder().clock(rt::ClockKind::Virtual).build().unwrap().block_on(f).unwrap();
}

/// The names of an object's fields, in their order.
fn fields(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut names = Vec::new();
    for part in text.split_inclusive(['{', '}', '[', ']', ',']) {
        if depth == 1
            && let Some((name, _)) = part.split_once("\":")
        {
            names.push(name.trim_start_matches([',', '"']));
        }
        depth += part.matches(['{', '[']).count();
        depth -= part.matches(['}', ']']).count();
        if depth == 0 {
            break;
        }
    }
    names
}

#[test]
fn streams_are_what_srs_says_of_them_and_more() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let _publisher = gateway.publish("live/cam");
        let _player = gateway.play("live/cam");
        rt::sleep(Duration::from_secs(2)).unwrap();
        let answer = gateway.get("/api/v1/streams");
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        assert_eq!(fields(&answer.body), ["code", "server", "service", "pid", "total", "streams"]);
        let json = answer.json();
        assert_eq!((&json["code"], &json["total"]), (&0.into(), &1.into()));
        assert_eq!(json["pid"], std::process::id().to_string());
        let stream = answer.body.split_once("\"streams\":[").unwrap().1;
        let names = fields(stream);
        let of_srs = [
            "id",
            "name",
            "vhost",
            "app",
            "tcUrl",
            "url",
            "live_ms",
            "clients",
            "frames",
            "send_bytes",
            "recv_bytes",
            "kbps",
            "publish",
            "video",
            "audio",
        ];
        assert_eq!(names[..of_srs.len()], of_srs);
        let stream = &json["streams"][0];
        let expected = serde_json::json!({
            "name": "cam", "app": "live", "tcUrl": "rtmp://__defaultVhost__/live", "url": "/live/cam",
            "clients": 2, "frames": 1, "send_bytes": 5000, "recv_bytes": 1000,
            "kbps": { "recv_30s": 4, "send_30s": 20 },
            "publish": { "active": true, "cid": "1" },
            "video": { "codec": "H264", "profile": "High", "level": "3.1", "width": 1280, "height": 720 },
            "audio": { "codec": "AAC", "sample_rate": 44100, "channel": 2, "profile": "LC" },
            "state": "live", "jumps": 0, "skips": 0,
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&stream[name], value, "{name}");
        }
        assert_eq!(stream["tracks"][0]["codec_string"], "avc1.64001F");
        let one =
            gateway.get(&format!("/api/v1/streams/{}", stream["id"].as_str().unwrap())).json();
        assert_eq!(one["stream"]["name"], "cam");
    });
}

#[test]
fn clients_are_what_srs_says_of_them_and_more() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let _publisher = gateway.publish("live/cam");
        let _player = gateway.play("live/cam");
        let _asks = gateway.admin.clients.enter("http", "198.51.100.1:9002".parse().unwrap());
        let answer = gateway.get("/api/v1/clients/");
        let json = answer.json();
        assert_eq!(json["total"], 2);
        let names = fields(answer.body.split_once("\"clients\":[").unwrap().1);
        let of_srs = [
            "id",
            "vhost",
            "stream",
            "ip",
            "pageUrl",
            "swfUrl",
            "tcUrl",
            "url",
            "name",
            "type",
            "publish",
            "alive",
            "send_bytes",
            "recv_bytes",
            "kbps",
        ];
        assert_eq!(names[..of_srs.len()], of_srs);
        let [publisher, player] = [&json["clients"][0], &json["clients"][1]];
        assert_eq!(
            (&publisher["type"], &publisher["publish"]),
            (&"srt-publish".into(), &true.into())
        );
        assert_eq!((&player["type"], &player["publish"]), (&"flv-play".into(), &false.into()));
        assert_eq!(player["ip"], "2001:db8::1");
        assert_eq!(publisher["transport"]["rtt_s"], 0.025);
        assert_eq!(gateway.get("/api/v1/clients/2").json()["client"]["id"], "2");
        assert!(player["path"].is_null());
        let streams = gateway.get("/api/v1/streams").json();
        assert_eq!(player["stream"], streams["streams"][0]["id"]);
    });
}

#[test]
fn the_way_of_media_is_told_where_it_is_another_than_the_connections() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let (_publisher, client) = gateway.publish("live/cam");
        let (local, remote) = ("192.0.2.2:8000".parse().unwrap(), "[::1]:5000".parse().unwrap());
        client.set_path(Some(hub::Path { network: "udp", local, remote }));
        assert_eq!(
            gateway.get("/api/v1/clients/1").json()["client"]["path"],
            serde_json::json!({ "network": "udp", "local": "192.0.2.2:8000", "remote": "[::1]:5000" })
        );
        let line = "thalweg_connection_path{client=\"1\",stream=\"live/cam\",role=\"publish\",network=\"udp\",\
                    local=\"192.0.2.2:8000\",remote=\"[::1]:5000\"} 1.0";
        let metrics = gateway.get("/metrics").body;
        assert!(metrics.contains(&format!("\n{line}\n")), "{metrics}");
    });
}

#[test]
fn lists_come_in_pages() {
    simulate(|| {
        let gateway = Gateway::new(100);
        let _all: Vec<_> = (10..50).map(|n| gateway.publish(&format!("live/{n}"))).collect();
        let names = |query: &str| -> Vec<String> {
            let json = gateway.get(&format!("/api/v1/streams?{query}")).json();
            assert_eq!(json["total"], 40);
            let streams = json["streams"].as_array().unwrap();
            streams.iter().map(|stream| stream["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("").len(), 10);
        assert_eq!(names("start=38"), ["48", "49"]);
        assert_eq!(names("start=2&count=2"), ["12", "13"]);
        assert_eq!(names("count=9999").len(), 40);
        assert_eq!(names("count=0").len(), 1);
        assert_eq!(names("start=40").len(), 0);
        assert_eq!(names("start=4294967295&count=4294967295").len(), 0);
        for query in ["start=-1", "count=x", "count=", "start=4294967296"] {
            let answer = gateway.get(&format!("/api/v1/streams?{query}"));
            let name = query.split_once('=').unwrap().0;
            assert!(answer.body.contains(&format!("\"{name}: expected")), "{}", answer.body);
            assert_eq!(answer.status, 400, "{query}");
        }
    });
}

#[test]
fn what_there_is_not_has_the_numbers_of_srs() {
    simulate(|| {
        let gateway = Gateway::new(1);
        for (method, target, code) in [
            ("GET", "/api/v1/streams/vid-nothere0", 2048),
            ("GET", "/api/v1/clients/99", 2049),
            ("GET", "/api/v1/clients/abc", 2049),
            ("DELETE", "/api/v1/clients/99", 2049),
        ] {
            let answer = gateway.ask(method, target, ORIGIN);
            assert_eq!((answer.status, &answer.json()["code"]), (404, &code.into()), "{target}");
        }
        let wrong = gateway.ask("DELETE", "/api/v1/streams", "");
        assert_eq!((wrong.status, &wrong.json()["code"]), (405, &405.into()));
        assert!(wrong.head.contains("allow: OPTIONS, GET, HEAD"), "{}", wrong.head);
        for path in ["/api/v2", "/api/v1/nothing", "/api/v1/streams/a/b"] {
            let answer = gateway.get(path);
            assert_eq!((answer.status, &answer.json()["code"]), (404, &404.into()), "{path}");
        }
        let head = gateway.ask("HEAD", "/api/v1/streams", "");
        assert_eq!((head.status, &*head.body), (200, ""));
        assert_eq!(gateway.get("/healthz").body, "ok\n");
        assert_eq!(
            gateway.get("/api/v1/versions").json()["data"]["version"],
            env!("CARGO_PKG_VERSION")
        );
    });
}

#[test]
fn a_client_can_be_ended_but_not_by_pages_of_other_sites() {
    simulate(|| {
        let gateway = Gateway::new(1);
        let player = gateway.play("live/cam");
        let kicks = Rc::new(Cell::new(0));
        let delete = |headers: &str| gateway.ask("DELETE", "/api/v1/clients/1", headers).status;
        assert_eq!(delete(ORIGIN), 409, "nobody said yet how to end it");
        player.set_kick({
            let kicks = Rc::clone(&kicks);
            move || kicks.set(kicks.get() + 1)
        });
        for origin in ["http://evil.example", "null", "http://gw", "http://gw:8080.evil.example"] {
            assert_eq!(delete(&format!("Origin: {origin}\r\n")), 403, "{origin}");
        }
        assert_eq!(kicks.get(), 0);
        assert_eq!(delete(""), 403, "who asks proves nothing");
        assert_eq!(delete("Origin: http://gw:8080\r\nSec-Fetch-Site: cross-site\r\n"), 403);
        assert_eq!(kicks.get(), 0);
        assert_eq!(delete(ORIGIN), 200);
        assert_eq!(kicks.get(), 1);
    });
}

#[test]
fn a_summary_tells_of_process_and_system() {
    simulate(|| {
        let gateway = Gateway::new(1);
        let json = gateway.get("/api/v1/summaries").json();
        let data = &json["data"];
        assert_eq!(data["ok"], true);
        assert_eq!(data["self"]["pid"], std::process::id());
        assert!(data["self"]["mem_kbyte"].as_u64().unwrap() > 1000, "{data}");
        assert!(data["system"]["cpus"].as_u64().unwrap() >= 1, "{data}");
    });
}

/// Families by name with their types, checked for what OpenMetrics 1.0 demands of all.
fn families(text: &str) -> Vec<(String, String)> {
    assert!(text.ends_with("# EOF\n"));
    let mut families: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.iter().all(|(known, _)| known != name), "{name} is there twice");
            families.push((name.into(), kind.into()));
        } else if !line.starts_with('#') {
            let (name, kind) = families.last().unwrap();
            let end = if kind == "counter" { "_total" } else { "" };
            assert!(line.starts_with(&format!("{name}{end}")), "{line} is not of {name}");
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    families
}

#[test]
fn metrics_are_open_metrics() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let _one = gateway.publish("live/cam");
        let _two = gateway.publish("live/\"quoted\"");
        let answer = gateway.get("/metrics");
        assert!(answer.head.contains("application/openmetrics-text"), "{}", answer.head);
        let families: BTreeSet<_> =
            families(&answer.body).into_iter().map(|(name, _)| name).collect();
        for name in ["process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"] {
            assert!(families.contains(name), "{name}");
        }
        for line in [
            "srs_streams 2.0",
            "srs_clients 2.0",
            "srs_clients_total 2.0",
            "srs_receive_bytes_total 2000.0",
            "thalweg_log_lost_lines_total 7.0",
            "thalweg_stream_frames_total{stream=\"live/cam\"} 1.0",
            "thalweg_stream_live{stream=\"live/\\\"quoted\\\"\"} 1.0",
            "thalweg_connections{protocol=\"srt\",role=\"publish\"} 2.0",
            "thalweg_srt_rtt_seconds{client=\"1\",stream=\"live/cam\",role=\"publish\"} 0.025",
            "thalweg_srt_recv_packets_total{client=\"1\",stream=\"live/cam\",role=\"publish\"} 12.0",
            "thalweg_srt_link_bits_per_second{client=\"1\",stream=\"live/cam\",role=\"publish\"} 1000000.0",
        ] {
            assert!(
                answer.body.contains(&format!("\n{line}\n")),
                "{line} is missing:\n{}",
                answer.body
            );
        }
    });
}

#[test]
fn metrics_stay_bounded() {
    simulate(|| {
        let gateway = Gateway::new(10_000);
        let all: Vec<_> = (0..700).map(|n| gateway.publish(&format!("live/{n:04}"))).collect();
        let body = gateway.get("/metrics").body;
        families(&body);
        assert_eq!(body.matches("\nthalweg_stream_live{").count(), 501);
        assert!(body.contains("\nthalweg_stream_live{stream=\"other\"} 200.0\n"), "{body}");
        assert!(body.contains("\nthalweg_stream_receive_bytes_total{stream=\"other\"} 200000.0\n"));
        assert_eq!(body.matches("\nthalweg_srt_rtt_seconds{").count(), 200);
        assert!(body.contains("\nthalweg_streams_left_out 200.0\n"), "{body}");
        assert!(body.contains("\nthalweg_connections_left_out 500.0\n"));
        assert!(body.contains("\nsrs_streams 700.0\n"));
        // What the gone have sent is not forgotten.
        drop(all);
        assert!(gateway.get("/metrics").body.contains("\nsrs_receive_bytes_total 700000.0\n"));
    });
}

#[test]
fn the_page_tells_ports_and_addresses_and_no_name_of_a_stream() {
    simulate(|| {
        let gateway = Gateway::new(10);
        let _one = gateway.publish("live/<b>stranger");
        let page = gateway.get("/");
        for told in [
            "data-srt=\"10080\"",
            "data-rtmp=\"1935\"",
            "data-webrtc=\"8000\"",
            "srt://gw:10080?streamid=#!::r=live/cam,m=publish",
            "rtmp://gw:1935/live/cam",
            "rtmps://gw:1936/live/cam",
            "http://gw:8080/live/cam.flv",
            "http://gw:8080/live/cam.m3u8",
        ] {
            assert!(page.body.contains(told), "{told}: {}", page.body);
        }
        assert!(!page.body.contains("stranger"), "{}", page.body);
        let policy = "content-security-policy: default-src 'none'; script-src 'self'; ";
        assert!(page.head.contains(policy), "{}", page.head);
    });
}

#[test]
fn the_page_and_what_it_loads_are_kept_by_browsers_as_long_as_they_are_the_same() {
    simulate(|| {
        let gateway = Gateway::new(10);
        for (path, media_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/page.css", "text/css; charset=utf-8"),
            ("/page.js", "text/javascript; charset=utf-8"),
            ("/page/stream.js", "text/javascript; charset=utf-8"),
        ] {
            let first = gateway.get(path);
            assert!(first.head.contains(&format!("content-type: {media_type}\r\n")), "{path}");
            assert!(first.head.contains("cache-control: no-cache\r\n"), "{}", first.head);
            assert!(first.head.contains("x-content-type-options: nosniff\r\n"), "{}", first.head);
            let tag = first.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
            let again = gateway.ask("GET", path, &format!("If-None-Match: {tag}\r\n"));
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        }
    });
}
