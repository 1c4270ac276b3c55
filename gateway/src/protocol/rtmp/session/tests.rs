//! Whole conversations in memory, on the virtual clock.

use super::*;
use crate::{
    container::flv::{Tag, TagKind},
    hub::{Bounds, Settings as HubSettings},
    media::Span,
    protocol::rtmp::client::{Client as Peer, ClientError, Incoming, Wish, open},
};
use bytes::Bytes;
use std::cell::Cell;
use thalweg_runtime::{
    ClockKind, Runtime,
    sync::{DuplexStream, duplex},
};

/// A gateway of one port.
struct Gateway {
    registry: Registry,
    clients: Clients,
    settings: Rc<Settings>,
    /// How the conversations ended, in order.
    ends: Rc<std::cell::RefCell<Vec<String>>>,
    refusal: Cell<Option<Refusal>>,
}

impl Gateway {
    fn new(takes_over: bool) -> Self {
        let seconds = Duration::from_secs;
        let registry = Registry::new(HubSettings {
            bounds: Bounds { bytes: 16 << 20, span: Span::from_ms(30_000) },
            grace: seconds(1),
            merge_window: Duration::ZERO,
            streams_max: 2,
            publishers_max: usize::MAX,
            publisher_rate_bps: None,
        });
        let settings = Rc::new(Settings {
            gate: Gate::open(),
            proxies: None,
            handshake: seconds(10),
            start: Start::Gop,
            wait: seconds(2),
            silence: seconds(20),
            stall: seconds(5),
            takes_over,
            silent_player: Carriage::Enhanced,
        });
        let ends = Rc::default();
        Self { registry, clients: Clients::default(), settings, ends, refusal: Cell::new(None) }
    }

    /// A connection to it, with room for so many bytes on the way.
    fn connect(&self, room: usize) -> DuplexStream {
        let (ours, theirs) = duplex(room);
        let client = self.clients.enter("rtmp", "192.0.2.1:5000".parse().unwrap());
        let (registry, settings) = (self.registry.clone(), Rc::clone(&self.settings));
        let (ends, refusal) = (Rc::clone(&self.ends), self.refusal.get());
        rt::spawn(move || {
            let end = converse(&theirs, &client, refusal, &registry, &settings).unwrap_err();
            ends.borrow_mut().push(end.to_string());
        });
        ours
    }

    fn open(&self, publishes: bool, name: &str) -> Result<Peer<DuplexStream>, ClientError> {
        self.open_enhanced(publishes, name, false)
    }

    fn open_enhanced(
        &self,
        publishes: bool,
        name: &str,
        is_enhanced: bool,
    ) -> Result<Peer<DuplexStream>, ClientError> {
        let app = "live".to_owned();
        let tc_url = "rtmp://gateway/live".to_owned();
        let wish = Wish { publishes, app, tc_url, name: name.to_owned(), is_enhanced };
        open(self.connect(1 << 20), wish)
    }

    /// Lets everybody else go on until the next conversation ends; how it did.
    fn end(&self, number: usize) -> String {
        for _ in 0..1000 {
            if let Some(end) = self.ends.borrow().get(number) {
                return end.clone();
            }
            rt::sleep(Duration::from_millis(100)).unwrap();
        }
        panic!("conversation {number} goes on");
    }
}

fn simulate(test: impl FnOnce() + 'static) {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime.block_on(test).unwrap();
}

fn audio(timestamp_ms: u32, body: &'static [u8]) -> Tag {
    Tag { kind: TagKind::Audio, timestamp_ms, body: Bytes::from_static(body) }
}

/// What a player hears next that is sound.
fn hear(player: &mut Peer<DuplexStream>) -> Tag {
    loop {
        match player.receive().unwrap() {
            Incoming::Media(tag) if tag.kind == TagKind::Audio => return tag,
            _ => {}
        }
    }
}

const ASC: &[u8] = b"\xaf\0\x12\x10";

#[test]
fn what_one_publishes_the_other_plays() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.send(&audio(0, ASC)).unwrap();
        publisher.send(&audio(0, b"\xaf\x01one")).unwrap();
        let mut player = gateway.open(false, "cam").unwrap();
        assert_eq!(hear(&mut player).body[..], *ASC);
        assert_eq!(hear(&mut player), audio(0, b"\xaf\x01one"));
        publisher.send(&audio(23, b"\xaf\x01two")).unwrap();
        assert_eq!(hear(&mut player), audio(23, b"\xaf\x01two"));
        publisher.stop().unwrap();
        assert_eq!(
            player.receive().unwrap(),
            Incoming::Status("NetStream.Play.UnpublishNotify".into())
        );
        assert_eq!(player.receive().unwrap(), Incoming::Status("NetStream.Play.Stop".into()));
        drop(publisher);
        assert_eq!(gateway.end(0), "the peer closed the connection");
        assert_eq!(gateway.end(1), "the publisher left");
    });
}

#[test]
fn a_player_that_comes_first_waits_and_is_refused_when_nobody_publishes() {
    simulate(|| {
        let gateway = Rc::new(Gateway::new(false));
        let waiting = Rc::clone(&gateway);
        let player = rt::spawn(move || hear(&mut waiting.open(false, "cam").unwrap()));
        rt::sleep(Duration::from_secs(1)).unwrap();
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.send(&audio(0, ASC)).unwrap();
        publisher.send(&audio(0, b"\xaf\x01one")).unwrap();
        assert_eq!(player.join().unwrap().body[..], *ASC);
        let refused = gateway.open(false, "other").unwrap_err();
        assert!(
            matches!(refused, ClientError::Refused(code) if code == "NetStream.Play.StreamNotFound")
        );
    });
}

#[test]
fn a_second_publisher_is_refused_by_name() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let _first = gateway.open(true, "cam").unwrap();
        let second = gateway.open(true, "cam").unwrap_err();
        assert!(
            matches!(second, ClientError::Refused(code) if code == "NetStream.Publish.BadName")
        );
        assert!(gateway.end(0).starts_with("refused: "));
    });
}

#[test]
fn a_second_publisher_takes_over_if_it_may_and_players_stay() {
    simulate(|| {
        let gateway = Gateway::new(true);
        let mut first = gateway.open(true, "cam").unwrap();
        first.send(&audio(0, ASC)).unwrap();
        first.send(&audio(0, b"\xaf\x01one")).unwrap();
        let mut player = gateway.open(false, "cam").unwrap();
        hear(&mut player);
        hear(&mut player);
        let mut second = gateway.open(true, "cam").unwrap();
        second.send(&audio(77_000, ASC)).unwrap();
        second.send(&audio(77_000, b"\xaf\x01two")).unwrap();
        let heard = hear(&mut player);
        assert_eq!(heard.body[..], *b"\xaf\x01two");
        assert!((1..100).contains(&heard.timestamp_ms), "the times go on: {}", heard.timestamp_ms);
        first.send(&audio(23, b"\xaf\x01late")).unwrap();
        let told = Incoming::Status("NetStream.Unpublish.Success".into());
        assert_eq!(first.receive().unwrap(), told);
        drop(first);
        assert_eq!(gateway.end(0), "another publisher took the stream over");
    });
}

#[test]
fn a_publisher_that_stops_may_publish_something_else() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.stop().unwrap();
        let told = Incoming::Status("NetStream.Unpublish.Success".into());
        assert_eq!(publisher.receive().unwrap(), told);
        let again = gateway.open(true, "cam");
        assert!(again.is_ok(), "the name is free although the connection is still there");
    });
}

#[test]
fn publishers_and_players_are_told_that_the_gateway_ends() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.send(&audio(0, ASC)).unwrap();
        publisher.send(&audio(0, b"\xaf\x01one")).unwrap();
        let mut player = gateway.open(false, "cam").unwrap();
        hear(&mut player);
        gateway.registry.close();
        while player.receive().unwrap() != Incoming::Status("NetStream.Play.Stop".into()) {}
        publisher.send(&audio(23, b"\xaf\x01two")).unwrap();
        let told = Incoming::Status("NetConnection.Connect.AppShutdown".into());
        assert_eq!(publisher.receive().unwrap(), told);
    });
}

#[test]
fn limits_and_bad_names_are_said_in_words_of_rtmp() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let bad = gateway.open(true, "a\u{7}b").unwrap_err();
        assert!(matches!(bad, ClientError::Refused(code) if code == "NetStream.Publish.BadName"));
        let _streams = [gateway.open(true, "1").unwrap(), gateway.open(true, "2").unwrap()];
        let third = gateway.open(true, "3").unwrap_err();
        assert!(matches!(third, ClientError::Refused(code) if code == "NetStream.Publish.Denied"));
        gateway.refusal.set(Some(Refusal::Connections(1)));
        let rejected = gateway.open(false, "1").unwrap_err();
        assert!(
            matches!(rejected, ClientError::Refused(code) if code == "NetConnection.Connect.Rejected")
        );
    });
}

#[test]
fn all_tracks_go_only_to_players_that_know_multitrack() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.send(&audio(0, ASC)).unwrap();
        publisher.send(&audio(0, b"\x95\0mp4a\x01\x12\x10")).unwrap();
        publisher.send(&audio(0, b"\xaf\x01one")).unwrap();
        publisher.send(&audio(0, b"\x95\x01mp4a\x01other")).unwrap();
        for (is_enhanced, expected, end) in [(false, 1, b"\xaf\x01end"), (true, 2, b"\xaf\x01END")]
        {
            let mut player = gateway.open_enhanced(false, "cam", is_enhanced).unwrap();
            publisher.send(&audio(23, b"\xaf\x01two")).unwrap();
            // What comes before the player's first turn is not for it: it begins with the newest.
            rt::sleep(Duration::from_millis(1)).unwrap();
            publisher.send(&audio(23, b"\x95\x01mp4a\x01other")).unwrap();
            publisher.send(&audio(46, end)).unwrap();
            let mut bodies = vec![hear(&mut player).body];
            while bodies.last().is_none_or(|body| body[..] != *end) {
                bodies.push(hear(&mut player).body);
            }
            let others = bodies.iter().filter(|body| body.ends_with(b"\x01other")).count();
            assert_eq!(others > 0, is_enhanced, "{bodies:?}");
            let headers = bodies.iter().filter(|body| body.ends_with(b"\x12\x10")).count();
            assert_eq!(headers, expected, "{bodies:?}");
        }
    });
}

#[test]
fn what_is_no_rtmp_ends_at_once() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut stream = gateway.connect(1 << 16);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(gateway.end(0), "the peer wants RTMP version 71, not 3");
        let mut stream = gateway.connect(1 << 16);
        stream.write_all(&[3; 1 + 2 * PART_LEN]).unwrap();
        stream.write_all(&[0xff; 100]).unwrap();
        assert_eq!(gateway.end(1), "chunk stream 63 begins without a full header");
    });
}

#[test]
fn slow_and_silent_peers_are_given_up() {
    simulate(|| {
        let gateway = Rc::new(Gateway::new(false));
        let began = rt::now();
        // A byte a second, for ever.
        let mut slow = gateway.connect(1 << 16);
        rt::spawn(move || {
            while slow.write_all(&[3]).is_ok() && rt::sleep(Duration::from_secs(1)).is_ok() {}
        });
        assert_eq!(gateway.end(0), "waited too long for the handshake");
        assert!(rt::now() - began < Duration::from_secs(11));
        let mut silent = gateway.connect(1 << 16);
        silent.write_all(&[3; 1 + 2 * PART_LEN]).unwrap();
        assert_eq!(gateway.end(1), "waited too long for what it wants");
        let _publisher = gateway.open(true, "cam").unwrap();
        assert_eq!(gateway.end(2), "waited too long for media");
    });
}

#[test]
fn a_player_that_stops_reading_is_given_up_and_others_lose_nothing() {
    simulate(|| {
        let gateway = Rc::new(Gateway::new(false));
        let mut publisher = gateway.open(true, "cam").unwrap();
        publisher.send(&audio(0, ASC)).unwrap();
        publisher.send(&audio(0, b"\xaf\x01")).unwrap();
        publisher.send(&audio(0, b"\xaf\x01x")).unwrap();
        let mut stuck = gateway.open(false, "cam").unwrap();
        hear(&mut stuck);
        let healthy = gateway.open(false, "cam").unwrap();
        let heard = rt::spawn(move || {
            let mut healthy = healthy;
            std::iter::from_fn(|| Some(hear(&mut healthy)))
                .take_while(|tag| tag.timestamp_ms < 19_900)
                .count()
        });
        let large: &'static [u8] = vec![0xaf; 20_000].leak();
        for n in 1..1000_u32 {
            let body = [b"\xaf\x01", large].concat().into();
            publisher.send(&Tag { kind: TagKind::Audio, timestamp_ms: n * 20, body }).unwrap();
            rt::sleep(Duration::from_millis(20)).unwrap();
        }
        assert_eq!(gateway.end(0), "waited too long for the player to take what there is");
        // Two from the start, then one every 20 ms.
        assert_eq!(heard.join().unwrap(), 2 + 994);
    });
}

#[test]
fn a_player_that_asks_without_reading_does_not_grow() {
    simulate(|| {
        let gateway = Gateway::new(false);
        let mut stream = gateway.connect(4096);
        stream.write_all(&[3; 1 + PART_LEN]).unwrap();
        let (flood, giving_up) = (vec![0x42; 1 << 20], rt::now());
        let result = stream.write_all(&flood);
        assert!(result.is_err(), "the gateway closes");
        assert!(rt::now() - giving_up <= Duration::from_secs(11));
    });
}
