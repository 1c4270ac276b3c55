//! Streams, fed with units by hand, and their playlists read by `quick-m3u8`.

use super::*;
use crate::{
    hub::{Bounds, Clients, Registry},
    media::{CodecConfig, TrackId, aac, h264, hex},
};
use quick_m3u8::{HlsLine, Reader, config::ParsingOptionsBuilder, tag::KnownTag};
use std::time::Duration;

const VIDEO: TrackId = TrackId(256);
const SOUND: TrackId = TrackId(257);
const SECOND: TrackId = TrackId(258);

fn h264(sps: &str, pps: &str) -> Rc<CodecConfig> {
    let sets = [hex(sps), hex(pps)];
    let config = h264::Config::from_parameter_sets(sets.iter().map(Vec::as_slice));
    Rc::new(CodecConfig::H264(config.unwrap()))
}

fn high() -> Rc<CodecConfig> {
    h264("6764001facd9405005bb0110000003001000000303c0f1831960", "68ebe3cb22c0")
}

fn baseline() -> Rc<CodecConfig> {
    h264("6742c028d900780227a9b01100000303e90000ea600f183248", "68cb83cb20")
}

fn sound() -> Rc<CodecConfig> {
    Rc::new(CodecConfig::Aac(aac::Config::from_asc(&[0x11, 0x90]).unwrap()))
}

fn settings() -> Settings {
    let registry = Registry::new(crate::hub::Settings {
        bounds: Bounds { bytes: 1 << 20, span: Span::from_ms(10_000) },
        grace: Duration::ZERO,
        merge_window: Duration::ZERO,
        streams_max: 10,
        publishers_max: 10,
        publisher_rate_bps: None,
    });
    Settings {
        gate: crate::auth::Gate::open(),
        registry,
        clients: Clients::default(),
        segments: Segments::Auto,
        target: Duration::from_secs(2),
        part: Some(Duration::from_millis(200)),
        segments_kept: 5,
        stream_bytes: 1 << 20,
        is_always: false,
        idle: Duration::from_secs(60),
        wait: Duration::ZERO,
        has_sessions: true,
        key_segments: None,
        directory: None,
        on_segment: None,
    }
}

/// A stream of 25 pictures a second with a random-access point each second, and sound.
struct Feeder {
    state: State,
    video: Rc<CodecConfig>,
    sounds: Vec<TrackId>,
    picture: i64,
}

impl Feeder {
    fn new(settings: &Settings, sounds: &[TrackId]) -> Self {
        let state = State::new("live/cam".parse().unwrap(), settings, Resumed::default());
        let mut feeder = Self { state, video: high(), sounds: sounds.to_vec(), picture: 0 };
        feeder.tell_tracks();
        feeder.state.note_time(Timestamp::ZERO, 1_700_000_000_000);
        feeder
    }

    fn tell_tracks(&mut self) {
        let track = |id, config: Rc<CodecConfig>| Track {
            id,
            codec: config.codec(),
            language: None,
            config: Some(config),
        };
        let sounds = self.sounds.iter().map(|&id| track(id, sound()));
        let tracks = [track(VIDEO, Rc::clone(&self.video))].into_iter().chain(sounds).collect();
        self.state.tracks(&tracks);
    }

    fn seconds(&mut self, seconds: i64) {
        let sound = sound();
        for _ in 0..25 * seconds {
            let dts = Timestamp::from_ms(self.picture * 40);
            let is_key = self.picture % 25 == 0;
            self.push(VIDEO, &Rc::clone(&self.video), dts, is_key);
            // About as many frames of sound as pictures last.
            for id in self.sounds.clone() {
                for half in 0..2 {
                    self.push(id, &sound, dts + Span::from_ms(20 * half), true);
                }
            }
            self.picture += 1;
        }
    }

    fn push(&mut self, track: TrackId, config: &Rc<CodecConfig>, dts: Timestamp, key: bool) {
        let payload = Bytes::from_static(&[0, 0, 0, 2, 0x41, 0x9a]);
        let config = Rc::clone(config);
        let unit = AccessUnit { track, dts, pts: dts, random_access: key, config, payload };
        self.state.unit(&Rc::new(unit));
    }

    fn playlist(&mut self, lane: usize, is_delta: bool) -> String {
        let (text, _) = self.state.playlist("e0", lane, is_delta).unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert_is_known(&text);
        text
    }
}

/// `quick-m3u8` knows every line.
fn assert_is_known(text: &str) {
    let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
    let mut reader = Reader::from_str(text, options);
    while let Some(line) = reader.read_line().expect("a playlist is read to its end") {
        match line {
            HlsLine::KnownTag(KnownTag::Hls(_)) | HlsLine::Uri(_) => {}
            other => panic!("{other:?} in\n{text}"),
        }
    }
}

fn count(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.starts_with(what)).count()
}

fn value<'a>(text: &'a str, tag: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(tag)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {tag} in\n{text}"))
}

#[test]
fn a_playlist_names_the_last_segments_and_the_parts_of_the_newest() {
    let mut feeder = Feeder::new(&settings(), &[SOUND]);
    feeder.seconds(30);
    let text = feeder.playlist(0, false);
    assert_eq!(count(&text, "#EXTINF"), 5, "{text}");
    assert_eq!(value(&text, "#EXT-X-TARGETDURATION"), "2");
    assert_eq!(count(&text, "#EXT-X-MAP"), 1);
    assert_eq!(count(&text, "#EXT-X-PRELOAD-HINT"), 1);
    assert_eq!(count(&text, "#EXT-X-PROGRAM-DATE-TIME"), count(&text, "#EXTINF") + 1);
    // Three target durations' worth.
    assert!((30..45).contains(&count(&text, "#EXT-X-PART:")), "{text}");
    let first: u64 = value(&text, "#EXT-X-MEDIA-SEQUENCE").parse().unwrap();
    assert!(text.contains(&format!("hls-e0-main-{first}.m4s\n")), "{text}");
}

#[test]
fn a_delta_and_what_was_known_are_the_whole() {
    let settings = Settings { segments_kept: 20, ..settings() };
    let mut feeder = Feeder::new(&settings, &[SOUND]);
    feeder.seconds(50);
    let (whole, delta) = (feeder.playlist(0, false), feeder.playlist(0, true));
    let skip = "#EXT-X-SKIP:SKIPPED-SEGMENTS=";
    let line = delta.lines().find(|line| line.starts_with(skip)).unwrap();
    let skipped: usize = line[skip.len()..].parse().unwrap();
    assert!((10..20).contains(&skipped), "{delta}");
    // What a player knows: the segments of the whole, each from behind the address of the one before.
    let body = whole.find("#EXT-X-MAP").unwrap();
    let mut known = body;
    for _ in 0..skipped {
        // In tags, addresses are quoted.
        known += whole[known..].find(".m4s\n").unwrap() + ".m4s\n".len();
    }
    let merged = delta.replace(&format!("{line}\n"), &whole[body..known]);
    assert_eq!(merged, whole);
}

#[test]
fn another_configuration_is_a_discontinuity_with_another_init() {
    let mut feeder = Feeder::new(&settings(), &[SOUND]);
    feeder.seconds(5);
    feeder.video = baseline();
    feeder.tell_tracks();
    feeder.seconds(4);
    let text = feeder.playlist(0, false);
    assert_eq!(count(&text, "#EXT-X-DISCONTINUITY\n".trim()), 2, "tag and sequence:\n{text}");
    assert_eq!(count(&text, "#EXT-X-MAP"), 2, "{text}");
    feeder.seconds(30);
    let text = feeder.playlist(0, false);
    assert_eq!(value(&text, "#EXT-X-DISCONTINUITY-SEQUENCE"), "1", "{text}");
    assert_eq!(count(&text, "#EXT-X-DISCONTINUITY\n".trim()), 1, "{text}");
}

#[test]
fn numbers_go_on_after_another_publisher() {
    let mut feeder = Feeder::new(&settings(), &[SOUND]);
    feeder.seconds(4);
    let before = feeder.state.lanes[0].next_msn();
    feeder.state.interrupt();
    feeder.state.note_time(Timestamp::from_ms(feeder.picture * 40), 1_700_000_090_000);
    feeder.seconds(4);
    let text = feeder.playlist(0, false);
    assert!(feeder.state.lanes[0].next_msn() > before);
    assert_eq!(value(&text, "#EXT-X-MEDIA-SEQUENCE"), FIRST_MSN.to_string());
    assert!(
        text.contains("#EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:14:"),
        "{text}"
    );
}

#[test]
fn several_sounds_are_renditions_that_report_on_each_other() {
    let mut feeder = Feeder::new(&settings(), &[SOUND, SECOND]);
    feeder.seconds(10);
    assert_eq!(feeder.state.lanes.len(), 3);
    let names: Vec<&str> = feeder.state.lanes.iter().map(|lane| &*lane.name).collect();
    assert_eq!(names, ["main", "audio1", "audio2"]);
    let multivariant = playlist::multivariant(&feeder.state.lanes, "cam", "?session=1");
    assert_is_known(&multivariant);
    assert_eq!(count(&multivariant, "#EXT-X-MEDIA:TYPE=AUDIO"), 2);
    assert!(
        multivariant.contains("AUDIO=\"audio\"\ncam/hls-main.m3u8?session=1\n"),
        "{multivariant}"
    );
    for lane in 0..3 {
        let text = feeder.playlist(lane, false);
        assert_eq!(count(&text, "#EXT-X-RENDITION-REPORT"), 2, "{text}");
        let next: Vec<u64> = feeder.state.lanes.iter().map(Lane::next_msn).collect();
        assert!(next.iter().all(|&msn| msn == next[0]), "segments are numbered alike: {next:?}");
    }
}

#[test]
fn requests_are_answered_when_there_is_what_they_want_and_refused_when_absurd() {
    let mut feeder = Feeder::new(&settings(), &[]);
    feeder.seconds(5);
    let lane = &feeder.state.lanes[0];
    let (growing, parts) = (lane.growing_msn(), lane.open().unwrap().parts.len());
    assert!(lane.has(growing - 1, None) && !lane.has(growing, None));
    assert!(lane.has(growing, Some(parts - 1)) && !lane.has(growing, Some(parts)));
    // A part behind the last of its segment is the first of the next.
    assert!(lane.has(growing - 1, Some(99)));
    assert!(!lane.is_absurd(growing + 1, None) && lane.is_absurd(growing + 2, None));
    assert!(
        !lane.is_absurd(growing, Some(parts + 1)) && lane.is_absurd(growing, Some(parts + 100))
    );
    assert!(lane.is_absurd(u64::MAX, None));
}

#[test]
fn encrypted_segments_name_their_keys_and_their_parts_are_encrypted_each_by_itself() {
    let settings = Settings { key_segments: Some(2), ..settings() };
    let mut feeder = Feeder::new(&settings, &[SOUND]);
    feeder.seconds(12);
    let text = feeder.playlist(0, false);
    assert!(count(&text, "#EXT-X-KEY:METHOD=AES-128") >= 2, "{text}");
    assert!(count(&text, "#EXT-X-PART:") > 10, "{text}");
    let map = text.find("#EXT-X-MAP").unwrap();
    assert!(map < text.find("#EXT-X-KEY").unwrap(), "the init segment is not encrypted:\n{text}");
    let segment = feeder.state.lanes[0].listed().last().unwrap();
    let key = segment.key.as_ref().unwrap();
    let plain = |body: &[u8]| key.decrypt(body, segment.msn);
    let parts: Vec<u8> = segment.parts.iter().flat_map(|part| plain(&part.body)).collect();
    assert!(segment.parts.len() > 1 && parts == plain(&segment.body));
}

#[test]
fn what_a_lane_keeps_is_bounded_in_bytes() {
    let settings = Settings { stream_bytes: 2_000, segments_kept: 1_000, ..settings() };
    let mut feeder = Feeder::new(&settings, &[SOUND]);
    feeder.seconds(60);
    let kept: usize = feeder.state.lanes[0].listed().map(Segment::len).sum();
    assert!(kept <= 2_000 || feeder.state.lanes[0].listed().count() == 1, "{kept}");
}

#[test]
fn what_transport_streams_have_no_place_for_goes_out_as_mp4() {
    let settings = Settings { segments: Segments::Ts, ..settings() };
    let mut feeder = Feeder::new(&settings, &[SOUND]);
    feeder.seconds(5);
    assert_eq!(feeder.state.lanes[0].container, Container::Ts);
    let text = feeder.playlist(0, false);
    assert_eq!(count(&text, "#EXT-X-MAP"), 0);
    let body = &feeder.state.lanes[0].listed().next().unwrap().body;
    assert_eq!((body.len() % 188, body[0], &body[1..3]), (0, 0x47, &[0x40, 0x00][..]), "PAT first");
}
