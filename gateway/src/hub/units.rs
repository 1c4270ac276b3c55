//! Reading a source's units themselves, for outputs that no feed can be: what depends on who receives it, or is
//! coded anew.

use super::{
    source::{Source, SourceState},
    subscriber::{PlayEnd, Start},
};
use crate::media::{AccessUnit, Tracks};
use std::{fmt, rc::Rc};

/// A cursor into the units of a source.
pub struct UnitReader {
    source: Rc<Source>,
    /// The unit that is read next.
    next: u64,
    skips: u64,
}

/// How a unit goes on from the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Joint {
    /// In the same timeline.
    #[default]
    Follows,
    /// Its publisher's times jumped; ours go on.
    Jump,
    /// Another publisher begins.
    Publisher,
}

/// The most that is taken at once, so that a turn stays a bounded piece of work.
const BATCH_UNITS: usize = 64;

impl Source {
    /// Reads the units from `start` on. They are those of the source's own timeline.
    pub fn read_units(self: &Rc<Self>, start: Start) -> UnitReader {
        let next = self.with_units(|units| match start {
            Start::Gop => units.newest_mark().unwrap_or_else(|| units.end()),
            Start::Live => units.end(),
        });
        UnitReader { source: Rc::clone(self), next, skips: 0 }
    }
}

impl UnitReader {
    /// Takes units that have come since the last call, in place of what is in `batch`; `true` when those before them
    /// were missed.
    ///
    /// # Suspends
    ///
    /// Until there is something, the source ends, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`PlayEnd::Unpublished`] once all has been read and the source has ended.
    pub fn recv(&mut self, batch: &mut Vec<Rc<AccessUnit>>) -> Result<bool, PlayEnd> {
        batch.clear();
        loop {
            let has_jumped = self.take(batch);
            if !batch.is_empty() {
                return Ok(has_jumped);
            }
            if self.source.state() == SourceState::Ended {
                return Err(PlayEnd::Unpublished);
            }
            self.source.wait_units().map_err(PlayEnd::Wait)?;
        }
    }

    /// How the unit at this place of the batch that came last goes on from the one before it.
    pub fn joint(&self, batch: &[Rc<AccessUnit>], at: usize) -> Joint {
        let first = self.next.saturating_sub(batch.len() as u64);
        self.source.joint_at(first + at as u64)
    }

    /// What the source consists of at present.
    pub fn tracks(&self) -> Tracks {
        self.source.tracks()
    }

    /// The source that is read.
    pub const fn source(&self) -> &Rc<Source> {
        &self.source
    }

    /// How often the reader was too slow and skipped to a newer random-access point.
    pub const fn skips(&self) -> u64 {
        self.skips
    }

    /// Whether all that has come has been read.
    pub fn is_up_to_date(&self) -> bool {
        self.source.with_units(|units| self.next >= units.end())
    }

    fn take(&mut self, batch: &mut Vec<Rc<AccessUnit>>) -> bool {
        let source = Rc::clone(&self.source);
        source.with_units(|units| {
            let has_jumped = units.has_lost(self.next);
            if has_jumped {
                self.next = units.newest_mark().unwrap_or_else(|| units.end());
                self.skips += 1;
            }
            while let Some(unit) = units.item(self.next) {
                batch.push(Rc::clone(unit));
                self.next += 1;
                if batch.len() >= BATCH_UNITS {
                    break;
                }
            }
            has_jumped
        })
    }
}

impl fmt::Debug for UnitReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitReader")
            .field("source", &self.source)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
