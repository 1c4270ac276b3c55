//! How peers of WebRTC are reached: over TCP where there is no UDP, and whatever else knocks.

use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};
use thalweg_badlink::Link;
use thalweg_tests::{
    api::request,
    browser::{Browser, Page, Players, View},
    gateway::{Gateway, test_file, thalweg, until},
    ice::{Offered, is_answered, offer},
    media::{publish_live, publish_live_with},
    network::Host,
    rtp,
    tcp_relay::TcpRelay,
};

const CAM: &str = "live/cam";
const WHEP: &str = "whep/live/cam";

/// TCP beside UDP.
const TCP: &str = "webrtc.tcp_listen=[\"127.0.0.1:0\"]";

fn open<'b>(browser: &'b Browser, players: &Players) -> Page<'b> {
    browser.open(&players.webrtc_page(), View::DESK)
}

/// Watches a stream, and fails the test when the offer is not taken.
fn watch(page: &Page<'_>, gateway: &Gateway, options: &str) {
    let url = gateway.http(&format!("whep/{CAM}"));
    let answer = page.evaluate(&format!("watch('{url}', {options})"));
    assert_eq!(answer["status"], 201, "{answer}");
}

/// Waits until so many pictures were decoded; the page's figures.
fn wait_for_pictures(page: &Page<'_>, count: u64) -> Value {
    page.until(&format!("figures().then((f) => f.video?.framesDecoded >= {count})"));
    page.evaluate("figures()")
}

fn pictures(figures: &Value) -> u64 {
    figures["video"]["framesDecoded"].as_u64().unwrap_or(0)
}

/// How many connections of TCP there are for media.
fn connections(gateway: &Gateway) -> usize {
    let answer = gateway.api("api/v1/clients?count=1000");
    let all = answer["clients"].as_array().cloned().unwrap_or_default();
    all.iter().filter(|client| client.to_string().contains("webrtc-tcp")).count()
}

#[test]
fn a_viewer_without_udp_watches_over_tcp_beside_one_with_udp() {
    let gateway = Gateway::start(&["play.wait_ms=20000", TCP]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let (with, without) = (open(&browser, &players), open(&browser, &players));
    watch(&with, &gateway, "{}");
    watch(&without, &gateway, "{ only: 'tcp' }");
    let seen = wait_for_pictures(&without, 60);
    assert_eq!(seen["protocol"], "tcp", "{seen:#}");
    assert_eq!(seen["video"]["packetsLost"], 0, "{seen:#}");
    without.until("figures().then((f) => f.audio?.totalAudioEnergy > 0.001)");
    let seen = wait_for_pictures(&with, 60);
    assert_eq!(seen["protocol"], "udp", "UDP is what is tried first: {seen:#}");
    assert_eq!(seen["video"]["packetsLost"], 0, "{seen:#}");
    assert_eq!(without.evaluate("leave()"), 200);
    until("its connection to be closed", || connections(&gateway) == 0);
    let before = pictures(&with.evaluate("figures()"));
    wait_for_pictures(&with, before + 30);
    with.assert_silent();
}

#[test]
fn a_camera_without_udp_publishes_over_tcp() {
    let gateway = Gateway::start(&["play.wait_ms=20000", TCP]);
    let (browser, players) = (Browser::start(), Players::start());
    let camera = open(&browser, &players);
    let url = gateway.http(&format!("whip/{CAM}"));
    let answer = camera.evaluate(&format!("publish('{url}', 'video/H264', {{ only: 'tcp' }})"));
    assert_eq!(answer["status"], 201, "{answer}");
    gateway.wait_for_frames(CAM, 60);
    let seen = camera.evaluate("figures()");
    assert_eq!(seen["protocol"], "tcp", "{seen:#}");
}

#[test]
fn whoever_connects_by_tcp_and_is_no_peer_is_closed_and_disturbs_nobody() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "timeouts.handshake_ms=1000", TCP]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    watch(&page, &gateway, "{ only: 'tcp' }");
    let before = wait_for_pictures(&page, 30);
    let connect = || {
        let stream = TcpStream::connect(gateway.webrtc_tcp()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is not zero");
        stream
    };
    for junk in [
        &b"GET / HTTP/1.1\r\nhost: thalweg\r\n\r\n"[..],
        &[0, 0],
        &[0xff; 4],
        // No STUN, STUN without a name, and with a name that nobody has.
        &[0, 4, 0x80, 96, 0, 1],
        b"\0\x14\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl",
        b"\0\x20\0\x01\0\x0c\x21\x12\xa4\x42abcdefghijkl\0\x06\0\x07you:me?\0",
    ] {
        let mut stream = connect();
        stream.write_all(junk).expect("the loopback carries it");
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)), "{junk:x?} was answered");
    }
    // More than there may be of those who say nothing: for others there is room when these are closed.
    let silent: Vec<_> = (0..60).map(|_| connect()).collect();
    let mut slow = connect();
    slow.write_all(&[0]).expect("half of a length");
    for mut stream in silent.into_iter().chain([slow]) {
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)), "it was answered");
    }
    for cause in [
        "it did not say for whom it is",
        "an empty frame",
        "another protocol?",
        "a check of a peer that is expected",
        "32 others from this address",
    ] {
        gateway.wait_for_log(&[cause, "webrtc-tcp"]);
    }
    let after = wait_for_pictures(&page, pictures(&before) + 60);
    assert_eq!(after["video"]["packetsLost"], 0, "{after:#}");
    assert_eq!(after["protocol"], "tcp", "{after:#}");
}

#[test]
fn forged_and_recorded_checks_keep_no_peer_out_and_take_nothing_from_it() {
    let gateway = Gateway::start(&["play.wait_ms=20000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 5);
    let offered = Offered::taken(gateway.http, WHEP);
    let socket = || UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
    let forgers: Vec<_> = (0..100).map(|_| socket()).collect();
    for forger in &forgers {
        forger.send_to(&offered.forged_check(), gateway.webrtc()).expect("the loopback carries it");
    }
    let (peer, recorder) = (socket(), socket());
    let check = offered.check();
    assert!(is_answered(&peer, gateway.webrtc(), &check), "the peer was kept out");
    assert!(
        !is_answered(&recorder, gateway.webrtc(), &check),
        "a recorded check is good elsewhere"
    );
    // Sent again, and after later ones, as networks may do it.
    assert!(is_answered(&peer, gateway.webrtc(), &offered.check()));
    assert!(is_answered(&peer, gateway.webrtc(), &check));
    // Those of the forgers and the recorded one.
    let metrics = request(gateway.http, "GET", "metrics").expect("the API answers");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("thalweg_webrtc_stray_packets_total 101.0"), "{metrics}");
    assert!(metrics.contains("thalweg_webrtc_pending 1.0"), "{metrics}");
    for forger in forgers {
        forger.set_nonblocking(true).expect("the system can");
        let answer = forger.recv(&mut [0; 16]);
        assert!(answer.is_err(), "a forged check was answered: {answer:?}");
    }
}

#[test]
fn junk_with_the_address_of_a_peer_does_not_end_its_session() {
    let gateway = Gateway::start(&[]);
    let offered = Offered::taken(gateway.http, "whip/live/cam");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
    assert!(is_answered(&socket, gateway.webrtc(), &offered.check()));
    // Every kind of record of DTLS, one that says that all is over, RTP and RTCP.
    let heads: [&[u8]; 8] = [
        &[20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1],
        &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40],
        &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 2],
        &[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 1, 0, 0, 0, 0, 1],
        &[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 32],
        &[63; 20],
        &[0x80, 96, 0, 1],
        &[0x80, 200, 0, 1],
    ];
    for round in 0..400_usize {
        let mut junk = heads[round % heads.len()].to_vec();
        junk.resize(junk.len() + round / 2, u8::try_from(round % 251).unwrap_or(0));
        socket.send_to(&junk, gateway.webrtc()).expect("the loopback carries it");
    }
    // Behind so much the system may lose one, as it may any datagram; ICE makes several (RFC 8445 §14).
    let is_alive = (0..10).any(|_| is_answered(&socket, gateway.webrtc(), &offered.check()));
    assert!(is_alive, "its session is over");
}

#[test]
fn hundreds_that_never_connect_leave_a_viewer_alone_and_are_gone_in_time() {
    const STALLED: usize = 500;
    let limits = ["limits.webrtc_pending_per_ip=500", "timeouts.handshake_ms=8000"];
    let gateway = Gateway::start(&[&["play.wait_ms=20000"], &limits[..]].concat());
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    watch(&page, &gateway, "{}");
    let before = wait_for_pictures(&page, 30);
    let used = gateway.resident_bytes();
    let taken = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("the loopback has ports");
                while taken.fetch_add(1, Ordering::Relaxed) < STALLED {
                    let offered = Offered::taken(gateway.http, WHEP);
                    // Every other one does ICE, and then nothing: not a word of DTLS.
                    if taken.load(Ordering::Relaxed).is_multiple_of(2) {
                        socket.send_to(&offered.check(), gateway.webrtc()).expect("the loopback");
                    }
                }
            });
        }
    });
    let grown = gateway.resident_bytes().saturating_sub(used);
    assert!(grown < STALLED as u64 * (256 << 10), "{grown} bytes for {STALLED}");
    let refused = offer(gateway.http, WHEP).expect("the gateway answers");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text.contains("500 others from this address"), "{refused:?}");
    let viewers = || {
        let clients = gateway.clients(CAM);
        clients.iter().filter(|client| client.protocol == "webrtc").count()
    };
    assert_eq!(viewers(), STALLED + 1);
    until("the others to be gone", || viewers() == 1);
    gateway.wait_for_log(&["no connection came about in 8s"]);
    let after = wait_for_pictures(&page, pictures(&before) + 60);
    assert_eq!(after["video"]["packetsLost"], 0, "{after:#}");
    assert!(Offered::taken(gateway.http, WHEP).text.contains("a=candidate"));
}

#[test]
fn a_viewer_that_vanishes_without_a_word_is_gone_soon() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "timeouts.player_ms=3000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    // What comes twice or late, as it may, is no matter before.
    let link = Link::builder().duplicate(20.0).reorder(5.0, Duration::from_millis(5)).seed(7);
    let link = link.start(gateway.webrtc()).expect("a relay on the loopback");
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    watch(&page, &gateway, &format!("{{ through: {} }}", link.addr().port()));
    wait_for_pictures(&page, 30);
    let is_there = || gateway.clients(CAM).iter().any(|client| client.protocol == "webrtc");
    assert!(is_there());
    link.cut();
    until("the viewer to be gone", || !is_there());
    gateway.wait_for_log(&["the peer was not heard of for 3s"]);
}

#[test]
fn junk_from_the_address_of_a_viewer_that_vanished_does_not_keep_it() {
    let gateway = Gateway::start(&["play.wait_ms=20000", "timeouts.player_ms=3000"]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
    let crypto = str0m::crypto::from_feature_flags();
    rtp::watch_at(&socket, &gateway, CAM, crypto, |received| received.video.span_s() < 1.0);
    let is_there = || gateway.clients(CAM).iter().any(|client| client.protocol == "webrtc");
    assert!(is_there());
    // What looks like RTP, like a report, like DTLS, like nothing.
    let junk = [[0x80, 96, 0, 0], [0x81, 201, 0, 7], [0x17, 0xfe, 0xfd, 0], [0xff; 4]];
    until("the viewer to be gone", || {
        for first in junk {
            socket.send_to(&[&first[..], &[7; 60]].concat(), gateway.webrtc()).expect("it is sent");
        }
        !is_there()
    });
    gateway.wait_for_log(&["the peer was not heard of for 3s"]);
}

#[test]
fn answers_leave_from_the_address_that_the_peer_sent_to() {
    let (here, there) = Host::pair(
        &["192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64"],
        &["192.0.2.9/24", "2001:db8::9/64"],
    );
    let gateway = here.run(|| {
        let listen = ["http.listen=[\"0.0.0.0:0\"]", "webrtc.listen=\"[::]:0\""];
        Gateway::start(&[&listen[..], &["webrtc.tcp_listen=[\"0.0.0.0:0\"]"]].concat())
    });
    let http = SocketAddr::new([192, 0, 2, 1].into(), gateway.http.port());
    there.run(|| {
        for (stream, ip) in
            ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"].iter().enumerate()
        {
            let offered = Offered::taken(http, &format!("whip/live/{stream}"));
            let to = SocketAddr::new(ip.parse().expect("it is one"), gateway.webrtc().port());
            let told = format!("{ip} {} typ host", to.port());
            assert!(offered.text.contains(&told), "no {told} in\n{}", offered.text);
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).expect("there are ports");
            assert!(is_answered(&socket, to, &offered.check()), "no answer from {to}");
            // What follows by itself leaves from there, too: the gateway begins DTLS (RFC 7983 §7: 20 to 63).
            let mut first = [0; 2_048];
            let (_, from) = socket.recv_from(&mut first).expect("DTLS begins");
            assert!((20..64).contains(&first[0]) && from == to, "{} from {from}", first[0]);
        }
    });
}

#[test]
fn a_viewer_over_tcp_goes_on_after_a_restart_of_ice_and_a_broken_connection() {
    let gateway = Gateway::start(&["play.wait_ms=20000", TCP]);
    let _publisher = publish_live(&gateway.srt_publish(CAM), "320x240");
    gateway.wait_for_frames(CAM, 30);
    let relay = TcpRelay::start(gateway.webrtc_tcp(), None);
    let (browser, players) = (Browser::start(), Players::start());
    let page = open(&browser, &players);
    watch(&page, &gateway, &format!("{{ only: 'tcp', through: {} }}", relay.addr().port()));
    let seen = wait_for_pictures(&page, 30);
    let restarted = page.evaluate("restart()");
    assert_eq!(restarted["status"], 200, "{restarted}");
    assert!(restarted["text"].to_string().contains("tcptype passive"), "{restarted}");
    let seen = wait_for_pictures(&page, pictures(&seen) + 30);
    assert!(relay.cut() > 0);
    let seen = wait_for_pictures(&page, pictures(&seen) + 60);
    assert_eq!((&seen["state"], &seen["protocol"]), (&"connected".into(), &"tcp".into()));
}

#[test]
fn a_slow_connection_loses_what_it_cannot_take_and_holds_up_nobody() {
    let gateway = Gateway::start(&["play.wait_ms=20000", TCP]);
    let rate = "-b:v 2M -minrate 2M -maxrate 2M -bufsize 500k -x264-params nal-hrd=cbr";
    let _publisher = publish_live_with(&gateway.srt_publish(CAM), "320x240", rate);
    gateway.wait_for_frames(CAM, 30);
    let relay = TcpRelay::start(gateway.webrtc_tcp(), Some(50_000));
    let (browser, players) = (Browser::start(), Players::start());
    let (slow, other) = (open(&browser, &players), open(&browser, &players));
    watch(&slow, &gateway, &format!("{{ only: 'tcp', through: {} }}", relay.addr().port()));
    watch(&other, &gateway, "{}");
    let lost = || {
        let clients = gateway.api("api/v1/clients?count=1000");
        let clients = clients["clients"].as_array().cloned().unwrap_or_default();
        let mut lost =
            clients.iter().map(|client| client["transport"]["tcp_unsent_packets"].as_f64());
        lost.any(|lost| lost > Some(100.0))
    };
    until("packets to be lost", lost);
    let seen = wait_for_pictures(&other, 60);
    assert_eq!(seen["video"]["packetsLost"], 0, "{seen:#}");
    assert_eq!(slow.evaluate("leave()"), 200);
    until("its connection to be closed", || connections(&gateway) == 0);
}

#[test]
fn tcp_can_be_turned_on_and_off_while_it_runs() {
    let path = test_file("toml");
    let write = |listen: &str| {
        let text = format!("[webrtc]\ntcp_listen = [{listen}]\n");
        fs::write(&path, text).expect("the folder of test files can be written");
    };
    write("");
    let gateway = Gateway::start_by(thalweg(&[]).arg("--config").arg(&path));
    let mut number = 0;
    let mut is_told = || {
        number += 1;
        let offered = Offered::taken(gateway.http, &format!("whip/live/{number}"));
        offered.text.contains("tcptype passive")
    };
    assert!(!is_told());
    write("'127.0.0.1:0'");
    gateway.signal("HUP");
    until("TCP to be told of", &mut is_told);
    write("");
    gateway.signal("HUP");
    until("TCP to be told of no more", || !is_told());
}
