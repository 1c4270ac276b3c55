//! RTMP against others, over TCP on loopback: ffmpeg publishes and plays, and so does `rml_rtmp`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ffmpeg;

use ffmpeg::{Packet, ffmpeg, finish, packets, scratch, start_ffmpeg};
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{
        ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult,
        PublishRequestType,
    },
    time::RtmpTimestamp,
};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};
use thalweg_gateway::{
    auth::Gate,
    container::flv::Carriage,
    hub::{Bounds, Clients, Registry, Settings as HubSettings, Start},
    media::Span,
    protocol::rtmp,
};
use thalweg_runtime::{self as rt, net::TcpListener};

/// A gateway that serves RTMP on a thread of its own, until it is dropped.
struct Gateway {
    port: u16,
    stop: rt::sync::channel::RemoteSender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Gateway {
    fn start() -> Self {
        let (port_tx, port_rx) = mpsc::channel();
        let thread = thread::spawn(move || {
            rt::run(move || {
                let (stop, stopping) = rt::sync::channel::remote(1);
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                port_tx.send((listener.local_addr().unwrap().port(), stop)).unwrap();
                let acceptor = rt::spawn(move || serve(&listener));
                let _stopped = stopping.recv();
                acceptor.cancel();
            });
        });
        #[expect(clippy::disallowed_methods, reason = "the test's own thread may block")]
        let (port, stop) = port_rx.recv().unwrap();
        Self { port, stop, thread: Some(thread) }
    }

    fn url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.port)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _told = self.stop.try_send(());
        #[expect(clippy::disallowed_methods, reason = "the test's own thread may block")]
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

fn serve(listener: &TcpListener) {
    let seconds = Duration::from_secs;
    let registry = Registry::new(HubSettings {
        bounds: Bounds { bytes: 64 << 20, span: Span::from_ms(30_000) },
        grace: Duration::from_millis(500),
        merge_window: Duration::ZERO,
        streams_max: 16,
        publishers_max: usize::MAX,
        publisher_rate_bps: None,
    });
    let settings = Rc::new(rtmp::Settings {
        gate: Gate::open(),
        proxies: None,
        handshake: seconds(10),
        start: Start::Gop,
        wait: seconds(20),
        silence: seconds(30),
        stall: seconds(30),
        takes_over: false,
        silent_player: Carriage::Enhanced,
    });
    let _ended = rtmp::serve(listener, &Clients::default(), &registry, &settings);
}

/// Three seconds of pictures with B-frames and sound.
fn clip(directory: &Path) -> PathBuf {
    let clip = directory.join("clip.mp4");
    let source = "-f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=r=48000 -t 3";
    let encoder = "-c:v libx264 -preset veryfast -g 30 -bf 2 -c:a aac";
    let mut arguments: Vec<_> = source.split(' ').chain(encoder.split(' ')).collect();
    arguments.push(clip.to_str().unwrap());
    ffmpeg(&arguments);
    clip
}

fn of_codec(packets: &[Packet], codec: &str) -> Vec<Packet> {
    packets.iter().filter(|packet| packet.codec == codec).cloned().collect()
}

#[test]
fn ffmpeg_plays_what_ffmpeg_publishes() {
    let (gateway, directory) = (Gateway::start(), scratch("rtmp-ffmpeg"));
    let (clip, out) = (clip(&directory), directory.join("out.flv"));
    let url = gateway.url("cam?token=secret");
    // Players that come first wait for the stream, so that they get it from its first picture on.
    let play = ["-i", &gateway.url("cam"), "-c", "copy", out.to_str().unwrap()].map(str::to_owned);
    let player = start_ffmpeg(&play.iter().map(String::as_str).collect::<Vec<_>>());
    let publisher =
        start_ffmpeg(&["-re", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv", &url]);
    let (published, said) = finish(publisher);
    assert!(published, "{said}");
    let (played, said) = finish(player);
    assert!(played, "{said}");
    let (sent, got) = (packets(&clip), packets(&out));
    let (sent_video, got_video) = (of_codec(&sent, "h264"), of_codec(&got, "h264"));
    assert_eq!(got_video.len(), sent_video.len());
    assert!(got_video.iter().map(|packet| packet.dts_ms).is_sorted());
    for (sent, got) in sent_video.iter().zip(&got_video) {
        let shift = got_video[0].pts_ms - sent_video[0].pts_ms;
        assert!((got.pts_ms - sent.pts_ms - shift).abs() <= 1, "{got:?} is not {sent:?}");
    }
    let (sent_audio, got_audio) = (of_codec(&sent, "aac").len(), of_codec(&got, "aac").len());
    assert!(sent_audio - got_audio <= 2, "{got_audio} of {sent_audio}");
    let lag = |packets: &[Packet]| {
        of_codec(packets, "aac").last().unwrap().pts_ms
            - of_codec(packets, "h264").last().unwrap().pts_ms
    };
    assert!((lag(&sent) - lag(&got)).abs() <= 40, "picture and sound stay together");
}

#[test]
fn a_second_publisher_and_a_player_of_nothing_are_told_so() {
    let (gateway, directory) = (Gateway::start(), scratch("rtmp-refused"));
    let clip = clip(&directory);
    let arguments =
        ["-re", "-i", clip.to_str().unwrap(), "-c", "copy", "-f", "flv", &gateway.url("cam")];
    let first = start_ffmpeg(&arguments);
    // Until the first has begun, the second may be it.
    let out = directory.join("out.flv");
    ffmpeg(&["-i", &gateway.url("cam"), "-t", "0.2", "-c", "copy", out.to_str().unwrap()]);
    let (published, said) = finish(start_ffmpeg(&arguments));
    assert!(!published && said.contains("is being published by somebody else"), "{said}");
    let (published, said) = finish(first);
    assert!(published, "{said}");
}

/// A client of `rml_rtmp` over a blocking socket.
struct Foreign {
    stream: socket2::Socket,
    session: ClientSession,
    pending: Vec<ClientSessionResult>,
}

impl Foreign {
    fn connect(port: u16) -> Self {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        stream.connect(&address.into()).unwrap();
        let mut handshake = Handshake::new(PeerType::Client);
        stream.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
        let rest = loop {
            let mut buffer = vec![0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            match handshake.process_bytes(&buffer[..count]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    stream.write_all(&response_bytes).unwrap();
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    stream.write_all(&response_bytes).unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (mut session, mut pending) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        pending.extend(session.handle_input(&rest).unwrap());
        let mut client = Self { stream, session, pending };
        let request = client.session.request_connection("live".into()).unwrap();
        client.pending.push(request);
        client.wait_for(|event| matches!(event, ClientSessionEvent::ConnectionRequestAccepted));
        client
    }

    /// Sends what the session wants to, and reads until it raises such an event.
    fn wait_for(&mut self, wanted: impl Fn(&ClientSessionEvent) -> bool) -> ClientSessionEvent {
        loop {
            while !self.pending.is_empty() {
                match self.pending.remove(0) {
                    ClientSessionResult::OutboundResponse(packet) => {
                        self.stream.write_all(&packet.bytes).unwrap();
                    }
                    ClientSessionResult::RaisedEvent(event) if wanted(&event) => return event,
                    _ => {}
                }
            }
            let mut buffer = vec![0; 4096];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the gateway closed the connection");
            self.pending = self.session.handle_input(&buffer[..count]).unwrap();
        }
    }
}

#[test]
fn another_implementation_publishes_and_plays() {
    let gateway = Gateway::start();
    let mut publisher = Foreign::connect(gateway.port);
    let request =
        publisher.session.request_publishing("cam".into(), PublishRequestType::Live).unwrap();
    publisher.pending.push(request);
    publisher.wait_for(|event| matches!(event, ClientSessionEvent::PublishRequestAccepted));
    let mut send = |data: &'static [u8], ms| {
        let data = bytes::Bytes::from_static(data);
        let result =
            publisher.session.publish_audio_data(data, RtmpTimestamp::new(ms), false).unwrap();
        let ClientSessionResult::OutboundResponse(packet) = result else { panic!() };
        publisher.stream.write_all(&packet.bytes).unwrap();
    };
    send(b"\xaf\0\x12\x10", 0);
    send(b"\xaf\x01one", 0);
    let mut player = Foreign::connect(gateway.port);
    let request = player.session.request_playback("cam".into()).unwrap();
    player.pending.push(request);
    player.wait_for(|event| matches!(event, ClientSessionEvent::PlaybackRequestAccepted));
    let mut hear = |expected: &'static [u8]| {
        player.wait_for(|event| {
            matches!(event, ClientSessionEvent::AudioDataReceived { data, .. } if data[..] == *expected)
        })
    };
    hear(b"\xaf\0\x12\x10");
    hear(b"\xaf\x01one");
    send(b"\xaf\x01two", 0x0100_0000);
    hear(b"\xaf\x01two");
}
