//! From access units to init segments and samples: which tracks, when an init is due, at which times.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{Init, InitTrack, Sample, clock::Clock};
use crate::{
    container::{LeftOut, Select},
    media::{AccessUnit, CodecConfig, MediaKind, Span, Timestamp, Track, TrackId, Tracks, nal},
};
use bytes::Bytes;
use std::rc::Rc;

/// Makes the samples of one source. The rules are told in the [module](super).
#[derive(Debug)]
pub struct Packager {
    select: Select,
    tracks: Tracks,
    /// The newest configuration of each selected track, announced or come with a unit.
    known: Vec<(TrackId, Rc<CodecConfig>)>,
    /// `track_ID` is the position, counted from 1. A track keeps it; one of the same kind that comes in its place, as when
    /// a publisher comes back by another protocol, takes it over: players hold on to the numbers that they saw first.
    ids: Vec<(TrackId, MediaKind)>,
    waiting: Waiting,
    origin: Timestamp,
    init: Option<Rc<Init>>,
    /// Of the tracks in the init, in its order.
    carried: Vec<Carried>,
    /// Another init is due.
    stale: bool,
}

/// What comes out, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// From here on this init is in force.
    Init(Rc<Init>),
    /// The next sample.
    Sample(Sample),
}

#[derive(Debug)]
struct Carried {
    /// Its `track_ID`.
    id: u32,
    source: TrackId,
    config: Rc<CodecConfig>,
    clock: Clock,
    /// Its configuration has changed before: parameter sets also go into samples.
    in_band: bool,
}

/// Units that came before the first init.
#[derive(Debug, Default)]
struct Waiting {
    units: Vec<AccessUnit>,
    bytes: usize,
}

impl Waiting {
    /// How long a configuration may keep the others waiting, in time, units and bytes.
    const SPAN: Span = Span::from_ms(2_000);
    const UNITS: usize = 1_024;
    const BYTES: usize = 16 << 20;

    fn is_over(&self) -> bool {
        let times = || self.units.iter().map(|unit| unit.dts);
        let span =
            times().max().zip(times().min()).map_or(Span::ZERO, |(last, first)| last - first);
        span > Self::SPAN || self.units.len() >= Self::UNITS || self.bytes >= Self::BYTES
    }
}

impl Packager {
    /// How long before the first unit time begins: audio and video of a source start at different times.
    const LEAD: Span = Span::from_ms(1_000);

    /// For a source of which nothing is known yet.
    pub fn new(select: Select) -> Self {
        Self {
            select,
            tracks: Tracks::default(),
            known: Vec::new(),
            ids: Vec::new(),
            waiting: Waiting::default(),
            origin: Timestamp::ZERO,
            init: None,
            carried: Vec::new(),
            stale: false,
        }
    }

    /// The source consists of these tracks from here on.
    pub fn tracks(&mut self, tracks: &Tracks) {
        self.tracks = tracks.clone();
        let wanted: Vec<Track> = self.wanted().cloned().collect();
        self.known.retain(|(id, _)| wanted.iter().any(|track| track.id == *id));
        for track in &wanted {
            if let Some(config) = &track.config {
                self.learn(track.id, config);
            }
        }
        self.stale |= self.init.is_some()
            && self.carried.iter().any(|carried| !self.is_known(carried.source));
    }

    /// Appends what `unit` becomes.
    pub fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Output>) {
        if !self.wanted().any(|track| track.id == unit.track) {
            return;
        }
        self.learn(unit.track, &unit.config);
        if self.init.is_some() {
            self.package(unit, out);
            return;
        }
        self.waiting.bytes += unit.payload.len();
        self.waiting.units.push(unit.clone());
        let complete = self.wanted().all(|track| self.is_known(track.id));
        if !complete && !self.waiting.is_over() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let first = waiting.units.iter().map(|unit| unit.dts).min().unwrap_or_default();
        self.origin = first - Self::LEAD;
        self.renew(out);
        for unit in &waiting.units {
            self.package(unit, out);
        }
    }

    /// The init that is in force.
    pub const fn init(&self) -> Option<&Rc<Init>> {
        self.init.as_ref()
    }

    /// The selected tracks that are not carried, once it is known which are.
    pub fn left_out(&self) -> impl Iterator<Item = (TrackId, LeftOut)> {
        let init = self.init.as_ref();
        let selected = self.tracks.iter().filter(|track| self.select.carries(track.codec.kind()));
        selected.filter_map(move |track| {
            let carried = init?.tracks().iter().any(|carried| carried.source == track.id);
            let why =
                if self.is_known(track.id) || self.wanted().all(|wanted| wanted.id != track.id) {
                    self.why_unsupported(track)
                } else {
                    LeftOut::NoConfig
                };
            (!carried).then_some((track.id, why))
        })
    }

    fn why_unsupported(&self, track: &Track) -> LeftOut {
        let first = self.tracks.video().map(|first| first.id);
        let is_second = track.codec.kind() == MediaKind::Video && first != Some(track.id);
        if is_second { LeftOut::NotFirst } else { LeftOut::Codec }
    }

    /// The tracks that an init should have: of the selected, the first video and all audio.
    fn wanted(&self) -> impl Iterator<Item = &Track> {
        let video = self.tracks.video().map(|track| track.id);
        self.tracks.iter().filter(move |track| match track.codec.kind() {
            MediaKind::Video => self.select.carries(MediaKind::Video) && video == Some(track.id),
            MediaKind::Audio => self.select.carries(MediaKind::Audio),
        })
    }

    fn is_known(&self, id: TrackId) -> bool {
        self.known.iter().any(|(known, _)| *known == id)
    }

    /// Takes a configuration. An init without it is stale.
    fn learn(&mut self, id: TrackId, config: &Rc<CodecConfig>) {
        if let Some((_, known)) = self.known.iter_mut().find(|(known, _)| *known == id) {
            if Rc::ptr_eq(known, config) {
                return;
            }
            let same = known == config;
            *known = Rc::clone(config);
            if same {
                return;
            }
        } else {
            self.known.push((id, Rc::clone(config)));
        }
        self.stale |= self.init.is_some();
    }

    /// Makes an init of all that is known.
    fn renew(&mut self, out: &mut Vec<Output>) {
        self.stale = false;
        let wanted: Vec<(TrackId, _)> =
            self.wanted().map(|track| (track.id, track.language)).collect();
        let mut tracks = Vec::new();
        for (source, language) in wanted {
            let Some((_, config)) = self.known.iter().find(|(known, _)| *known == source) else {
                continue;
            };
            let config = Rc::clone(config);
            let id = self.track_id(source, config.codec().kind());
            tracks.push(InitTrack { id, source, language, config });
        }
        let version = self.init.as_ref().map_or(0, |init| init.version()) + 1;
        let Some(init) = Init::new(version, tracks) else { return };
        let before = std::mem::take(&mut self.carried);
        self.carried = init.tracks().iter().map(|track| Carried::new(track, &before)).collect();
        let init = Rc::new(init);
        self.init = Some(Rc::clone(&init));
        out.push(Output::Init(init));
    }

    fn track_id(&mut self, source: TrackId, kind: MediaKind) -> u32 {
        let own = self.ids.iter().position(|(id, _)| *id == source);
        let is_gone = |id: TrackId| self.tracks.iter().all(|track| track.id != id);
        let free = || self.ids.iter().position(|(id, of)| *of == kind && is_gone(*id));
        let at = own.or_else(free).unwrap_or(self.ids.len());
        match self.ids.get_mut(at) {
            Some(slot) => *slot = (source, kind),
            None => self.ids.push((source, kind)),
        }
        u32::try_from(at + 1).expect("a source has at most 65 536 tracks")
    }

    /// One unit, with an init before it where one is due and allowed.
    fn package(&mut self, unit: &AccessUnit, out: &mut Vec<Output>) {
        if self.stale {
            let video = self.wanted().find(|track| track.codec.kind() == MediaKind::Video);
            let allowed = video.is_none_or(|track| track.id == unit.track && unit.random_access);
            if allowed {
                self.renew(out);
            }
        }
        let Some((at, carried)) =
            (0_usize..).zip(&mut self.carried).find(|(_, carried)| carried.source == unit.track)
        else {
            return;
        };
        let Some(id) =
            self.init.as_ref().and_then(|init| init.tracks().get(at)).map(|track| track.id)
        else {
            return;
        };
        let described = Rc::ptr_eq(&carried.config, &unit.config) || carried.config == unit.config;
        let prefix = if described && !(carried.in_band && unit.random_access) {
            Bytes::new()
        } else {
            match parameter_sets(&unit.config) {
                Some(sets) => sets,
                None if described => Bytes::new(),
                None => return,
            }
        };
        let Some(time) = carried.clock.stamp(unit, self.origin) else { return };
        out.push(Output::Sample(Sample {
            track: id,
            kind: unit.config.codec().kind(),
            dts: unit.dts,
            decode_time: time.decode,
            duration: time.duration,
            composition_offset: time.composition_offset,
            random_access: unit.random_access,
            prefix,
            payload: unit.payload.clone(),
        }));
    }
}

impl Carried {
    /// Goes on where the same track, or the one in whose place it came, stood in the init before.
    fn new(track: &InitTrack, before: &[Self]) -> Self {
        let old = before.iter().find(|old| old.id == track.id);
        let changed = old.is_some_and(|old| old.config != track.config);
        Self {
            id: track.id,
            source: track.source,
            config: Rc::clone(&track.config),
            clock: match old {
                Some(old) if !changed => old.clock.clone(),
                Some(old) => old.clock.changed(&track.config),
                None => Clock::new(&track.config),
            },
            in_band: changed || old.is_some_and(|old| old.in_band),
        }
    }
}

/// The parameter sets of H.264 and HEVC after their lengths, to stand in a sample.
fn parameter_sets(config: &CodecConfig) -> Option<Bytes> {
    let mut sets = Vec::new();
    match config {
        CodecConfig::H264(config) => {
            config.parameter_sets().for_each(|set| nal::put_length_prefixed(set, &mut sets));
        }
        CodecConfig::Hevc(config) => {
            config.parameter_sets().for_each(|set| nal::put_length_prefixed(set, &mut sets));
        }
        _ => return None,
    }
    Some(Bytes::from(sets))
}
