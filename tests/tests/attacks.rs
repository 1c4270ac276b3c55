//! Attacks on every port while a stream is watched by every way out, which must lose no frame.
//!
//! Each attack ends its own sessions, and the log says why.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use thalweg_tests::{
    api::Answer,
    gateway::Gateway,
    media::{Seen, seen_in, transport_stream},
    play::{ALL, Out, record},
    rtmp::Conversation,
    srt,
};

const CAM: &str = "live/cam";
const SECONDS: u64 = 4;

/// How long the gateway waits for a handshake or a head in these tests.
const HANDSHAKE: &str = "timeouts.handshake_ms=1000";

fn clip() -> Arc<[u8]> {
    static CLIP: OnceLock<Arc<[u8]>> = OnceLock::new();
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 500k -c:a aac";
    let make = || transport_stream(u32::try_from(SECONDS).expect("a few"), coded);
    Arc::clone(CLIP.get_or_init(make))
}

fn original() -> &'static Seen {
    static ORIGINAL: OnceLock<Seen> = OnceLock::new();
    ORIGINAL.get_or_init(|| seen_in(&clip(), "ts"))
}

/// Runs `attack` while a stream is published as fast as it plays and watched by every way out.
fn while_watched(settings: &[&str], attack: impl FnOnce(&Gateway)) -> Gateway {
    // SRT drops what comes later than its latency; a busy machine needs longer than the default.
    let mut all = vec![HANDSHAKE, "publish.grace_s=0", "play.wait_ms=20000", "srt.latency_ms=500"];
    all.extend(settings);
    let gateway = Gateway::start(&all);
    let players: Vec<_> = ALL.iter().map(|&out| record(&gateway, out, CAM)).collect();
    gateway.wait_for_players(CAM, ALL.len());
    let clip = clip();
    let bytes_per_s = clip.len() as u64 / SECONDS;
    let publisher = srt::publish(&gateway, CAM, clip, bytes_per_s);
    gateway.wait_for_frames(CAM, 1);
    attack(&gateway);
    publisher.finish().expect("nobody else publishes");
    for player in players {
        let recording = player.finish();
        let (case, played) = (&recording.case, recording.probe());
        assert_eq!(played.count("video"), original().count("video"), "{case}");
        assert!(played.count("audio") + 2 >= original().count("audio"), "{case}");
    }
    gateway
}

/// Numbers that look random and are the same in each run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("less than a usize")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it is not zero");
    stream
}

/// Sends as much as is taken; that the gateway hangs up before the end is its right.
fn throw(mut stream: &TcpStream, bytes: &[u8]) {
    let _hung_up = stream.write_all(bytes);
}

/// What comes until the gateway ends the connection. A reset is an end.
///
/// Fails when it does not end.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return got,
            Ok(len) => got.extend(&buf[..len]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return got,
            Err(error) => panic!("the gateway does not hang up: {error}"),
        }
    }
}

#[test]
fn http_garbage_and_smuggling_are_refused_one_by_one() {
    let gateway = while_watched(&[], |gateway| {
        let mut random = Random(0x5eed_0001);
        for len in [1, 10, 100, 1_000, 10_000, 100_000] {
            let stream = connect(gateway.http);
            throw(&stream, &random.bytes(len));
            throw(&stream, b"\r\n\r\n");
            let answer = Answer::of(&rest(stream));
            assert!(matches!(answer.status, 0 | 400..=431), "{len} bytes: {answer:?}");
        }
        for head in smuggled() {
            let stream = connect(gateway.http);
            throw(&stream, head.as_bytes());
            let answers = rest(stream);
            let count = answers.windows(9).filter(|part| part.starts_with(b"HTTP/1.1 ")).count();
            let answer = Answer::of(&answers);
            assert!((400..600).contains(&answer.status), "{head:?}: {answer:?}");
            assert_eq!(count, 1, "{head:?}: the second request was answered: {answer:?}");
        }
    });
    gateway.wait_for_log(&["closed", "protocol=\"http\"", "Transfer-Encoding"]);
}

/// Requests that two servers would cut at different places (RFC 9112 §11.2), each with a second one behind it, and heads
/// that are too large.
fn smuggled() -> Vec<String> {
    let second = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |headers: &str| {
        format!("POST /healthz HTTP/1.1\r\nHost: a\r\n{headers}\r\n0\r\n\r\n{second}")
    };
    let large = "x".repeat(200_000);
    vec![
        with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        with("Content-Length: 5\r\nContent-Length: 6\r\n"),
        with("Transfer-Encoding: chunked, identity\r\n"),
        with("Transfer-Encoding: xchunked\r\n"),
        with("Content-Length: +5\r\n"),
        with("Content-Length: 0x5\r\n"),
        with("Content-Length : 5\r\n"),
        with("X: a\r\n Content-Length: 5\r\n"),
        with("Host: b\r\n"),
        format!("GET /{large} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {large}\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
    ]
}

#[test]
fn who_sends_a_byte_at_a_time_gets_no_more_time_for_it() {
    let gateway = while_watched(&[], |gateway| {
        let slow: Vec<_> = [gateway.http, gateway.rtmp]
            .iter()
            .flat_map(|&address| (0..50).map(move |_| connect(address)))
            .collect();
        for stream in &slow {
            throw(stream, &[3]);
        }
        let begun = Instant::now();
        // Until all are refused; each byte would win another second if time counted from the last.
        for byte in b"GET / HTTP/1.1\r\n".iter().cycle() {
            for stream in &slow {
                throw(stream, &[*byte]);
            }
            std::thread::sleep(Duration::from_millis(100));
            if begun.elapsed() > Duration::from_millis(1_500) {
                break;
            }
        }
        slow.into_iter().for_each(|stream| drop(rest(stream)));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
    gateway.wait_for_log(&["closed", "waited too long for the handshake"]);
}

#[test]
fn a_thousand_connections_that_say_nothing_are_dropped() {
    let gateway = while_watched(&[], |gateway| {
        let addresses = [gateway.http, gateway.rtmp];
        let silent: Vec<_> =
            addresses.iter().cycle().take(1_000).map(|&address| connect(address)).collect();
        assert_eq!(gateway.api("api/v1/versions").get("code").and_then(|v| v.as_u64()), Some(0));
        for stream in silent {
            drop(rest(stream));
        }
    });
    let log = gateway.log();
    let count = |cause: &str| log.lines().filter(|line| line.contains(cause)).count();
    assert_eq!(count("the head of a request did not come in time"), 500);
    assert_eq!(count("waited too long for the handshake"), 500);
}

#[test]
fn rtmp_garbage_ends_its_own_session() {
    let gateway = while_watched(&[], |gateway| {
        let mut random = Random(0x5eed_0002);
        for len in [1, 100, 1_536, 5_000, 100_000] {
            let stream = connect(gateway.rtmp);
            throw(&stream, &random.bytes(len));
            drop(rest(stream));
        }
        for round in 0..20 {
            let mut conversation = Conversation::begin(gateway.rtmp);
            if round % 2 == 1 {
                conversation.connect("live");
                conversation.wait_for("NetConnection.Connect.Success");
            }
            if round % 4 == 3 {
                conversation.publish("bad");
                conversation.wait_for("NetStream.Publish.Start");
            }
            throw(&conversation.stream, &random.bytes(20_000));
            let _shut = conversation.stream.shutdown(std::net::Shutdown::Write);
            drop(rest(conversation.stream));
        }
        // Messages without end: 16 MiB announced for each of many chunk streams.
        let conversation = Conversation::begin(gateway.rtmp);
        for id in 3..64 {
            let head = [id, 0, 0, 0, 0xff, 0xff, 0xff, 9, 1, 0, 0, 0];
            throw(&conversation.stream, &[&head[..], &[0; 128]].concat());
        }
        let _shut = conversation.stream.shutdown(std::net::Shutdown::Write);
        drop(rest(conversation.stream));
    });
    gateway.wait_for_end("live/bad");
    assert_eq!(gateway.log().matches("panic").count(), 0, "{}", gateway.log());
}

#[test]
fn garbage_on_the_srt_port_disturbs_no_connection() {
    drop(while_watched(&[], |gateway| {
        let mut random = Random(0x5eed_0003);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        // An induction handshake (draft-sharabayko-srt-01 §3.2.1) is where most of the others begin.
        let mut induction = vec![0x80, 0, 0, 0];
        induction.resize(64, 0);
        induction[19] = 4;
        for at in 0..1_000 {
            let bytes = match at % 3 {
                0 => {
                    let len = random.below(1_500);
                    random.bytes(len)
                }
                1 => {
                    let mut bytes = induction.clone();
                    let position = random.below(bytes.len());
                    bytes[position] = random.bytes(1)[0];
                    bytes
                }
                _ => induction[..random.below(induction.len())].to_vec(),
            };
            socket.send_to(&bytes, gateway.srt).expect("the loopback takes it");
        }
        // No transport stream at all, by one who is connected.
        let bad = srt::publish(gateway, "live/bad", random.bytes(500_000).into(), 1_000_000);
        bad.finish().expect("nobody else publishes it");
    }));
}

#[test]
fn strange_stream_ids_are_refused_and_logged() {
    let gateway = while_watched(&[], |gateway| {
        let long = "x".repeat(400);
        for stream_id in
            ["#!::r=../../etc,m=publish", "#!::m=dance", &long, "#!::r=a\u{1}b", "#!::"]
        {
            // Some are refused in the handshake, others after it.
            let _refused = srt::attend(gateway.srt, stream_id.to_owned()).finish();
        }
    });
    gateway.wait_for_log(&["closed", "protocol=\"srt\"", "refused"]);
}

#[test]
fn a_stranger_on_the_port_of_an_udp_input_is_not_heard() {
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("there are ports").port();
    let setting = format!("udp=[{{listen=\"127.0.0.1:{port}\",stream=\"live/udp\"}}]");
    drop(while_watched(&[&setting, "timeouts.publisher_ms=2000"], |gateway| {
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let own = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        let player = record(gateway, Out::Ts, "live/udp");
        gateway.wait_for_players("live/udp", 1);
        let mut random = Random(0x5eed_0004);
        for (at, packets) in clip().chunks(7 * 188).enumerate() {
            own.send_to(packets, to).expect("the loopback takes it");
            if at == 0 {
                gateway.wait_for_log(&["udp", "publishes"]);
            }
            stranger.send_to(&random.bytes(1_316), to).expect("the loopback takes it");
            // No flood, which would overflow the buffer of the kernel.
            std::thread::sleep(Duration::from_micros(500));
        }
        // The input ends when nothing has come for a while, and its player with it.
        let played = player.finish().probe();
        assert!(played.count("video") + 1 >= original().count("video"), "{played:?}");
    }));
}

#[test]
fn a_transport_stream_with_flipped_bytes_harms_only_itself() {
    drop(while_watched(&[], |gateway| {
        let mut random = Random(0x5eed_0005);
        let mut bytes = clip().to_vec();
        // A byte in every packet, the first of which may be a table's.
        for packet in bytes.chunks_exact_mut(188) {
            let at = random.below(188);
            packet[at] ^= random.bytes(1)[0] | 1;
        }
        let players: Vec<_> = ALL.iter().map(|&out| record(gateway, out, "live/bad")).collect();
        gateway.wait_for_players("live/bad", ALL.len());
        let speed = 2 * bytes.len() as u64 / SECONDS;
        srt::publish(gateway, "live/bad", bytes.into(), speed).finish().expect("nobody else does");
        // They are the ones who may be harmed; that they come to an end is all.
        gateway.wait_for_end("live/bad");
        drop(players);
    }));
}
