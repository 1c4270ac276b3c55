//! A source: one live stream, its last units, its feeds, and who publishes it.

use super::{
    client::Figures,
    feed::{Feed, FeedKey, Format},
    load::Load,
    rate::Rate,
    registry::{Settings, Table},
    ring::Ring,
    subscriber::{PlayEnd, Start, Subscriber},
    timeline::Timeline,
    tracked::Epochs,
    units::Joint,
};
use crate::{
    container::{Chunk, LeftOut, Select, Sink},
    key::StreamKey,
    media::{AccessUnit, MediaKind, Span, TrackId, Tracks},
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, WaitError, sync::Cond};

/// One live stream. It outlives its publisher by the grace time, so that the next one finds the players still there.
pub struct Source {
    key: StreamKey,
    since: Instant,
    settings: Rc<Settings>,
    load: Load,
    registry: Weak<Table>,
    tracks: RefCell<Tracks>,
    units: RefCell<Ring<AccessUnit>>,
    /// The numbers of units that do not just follow, oldest first, as long as they are in the ring.
    joints: RefCell<VecDeque<(u64, Joint)>>,
    /// Of which tracks those units are.
    epochs: RefCell<Epochs>,
    timeline: RefCell<Timeline>,
    feeds: RefCell<Vec<Weak<Feed>>>,
    /// Units have come, or the end.
    more: Cond,
    /// Which publisher is the present one: they count up. Those before it are not heard any more.
    publisher: Cell<u64>,
    state: Cell<SourceState>,
    frames: Cell<u64>,
    received: Cell<u64>,
    /// What players got that are gone, and how often they skipped.
    gone: Cell<(u64, u64)>,
    /// What there is to say of it, by what it is about.
    remarks: RefCell<BTreeMap<&'static str, String>>,
    /// How its publisher is asked for a random-access point, if it can be asked, and when it was.
    ask: RefCell<Option<Box<dyn Fn()>>>,
    asked: Cell<Option<Instant>>,
    /// What its publisher's session can tell.
    detail: RefCell<Option<Box<dyn Fn() -> Figures>>>,
}

/// What a source is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// It has a publisher.
    Live,
    /// Its publisher left, and another may still come.
    Waiting,
    /// It is over; nobody is attached any more.
    Ended,
}

/// How full a feed is, and who reads it.
#[derive(Clone, Debug)]
pub struct FeedState {
    /// The format.
    pub name: &'static str,
    /// Which tracks.
    pub select: Select,
    /// How many read it.
    pub readers: usize,
    /// Bytes in its ring.
    pub bytes: usize,
    /// Media time in its ring.
    pub span: Span,
    /// The selected tracks that it does not carry, and why.
    pub left_out: Vec<(TrackId, LeftOut)>,
}

impl Source {
    pub(super) fn new(
        key: StreamKey,
        settings: Rc<Settings>,
        load: Load,
        registry: Weak<Table>,
    ) -> Self {
        Self {
            key,
            load,
            registry,
            since: rt::now(),
            tracks: RefCell::default(),
            units: RefCell::new(Ring::new(settings.bounds)),
            joints: RefCell::default(),
            epochs: RefCell::default(),
            timeline: RefCell::default(),
            feeds: RefCell::default(),
            more: Cond::new(),
            publisher: Cell::new(0),
            state: Cell::new(SourceState::Waiting),
            frames: Cell::new(0),
            received: Cell::new(0),
            gone: Cell::new((0, 0)),
            remarks: RefCell::default(),
            ask: RefCell::default(),
            asked: Cell::new(None),
            detail: RefCell::default(),
            settings,
        }
    }

    /// Its name.
    pub const fn key(&self) -> &StreamKey {
        &self.key
    }

    /// When it began.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Whether somebody publishes it.
    pub fn state(&self) -> SourceState {
        self.state.get()
    }

    /// What it consists of.
    pub fn tracks(&self) -> Tracks {
        self.tracks.borrow().clone()
    }

    /// Pictures that came in so far.
    pub fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// Bytes that its publishers sent so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes that players got of it who are gone, and how often they skipped.
    pub fn gone(&self) -> (u64, u64) {
        self.gone.get()
    }

    pub(super) fn add_gone(&self, sent: u64, skips: u64) {
        let (all, skipped) = self.gone.get();
        self.gone.set((all + sent, skipped + skips));
    }

    /// How often the times of its publishers jumped.
    pub fn jumps(&self) -> u64 {
        self.timeline.borrow().jumps()
    }

    /// What taking apart what the publisher sends has counted; empty where nothing is.
    pub fn detail(&self) -> Figures {
        self.detail.borrow().as_ref().map(|detail| detail()).unwrap_or_default()
    }

    /// Says what whoever publishes should know, such as what players cannot show; one remark for each subject, until there is
    /// another publisher. Whether it is news.
    pub fn remark(&self, about: &'static str, text: &str) -> bool {
        let mut remarks = self.remarks.borrow_mut();
        let is_news = remarks.get(about).is_none_or(|known| known != text);
        if is_news {
            remarks.insert(about, text.to_owned());
        }
        is_news
    }

    /// A remark holds no longer.
    pub fn take_back(&self, about: &'static str) {
        self.remarks.borrow_mut().remove(about);
    }

    /// What there is to say of it: about what, and the remark.
    pub fn remarks(&self) -> Vec<(&'static str, String)> {
        let remarks = self.remarks.borrow();
        remarks.iter().map(|(about, text)| (*about, text.clone())).collect()
    }

    /// Asks the publisher for a random-access point, but not again within a second: each costs all viewers some of what the
    /// publisher may send. `false` when this one cannot be asked, as most cannot.
    pub fn ask_for_random_access(&self) -> bool {
        const AGAIN: Duration = Duration::from_secs(1);
        let ask = self.ask.borrow();
        let Some(ask) = &*ask else { return false };
        let now = rt::now();
        if self.asked.get().is_none_or(|asked| now >= asked + AGAIN) {
            self.asked.set(Some(now));
            ask();
        }
        true
    }

    /// Its feeds.
    pub fn feeds(&self) -> Vec<FeedState> {
        let state = |feed: Rc<Feed>| {
            let (bytes, span) = feed.fill();
            let (name, select) = (feed.key.name, feed.key.select);
            let (readers, left_out) = (feed.readers.get(), feed.left_out());
            FeedState { name, select, readers, bytes, span, left_out }
        };
        self.feeds.borrow().iter().filter_map(Weak::upgrade).map(state).collect()
    }

    /// Bytes and media time in the ring of units.
    pub fn fill(&self) -> (usize, Span) {
        let units = self.units.borrow();
        (units.bytes(), units.span())
    }

    /// Reads the format `M`. The first reader of a format muxes the GOP that is there.
    ///
    /// # Suspends
    ///
    /// Between slices of that work, so that others go on.
    ///
    /// # Errors
    ///
    /// [`PlayEnd::Wait`] when it was cancelled or a deadline passed.
    pub fn subscribe<M: Format>(
        self: &Rc<Self>,
        select: Select,
        start: Start,
    ) -> Result<Subscriber, PlayEnd> {
        let found = self.find_feed(FeedKey::of::<M>(select));
        let feed = found.unwrap_or_else(|| self.add_feed::<M>(select));
        Subscriber::new(Rc::clone(self), feed, self.settings.merge_window).open(start)
    }

    /// How the unit of this number goes on from the one before.
    pub(super) fn joint_at(&self, unit: u64) -> Joint {
        let joints = self.joints.borrow();
        joints.iter().find(|(at, _)| *at == unit).map_or(Joint::Follows, |(_, joint)| *joint)
    }

    fn add_joint(&self, joint: Joint) {
        let units = self.units.borrow();
        let mut joints = self.joints.borrow_mut();
        while joints.front().is_some_and(|(at, _)| units.has_lost(*at)) {
            joints.pop_front();
        }
        // The first of several at one place says most: a publisher before its jump.
        if joints.back().is_none_or(|(at, _)| *at != units.end()) {
            joints.push_back((units.end(), joint));
        }
    }

    /// Muxes at most `limit` more units into `feed`; `true` when it is up to date.
    pub(super) fn advance(&self, feed: &Feed, limit: usize) -> bool {
        feed.advance(&self.units.borrow(), &self.load, limit)
    }

    /// When the present merge window is over: the same instant for all readers, so that they are woken together.
    pub(super) fn next_window(&self, window: Duration) -> Instant {
        // Every reader asks at every window: in 64 bits, which suffice for centuries.
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let since = rt::now().saturating_duration_since(self.since);
        let into = nanos(since) % nanos(window).max(1);
        rt::now() + window - Duration::from_nanos(into)
    }

    /// Reads the ring of units; `f` must not suspend.
    pub(super) fn with_units<R>(&self, f: impl FnOnce(&Ring<AccessUnit>) -> R) -> R {
        f(&self.units.borrow())
    }

    /// Reads the ring of units and of which tracks they are; `f` must not suspend.
    pub(super) fn with_tracked<R>(&self, f: impl FnOnce(&Ring<AccessUnit>, &Epochs) -> R) -> R {
        f(&self.units.borrow(), &self.epochs.borrow())
    }

    /// Waits for a unit to come, or for the end.
    pub(super) fn wait_units(&self) -> Result<(), WaitError> {
        self.more.wait()
    }

    pub(super) fn begin(self: &Rc<Self>) -> Publisher {
        let generation = self.publisher.get() + 1;
        self.publisher.set(generation);
        self.state.set(SourceState::Live);
        *self.detail.borrow_mut() = None;
        *self.ask.borrow_mut() = None;
        self.remarks.borrow_mut().clear();
        self.timeline.borrow_mut().restart();
        self.add_joint(Joint::Publisher);
        self.units.borrow_mut().forget_mark();
        // The last publisher filled these itself; whether this one will is not known yet.
        let next_unit = self.units.borrow().end();
        for feed in self.feeds.borrow().iter().filter_map(Weak::upgrade) {
            if feed.is_original() {
                feed.switch(Some(feed.key.new_mux()), next_unit);
            }
        }
        let rate = self.settings.publisher_rate_bps.map(Rate::new);
        Publisher { source: Rc::clone(self), generation, rate }
    }

    /// Ends the source if no publisher has come since `generation` left.
    pub(super) fn end_unless_taken(&self, generation: u64) -> bool {
        let is_free = self.publisher.get() == generation && self.state.get() != SourceState::Live;
        if is_free {
            self.end();
        }
        is_free
    }

    pub(super) fn end(&self) {
        self.state.set(SourceState::Ended);
        for feed in self.feeds.borrow().iter().filter_map(Weak::upgrade) {
            feed.end();
        }
        self.more.broadcast();
    }

    fn find_feed(&self, key: FeedKey) -> Option<Rc<Feed>> {
        self.feeds.borrow().iter().filter_map(Weak::upgrade).find(|feed| feed.key == key)
    }

    fn add_feed<M: Format>(&self, select: Select) -> Rc<Feed> {
        let units = self.units.borrow();
        let first = units.newest_mark().unwrap_or_else(|| units.end());
        let (key, bounds) = (FeedKey::of::<M>(select), self.settings.bounds);
        let feed = Rc::new(Feed::new(key, bounds, Some(key.new_mux()), first));
        feed.tracks(&self.tracks.borrow());
        feed.is_filling.set(first < units.end());
        let mut feeds = self.feeds.borrow_mut();
        feeds.retain(|feed| feed.strong_count() > 0);
        feeds.push(Rc::downgrade(&feed));
        feed
    }

    /// Every feed that is not being filled takes what has come.
    fn distribute(&self) {
        let units = self.units.borrow();
        // Some muxers find out only as units come; to ask with every unit would be too much.
        let tells = units.newest_mark() == units.end().checked_sub(1);
        let mut has_gone = false;
        for feed in self.feeds.borrow().iter() {
            let Some(feed) = feed.upgrade() else {
                has_gone = true;
                continue;
            };
            if feed.is_filling.get() {
                continue;
            }
            feed.advance(&units, &self.load, usize::MAX);
            if tells {
                feed.tell_left_out(&self.key);
            }
            feed.more.broadcast();
        }
        if has_gone {
            self.feeds.borrow_mut().retain(|feed| feed.strong_count() > 0);
        }
    }
}

/// The right to push into a source. Dropping it is leaving.
pub struct Publisher {
    source: Rc<Source>,
    generation: u64,
    rate: Option<Rate>,
}

/// A feed whose chunks the publisher brings as they came in, instead of having them muxed.
#[derive(Debug)]
pub struct Original(Rc<Feed>);

impl Publisher {
    /// Whether no other publisher has taken over.
    pub fn is_current(&self) -> bool {
        self.source.publisher.get() == self.generation
    }

    /// Whether the source had another publisher before.
    pub const fn is_successor(&self) -> bool {
        self.generation > 1
    }

    /// The source that it publishes.
    pub const fn source(&self) -> &Rc<Source> {
        &self.source
    }

    /// Counts what came from the peer.
    pub fn add_received(&self, bytes: usize) {
        self.source.received.set(self.source.received.get() + bytes as u64);
        if let Some(rate) = &self.rate {
            rate.add(bytes as u64);
        }
    }

    /// What can tell how taking apart goes what this publisher sends.
    pub fn set_detail(&self, detail: impl Fn() -> Figures + 'static) {
        if self.is_current() {
            *self.source.detail.borrow_mut() = Some(Box::new(detail));
        }
    }

    /// How to ask this publisher for a random-access point. `ask` must not suspend.
    pub fn set_ask(&self, ask: impl Fn() + 'static) {
        if self.is_current() {
            *self.source.ask.borrow_mut() = Some(Box::new(ask));
        }
    }

    /// The limit, in bits a second, that this publisher has kept exceeding and for which it is to be disconnected.
    pub fn exceeded_bps(&self) -> Option<u64> {
        self.rate.as_ref().filter(|rate| rate.is_exceeded()).map(Rate::limit_bps)
    }

    /// Brings the chunks of format `M` itself from now on. Who reads that format reads these.
    pub fn original<M: Format>(&self) -> Original {
        let source = &self.source;
        let key = FeedKey::of::<M>(Select::All);
        let feed = source.find_feed(key).unwrap_or_else(|| {
            let feed = Rc::new(Feed::new(key, source.settings.bounds, None, 0));
            source.feeds.borrow_mut().push(Rc::downgrade(&feed));
            feed
        });
        feed.switch(None, 0);
        feed.is_filling.set(false);
        Original(feed)
    }

    /// A chunk of a feed that this publisher fills itself.
    pub fn push(&self, original: &Original, chunk: Chunk) {
        if self.is_current() {
            original.0.push(chunk);
            original.0.more.broadcast();
        }
    }
}

impl Sink for Publisher {
    fn tracks(&mut self, tracks: &Tracks) {
        if !self.is_current() {
            return;
        }
        let is_same_set = {
            let known = self.source.tracks.borrow();
            known.iter().map(|t| (t.id, t.codec)).eq(tracks.iter().map(|t| (t.id, t.codec)))
        };
        if !is_same_set {
            // What is in the ring has other tracks: nobody may begin there and read on.
            self.source.units.borrow_mut().forget_mark();
        }
        *self.source.tracks.borrow_mut() = tracks.clone();
        let units = self.source.units.borrow();
        self.source.epochs.borrow_mut().push(units.end(), tracks, units.first());
        drop(units);
        for feed in self.source.feeds.borrow().iter().filter_map(Weak::upgrade) {
            feed.tracks(tracks);
        }
    }

    fn unit(&mut self, mut unit: AccessUnit) {
        if !self.is_current() {
            return;
        }
        let source = &self.source;
        let jumps = source.jumps();
        let (dts, pts) = source.timeline.borrow_mut().place(unit.track, unit.dts, unit.pts);
        if source.jumps() != jumps {
            source.add_joint(Joint::Jump);
        }
        (unit.dts, unit.pts) = (dts, pts);
        let is_video = unit.config.codec().kind() == MediaKind::Video;
        if is_video {
            source.frames.set(source.frames.get() + 1);
        }
        // Where there are pictures, a reader begins with one.
        let may_begin =
            unit.random_access && (is_video || source.tracks.borrow().video().is_none());
        source.units.borrow_mut().push(unit, may_begin);
        source.distribute();
        source.more.broadcast();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.is_current() {
            *self.source.ask.borrow_mut() = None;
            self.source.state.set(SourceState::Waiting);
            if let Some(registry) = self.source.registry.upgrade() {
                registry.end_after_grace(&self.source, self.generation);
            }
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("source", &self.source.key)
            .field("is_current", &self.is_current())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("key", &self.key)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
