//! Files of FLV: a header, metadata, sequence headers, then tags.
//!
//! Every file's time begins at zero. Other parameter sets stand as another sequence header in the same file, as in a live
//! stream; another set of codecs, pictures of another size and other sound begin another file at the next random-access
//! point, since decoders of files stumble over them.

use super::{PIECE, PIECE_BYTES, Step, UnitCutter};
use crate::{
    container::{Mux, Select, flv::FlvMux},
    media::{AccessUnit, MediaKind, Span, Timestamp, Track, Tracks},
};
use tracing::warn;

pub(super) struct FlvCutter {
    segment: Option<Span>,
    tracks: Tracks,
    file: Option<File>,
    /// What is gathered.
    units: Vec<AccessUnit>,
    bytes: usize,
}

struct File {
    mux: FlvMux,
    /// As they were when last looked at.
    tracks: Tracks,
    /// When it begins; `None` until its first piece is whole.
    start: Option<Timestamp>,
    /// Its latest unit.
    end: Timestamp,
}

impl FlvCutter {
    pub(super) fn new(segment: Option<Span>) -> Self {
        let tracks = Tracks::default();
        Self { segment, tracks, file: None, units: Vec::new(), bytes: 0 }
    }

    fn may_begin(&self, unit: &AccessUnit) -> bool {
        let video = self.tracks.video();
        unit.random_access && video.is_none_or(|video| video.id == unit.track)
    }

    fn is_due(&self, dts: Timestamp) -> bool {
        let Some(file) = &self.file else { return true };
        let start = file.start.or_else(|| self.units.iter().map(|unit| unit.dts).min());
        let lasts = dts - start.unwrap_or(dts);
        !fits(&file.tracks, &self.tracks) || self.segment.is_some_and(|segment| lasts >= segment)
    }

    fn is_whole(&self, unit: &AccessUnit, may_begin: bool) -> bool {
        let Some(first) = self.units.first() else { return false };
        let is_picture = may_begin && unit.config.codec().kind() == MediaKind::Video;
        is_picture || unit.dts - first.dts >= PIECE || self.bytes >= PIECE_BYTES
    }

    fn flush(&mut self, out: &mut Vec<Step>) {
        let units = std::mem::take(&mut self.units);
        self.bytes = 0;
        let (Some(first), Some(file)) = (units.iter().map(|unit| unit.dts).min(), &mut self.file)
        else {
            return;
        };
        let begins = file.start.is_none();
        if begins {
            file.mux.tracks(&described(&self.tracks, &units));
        }
        let start = *file.start.get_or_insert(first);
        let into = |at: Timestamp| Timestamp::ZERO + (at - start).max(Span::ZERO);
        let mut chunks = Vec::new();
        for unit in units {
            file.end = file.end.max(unit.dts);
            let (dts, pts) = (into(unit.dts), into(unit.pts));
            file.mux.unit(&AccessUnit { dts, pts, ..unit }, &mut chunks);
        }
        if begins {
            // What comes before the first place to begin could not be decoded.
            let at = chunks.iter().position(|chunk| chunk.head.is_some()).unwrap_or(chunks.len());
            chunks.drain(..at);
            let Some(head) = chunks.first().and_then(|chunk| chunk.head.clone()) else {
                self.file = None;
                return;
            };
            for (track, why) in file.mux.left_out() {
                warn!(track = track.0, %why, "a track is left out of the recording");
            }
            out.push(Step::Begin { head: head.to_vec(), behind: file.end - start });
        }
        let parts = chunks.into_iter().flat_map(|chunk| chunk.parts).collect();
        out.push(Step::Append { parts, lasts: file.end - start });
    }
}

/// Whether these tracks can follow those in one file.
fn fits(before: &Tracks, now: &Tracks) -> bool {
    let is_same = |(before, now): (&Track, &Track)| {
        let (Some(was), Some(is)) = (&before.config, &now.config) else { return true };
        match now.codec.kind() {
            MediaKind::Video => was.dimensions() == is.dimensions(),
            MediaKind::Audio => was == is,
        }
    };
    let codecs = |tracks: &Tracks| tracks.iter().map(|track| track.codec).collect::<Vec<_>>();
    codecs(before) == codecs(now) && before.iter().zip(now.iter()).all(is_same)
}

/// The tracks with what the units say of them, so that the head of the file is complete.
fn described(tracks: &Tracks, units: &[AccessUnit]) -> Tracks {
    let describe = |track: &Track| {
        let own = units.iter().find(|unit| unit.track == track.id);
        let told = own.map(|unit| unit.config.clone());
        Track { config: told.or_else(|| track.config.clone()), ..track.clone() }
    };
    tracks.iter().map(describe).collect()
}

impl UnitCutter for FlvCutter {
    fn tracks(&mut self, tracks: &Tracks, out: &mut Vec<Step>) {
        self.flush(out);
        self.tracks = tracks.clone();
        if let Some(file) = self.file.as_mut().filter(|file| fits(&file.tracks, tracks)) {
            file.mux.tracks(tracks);
            file.tracks = tracks.clone();
        }
    }

    fn unit(&mut self, unit: &AccessUnit, out: &mut Vec<Step>) {
        let may_begin = self.may_begin(unit);
        if may_begin && self.is_due(unit.dts) {
            self.flush(out);
            self.file = Some(File {
                mux: FlvMux::new(Select::All),
                tracks: self.tracks.clone(),
                start: None,
                end: unit.dts,
            });
        } else if self.file.is_none() {
            return;
        } else if self.is_whole(unit, may_begin) {
            self.flush(out);
        }
        self.bytes += unit.payload.len();
        self.units.push(unit.clone());
    }

    fn jump(&mut self, out: &mut Vec<Step>) {
        self.flush(out);
    }

    fn finish(&mut self, out: &mut Vec<Step>) {
        self.flush(out);
    }
}
