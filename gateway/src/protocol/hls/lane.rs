//! One media playlist's worth of a stream: its segments, the one that is being filled, and the rules of what is kept.
//!
//! A lane carries all tracks of a stream, or one of them where there are several of sound to choose from. One track
//! **leads**: segments and parts begin and end with its frames, the others go along. Lanes of sound beside one of video
//! **follow** that one's segments.
//!
//! Section numbers are those of draft-pantos-hls-rfc8216bis-17.

use super::{
    crypt::{Key, Keys},
    cut::{Cutter, Place},
};
use crate::{
    container::{
        Chunk, Mux, Select,
        fmp4::{Fragment, Init, Sample},
        ts::TsMux,
    },
    media::{AccessUnit, MediaKind, Span, Timestamp, Tracks},
};
use bytes::{Bytes, BytesMut};
use std::{collections::VecDeque, rc::Rc};

/// What segments are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// CMAF, with an init segment.
    Fmp4,
    /// MPEG-TS.
    Ts,
}

/// What every lane of a stream keeps to.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) target: Span,
    /// How long parts should be.
    pub(super) part: Span,
    /// Whether playlists name parts.
    pub(super) has_parts: bool,
    /// How many segments a playlist names.
    pub(super) listed: usize,
    /// How many bytes a lane keeps.
    pub(super) bytes: usize,
}

/// A frame on its way into a part.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// `track_ID` in the init segment.
    pub(super) track: u32,
    /// When it is due, on a clock that all tracks share.
    pub(super) time: Timestamp,
    /// How long it probably lasts.
    pub(super) duration: Span,
    pub(super) random_access: bool,
    pub(super) body: Body,
}

/// A frame in the form that its container wants.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Sample(Sample),
    Unit(Rc<AccessUnit>),
}

/// A part of a segment.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) duration: Span,
    /// Decoding can begin with it.
    pub(super) is_independent: bool,
    pub(super) body: Bytes,
}

/// A segment, whole or growing.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its media sequence number (§3).
    pub(super) msn: u64,
    begin: Timestamp,
    /// So far, while it grows.
    pub(super) duration: Span,
    pub(super) is_discontinuous: bool,
    /// Decoding can begin with it.
    pub(super) is_independent: bool,
    /// When its first frame was there, in milliseconds since 1970.
    pub(super) program_ms: i64,
    /// What must be known to decode it; none in MPEG-TS.
    pub(super) init: Option<Rc<Init>>,
    pub(super) key: Option<Rc<Key>>,
    pub(super) parts: Vec<Part>,
    /// The parts before they were encrypted, while it grows.
    plain: Vec<Bytes>,
    /// All of it, encrypted if need be; empty while it grows.
    pub(super) body: Bytes,
    /// Frames of the track that leads.
    pub(super) frames: u32,
}

/// What came of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// There is a part or a segment more.
    pub(super) is_more: bool,
    /// A segment begins with the frame.
    pub(super) begins: bool,
    /// It begins in the middle of a group of pictures.
    pub(super) is_forced: bool,
    /// The segment of this number is whole.
    pub(super) finished: Option<u64>,
}

/// One media playlist's worth of a stream.
#[derive(Debug)]
pub(super) struct Lane {
    /// `main`, `audio1`, `audio2`.
    pub(super) name: String,
    pub(super) init: Rc<Init>,
    pub(super) container: Container,
    rules: Rc<Rules>,
    lead: u32,
    /// Where segments begin that this lane follows; `None` when it follows none.
    boundaries: Option<VecDeque<Timestamp>>,
    cutter: Cutter,
    pending: Vec<Piece>,
    pending_bytes: usize,
    is_independent: bool,
    sequence: u32,
    mux: TsMux,
    segments: VecDeque<Segment>,
    open: Option<Segment>,
    next_msn: u64,
    /// The first segment that the playlist names.
    listed_from: u64,
    /// How many discontinuities have left the playlist (§4.4.3.3).
    gone_discontinuities: u64,
    is_discontinuous: bool,
    keys: Option<Rc<Keys>>,
}

/// A part is cut when it has so many bytes or frames, whatever its duration: times that stand still would fill the memory.
const PART_BYTES: usize = 16 << 20;
const PART_FRAMES: usize = 4_096;

/// As many segments as the lane of video may be ahead of one that follows.
const BOUNDARIES: usize = 64;

impl Lane {
    /// A lane of these tracks whose first segment will have the number `next_msn`.
    pub(super) fn new(
        name: String,
        init: Rc<Init>,
        container: Container,
        follows: bool,
        rules: Rc<Rules>,
        next_msn: u64,
    ) -> Self {
        Self {
            name,
            lead: leader(&init),
            init,
            container,
            boundaries: follows.then(VecDeque::new),
            cutter: Cutter::new(rules.target, rules.part),
            rules,
            pending: Vec::new(),
            pending_bytes: 0,
            is_independent: true,
            sequence: 0,
            mux: TsMux::new(Select::All),
            segments: VecDeque::new(),
            open: None,
            next_msn,
            listed_from: next_msn,
            gone_discontinuities: 0,
            is_discontinuous: false,
            keys: None,
        }
    }

    /// Encrypts the segments to come.
    pub(super) fn encrypt(&mut self, keys: &Rc<Keys>) {
        self.keys = Some(Rc::clone(keys));
    }

    /// Goes on from what another lane of this stream was: numbers rise, and what follows does not continue it.
    pub(super) fn resume(&mut self, gone_discontinuities: u64) {
        self.gone_discontinuities = gone_discontinuities;
        self.is_discontinuous = true;
    }

    /// Other tracks, or the same in another form, from here on.
    pub(super) fn renew(&mut self, init: Rc<Init>) -> Changes {
        let changes = self.stop();
        self.lead = leader(&init);
        self.init = init;
        changes
    }

    /// The muxer of MPEG-TS learns of the tracks.
    pub(super) fn tracks(&mut self, tracks: &Tracks) {
        self.mux.tracks(tracks);
    }

    /// What follows does not continue what was there: the next segment says so.
    pub(super) const fn interrupt(&mut self) {
        self.is_discontinuous = true;
    }

    /// A segment of the lane that this one follows begins.
    pub(super) fn follow(&mut self, begin: Timestamp) {
        if let Some(boundaries) = &mut self.boundaries {
            if boundaries.len() == BOUNDARIES {
                boundaries.pop_front();
            }
            boundaries.push_back(begin);
        }
    }

    /// Takes a frame; `program_ms` is when it was there.
    pub(super) fn add(&mut self, piece: Piece, program_ms: i64) -> Changes {
        let mut changes = Changes::default();
        let (time, duration) = (piece.time, piece.duration);
        let leads = piece.track == self.lead;
        if leads {
            let place = match &mut self.boundaries {
                Some(boundaries) => self.cutter.place_after(time, duration, boundaries),
                None => self.cutter.place(time, duration, piece.random_access),
            };
            match place {
                Place::Nowhere => return changes,
                Place::Here => {}
                Place::Segment { is_forced } => {
                    changes = self.end_segment(Some(time));
                    (changes.begins, changes.is_forced) = (true, is_forced);
                    self.begin_segment(time, !is_forced, program_ms);
                }
            }
            if self.cutter.begin_part(time) {
                self.is_independent = piece.random_access;
            }
        } else if self.open.is_none() {
            return changes;
        }
        self.pending_bytes += piece.len();
        self.pending.push(piece);
        let ends = leads && self.cutter.add(time, duration);
        if ends || self.pending_bytes >= PART_BYTES || self.pending.len() >= PART_FRAMES {
            self.end_part();
            changes.is_more = true;
        }
        changes
    }

    /// Ends the present segment; the next begins with a random-access point, and does not continue this.
    pub(super) fn stop(&mut self) -> Changes {
        let changes = self.end_segment(None);
        self.cutter.stop();
        self.pending.clear();
        self.pending_bytes = 0;
        self.is_discontinuous |= self.next_msn > self.listed_from;
        if let Some(boundaries) = &mut self.boundaries {
            boundaries.clear();
        }
        changes
    }

    fn begin_segment(&mut self, begin: Timestamp, is_independent: bool, program_ms: i64) {
        let msn = self.next_msn;
        self.next_msn += 1;
        self.mux.restart();
        self.open = Some(Segment {
            msn,
            begin,
            duration: Span::ZERO,
            is_discontinuous: std::mem::take(&mut self.is_discontinuous),
            is_independent,
            program_ms,
            init: (self.container == Container::Fmp4).then(|| Rc::clone(&self.init)),
            key: self.keys.as_ref().map(|keys| keys.of(msn)),
            parts: Vec::new(),
            plain: Vec::new(),
            body: Bytes::new(),
            frames: 0,
        });
    }

    fn end_part(&mut self) {
        let body = self.pack();
        self.pending_bytes = 0;
        let frames = self.cutter.frames();
        let duration = self.cutter.end_part();
        let Some(open) = &mut self.open else { return };
        let body = open.encrypt_part(body);
        open.frames += frames;
        open.duration = open.duration + duration;
        open.parts.push(Part { duration, is_independent: self.is_independent, body });
        self.is_independent = false;
    }

    /// `end` is where the next begins, if that is known.
    fn end_segment(&mut self, end: Option<Timestamp>) -> Changes {
        let mut changes = Changes::default();
        // What is pending without a frame of the track that leads goes into the next segment.
        if self.open.is_some() && self.cutter.frames() > 0 {
            self.end_part();
        }
        let Some(mut segment) = self.open.take() else { return changes };
        if segment.parts.is_empty() {
            self.next_msn = segment.msn;
            self.is_discontinuous |= segment.is_discontinuous;
            return changes;
        }
        if let Some(end) = end {
            segment.duration = end - segment.begin;
        }
        changes.is_more = true;
        changes.finished = Some(segment.msn);
        segment.close();
        self.segments.push_back(segment);
        self.forget();
        changes
    }

    /// Drops what is beyond the bounds.
    fn forget(&mut self) {
        let listed =
            |lane: &Self| lane.segments.iter().filter(|s| s.msn >= lane.listed_from).count();
        while listed(self) > self.rules.listed {
            self.unlist();
        }
        // Whoever has an older playlist still asks for what was in it (§6.2.2).
        while self.segments.len() > 2 * self.rules.listed + 1
            || (self.bytes() > self.rules.bytes && self.segments.len() > 1)
        {
            if self.segments.front().is_some_and(|first| first.msn >= self.listed_from) {
                self.unlist();
            }
            self.segments.pop_front();
        }
    }

    /// Takes the first segment out of the playlist.
    fn unlist(&mut self) {
        let first = self.segments.iter().find(|segment| segment.msn >= self.listed_from);
        if let Some(first) = first {
            self.listed_from = first.msn + 1;
            self.gone_discontinuities += u64::from(first.is_discontinuous);
        }
    }

    fn bytes(&self) -> usize {
        self.segments.iter().map(Segment::kept).sum()
    }

    /// The pending frames as bytes of the container.
    fn pack(&mut self) -> Bytes {
        let pending = self.pending.drain(..);
        let parts = match self.container {
            Container::Fmp4 => {
                let mut fragment = Fragment::default();
                for piece in pending {
                    if let Body::Sample(sample) = piece.body {
                        fragment.push(sample);
                    }
                }
                self.sequence = self.sequence.wrapping_add(1);
                fragment.take(self.sequence)
            }
            Container::Ts => {
                let mut chunks: Vec<Chunk> = Vec::new();
                for piece in pending {
                    if let Body::Unit(unit) = piece.body {
                        self.mux.unit(&unit, &mut chunks);
                    }
                }
                chunks.into_iter().flat_map(|chunk| chunk.parts).collect()
            }
        };
        join(&parts)
    }

    /// How long parts are at most; `None` while that is not known, and where there are none.
    pub(super) fn part_target(&self) -> Option<Span> {
        self.cutter.part_target().filter(|_| self.rules.has_parts)
    }

    /// The rules it keeps to.
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The segments that the playlist names.
    pub(super) fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        self.segments.iter().filter(|segment| segment.msn >= self.listed_from)
    }

    /// The segment that is being filled.
    pub(super) const fn open(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The number of the first segment in the playlist.
    pub(super) const fn first_msn(&self) -> u64 {
        self.listed_from
    }

    /// The number that the segment after the last whole one has.
    pub(super) fn growing_msn(&self) -> u64 {
        self.open.as_ref().map_or(self.next_msn, |open| open.msn)
    }

    /// The number that the next segment to begin will have.
    pub(super) const fn next_msn(&self) -> u64 {
        self.next_msn
    }

    /// How many discontinuities have left the playlist.
    pub(super) const fn gone_discontinuities(&self) -> u64 {
        self.gone_discontinuities
    }

    /// How many discontinuities there were in all, if what is in the playlist leaves it now.
    pub(super) fn all_discontinuities(&self) -> u64 {
        let open = self.open.iter();
        let there = self.listed().chain(open).filter(|segment| segment.is_discontinuous).count();
        self.gone_discontinuities + there as u64
    }

    /// The segment of this number, whole or growing.
    pub(super) fn segment(&self, msn: u64) -> Option<&Segment> {
        self.segments.iter().chain(&self.open).find(|segment| segment.msn == msn)
    }

    /// The init segment of this version, as long as a segment needs it.
    pub(super) fn init(&self, version: u32) -> Option<&Rc<Init>> {
        let inits =
            self.segments.iter().chain(&self.open).filter_map(|segment| segment.init.as_ref());
        inits.chain([&self.init]).find(|init| init.version() == version)
    }

    /// The key of this number, as long as a segment needs it.
    pub(super) fn key(&self, number: u64) -> Option<&Rc<Key>> {
        let keys =
            self.segments.iter().chain(&self.open).filter_map(|segment| segment.key.as_ref());
        keys.into_iter().find(|key| key.number == number)
    }

    /// The most and the mean bits a second of segments, or of what there is of the first.
    pub(super) fn rates_bps(&self) -> (u64, u64) {
        let measure = |bytes: usize, span: Span| {
            let ms = u64::try_from(span.ms()).unwrap_or(0).max(1);
            (bytes as u64).saturating_mul(8_000) / ms
        };
        let whole: Vec<&Segment> =
            self.listed().filter(|s| s.duration > Span::from_ms(500)).collect();
        let open = self.open.iter().map(|open| measure(open.len(), open.duration));
        let most = whole.iter().map(|s| measure(s.len(), s.duration)).max();
        let Some(most) = most else {
            let most = open.max().unwrap_or(0);
            return (most, most);
        };
        let bytes = whole.iter().map(|s| s.len()).sum();
        let span = whole.iter().fold(Span::ZERO, |sum, s| sum + s.duration);
        (most, measure(bytes, span))
    }

    /// Frames a second of the track that leads, as far as has been seen.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        let seen = self.listed().chain(&self.open);
        let (frames, span) =
            seen.fold((0, Span::ZERO), |(n, span), s| (n + s.frames, span + s.duration));
        let seconds = span.duration().as_secs_f64();
        (seconds > 0.1).then(|| f64::from(frames) / seconds)
    }
}

impl Segment {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        if self.body.is_empty() {
            self.parts.iter().map(|part| part.body.len()).sum()
        } else {
            self.body.len()
        }
    }

    /// Bytes of memory that it takes once it is whole.
    fn kept(&self) -> usize {
        let parts = self.parts.iter().filter(|_| self.key.is_some());
        self.body.len() + parts.map(|part| part.body.len()).sum::<usize>()
    }

    /// A part as it is served. Each is encrypted by itself as the segment is, with its key and vector: players expect it
    /// (hls.js, Shaka, Media3).
    fn encrypt_part(&mut self, plain: Bytes) -> Bytes {
        let Some(key) = &self.key else { return plain };
        let body = key.encrypt(&plain, self.msn);
        self.plain.push(plain);
        body
    }

    /// All parts in one piece of memory, of which each then is a slice. Encrypted, the whole is not the sum of the parts.
    fn close(&mut self) {
        if let Some(key) = &self.key {
            self.body = key.encrypt(&join(&std::mem::take(&mut self.plain)), self.msn);
            return;
        }
        let bodies: Vec<Bytes> = self.parts.iter().map(|part| part.body.clone()).collect();
        let whole = join(&bodies);
        let mut at = 0;
        for part in &mut self.parts {
            let end = at + part.body.len();
            part.body = whole.slice(at..end);
            at = end;
        }
        self.body = whole;
    }
}

impl Piece {
    fn len(&self) -> usize {
        match &self.body {
            Body::Sample(sample) => sample.len(),
            Body::Unit(unit) => unit.payload.len(),
        }
    }
}

/// The track whose frames decide: the first that is seen, or the first.
fn leader(init: &Init) -> u32 {
    let tracks = init.tracks();
    let video = tracks.iter().find(|track| track.kind() == MediaKind::Video);
    video.or_else(|| tracks.first()).map_or(0, |track| track.id)
}

fn join(parts: &[Bytes]) -> Bytes {
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.freeze()
}
