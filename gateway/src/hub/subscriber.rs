//! A reader's place in a feed.

use super::{
    feed::Feed,
    ring::Ring,
    run::Chunks,
    source::{Source, SourceState},
};
use crate::{
    container::{Chunk, Select},
    media::Span,
};
use bytes::Bytes;
use std::{
    cell::Cell,
    fmt,
    rc::{Rc, Weak},
    time::Duration,
};
use thalweg_runtime::{self as rt, WaitError};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the newest random-access point that is there, so that pictures show at once.
    #[default]
    Gop,
    /// At the next random-access point to come, so that the delay is least.
    Live,
}

/// A cursor into one feed of a source. Dropping it leaves the feed.
#[derive(Debug)]
pub struct Subscriber {
    source: Rc<Source>,
    feed: Rc<Feed>,
    /// The chunk that is read next; `None` until there was a place to begin.
    next: Rc<Cell<Option<u64>>>,
    /// Reading begins with the first chunk from here on that allows it.
    not_before: u64,
    /// The head that the reader has.
    head: Option<Rc<[Bytes]>>,
    merge_window: Duration,
    skips: u64,
    skipped: u64,
}

/// What a reader gets at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// Must be sent before the chunks: at the beginning, and after a skip when it has changed.
    pub head: Option<Rc<[Bytes]>>,
    /// Whether the chunks do not continue those of the last batch: this is the first, or some were skipped.
    pub is_jump: bool,
    /// In order, at least one.
    pub chunks: Chunks,
}

/// Why a subscription is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlayEnd {
    /// The publisher left and nobody came in its place.
    Unpublished,
    /// The reader was cancelled, or a deadline passed.
    Wait(WaitError),
}

/// How many units a first reader muxes between two yields.
const FILL_SLICE: usize = 64;

impl Subscriber {
    pub(super) fn new(source: Rc<Source>, feed: Rc<Feed>, merge_window: Duration) -> Self {
        feed.readers.set(feed.readers.get() + 1);
        let (next, head, skips, skipped) = (Rc::default(), None, 0, 0);
        Self { source, feed, next, not_before: 0, head, merge_window, skips, skipped }
    }

    /// Muxes what was there before the feed's first reader came, so that this one gets the GOP too, in slices. When it is
    /// cancelled, another reader goes on with that.
    pub(super) fn open(mut self, start: Start) -> Result<Self, PlayEnd> {
        while self.feed.is_filling.get() {
            if self.source.advance(&self.feed, FILL_SLICE) {
                self.feed.is_filling.set(false);
                self.feed.more.broadcast();
                break;
            }
            rt::yield_now().map_err(PlayEnd::Wait)?;
        }
        self.not_before = self.feed.with_ring(|ring| match start {
            Start::Gop => ring.newest_mark().unwrap_or_else(|| ring.end()),
            Start::Live => ring.end(),
        });
        Ok(self)
    }

    /// Takes all that has come since the last call, up to a bound, in place of what is in `batch`.
    ///
    /// # Suspends
    ///
    /// Until there is something, the source ends, a deadline passes or the coroutine is cancelled. With a merge
    /// window also until that is over.
    ///
    /// # Errors
    ///
    /// [`PlayEnd::Unpublished`] once all has been read and the source has ended.
    pub fn recv(&mut self, batch: &mut Batch) -> Result<(), PlayEnd> {
        batch.head = None;
        batch.is_jump = false;
        batch.chunks = Chunks::default();
        if !self.merge_window.is_zero() && self.next.get().is_some() {
            rt::sleep_until(self.source.next_window(self.merge_window)).map_err(PlayEnd::Wait)?;
        }
        loop {
            self.take(batch);
            if !batch.chunks.is_empty() {
                return Ok(());
            }
            if self.feed.has_ended.get() {
                return Err(PlayEnd::Unpublished);
            }
            self.feed.more.wait().map_err(PlayEnd::Wait)?;
        }
    }

    /// How often the reader was too slow and skipped to a newer random-access point.
    pub const fn skips(&self) -> u64 {
        self.skips
    }

    /// How many chunks it missed by that.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What tells how far behind it is, for as long as it reads.
    pub fn lag(&self) -> LagProbe {
        LagProbe {
            source: Rc::downgrade(&self.source),
            feed: Rc::downgrade(&self.feed),
            next: Rc::clone(&self.next),
        }
    }

    /// Whether the source has a publisher at present.
    pub fn is_live(&self) -> bool {
        self.source.state() == SourceState::Live
    }

    /// The source that is read.
    pub const fn source(&self) -> &Rc<Source> {
        &self.source
    }

    fn take(&mut self, batch: &mut Batch) {
        let feed = Rc::clone(&self.feed);
        feed.with_ring(|ring| {
            let Some(next) = self.place(ring, batch) else { return };
            batch.chunks = feed.newest.take(ring, next, feed.readers.get() > 1);
            self.next.set(Some(next + batch.chunks.len() as u64));
        });
    }

    /// The chunk to go on with, after a skip if need be.
    fn place(&mut self, ring: &Ring<Chunk>, batch: &mut Batch) -> Option<u64> {
        let mark = match self.next.get() {
            Some(next) if !ring.has_lost(next) => return Some(next),
            Some(lost) => {
                // Not an older one than it has had.
                let mark = ring.newest_mark().filter(|&mark| mark > lost)?;
                self.skips += 1;
                self.skipped += mark - lost;
                mark
            }
            None => self.beginning(ring)?,
        };
        let head = ring.item(mark).and_then(|chunk| chunk.head.clone())?;
        let has_it = self.head.as_ref().is_some_and(|known| Rc::ptr_eq(known, &head));
        if !has_it {
            batch.head = Some(Rc::clone(&head));
            self.head = Some(head);
        }
        batch.is_jump = true;
        Some(mark)
    }

    /// Where reading begins. Who was there before the stream misses nothing of it.
    fn beginning(&mut self, ring: &Ring<Chunk>) -> Option<u64> {
        if ring.has_lost(self.not_before) {
            return ring.newest_mark();
        }
        let mut at = self.not_before;
        while let Some(chunk) = ring.item(at) {
            if chunk.head.is_some() {
                return Some(at);
            }
            at += 1;
        }
        // Those looked at will not allow it later either.
        self.not_before = at;
        None
    }
}

/// Tells how far behind a reader is, without asking it.
#[derive(Clone, Debug)]
pub struct LagProbe {
    source: Weak<Source>,
    feed: Weak<Feed>,
    next: Rc<Cell<Option<u64>>>,
}

/// What a reader has not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The format that it reads,
    pub format: &'static str,
    /// and which tracks of it.
    pub select: Select,
    /// Chunks that wait for it.
    pub chunks: u64,
    /// Media time from the first of them to the newest.
    pub span: Span,
}

impl LagProbe {
    /// The source that it reads.
    pub(super) fn source(&self) -> Option<Rc<Source>> {
        self.source.upgrade()
    }

    /// How far behind it is at this moment; `None` when it does not read any more.
    pub fn now(&self) -> Option<Lag> {
        let feed = self.feed.upgrade()?;
        let (chunks, span) = feed.with_ring(|ring| {
            let Some(next) = self.next.get() else { return (0, Span::ZERO) };
            // What has left the ring is lost to it anyway.
            (ring.end().saturating_sub(next), ring.span_from(next))
        });
        Some(Lag { format: feed.key.name, select: feed.key.select, chunks, span })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.feed.readers.set(self.feed.readers.get().saturating_sub(1));
    }
}

impl fmt::Display for PlayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpublished => f.write_str("the publisher left"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PlayEnd {}
