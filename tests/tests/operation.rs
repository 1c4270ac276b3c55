//! What an operator meets: limits, a log that nobody reads, the ways to end, the dump, and a wrong configuration.

use std::{
    fs,
    io::Read,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    process::Stdio,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use thalweg_srt_io::RejectReason;
use thalweg_tests::{
    api::request,
    gateway::{Gateway, Running, program, start, test_file, thalweg, until},
    media::{seen_in, transport_stream},
    play::{ALL, Download, Out, record},
    rtmp::Conversation,
    srt,
};

const CAM: &str = "live/cam";
const SECONDS: u64 = 3;

fn clip() -> Arc<[u8]> {
    static CLIP: OnceLock<Arc<[u8]>> = OnceLock::new();
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 400k -c:a aac";
    let make = || transport_stream(u32::try_from(SECONDS).expect("a few"), coded);
    Arc::clone(CLIP.get_or_init(make))
}

fn publish(gateway: &Gateway, stream: &str, speed: u64) -> srt::Publisher {
    srt::publish(gateway, stream, clip(), speed * clip().len() as u64 / SECONDS)
}

/// Publishes by RTMP without end.
fn publish_rtmp(gateway: &Gateway, stream: &str) -> Running {
    let url = gateway.rtmp(stream);
    let input = "testsrc2=size=160x120:rate=25";
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-f", "flv", &url];
    start("ffmpeg", &[&["-v", "error", "-re", "-f", "lavfi", "-i", input][..], &coded].concat())
}

#[test]
fn more_connections_than_allowed_are_refused_in_each_protocols_words() {
    let gateway = Gateway::start(&["limits.connections=2", "play.wait_ms=20000"]);
    let waiting = ["a", "b"].map(|name| Download::start(&gateway, &format!("live/{name}.ts")));
    until("HTTP to be refused", || {
        request(gateway.http, "GET", "healthz").is_ok_and(|answer| answer.status == 503)
    });
    let answer = request(gateway.http, "GET", "healthz").expect("it is answered");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("limits.connections"), "{text}");
    let mut rtmp = Conversation::begin(gateway.rtmp);
    rtmp.connect("live");
    rtmp.wait_for("NetConnection.Connect.Rejected");
    rtmp.wait_for("there are 2 connections");
    for mode in ["publish", "request"] {
        let refused = srt::knock(gateway.srt, &format!("#!::r={CAM},m={mode}"));
        assert_eq!(refused, Err(RejectReason::OVERLOAD), "{mode}");
    }
    gateway.wait_for_log(&["refused in the handshake", "r=live/cam,m=publish", "(1402)"]);
    waiting.into_iter().for_each(|waiting| drop(waiting.leave()));
    until("there to be room again", || {
        request(gateway.http, "GET", "healthz").is_ok_and(|answer| answer.status == 200)
    });
    until("there to be room by SRT", || srt::knock(gateway.srt, "#!::r=a,m=publish").is_ok());
}

#[test]
fn more_connections_from_one_address_than_allowed_are_refused() {
    let gateway = Gateway::start(&["limits.connections_per_ip=2", "play.wait_ms=20000"]);
    let waiting = ["a", "b"].map(|name| Download::start(&gateway, &format!("live/{name}.flv")));
    until("HTTP to be refused", || {
        request(gateway.http, "GET", "healthz").is_ok_and(|answer| answer.status == 503)
    });
    gateway.wait_for_log(&["closed", "refused", "limits.connections_per_ip"]);
    let knock = || srt::knock(gateway.srt, "#!::r=a,m=publish");
    assert_eq!(knock(), Err(RejectReason::OVERLOAD));
    waiting.into_iter().for_each(|waiting| drop(waiting.leave()));
    until("there to be room again", || knock().is_ok());
}

#[test]
fn more_streams_or_publishers_than_allowed_are_refused_in_each_protocols_words() {
    for limit in ["limits.streams", "limits.publishers"] {
        let gateway = Gateway::start(&[&format!("{limit}=1"), "publish.grace_s=0"]);
        let first = publish(&gateway, CAM, 1);
        gateway.wait_for_frames(CAM, 5);
        let one_more = srt::knock(gateway.srt, "#!::r=live/more,m=publish");
        assert_eq!(one_more, Err(RejectReason::OVERLOAD), "{limit}");
        let same = srt::knock(gateway.srt, "#!::r=live/cam,m=publish");
        assert_eq!(same, Err(RejectReason::CONFLICT), "{limit}");
        let mut rtmp = Conversation::begin(gateway.rtmp);
        rtmp.connect("live");
        rtmp.wait_for("NetConnection.Connect.Success");
        rtmp.publish("more");
        rtmp.wait_for("NetStream.Publish.Denied");
        rtmp.wait_for(limit);
        // Players are no publishers.
        let player = record(&gateway, Out::Srt, CAM);
        first.finish().expect("it was the first");
        assert!(!player.finish().bytes.is_empty(), "{limit}");
        gateway.wait_for_end(CAM);
        until("there to be room again", || {
            srt::knock(gateway.srt, "#!::r=live/more,m=publish").is_ok()
        });
    }
}

#[test]
fn a_publisher_that_sends_more_than_allowed_is_disconnected() {
    let gateway = Gateway::start(&["limits.bitrate_per_publisher=20000"]);
    // By then it has sent more than five seconds' worth, at once.
    srt::publish(&gateway, CAM, clip(), u64::MAX / 2_000_000).finish().expect("it is admitted");
    gateway.wait_for_log(&["closed", "protocol=\"srt\"", "limits.bitrate_per_publisher"]);
    let encoder = publish_rtmp(&gateway, "live/two");
    let (said, is_well) = encoder.end();
    assert!(!is_well, "{said}");
    gateway.wait_for_log(&["closed", "protocol=\"rtmp\"", "limits.bitrate_per_publisher"]);
}

#[test]
fn with_more_memory_than_allowed_nobody_is_let_in() {
    let settings = ["limits.memory=\"1MiB\"", "hub.ring_bytes=\"1MiB\""];
    let gateway = Gateway::start(&settings);
    gateway.wait_for_log(&["memory is short"]);
    let answer = request(gateway.http, "GET", "healthz").expect("it is answered");
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("limits.memory"));
    let refused = srt::knock(gateway.srt, "#!::r=live/cam,m=publish");
    assert_eq!(refused, Err(RejectReason::OVERLOAD));
}

#[test]
fn both_families_of_a_port_are_served_and_announced() {
    let mut gateway = Gateway::start(&["srt.listen=[\"0.0.0.0:0\",\"[::]:0\"]"]);
    let port = gateway.srt.port();
    for mode in ["publish", "request"] {
        for at in ["127.0.0.1", "[::1]"] {
            let url = format!("srt://{at}:{port}?streamid=#!::r=live/cam,m={mode}");
            assert!(gateway.announced.contains(&url), "{url} in {}", gateway.announced);
        }
    }
    for (at, stream) in
        [(Ipv4Addr::LOCALHOST.into(), "live/four"), (Ipv6Addr::LOCALHOST.into(), "live/six")]
    {
        gateway.srt = SocketAddr::new(at, port);
        let publisher = publish(&gateway, stream, 1);
        gateway.wait_for_frames(stream, 5);
        let player = record(&gateway, Out::Srt, stream);
        gateway.wait_for_players(stream, 1);
        publisher.finish().expect("nobody else publishes");
        assert!(player.finish().probe().count("video") > 5, "{stream}");
    }
    // The same words as for a socket of IPv4 alone, so that one address is one client.
    gateway.wait_for_log(&["closed", "peer=127.0.0.1:", "srt"]);
}

#[test]
fn a_port_of_its_own_refuses_a_second_publisher_whatever_its_stream_id() {
    let free = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let mapped = format!("srt.ports={{{port}=\"{CAM}\"}}");
    let mut gateway = Gateway::start(&[&mapped, "publish.grace_s=0"]);
    gateway.srt.set_port(port);
    let first = publish(&gateway, "whatever/it/says", 1);
    gateway.wait_for_frames(CAM, 5);
    for stream_id in ["", "#!::r=other,m=request", "#!::no stream id"] {
        let refused = srt::knock(gateway.srt, stream_id);
        assert_eq!(refused, Err(RejectReason::CONFLICT), "{stream_id}");
    }
    first.stop();
    gateway.wait_for_end(CAM);
    until("it to be free again", || srt::knock(gateway.srt, "").is_ok());
}

#[test]
fn no_frame_is_lost_while_nobody_reads_the_log() {
    let gateway =
        Gateway::start_unread(&["log.level=trace", "publish.grace_s=0", "play.wait_ms=20000"]);
    let players: Vec<_> = ALL.iter().map(|&out| record(&gateway, out, CAM)).collect();
    gateway.wait_for_players(CAM, ALL.len());
    // A pipe holds 64 KiB, a line of the log some hundred bytes.
    for _ in 0..1_000 {
        let answer = request(gateway.http, "GET", "nothing/here").expect("it is answered");
        assert_eq!(answer.status, 404);
    }
    publish(&gateway, CAM, 2).finish().expect("nobody else publishes");
    let original = seen_in(&clip(), "ts");
    for player in players {
        let recording = player.finish();
        let played = recording.probe();
        assert_eq!(played.count("video"), original.count("video"), "{}", recording.case);
    }
}

#[test]
fn the_end_is_told_to_players_and_publishers_and_is_no_failure() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::start(&["play.wait_ms=20000"]);
        let players: Vec<_> = ALL.iter().map(|&out| record(&gateway, out, CAM)).collect();
        gateway.wait_for_players(CAM, ALL.len());
        let encoder = publish_rtmp(&gateway, CAM);
        gateway.wait_for_frames(CAM, 30);
        let begun = Instant::now();
        assert_eq!(gateway.end(signal), Some(0), "{signal}");
        // The grace time is for those that do not take note.
        assert!(begun.elapsed() < Duration::from_millis(4_500), "{:?}", begun.elapsed());
        gateway.wait_for_log(&["all connections have ended"]);
        for player in players {
            let recording = player.finish();
            let played = recording.probe();
            assert!(played.count("video") >= 29, "{}: {played:?}", recording.case);
        }
        let (_, is_well) = encoder.end();
        assert!(!is_well, "the encoder learns that it was cut off");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut gateway = Gateway::start(&["timeouts.shutdown_ms=60000"]);
    // It wants to be told more, and so keeps the end waiting.
    let publisher = publish(&gateway, CAM, 1);
    gateway.wait_for_frames(CAM, 5);
    let stuck = thalweg_tests::play::ask(&gateway, "live/cam.ts");
    gateway.wait_for_players(CAM, 1);
    let stopped = start_stopped(&gateway);
    gateway.signal("TERM");
    gateway.wait_for_log(&["shutting down"]);
    assert_eq!(gateway.end("TERM"), Some(1));
    gateway.wait_for_log(&["ended at once"]);
    drop((stuck, stopped, publisher));
}

/// A player by RTMP that is stopped and so takes no note of anything.
fn start_stopped(gateway: &Gateway) -> Conversation {
    let mut conversation = Conversation::begin(gateway.rtmp);
    conversation.connect("live");
    conversation.wait_for("NetConnection.Connect.Success");
    conversation.play("cam");
    conversation.wait_for("NetStream.Play.Start");
    conversation
}

#[test]
fn a_dump_shows_what_every_connection_does_and_everything_goes_on() {
    let gateway = Gateway::start(&["publish.grace_s=0", "play.wait_ms=20000"]);
    let player = record(&gateway, Out::Ts, CAM);
    gateway.wait_for_players(CAM, 1);
    let publisher = publish(&gateway, CAM, 2);
    gateway.wait_for_frames(CAM, 10);
    gateway.signal("QUIT");
    gateway.wait_for_log(&["srt 127.0.0.1:"]);
    gateway.wait_for_log(&["http 127.0.0.1:"]);
    publisher.finish().expect("nobody else publishes");
    let played = player.finish().probe();
    assert_eq!(played.count("video"), seen_in(&clip(), "ts").count("video"));
}

/// Runs `thalweg serve` with these settings to its end; what it wrote to its standard error output, and its exit code.
fn fail(settings: &[&str]) -> (String, Option<i32>) {
    let child = thalweg(settings).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program can be started");
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("it was asked for");
    let _read = errors.read_to_string(&mut said).expect("it writes text");
    (said, child.wait().expect("it is our child").code())
}

#[test]
fn a_busy_port_is_named_with_what_is_wrong() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
    let tcp = tcp.local_addr().map(|at| (tcp, at)).expect("it is bound");
    let udp = udp.local_addr().map(|at| (udp, at)).expect("it is bound");
    for (key, address) in [("http", tcp.1), ("rtmp", tcp.1), ("srt", udp.1)] {
        let (said, code) = fail(&[&format!("{key}.listen=[\"{address}\"]")]);
        assert_eq!(code, Some(1), "{key}: {said}");
        let (address, key) = (address.to_string(), format!("{key}.listen"));
        assert!(said.contains(&address) && said.contains(&key), "{key}: {said}");
        assert!(said.contains("in use"), "{key}: {said}");
    }
    let input = format!("udp=[{{listen=\"{}\",stream=\"live/udp\"}}]", udp.1);
    let (said, code) = fail(&[&input]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&udp.1.to_string()) && said.contains("in use"), "{said}");
}

#[test]
fn a_wrong_configuration_is_shown_with_its_place_and_ends_with_failure() {
    let (said, code) = fail(&["srt.latncy_ms=20"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("did you mean `latency_ms`?"), "{said}");
    let path = test_file("toml");
    fs::write(&path, "[srt]\nlatency_ms = \"soon\"\n").expect("the folder can be written");
    let file = path.to_str().expect("the path of a test file is text");
    for command in ["check", "serve"] {
        let arguments: &[&str] =
            if command == "check" { &["check", file] } else { &["serve", "--config", file] };
        let program = program();
        let program = program.to_str().expect("the path of the program is text");
        let (said, is_well) = start(program, arguments).end();
        assert!(!is_well, "{command}: {said}");
        assert!(said.contains(&format!("{file}:2:14")), "{command}: {said}");
        assert!(said.contains('^'), "{command} shows no caret: {said}");
    }
}
