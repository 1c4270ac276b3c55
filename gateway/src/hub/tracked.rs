//! Reading the units of a source and of which tracks they are: for outputs whose bytes depend on where they begin, such
//! as files. Where a [`UnitReader`](super::UnitReader) knows the tracks of the present, this reader is told of those at its place, however far
//! behind it is, and it only ever begins at random-access points.

use super::{
    ring::Ring,
    source::{Source, SourceState},
    subscriber::{PlayEnd, Start},
};
use crate::media::{AccessUnit, MediaKind, Tracks};
use std::{collections::VecDeque, rc::Rc};

/// A cursor into the units of a source. As a [`Subscriber`](super::Subscriber) it begins at a random-access point, takes all that
/// has come since its last turn, and skips to the newest random-access point when it was too slow.
#[derive(Debug)]
pub struct TrackedReader {
    source: Rc<Source>,
    /// The unit that is read next; `None` until there was a place to begin.
    next: Option<u64>,
    /// Reading begins with the first unit from here on that allows it.
    not_before: u64,
    /// Since which unit the tracks have been as the reader knows them.
    tracks_since: Option<u64>,
    skips: u64,
    skipped: u64,
}

/// What a reader gets at once.
#[derive(Debug, Default)]
pub struct Tracked {
    /// The stream consists of these tracks from the first of the units on, if that is news.
    pub tracks: Option<Tracks>,
    /// Whether the units do not continue those of the last batch: these are the first, or some were skipped.
    pub is_jump: bool,
    /// In order, at least one.
    pub units: Vec<Rc<AccessUnit>>,
}

/// The most that one batch holds.
const BATCH: usize = 256;

impl TrackedReader {
    pub(super) fn new(source: Rc<Source>, start: Start) -> Self {
        let not_before = source.with_tracked(|units, _| match start {
            Start::Gop => units.newest_mark().unwrap_or_else(|| units.end()),
            Start::Live => units.end(),
        });
        Self { source, next: None, not_before, tracks_since: None, skips: 0, skipped: 0 }
    }

    /// Takes what has come since the last call, up to a bound and up to a change of the tracks, in place of what is in
    /// `batch`.
    ///
    /// # Suspends
    ///
    /// Until there is something, the source ends, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`PlayEnd::Unpublished`] once all has been read and the source has ended.
    pub fn recv(&mut self, batch: &mut Tracked) -> Result<(), PlayEnd> {
        batch.tracks = None;
        batch.is_jump = false;
        batch.units.clear();
        let source = Rc::clone(&self.source);
        loop {
            source.with_tracked(|units, epochs| self.take(units, epochs, batch));
            if !batch.units.is_empty() {
                return Ok(());
            }
            if source.state() == SourceState::Ended {
                return Err(PlayEnd::Unpublished);
            }
            source.wait_units().map_err(PlayEnd::Wait)?;
        }
    }

    /// How often the reader was too slow and skipped to a newer random-access point.
    pub const fn skips(&self) -> u64 {
        self.skips
    }

    /// How many units it missed by that.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    fn take(&mut self, units: &Ring<AccessUnit>, epochs: &Epochs, batch: &mut Tracked) {
        let Some(mut next) = self.place(units, epochs, batch) else { return };
        let Some((since, tracks, until)) = epochs.at(next) else { return };
        if self.tracks_since.replace(since) != Some(since) {
            batch.tracks = Some(tracks.clone());
        }
        while let Some(unit) = units.item(next) {
            if batch.units.len() >= BATCH || until.is_some_and(|until| next >= until) {
                break;
            }
            batch.units.push(Rc::clone(unit));
            next += 1;
        }
        self.next = Some(next);
    }

    /// The unit to go on with, after a skip if need be.
    fn place(
        &mut self,
        units: &Ring<AccessUnit>,
        epochs: &Epochs,
        batch: &mut Tracked,
    ) -> Option<u64> {
        let mark = match self.next {
            Some(next) if !units.has_lost(next) => return Some(next),
            Some(lost) => {
                let mark = units.newest_mark().filter(|&mark| mark > lost)?;
                self.skips += 1;
                self.skipped += mark - lost;
                mark
            }
            None => self.beginning(units, epochs)?,
        };
        batch.is_jump = true;
        Some(mark)
    }

    /// Where reading begins. Who was there before the stream misses nothing of it.
    fn beginning(&mut self, units: &Ring<AccessUnit>, epochs: &Epochs) -> Option<u64> {
        if units.has_lost(self.not_before) {
            return units.newest_mark();
        }
        while let Some(unit) = units.item(self.not_before) {
            let tracks = epochs.at(self.not_before).map(|(_, tracks, _)| tracks);
            let is_video = unit.config.codec().kind() == MediaKind::Video;
            let may_begin = is_video || tracks.is_none_or(|tracks| tracks.video().is_none());
            if unit.random_access && may_begin {
                return Some(self.not_before);
            }
            // Those looked at will not allow it later either.
            self.not_before += 1;
        }
        None
    }
}

/// Of which tracks a source consisted, and since which unit: as long as units of that time are kept.
#[derive(Debug, Default)]
pub(super) struct Epochs(VecDeque<(u64, Tracks)>);

impl Epochs {
    /// From the unit of this number on there are these tracks; units before `kept` are not there any more.
    pub(super) fn push(&mut self, since: u64, tracks: &Tracks, kept: u64) {
        // Nobody saw those that no unit was of.
        self.0.retain(|(of, _)| *of != since);
        self.0.push_back((since, tracks.clone()));
        while self.0.get(1).is_some_and(|(of, _)| *of <= kept) {
            self.0.pop_front();
        }
    }

    /// The tracks at this unit: since which one, which, and until which if others have followed.
    fn at(&self, unit: u64) -> Option<(u64, &Tracks, Option<u64>)> {
        let after = self.0.iter().position(|(since, _)| *since > unit).unwrap_or(self.0.len());
        let (since, tracks) = self.0.get(after.checked_sub(1)?)?;
        Some((*since, tracks, self.0.get(after).map(|(next, _)| *next)))
    }
}

impl Source {
    /// Reads the units with their tracks.
    pub fn read_tracked(self: &Rc<Self>, start: Start) -> TrackedReader {
        TrackedReader::new(Rc::clone(self), start)
    }
}
