//! How much is too much at the moment, and what is given up for it, step by step: newcomers first, then pictures that
//! no other needs, and those who are there last.
//!
//! Measuring and deciding is `server`'s; here is what was decided, for all who have to act by it.

use crate::media::AccessUnit;
use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, SystemTime},
};

/// What is given up. Each step includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Normal,
    /// Nobody new may play.
    RefuseViewers,
    /// Pictures that no other refers to are left out for players.
    DropPictures,
    /// Nobody new may publish either, and players are ended, the latest first.
    EndViewers,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Of one processor, by the thread that runs everything; in percent.
    pub cpu_percent: f64,
    /// Of the process.
    pub memory_bytes: u64,
    /// How late what is due runs.
    pub lag: Duration,
}

/// The load, and what is done about it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Load(Rc<State>);

#[derive(Debug, Default)]
struct State {
    level: Cell<Level>,
    since: Cell<Option<SystemTime>>,
    measured: Cell<Option<Measured>>,
    dropped: Cell<u64>,
    ended: Cell<u64>,
}

impl Load {
    /// What is given up at present.
    pub fn level(&self) -> Level {
        self.0.level.get()
    }

    /// Since when; `None` when that is since the start.
    pub fn since(&self) -> Option<SystemTime> {
        self.0.since.get()
    }

    /// What was measured last; `None` when nothing is, for want of a mark to compare it with.
    pub fn measured(&self) -> Option<Measured> {
        self.0.measured.get()
    }

    /// Notes what was measured.
    pub fn set_measured(&self, measured: Measured) {
        self.0.measured.set(Some(measured));
    }

    /// Pictures that were left out of what players get, each for each format that was made.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Players that were ended.
    pub fn ended(&self) -> u64 {
        self.0.ended.get()
    }

    /// Notes that a player was ended.
    pub fn note_ended(&self) {
        self.0.ended.set(self.0.ended.get() + 1);
    }

    /// Whether a unit is to be left out of what players get; it is counted.
    pub(super) fn drops(&self, unit: &AccessUnit) -> bool {
        let drops = self.level() >= Level::DropPictures && unit.is_disposable();
        self.0.dropped.set(self.0.dropped.get() + u64::from(drops));
        drops
    }

    pub(super) fn set(&self, level: Level) {
        self.0.level.set(level);
        self.0.since.set(Some(SystemTime::now()));
    }
}

impl Level {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::RefuseViewers => "refuse_viewers",
            Self::DropPictures => "drop_pictures",
            Self::EndViewers => "end_viewers",
        }
    }

    /// Its number in the metrics.
    pub const fn number(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::RefuseViewers => 1,
            Self::DropPictures => 2,
            Self::EndViewers => 3,
        }
    }

    /// One step more.
    pub const fn above(self) -> Self {
        match self {
            Self::Normal => Self::RefuseViewers,
            Self::RefuseViewers => Self::DropPictures,
            Self::DropPictures | Self::EndViewers => Self::EndViewers,
        }
    }

    /// One step less.
    pub const fn below(self) -> Self {
        match self {
            Self::Normal | Self::RefuseViewers => Self::Normal,
            Self::DropPictures => Self::RefuseViewers,
            Self::EndViewers => Self::DropPictures,
        }
    }
}
