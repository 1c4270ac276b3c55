//! A stream as HLS has it: units in, lanes of segments and parts out, and whoever waits for them.
//!
//! One packager makes the samples of all tracks, so that all lanes share one clock. Where there is video and several tracks
//! of sound in fMP4, each track has a lane and players choose; otherwise there is one lane with all that fits it.

use super::{
    Segments, Settings,
    crypt::Keys,
    lane::{Body, Changes, Container, Lane, Piece, Rules, Segment},
    name::{self, MAIN},
    playlist,
};
use crate::{
    container::{
        Select,
        fmp4::{Init, Output, Packager, Sample},
        ts::TsMux,
    },
    hub::Source,
    key::StreamKey,
    media::{AccessUnit, Codec, MediaKind, Span, Timestamp, Track, Tracks},
};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    rc::{Rc, Weak},
    time::Instant,
};
use thalweg_runtime::{self as rt, sync::Cond};
use tracing::warn;

/// One stream while it is segmented, and for a while after.
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) epoch: String,
    pub(super) source: Weak<Source>,
    pub(super) state: RefCell<State>,
    /// There is a part or a segment more, or the end.
    pub(super) changed: Cond,
    /// Segmenting goes on.
    pub(super) is_running: Cell<bool>,
    /// When somebody last asked for something.
    pub(super) asked: Cell<Instant>,
}

/// What a stream consists of.
pub(super) struct State {
    key: StreamKey,
    wanted: Segments,
    rules: Rc<Rules>,
    keys: Option<Rc<Keys>>,
    packager: Packager,
    tracks: Tracks,
    output: Vec<Output>,
    /// Units whose samples have not come out of the packager yet.
    units: VecDeque<Rc<AccessUnit>>,
    pub(super) lanes: Vec<Lane>,
    clock: WallClock,
    pub(super) has_ended: bool,
    /// Counts what changes playlists.
    version: u64,
    rendered: Vec<Rendered>,
    resumed: Resumed,
    finished: Vec<(usize, u64)>,
    has_warned: bool,
}

/// Where the numbers of a stream go on that was segmented before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resumed {
    next_msn: u64,
    discontinuities: u64,
}

/// The number of a stream's first segment. hls.js 1.7.4 takes a segment 0 whose sound ends before its pictures for one that
/// was thrown out of the buffer, and loads its parts again and again until playback stalls.
const FIRST_MSN: u64 = 1;

impl Default for Resumed {
    fn default() -> Self {
        Self { next_msn: FIRST_MSN, discontinuities: 0 }
    }
}

/// A playlist that was written before.
#[derive(Debug)]
struct Rendered {
    lane: usize,
    is_delta: bool,
    version: u64,
    text: Bytes,
}

/// Media time to the time of day. It follows slowly, so that times of segments do not jump.
#[derive(Clone, Copy, Debug, Default)]
struct WallClock {
    /// A media time, and milliseconds since 1970.
    anchor: Option<(Timestamp, i64)>,
}

/// A packager that waits for a configuration holds at most so many units.
const UNITS: usize = 2_048;

impl Stream {
    pub(super) fn new(
        source: &Rc<Source>,
        settings: &Settings,
        resumed: Resumed,
        unix_s: u64,
    ) -> Self {
        Self {
            key: source.key().clone(),
            epoch: name::epoch(unix_s),
            source: Rc::downgrade(source),
            state: RefCell::new(State::new(source.key().clone(), settings, resumed)),
            changed: Cond::new(),
            is_running: Cell::new(true),
            asked: Cell::new(rt::now()),
        }
    }

    /// Whether it is of this source, and goes on.
    pub(super) fn serves(&self, source: &Rc<Source>) -> bool {
        self.is_running.get() && std::ptr::eq(self.source.as_ptr(), Rc::as_ptr(source))
    }
}

impl State {
    fn new(key: StreamKey, settings: &Settings, resumed: Resumed) -> Self {
        let rules = Rules {
            target: Span::from(settings.target),
            part: Span::from(settings.part.unwrap_or(settings.target / 4)),
            has_parts: settings.part.is_some(),
            listed: settings.segments_kept,
            bytes: settings.stream_bytes,
        };
        Self {
            key,
            wanted: settings.segments,
            rules: Rc::new(rules),
            keys: settings.key_segments.map(|segments| Rc::new(Keys::new(segments))),
            packager: Packager::new(Select::All),
            tracks: Tracks::default(),
            output: Vec::new(),
            units: VecDeque::new(),
            lanes: Vec::new(),
            clock: WallClock::default(),
            has_ended: false,
            version: 0,
            rendered: Vec::new(),
            resumed,
            finished: Vec::new(),
            has_warned: false,
        }
    }

    /// What the source consists of.
    pub(super) fn tracks(&mut self, tracks: &Tracks) {
        if self.tracks != *tracks {
            self.tracks = tracks.clone();
            self.packager.tracks(tracks);
            self.lanes.iter_mut().for_each(|lane| lane.tracks(tracks));
        }
    }

    /// The publisher's times jumped. The hub goes on in time, and so may a decoder; that the publisher did not is for
    /// players to know.
    pub(super) fn note_jump(&mut self) {
        self.lanes.iter_mut().for_each(Lane::interrupt);
    }

    /// Another publisher begins, or units were lost: nothing goes on before the next random-access point.
    pub(super) fn interrupt(&mut self) {
        self.stop();
        self.clock = WallClock::default();
    }

    /// The unit due at `latest` is there at `now_ms`, in milliseconds since 1970.
    pub(super) fn note_time(&mut self, latest: Timestamp, now_ms: i64) {
        self.clock.note(latest, now_ms);
    }

    /// Takes a unit; whether there is more for players.
    pub(super) fn unit(&mut self, unit: &Rc<AccessUnit>) -> bool {
        if self.container() != Some(Container::Fmp4) {
            if self.units.len() == UNITS {
                self.units.pop_front();
            }
            self.units.push_back(Rc::clone(unit));
        }
        let before = self.version;
        let mut output = std::mem::take(&mut self.output);
        self.packager.unit(unit, &mut output);
        for output in output.drain(..) {
            match output {
                Output::Init(init) => self.renew(&init),
                Output::Sample(sample) => self.sample(sample),
            }
        }
        self.output = output;
        self.version != before
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.stop();
        self.has_ended = true;
        self.version += 1;
    }

    /// Nothing is kept but where the numbers go on.
    pub(super) fn forget(&mut self) {
        self.resumed = self.resumed();
        self.lanes.clear();
        self.units.clear();
        self.rendered.clear();
        self.version += 1;
    }

    /// The segments that became whole since the last call.
    pub(super) fn take_finished(&mut self) -> Vec<(usize, u64)> {
        std::mem::take(&mut self.finished)
    }

    /// Where the next to segment this stream goes on.
    pub(super) fn resumed(&self) -> Resumed {
        self.lanes.first().map_or(self.resumed, |main| Resumed {
            next_msn: main.next_msn(),
            discontinuities: main.all_discontinuities(),
        })
    }

    /// The place of the lane of this name.
    pub(super) fn lane_at(&self, name: &str) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.name == name)
    }

    /// The text of a media playlist, and the number of its version. Written once for all who ask.
    pub(super) fn playlist(
        &mut self,
        epoch: &str,
        at: usize,
        is_delta: bool,
    ) -> Option<(Bytes, u64)> {
        let lane = self.lanes.get(at)?;
        let version = self.version;
        self.rendered.retain(|rendered| rendered.version == version);
        let is_wanted = |r: &&Rendered| r.lane == at && r.is_delta == is_delta;
        if let Some(known) = self.rendered.iter().find(is_wanted) {
            return Some((known.text.clone(), version));
        }
        let (others, has_ended) = (&self.lanes[..], self.has_ended);
        let is_file = false;
        let text = playlist::Media { epoch, lane, others, has_ended, is_delta, is_file }.write();
        let text = Bytes::from(text);
        self.rendered.push(Rendered { lane: at, is_delta, version, text: text.clone() });
        Some((text, version))
    }

    /// The text of a media playlist for a file.
    pub(super) fn file_playlist(&self, epoch: &str, at: usize) -> Option<Bytes> {
        let lane = self.lanes.get(at)?;
        let (others, has_ended) = (&self.lanes[..], self.has_ended);
        let (is_delta, is_file) = (false, true);
        let text = playlist::Media { epoch, lane, others, has_ended, is_delta, is_file }.write();
        Some(Bytes::from(text))
    }

    fn container(&self) -> Option<Container> {
        self.lanes.first().map(|lane| lane.container)
    }

    fn stop(&mut self) {
        for at in 0..self.lanes.len() {
            let changes = self.lanes.get_mut(at).map(Lane::stop);
            self.note(at, changes.unwrap_or_default());
        }
    }

    /// Other tracks, or configurations, from here on.
    fn renew(&mut self, init: &Rc<Init>) {
        let container = self.choose(init);
        let plan = plan(init, container);
        let resumed = self.resumed();
        let is_same = self.container() == Some(container)
            && plan.len() == self.lanes.len()
            && plan.iter().zip(&self.lanes).all(|((name, _), lane)| *name == lane.name);
        if is_same {
            for (at, (_, init)) in plan.into_iter().enumerate() {
                let changes = self.lanes.get_mut(at).map(|lane| lane.renew(init));
                self.note(at, changes.unwrap_or_default());
            }
            return;
        }
        self.stop();
        let has_old = !self.lanes.is_empty() || resumed.next_msn > FIRST_MSN;
        let new = plan.into_iter().enumerate().map(|(at, (name, init))| {
            let rules = Rc::clone(&self.rules);
            let mut lane = Lane::new(name, init, container, at > 0, rules, resumed.next_msn);
            if has_old {
                lane.resume(resumed.discontinuities);
            }
            if let Some(keys) = &self.keys {
                lane.encrypt(keys);
            }
            lane.tracks(&self.tracks);
            lane
        });
        self.lanes = new.collect();
        self.version += 1;
    }

    fn choose(&mut self, init: &Init) -> Container {
        let wanted = match self.wanted {
            Segments::Fmp4 => return Container::Fmp4,
            Segments::Ts => true,
            Segments::Auto => is_better_in_ts(init),
        };
        let track = |track: &crate::container::fmp4::InitTrack| Track {
            id: track.source,
            codec: track.config.codec(),
            language: track.language,
            config: Some(Rc::clone(&track.config)),
        };
        let left_out = init.tracks().iter().map(track).find(|track| !TsMux::carries(track));
        match left_out {
            None if wanted => Container::Ts,
            Some(track) if self.wanted == Segments::Ts && !self.has_warned => {
                self.has_warned = true;
                warn!(stream = %self.key, codec = %track.codec, "hls.segments is ts, which has no place for this codec: fMP4 it is");
                Container::Fmp4
            }
            _ => Container::Fmp4,
        }
    }

    fn sample(&mut self, sample: Sample) {
        let Some(init) = self.packager.init().cloned() else { return };
        let Some(track) = init.track(sample.track) else { return };
        let at = match self.lanes.len() {
            0 => return,
            1 => 0,
            _ => self
                .lanes
                .iter()
                .position(|lane| lane.init.track(sample.track).is_some())
                .unwrap_or(0),
        };
        let Ok(decode_time) = i64::try_from(sample.decode_time) else { return };
        let time = Timestamp::ZERO + Span::from_units(decode_time, track.timescale());
        let duration = Span::from_units(i64::from(sample.duration), track.timescale());
        let (id, random_access) = (sample.track, sample.random_access);
        let program_ms = self.clock.at(sample.dts);
        let body = match self.container() {
            Some(Container::Ts) => {
                // The packager keeps the order, and leaves some out.
                let is_it =
                    |unit: &Rc<AccessUnit>| unit.track == track.source && unit.dts == sample.dts;
                let Some(place) = self.units.iter().position(is_it) else { return };
                let Some(unit) = self.units.drain(..=place).next_back() else { return };
                Body::Unit(unit)
            }
            _ => {
                self.units.clear();
                Body::Sample(sample)
            }
        };
        let piece = Piece { track: id, time, duration, random_access, body };
        let Some(lane) = self.lanes.get_mut(at) else { return };
        let changes = lane.add(piece, program_ms);
        self.note(at, changes);
        if changes.is_forced {
            self.warn_of_group();
        }
        if at == 0 && changes.begins {
            self.lanes.iter_mut().for_each(|lane| lane.follow(time));
        }
    }

    fn note(&mut self, at: usize, changes: Changes) {
        if let Some(msn) = changes.finished {
            self.finished.push((at, msn));
        }
        if changes.is_more {
            self.version += 1;
        }
    }

    fn warn_of_group(&mut self) {
        if !std::mem::replace(&mut self.has_warned, true) {
            let target_s = self.rules.target.ms() / 1_000;
            warn!(
                stream = %self.key,
                target_s,
                "a group of pictures is longer than hls.target_s, so segments are cut within it and players wait to begin: \
                 set the encoder's keyframe interval to at most {target_s} s (x264 and OBS: keyint, \"Keyframe Interval\"; \
                 ffmpeg: -g) or raise hls.target_s"
            );
        }
    }
}

impl WallClock {
    /// The unit due at `latest` is there now.
    fn note(&mut self, latest: Timestamp, now_ms: i64) {
        /// By how much it follows each time at most.
        const STEP_MS: i64 = 1;
        match &mut self.anchor {
            None => self.anchor = Some((latest, now_ms)),
            Some((time, ms)) => {
                let error = now_ms - (*ms + (latest - *time).ms());
                // Less is the network's jitter.
                if error.abs() > 50 {
                    *ms += error.signum() * STEP_MS;
                }
            }
        }
    }

    /// When what is due at `time` was there.
    fn at(&self, time: Timestamp) -> i64 {
        self.anchor.map_or(0, |(known, ms)| ms + (time - known).ms())
    }
}

/// The lanes for an init: their names, and the tracks of each.
fn plan(init: &Rc<Init>, container: Container) -> Vec<(String, Rc<Init>)> {
    let sounds = init.tracks().iter().filter(|track| track.kind() == MediaKind::Audio);
    let whole = vec![(MAIN.to_owned(), Rc::clone(init))];
    if container == Container::Ts || sounds.clone().count() < 2 {
        return whole;
    }
    let video = init.tracks().iter().find(|track| track.kind() == MediaKind::Video);
    let ids = video.into_iter().chain(sounds).map(|track| track.id);
    let named = ids.enumerate().map(|(at, id)| {
        let name = if at == 0 { MAIN.to_owned() } else { format!("audio{at}") };
        Some((name, Rc::new(init.only(id)?)))
    });
    named.collect::<Option<Vec<_>>>().unwrap_or(whole)
}

/// MP3 in MPEG-TS plays everywhere; in MP4 Apple's players do not know it.
fn is_better_in_ts(init: &Init) -> bool {
    let codecs = || init.tracks().iter().map(|track| track.config.codec());
    codecs().any(|codec| codec == Codec::Mp3)
        && codecs().all(|codec| matches!(codec, Codec::Mp3 | Codec::H264))
}

/// What a request for a playlist or a part may wait for.
impl Lane {
    /// Whether the playlist has the part, or the whole segment when no part is named. A part behind the last of its
    /// segment is the first of the next (draft-pantos-hls-rfc8216bis-17 §6.2.5.2).
    pub(super) fn has(&self, msn: u64, part: Option<usize>) -> bool {
        let growing = self.growing_msn();
        let count = |segment: &Segment| segment.parts.len();
        let open = self.open().map_or(0, count);
        match part {
            None => msn < growing,
            Some(part) if msn == growing => part < open,
            Some(_) if msn > growing => false,
            Some(part) => {
                let is_behind = self.segment(msn).is_some_and(|segment| part >= count(segment));
                !is_behind || msn + 1 < growing || open > 0
            }
        }
    }

    /// Whether nobody who read the playlist would ask for this yet: more than two segments ahead, or more parts than it
    /// takes to fill three seconds (§6.2.5.2).
    pub(super) fn is_absurd(&self, msn: u64, part: Option<usize>) -> bool {
        let growing = self.growing_msn();
        if msn > growing.saturating_add(1) {
            return true;
        }
        let Some((part, target)) = part.zip(self.part_target()) else { return false };
        let ms = usize::try_from(target.ms()).unwrap_or(1).max(1);
        let ahead = if ms >= 1_000 { 3 } else { 3_000_usize.div_ceil(ms) };
        let there = if msn == growing { self.open().map_or(0, |open| open.parts.len()) } else { 0 };
        msn >= growing && part >= there.saturating_add(ahead)
    }

    /// Whether a player can begin: there is a whole segment.
    pub(super) fn is_ready(&self) -> bool {
        self.listed().next().is_some()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("key", &self.key)
            .field("epoch", &self.epoch)
            .field("is_running", &self.is_running)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
