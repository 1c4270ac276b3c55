//! The hub as publishers and players see it, on the virtual clock and with a format that shows what it was given.

use super::{
    Batch, Bounds, Level, PlayEnd, PublishError, Publisher, Registry, Settings, Start, Subscriber,
    feed::Format,
};
use crate::{
    auth::{Action, Ask, Gate, PlayGrant, PublishGrant},
    container::{Chunk, LeftOut, Mux, Select, Sink, ts::TsMux},
    key::StreamKey,
    media::{
        AccessUnit, Codec, CodecConfig, Span, Timestamp, Track, TrackId, Tracks, h264, hex, opus,
        vpx,
    },
};
use bytes::Bytes;
use std::{cell::Cell, rc::Rc, time::Duration};
use thalweg_runtime::{self as rt, ClockKind, Runtime};

/// Each unit becomes a chunk of its payload; pictures that may begin carry the head `head`.
struct Plain {
    select: Select,
    head: Rc<[Bytes]>,
}

impl Format for Plain {
    const NAME: &'static str = "plain";

    fn new(select: Select) -> Self {
        Self { select, head: Rc::from([Bytes::from_static(b"head")]) }
    }
}

impl Mux for Plain {
    fn tracks(&mut self, _tracks: &Tracks) {}

    fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        Vec::new()
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Chunk>) {
        if self.select.carries(unit.config.codec().kind()) {
            let head = (unit.random_access && unit.track == VIDEO).then(|| Rc::clone(&self.head));
            out.push(Chunk { parts: vec![unit.payload.clone()], dts: unit.dts, head });
        }
    }
}

const VIDEO: TrackId = TrackId(1);
const AUDIO: TrackId = TrackId(2);

fn video_config() -> Rc<CodecConfig> {
    // The head of a key frame of 16 x 16 (RFC 6386 §9.1).
    let key_frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
    Rc::new(CodecConfig::Vp8(vpx::Config::from_vp8(&key_frame).unwrap()))
}

fn audio_config() -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Opus(opus::Config::with_channels(2).unwrap()))
}

fn tracks() -> Tracks {
    let track = |id, codec, config| Track { id, codec, language: None, config: Some(config) };
    Tracks::from_iter([
        track(VIDEO, Codec::Vp8, video_config()),
        track(AUDIO, Codec::Opus, audio_config()),
    ])
}

fn picture(ms: i64, random_access: bool) -> AccessUnit {
    let at = Timestamp::from_ms(ms);
    let payload = Bytes::from(format!("{}{ms}", if random_access { "I" } else { "P" }));
    AccessUnit { track: VIDEO, dts: at, pts: at, random_access, config: video_config(), payload }
}

fn settings() -> Settings {
    Settings {
        bounds: Bounds { bytes: 1 << 20, span: Span::from_ms(10_000) },
        grace: Duration::from_secs(5),
        merge_window: Duration::ZERO,
        streams_max: 2,
        publishers_max: usize::MAX,
        publisher_rate_bps: None,
    }
}

fn key() -> StreamKey {
    "live/cam".parse().unwrap()
}

fn may_publish(key: &StreamKey) -> PublishGrant {
    let ask = Ask::new(Action::Publish, key, "test", "192.0.2.1:5".parse().unwrap());
    Gate::open().publish(&ask).unwrap()
}

fn may_play(key: &StreamKey) -> PlayGrant {
    let ask = Ask::new(Action::Play, key, "test", "192.0.2.1:5".parse().unwrap());
    Gate::open().play(&ask).unwrap()
}

fn publish(registry: &Registry) -> Publisher {
    let mut publisher = registry.publish(&may_publish(&key()), false).unwrap();
    publisher.tracks(&tracks());
    publisher
}

/// Pushes pictures 40 ms apart, every tenth of which may begin.
fn push(publisher: &mut Publisher, numbers: std::ops::Range<i64>) {
    numbers.for_each(|n| publisher.unit(picture(n * 40, n % 10 == 0)));
}

fn subscribe(registry: &Registry, start: Start) -> Subscriber {
    registry.find(&key()).unwrap().subscribe::<Plain>(Select::All, start).unwrap()
}

fn recv(subscriber: &mut Subscriber) -> Vec<String> {
    let mut batch = Batch::default();
    subscriber.recv(&mut batch).unwrap();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let head = batch.head.iter().flat_map(|head| head.iter().map(text));
    head.chain(batch.chunks.iter().flat_map(|chunk| chunk.parts.iter().map(text))).collect()
}

fn simulate(f: impl FnOnce(Registry) + 'static) {
    simulate_with(settings(), f);
}

fn simulate_with(settings: Settings, f: impl FnOnce(Registry) + 'static) {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime.block_on(move || f(Registry::new(settings))).unwrap();
}

#[test]
fn a_reader_that_joins_late_gets_the_head_and_the_whole_gop() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..13);
        let mut first = subscribe(&registry, Start::Gop);
        assert_eq!(recv(&mut first), ["head", "I400", "P440", "P480"]);
        push(&mut publisher, 13..15);
        assert_eq!(recv(&mut first), ["P520", "P560"]);
        let mut second = subscribe(&registry, Start::Gop);
        assert_eq!(recv(&mut second)[..2], ["head", "I400"]);
        push(&mut publisher, 15..21);
        assert_eq!(recv(&mut second).last().unwrap(), "I800");
        assert_eq!(recv(&mut first).last().unwrap(), "I800", "no second head: it is the same");
    });
}

#[test]
fn a_reader_that_was_there_before_the_stream_misses_nothing_of_it() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        let mut reader = subscribe(&registry, Start::Gop);
        push(&mut publisher, 0..25);
        let all = recv(&mut reader);
        assert_eq!(all[..2], ["head", "I0"]);
        assert_eq!(all.len(), 26, "although two random-access points came after the first");
    });
}

#[test]
fn a_reader_that_starts_live_waits_for_the_next_random_access_point() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..5);
        let mut reader = subscribe(&registry, Start::Live);
        let reading = rt::spawn(move || recv(&mut reader));
        rt::yield_now().unwrap();
        push(&mut publisher, 5..11);
        assert_eq!(reading.join().unwrap(), ["head", "I400"]);
    });
}

#[test]
fn a_publisher_that_can_be_asked_is_asked_once_a_second_at_most() {
    simulate(|registry| {
        let publisher = publish(&registry);
        let source = Rc::clone(publisher.source());
        assert!(!source.ask_for_random_access(), "most cannot be asked");
        let asked = Rc::new(Cell::new(0));
        let counts = Rc::clone(&asked);
        publisher.set_ask(move || counts.set(counts.get() + 1));
        for _ in 0..25 {
            assert!(source.ask_for_random_access());
            rt::sleep(Duration::from_millis(100)).unwrap();
        }
        assert_eq!(asked.get(), 3);
        drop(publisher);
        assert!(!source.ask_for_random_access(), "it is gone");
        let _next = publish(&registry);
        assert!(!source.ask_for_random_access(), "another one is not it");
        assert_eq!(asked.get(), 3);
    });
}

#[test]
fn a_slow_reader_skips_to_the_newest_random_access_point_and_is_counted() {
    let overhead = size_of::<Chunk>().max(size_of::<AccessUnit>()) + 5;
    let bounds = Bounds { bytes: 25 * overhead, span: Span::from_ms(1_000_000) };
    simulate_with(Settings { bounds, ..settings() }, |registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..1);
        let mut slow = subscribe(&registry, Start::Gop);
        let mut quick = subscribe(&registry, Start::Gop);
        assert_eq!(recv(&mut slow), ["head", "I0"]);
        assert_eq!(recv(&mut quick), ["head", "I0"]);
        for n in 1..95 {
            push(&mut publisher, n..n + 1);
            assert_eq!(recv(&mut quick).len(), 1);
        }
        assert_eq!(recv(&mut slow)[..2], ["I3600", "P3640"]);
        assert_eq!((slow.skips(), slow.skipped()), (1, 89));
        assert_eq!((quick.skips(), quick.skipped()), (0, 0));
    });
}

#[test]
fn what_several_readers_take_alike_is_joined_once_and_others_go_on_alone() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..1);
        let take = |reader: &mut Subscriber| {
            let mut batch = Batch::default();
            reader.recv(&mut batch).unwrap();
            let parts = batch.chunks.iter().flat_map(|chunk| &chunk.parts).flatten();
            let bytes: Vec<u8> = parts.copied().collect();
            let joined = batch.chunks.joined().cloned();
            assert!(joined.as_ref().is_none_or(|joined| *joined == bytes));
            joined
        };
        let mut lone = subscribe(&registry, Start::Gop);
        assert_eq!(take(&mut lone), None, "nobody else is there");
        let mut others = [0, 1, 2].map(|_| subscribe(&registry, Start::Gop));
        others.iter_mut().for_each(|reader| drop(take(reader)));
        push(&mut publisher, 1..3);
        let first = take(&mut others[0]).expect("several readers are at this place");
        assert_eq!(take(&mut lone).map(|joined| joined.as_ptr()), Some(first.as_ptr()));
        push(&mut publisher, 3..4);
        let newest = take(&mut lone).expect("another will come here");
        assert_eq!(take(&mut others[1]), None, "it takes more than the newest");
        assert_eq!(take(&mut others[0]), Some(newest));
    });
}

#[test]
fn pictures_that_no_other_needs_are_left_out_while_there_is_too_much_load() {
    simulate(|registry| {
        let (sps, pps) =
            (hex("6764001facd9405005bb016a02020280000003008000001e078c18cb"), hex("68ebecb22c"));
        let config = h264::Config::from_parameter_sets([&*sps, &*pps]).unwrap();
        let config = Rc::new(CodecConfig::H264(config));
        let mut publisher = publish(&registry);
        let mut n = 0;
        let mut push = |slice: u8| {
            let payload = Bytes::from(vec![0, 0, 0, 2, slice, 0x9a]);
            let config = Rc::clone(&config);
            publisher.unit(AccessUnit { config, payload, ..picture(n * 40, slice == 0x65) });
            n += 1;
        };
        push(0x65);
        let mut reader = subscribe(&registry, Start::Gop);
        recv(&mut reader);
        let mut got = |level| {
            registry.set_load(level);
            // One that others need, and one that none does.
            [0x41, 0x01].into_iter().for_each(&mut push);
            recv(&mut reader).len()
        };
        assert_eq!(got(Level::RefuseViewers), 2);
        assert_eq!(got(Level::DropPictures), 1);
        assert_eq!(got(Level::Normal), 2);
        assert_eq!(registry.load().dropped(), 1);
    });
}

#[test]
fn readers_stay_through_a_change_of_publisher_and_times_go_on() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..3);
        let mut reader = subscribe(&registry, Start::Gop);
        recv(&mut reader);
        drop(publisher);
        rt::sleep(Duration::from_secs(4)).unwrap();
        let mut publisher = publish(&registry);
        publisher.unit(picture(777_000, true));
        let mut batch = Batch::default();
        reader.recv(&mut batch).unwrap();
        assert_eq!(batch.chunks[0].dts.ms(), 80 + 33);
        assert!(batch.head.is_none());
    });
}

#[test]
fn a_source_ends_after_the_grace_time() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..2);
        let mut reader = subscribe(&registry, Start::Gop);
        recv(&mut reader);
        drop(publisher);
        let left = rt::now();
        let end = reader.recv(&mut Batch::default());
        assert!(matches!(end, Err(PlayEnd::Unpublished)), "{end:?}");
        assert_eq!(rt::now() - left, Duration::from_secs(5));
        assert!(registry.find(&key()).is_none());
    });
}

#[test]
fn a_second_publisher_is_refused_or_takes_over() {
    simulate(|registry| {
        let mut first = publish(&registry);
        push(&mut first, 0..2);
        let mut reader = subscribe(&registry, Start::Gop);
        recv(&mut reader);
        let grant = may_publish(&key());
        assert_eq!(registry.publish(&grant, false).unwrap_err(), PublishError::Busy(key()));
        let mut second = registry.publish(&grant, true).unwrap();
        assert!(!first.is_current() && second.is_current());
        push(&mut first, 2..4);
        second.tracks(&tracks());
        second.unit(picture(0, true));
        assert_eq!(recv(&mut reader), ["I0"], "nothing of the first comes after the second began");
        drop(first);
        rt::sleep(Duration::from_secs(60)).unwrap();
        assert!(
            registry.find(&key()).is_some(),
            "the first left, and it was not its source any more"
        );
    });
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    simulate(|registry| {
        let grant = |n| may_publish(&format!("live/{n}").parse().unwrap());
        let _held = [0, 1].map(|n| registry.publish(&grant(n), false).unwrap());
        assert_eq!(registry.publish(&grant(2), false).unwrap_err(), PublishError::TooMany(2));
    });
}

#[test]
fn a_reader_may_come_before_the_publisher() {
    simulate(|registry| {
        let waiting = rt::spawn({
            let registry = registry.clone();
            move || registry.wait_for(&may_play(&key()), rt::now() + Duration::from_secs(9)).is_ok()
        });
        rt::sleep(Duration::from_secs(8)).unwrap();
        let _publisher = publish(&registry);
        assert!(waiting.join().unwrap());
        let other: StreamKey = "live/other".parse().unwrap();
        let before = rt::now();
        assert!(registry.wait_for(&may_play(&other), before + Duration::from_secs(9)).is_err());
        assert_eq!(rt::now() - before, Duration::from_secs(9));
    });
}

#[test]
fn chunks_that_a_publisher_brings_are_read_as_they_are_and_muxed_when_the_next_brings_none() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        let original = publisher.original::<Plain>();
        push(&mut publisher, 0..3);
        let head = Some(Rc::from([Bytes::from_static(b"their head")]));
        let parts = vec![Bytes::from_static(b"theirs")];
        publisher.push(&original, Chunk { parts, dts: Timestamp::ZERO, head });
        let mut reader = subscribe(&registry, Start::Gop);
        assert_eq!(recv(&mut reader), ["their head", "theirs"]);
        drop((original, publisher));
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..2);
        assert_eq!(recv(&mut reader), ["I0", "P40"]);
    });
}

#[test]
fn a_track_that_an_output_cannot_carry_is_left_out_there_and_said() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..3);
        let source = registry.find(&key()).unwrap();
        let _reader = source.subscribe::<TsMux>(Select::All, Start::Gop).unwrap();
        let feeds = source.feeds();
        assert_eq!(feeds[0].left_out, [(VIDEO, LeftOut::Codec)], "VP8 has no place in MPEG-TS");
        let _other = source.subscribe::<Plain>(Select::All, Start::Gop).unwrap();
        assert!(source.feeds()[1].left_out.is_empty());
    });
}

#[test]
fn a_merge_window_gathers_what_comes_in_it() {
    let merge_window = Duration::from_millis(200);
    simulate_with(Settings { merge_window, ..settings() }, |registry| {
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..1);
        let mut reader = subscribe(&registry, Start::Gop);
        assert_eq!(recv(&mut reader), ["head", "I0"], "the first at once");
        let publishing = rt::spawn(move || {
            for n in 1..20 {
                rt::sleep(Duration::from_millis(40)).unwrap();
                push(&mut publisher, n..n + 1);
            }
        });
        let sizes: Vec<_> = (0..3).map(|_| recv(&mut reader).len()).collect();
        assert!(sizes.iter().all(|size| (4..=6).contains(size)), "{sizes:?}");
        publishing.join().unwrap();
    });
}

#[test]
fn a_long_gop_is_muxed_for_its_first_reader_in_slices() {
    simulate(|registry| {
        let mut publisher = publish(&registry);
        publisher.unit(picture(0, true));
        (1..1_000).for_each(|n| publisher.unit(picture(n, false)));
        let turns = Rc::new(Cell::new(0));
        let others = rt::spawn({
            let turns = Rc::clone(&turns);
            move || {
                while rt::yield_now().is_ok() {
                    turns.set(turns.get() + 1);
                }
            }
        });
        let mut subscriber = subscribe(&registry, Start::Gop);
        others.cancel();
        assert!(turns.get() >= 10, "others ran {} times", turns.get());
        publisher.unit(picture(1_000, false));
        let mut read = 0;
        while read < 1_002 {
            read += recv(&mut subscriber).len();
        }
        assert_eq!(read, 1_002, "all of it and the head");
    });
}
