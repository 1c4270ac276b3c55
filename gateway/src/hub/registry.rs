//! All sources by name: who may publish, and who finds what.

use super::{Bounds, Level, Load, Publisher, Source, SourceState};
use crate::{
    auth::{PlayGrant, PublishGrant},
    key::StreamKey,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, WaitError, sync::Cond};

/// What holds for every source.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much each ring of a source keeps.
    pub bounds: Bounds,
    /// How long a source outlives its publisher.
    pub grace: Duration,
    /// Readers are served at most once in this time; zero: at once.
    pub merge_window: Duration,
    /// The most sources there may be.
    pub streams_max: usize,
    /// The most of them that may have a publisher at the same time.
    pub publishers_max: usize,
    /// What a publisher may send on average, in bits a second; `None` for no limit.
    pub publisher_rate_bps: Option<u64>,
}

/// All sources of a gateway. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Registry(Rc<Table>);

pub(super) struct Table {
    sources: RefCell<BTreeMap<StreamKey, Rc<Source>>>,
    settings: RefCell<Rc<Settings>>,
    load: Load,
    /// A source got a publisher.
    published: Cond,
    /// How often a source got or lost its publisher.
    changes: Cell<u64>,
    changed: Cond,
    is_closing: Cell<bool>,
}

/// Why a stream cannot be published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// It has a publisher.
    Busy(StreamKey),
    /// There are as many streams as may be.
    TooMany(usize),
    /// As many streams are published as may be at the same time.
    TooManyPublishers(usize),
    /// The gateway is shutting down.
    Closing,
}

/// Why a stream was not found.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Nobody publishes it, nor did until the deadline.
    NotFound(StreamKey),
    /// The wait was cancelled, or an outer deadline passed.
    Wait(WaitError),
}

impl Registry {
    /// An empty one.
    pub fn new(settings: Settings) -> Self {
        Self(Rc::new(Table {
            sources: RefCell::default(),
            settings: RefCell::new(Rc::new(settings)),
            load: Load::default(),
            published: Cond::new(),
            changes: Cell::new(0),
            changed: Cond::new(),
            is_closing: Cell::new(false),
        }))
    }

    /// Has these settings from now on. Streams that are there keep what they began with, but for how long they outlive
    /// their publisher.
    pub fn set_settings(&self, settings: Settings) {
        self.0.settings.replace(Rc::new(settings));
        self.0.change();
    }

    /// Becomes the publisher of the stream that the grant is for, in place of the present one if `takes_over`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when it has one and `takes_over` is false, and the others when there is no room for one more.
    pub fn publish(
        &self,
        grant: &PublishGrant,
        takes_over: bool,
    ) -> Result<Publisher, PublishError> {
        let key = grant.key();
        if self.0.is_closing.get() {
            return Err(PublishError::Closing);
        }
        let found = self.find(key);
        let source = match found {
            Some(source) if source.state() == SourceState::Live => {
                if !takes_over {
                    return Err(PublishError::Busy(key.clone()));
                }
                source
            }
            _ if self.is_full_of_publishers() => {
                return Err(PublishError::TooManyPublishers(
                    self.0.settings.borrow().publishers_max,
                ));
            }
            Some(source) => source,
            None => self.0.add(key)?,
        };
        let publisher = source.begin();
        self.0.published.broadcast();
        self.0.change();
        Ok(publisher)
    }

    /// How much is too much at the moment, and what is given up for it.
    pub fn load(&self) -> &Load {
        &self.0.load
    }

    /// Gives up so much from now on. It counts as a change, since who is admitted depends on it.
    pub fn set_load(&self, level: Level) {
        self.0.load.set(level);
        self.0.change();
    }

    /// Whether nobody may publish a stream that nobody publishes now.
    pub fn is_full_of_publishers(&self) -> bool {
        let sources = self.0.sources.borrow();
        let live = sources.values().filter(|source| source.state() == SourceState::Live);
        live.count() >= self.0.settings.borrow().publishers_max
    }

    /// Whether nobody may publish a stream that does not exist.
    pub fn is_full_of_streams(&self) -> bool {
        self.0.sources.borrow().len() >= self.0.settings.borrow().streams_max
    }

    /// Waits until a stream has got or lost its publisher, or has ended, or the load has another level, since the change numbered `seen`; the result is the number
    /// of the latest change. They count from 1.
    ///
    /// # Suspends
    ///
    /// Until then, unless it has happened already.
    ///
    /// # Errors
    ///
    /// When the wait was cancelled, or a deadline passed.
    pub fn wait_changed(&self, seen: u64) -> Result<u64, WaitError> {
        while self.0.changes.get() <= seen {
            self.0.changed.wait()?;
        }
        Ok(self.0.changes.get())
    }

    /// The source of this name, live or waiting for its publisher.
    pub fn find(&self, key: &StreamKey) -> Option<Rc<Source>> {
        self.0.sources.borrow().get(key).cloned()
    }

    /// The source that the grant is for, as soon as somebody publishes it.
    ///
    /// # Suspends
    ///
    /// Until the source is there or `deadline` has passed.
    ///
    /// # Errors
    ///
    /// [`SubscribeError::NotFound`] after the deadline.
    pub fn wait_for(
        &self,
        grant: &PlayGrant,
        deadline: Instant,
    ) -> Result<Rc<Source>, SubscribeError> {
        let key = grant.key();
        loop {
            if let Some(source) = self.find(key) {
                return Ok(source);
            }
            if rt::now() >= deadline {
                return Err(SubscribeError::NotFound(key.clone()));
            }
            match self.0.published.wait_until(deadline) {
                Ok(()) => {}
                Err(WaitError::TimedOut(_)) if rt::now() >= deadline => {}
                Err(error) => return Err(SubscribeError::Wait(error)),
            }
        }
    }

    /// All sources, by name.
    pub fn list(&self) -> Vec<Rc<Source>> {
        self.0.sources.borrow().values().cloned().collect()
    }

    /// Ends all sources and takes no more publishers.
    pub fn close(&self) {
        self.0.is_closing.set(true);
        let sources = std::mem::take(&mut *self.0.sources.borrow_mut());
        sources.values().for_each(|source| source.end());
    }
}

impl Table {
    fn add(self: &Rc<Self>, key: &StreamKey) -> Result<Rc<Source>, PublishError> {
        let mut sources = self.sources.borrow_mut();
        let settings = Rc::clone(&self.settings.borrow());
        if sources.len() >= settings.streams_max {
            return Err(PublishError::TooMany(settings.streams_max));
        }
        let registry = Rc::downgrade(self);
        let load = self.load.clone();
        let source = Rc::new(Source::new(key.clone(), settings, load, registry));
        sources.insert(key.clone(), Rc::clone(&source));
        Ok(source)
    }

    fn change(&self) {
        self.changes.set(self.changes.get() + 1);
        self.changed.broadcast();
    }

    /// Ends `source` after the grace time unless somebody publishes it again.
    pub(super) fn end_after_grace(self: &Rc<Self>, source: &Rc<Source>, generation: u64) {
        self.change();
        let (table, source) = (Rc::clone(self), Rc::clone(source));
        let grace = self.settings.borrow().grace;
        let name = format!("grace {}", source.key());
        let later = rt::Builder::new().name(name).spawn({
            let (table, source) = (Rc::clone(&table), Rc::clone(&source));
            move || {
                // A cancellation means that the gateway ends, and with it the source.
                let _is_over = rt::sleep(grace);
                table.end(&source, generation);
            }
        });
        if later.is_err() {
            table.end(&source, generation);
        }
    }

    fn end(&self, source: &Rc<Source>, generation: u64) {
        if source.end_unless_taken(generation) {
            self.sources.borrow_mut().remove(source.key());
            self.change();
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(key) => write!(f, "{key} is being published by somebody else"),
            Self::TooMany(most) => {
                write!(f, "there are {most} streams, as many as limits.streams allows")
            }
            Self::TooManyPublishers(most) => {
                write!(f, "{most} streams are published, as many as limits.publishers allows")
            }
            Self::Closing => f.write_str("the gateway is shutting down"),
        }
    }
}

impl std::error::Error for PublishError {}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(key) => write!(f, "nobody publishes {key}"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SubscribeError {}
