//! An hour of a stream on the virtual clock: what a source keeps stays within its bounds, whoever reads and however slowly,
//! and the clocks of the publishers wrap on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{cell::Cell, process::Command, rc::Rc, time::Duration};
use thalweg_gateway::{
    auth::{Action, Ask, Gate, PlayGrant, PublishGrant},
    container::{
        Chunk, Mux, Select, Sink,
        flv::{Carriage, FlvMux, Tag, TagKind, TagReader},
        fmp4::Fmp4,
        ts::{Demuxer, Jump, PACKET_LEN, PacketInfo, Programme, TsMux, TsSink},
    },
    hub::{Batch, Bounds, Clients, Format, PlayEnd, Registry, Settings, Source, Start},
    key::StreamKey,
    media::{AccessUnit, Span, Timestamp, Tracks},
    protocol::{
        rtmp::{
            self,
            client::{Wish, open},
        },
        ts_ingest::TsIngest,
    },
};
use thalweg_runtime::{self as rt, ClockKind, Runtime, sync::duplex};

/// How long the clip is that is sent again and again.
const CLIP: Duration = Duration::from_secs(2);
const PICTURES_PER_CLIP: u64 = 50;
const ROUNDS: u32 = 1_800;
const BOUNDS: Bounds = Bounds { bytes: 256 << 10, span: Span::from_ms(5_000) };

fn ask(action: Action) -> Ask {
    Ask::new(action, &key(), "test", "192.0.2.1:5000".parse().unwrap())
}

fn may_publish() -> PublishGrant {
    Gate::open().publish(&ask(Action::Publish)).unwrap()
}

fn may_play() -> PlayGrant {
    Gate::open().play(&ask(Action::Play)).unwrap()
}

fn simulate(test: impl FnOnce() + 'static) {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime.block_on(test).unwrap();
}

fn registry() -> Registry {
    Registry::new(Settings {
        bounds: BOUNDS,
        grace: Duration::ZERO,
        merge_window: Duration::ZERO,
        streams_max: 1,
        publishers_max: 1,
        publisher_rate_bps: None,
    })
}

fn key() -> StreamKey {
    "live/cam".parse().unwrap()
}

/// Two seconds of picture and tone from ffmpeg.
fn clip(format: &str) -> Vec<u8> {
    let source = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 \
                  -f lavfi -i sine=frequency=440:sample_rate=48000:duration=2";
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -b:v 60k -c:a aac -b:a 32k";
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    command.args(source.split_whitespace()).args(coded.split_whitespace());
    command.args(["-f", format, "pipe:1"]);
    #[expect(clippy::disallowed_methods, reason = "no coroutine runs yet")]
    let output = command.output().expect("ffmpeg must be installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Looks at the source every so often, until there is none.
fn watch_bounds(registry: &Registry) -> u32 {
    let mut looks = 0;
    while let Some(source) = registry.find(&key()) {
        assert_bounded(&source);
        looks += 1;
        rt::sleep(Duration::from_millis(777)).unwrap();
    }
    looks
}

/// Neither the ring of units nor that of any feed keeps more than it may.
fn assert_bounded(source: &Source) {
    let (bytes, span) = source.fill();
    assert!(bytes <= BOUNDS.bytes && span <= BOUNDS.span, "{bytes} bytes, {span:?}");
    for feed in source.feeds() {
        assert!(feed.bytes <= BOUNDS.bytes && feed.span <= BOUNDS.span, "{feed:?}");
    }
}

/// Reads to the end, and takes a nap of `nap` after each batch; how many chunks it got, and how often it skipped.
fn read<M: Format>(source: &Rc<Source>, nap: Duration) -> (u64, u64) {
    let mut subscriber = source.subscribe::<M>(Select::All, Start::Gop).unwrap();
    let mut batch = Batch::default();
    let mut chunks = 0;
    loop {
        match subscriber.recv(&mut batch) {
            Ok(()) => chunks += batch.chunks.len() as u64,
            Err(PlayEnd::Unpublished) => return (chunks, subscriber.skips()),
            Err(end) => panic!("{end}"),
        }
        if !nap.is_zero() {
            rt::sleep(nap).unwrap();
        }
    }
}

/// Four readers for as long as there is something to read, one of them far too slow.
fn read_all(registry: &Registry) {
    let source = registry.wait_for(&may_play(), rt::now() + Duration::from_secs(10)).unwrap();
    let at_once = Duration::ZERO;
    rt::scope(|scope| {
        let ts = scope.spawn(|| read::<TsMux>(&source, at_once));
        let flv = scope.spawn(|| read::<FlvMux>(&source, at_once));
        let mp4 = scope.spawn(|| read::<Fmp4>(&source, at_once));
        let slow = scope.spawn(|| read::<Fmp4>(&source, Duration::from_secs(20)));
        for (name, reader) in [("ts", ts), ("flv", flv), ("mp4", mp4)] {
            let (chunks, skips) = reader.join().unwrap();
            assert!(chunks >= u64::from(ROUNDS) * PICTURES_PER_CLIP, "{name}: {chunks} chunks");
            assert_eq!(skips, 0, "{name}");
        }
        let (_, skips) = slow.join().unwrap();
        assert!(skips > 100, "the slow one skipped {skips} times");
    });
}

/// The units of a transport stream.
#[derive(Default)]
struct Units {
    tracks: Tracks,
    units: Vec<AccessUnit>,
}

impl Sink for Units {
    fn tracks(&mut self, tracks: &Tracks) {
        self.tracks = tracks.clone();
    }

    fn unit(&mut self, unit: AccessUnit) {
        self.units.push(unit);
    }
}

impl TsSink for Units {
    fn packet(&mut self, _: &[u8; PACKET_LEN], _: &PacketInfo) {}

    fn jump(&mut self, _: Jump) {}
}

/// Sends the units again and again as they are due, from half an hour before the clock of 33 bits wraps.
fn publish_ts(registry: &Registry, clip: &Units) {
    let mut ingest = TsIngest::new(registry.publish(&may_publish(), false).unwrap());
    let mut mux = TsMux::new(Select::All);
    mux.tracks(&clip.tracks);
    let first = clip.units.iter().map(|unit| unit.dts).min().unwrap();
    let origin = Timestamp::from_ticks((1 << 33) - 1_800 * 90_000);
    let begun = rt::now();
    let mut chunks: Vec<Chunk> = Vec::new();
    for round in 0..ROUNDS {
        for unit in &clip.units {
            let mut unit = unit.clone();
            let due = CLIP * round + (unit.dts - first).duration();
            let shift = (origin - first) + Span::from(CLIP * round);
            (unit.dts, unit.pts) = (unit.dts + shift, unit.pts + shift);
            rt::sleep_until(begun + due).unwrap();
            mux.unit(&unit, &mut chunks);
            for chunk in chunks.drain(..) {
                chunk.head.iter().flat_map(|head| head.iter()).for_each(|part| ingest.push(part));
                chunk.parts.iter().for_each(|part| ingest.push(part));
            }
        }
    }
    ingest.finish();
    let source = ingest_source(registry);
    assert!(source.frames() >= u64::from(ROUNDS) * PICTURES_PER_CLIP - 1, "{}", source.frames());
    assert_eq!(source.jumps(), 0);
}

fn ingest_source(registry: &Registry) -> Rc<Source> {
    registry.find(&key()).expect("it is published")
}

#[test]
fn an_hour_of_transport_stream_stays_within_the_bounds_of_its_rings() {
    let bytes = clip("mpegts");
    simulate(move || {
        let mut units = Units::default();
        let mut demuxer = Demuxer::new(Programme::First);
        demuxer.push(&bytes, &mut units);
        demuxer.finish(&mut units);
        units.units.sort_by_key(|unit| unit.dts);
        let registry = registry();
        let begun = rt::now();
        rt::scope(|scope| {
            scope.spawn(|| publish_ts(&registry, &units));
            scope.spawn(|| read_all(&registry));
            rt::yield_now().unwrap();
            assert!(watch_bounds(&registry) > 4_000);
        });
        assert!(rt::now() - begun >= Duration::from_secs(3_590));
    });
}

/// Sound and pictures of an FLV file.
fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = TagReader::default();
    reader.push(file);
    std::iter::from_fn(|| reader.next_tag().unwrap())
        .filter(|tag| matches!(tag.kind, TagKind::Audio | TagKind::Video))
        .collect()
}

/// A publisher by RTMP whose 32 bits of milliseconds wrap after half an hour.
fn publish_rtmp(registry: &Registry, tags: &[Tag]) {
    let (ours, theirs) = duplex(64 << 10);
    let clients = Clients::default();
    let client = clients.enter("rtmp", "192.0.2.1:5000".parse().unwrap());
    let seconds = Duration::from_secs;
    let settings = rtmp::Settings {
        gate: Gate::open(),
        proxies: None,
        handshake: seconds(10),
        start: Start::Gop,
        wait: seconds(2),
        silence: seconds(20),
        stall: seconds(5),
        takes_over: false,
        silent_player: Carriage::Enhanced,
    };
    let frames = Cell::new(0);
    rt::scope(|scope| {
        scope.spawn(|| rtmp::converse(&theirs, &client, None, registry, &settings).unwrap_err());
        let wish = Wish {
            publishes: true,
            app: "live".to_owned(),
            tc_url: "rtmp://gateway/live".to_owned(),
            name: "cam".to_owned(),
            is_enhanced: false,
        };
        let mut peer = open(ours, wish).unwrap();
        let begun = rt::now();
        let origin = 0_u32.wrapping_sub(1_800_000);
        for round in 0..ROUNDS {
            for tag in tags {
                let due = CLIP * round + Duration::from_millis(tag.timestamp_ms.into());
                rt::sleep_until(begun + due).unwrap();
                let timestamp_ms = origin.wrapping_add(u32::try_from(due.as_millis()).unwrap());
                peer.send(&Tag { timestamp_ms, ..tag.clone() }).unwrap();
            }
        }
        let source = ingest_source(registry);
        assert_eq!(source.jumps(), 0);
        frames.set(source.frames());
        drop(peer);
    });
    assert!(frames.get() >= u64::from(ROUNDS) * PICTURES_PER_CLIP - 2, "{}", frames.get());
}

#[test]
fn an_hour_of_rtmp_stays_within_the_bounds_of_its_rings() {
    let tags = tags(&clip("flv"));
    simulate(move || {
        let registry = registry();
        rt::scope(|scope| {
            scope.spawn(|| publish_rtmp(&registry, &tags));
            scope.spawn(|| read_all(&registry));
            let source =
                registry.wait_for(&may_play(), rt::now() + Duration::from_secs(10)).unwrap();
            drop(source);
            assert!(watch_bounds(&registry) > 4_000);
        });
    });
}
