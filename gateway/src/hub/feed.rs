//! A feed: one format of one source, muxed once, read by many.

use super::{
    load::Load,
    ring::{Bounds, Ring},
    run::Newest,
};
use crate::{
    container::{Chunk, LeftOut, Mux, Select},
    key::StreamKey,
    media::{AccessUnit, Span, TrackId, Tracks},
};
use std::{
    any::TypeId,
    cell::{Cell, RefCell},
};
use thalweg_runtime::sync::Cond;
use tracing::warn;

/// A kind of muxer of which the hub keeps one for each source and selection, however many read.
pub trait Format: Mux + 'static {
    /// The name in the API and in logs.
    const NAME: &'static str;

    /// Whether pictures that no other needs may be left out of it when there is too much load.
    const SHEDS: bool = true;

    /// A muxer that has seen nothing yet.
    fn new(select: Select) -> Self;
}

/// Which feed of a source.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeedKey {
    format: TypeId,
    pub(super) name: &'static str,
    pub(super) select: Select,
    sheds: bool,
    new_mux: fn(Select) -> Box<dyn Mux>,
}

impl FeedKey {
    pub(super) fn of<M: Format>(select: Select) -> Self {
        let new_mux = |select| -> Box<dyn Mux> { Box::new(M::new(select)) };
        Self { format: TypeId::of::<M>(), name: M::NAME, select, sheds: M::SHEDS, new_mux }
    }

    /// A muxer of this format that has seen nothing yet.
    pub(super) fn new_mux(&self) -> Box<dyn Mux> {
        (self.new_mux)(self.select)
    }
}

impl PartialEq for FeedKey {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format && self.select == other.select
    }
}

pub(super) struct Feed {
    pub(super) key: FeedKey,
    ring: RefCell<Ring<Chunk>>,
    /// `None`: the publisher pushes chunks itself, as they came in.
    mux: RefCell<Option<Box<dyn Mux>>>,
    /// The unit that is muxed next.
    next_unit: Cell<u64>,
    /// A first reader is still muxing what was there before it; until then the publisher leaves the feed alone.
    pub(super) is_filling: Cell<bool>,
    /// Chunks have come, or the end.
    pub(super) more: Cond,
    pub(super) has_ended: Cell<bool>,
    pub(super) readers: Cell<usize>,
    pub(super) newest: Newest,
    scratch: RefCell<Vec<Chunk>>,
    /// The tracks that were said to be left out.
    left_out: RefCell<Vec<(TrackId, LeftOut)>>,
}

impl Feed {
    /// A feed that muxes from `next_unit` on, or takes chunks directly when there is no muxer.
    pub(super) fn new(
        key: FeedKey,
        bounds: Bounds,
        mux: Option<Box<dyn Mux>>,
        next_unit: u64,
    ) -> Self {
        Self {
            key,
            ring: RefCell::new(Ring::new(bounds)),
            mux: RefCell::new(mux),
            next_unit: Cell::new(next_unit),
            is_filling: Cell::new(false),
            more: Cond::new(),
            has_ended: Cell::new(false),
            readers: Cell::new(0),
            newest: Newest::default(),
            scratch: RefCell::default(),
            left_out: RefCell::default(),
        }
    }

    /// From now on `mux` makes the chunks, of the units from `next_unit` on; or the publisher does, when it is `None`.
    /// What is in the ring is no place to begin any more.
    pub(super) fn switch(&self, mux: Option<Box<dyn Mux>>, next_unit: u64) {
        *self.mux.borrow_mut() = mux;
        self.next_unit.set(next_unit);
        self.ring.borrow_mut().forget_mark();
    }

    /// Whether the publisher pushes the chunks itself.
    pub(super) fn is_original(&self) -> bool {
        self.mux.borrow().is_none()
    }

    /// The muxer learns of the tracks.
    pub(super) fn tracks(&self, tracks: &Tracks) {
        if let Some(mux) = self.mux.borrow_mut().as_mut() {
            mux.tracks(tracks);
        }
    }

    /// Muxes at most `limit` units that have come since; `true` when there are none left.
    pub(super) fn advance(&self, units: &Ring<AccessUnit>, load: &Load, limit: usize) -> bool {
        let mut mux = self.mux.borrow_mut();
        let Some(mux) = mux.as_mut() else { return true };
        let mut scratch = self.scratch.borrow_mut();
        let mut next = self.next_unit.get();
        if units.has_lost(next) {
            next = units.newest_mark().unwrap_or_else(|| units.end());
        }
        for _ in 0..limit {
            let Some(unit) = units.item(next) else { break };
            let is_left_out = self.key.sheds && load.drops(unit);
            if !is_left_out {
                mux.unit(unit, &mut scratch);
            }
            next += 1;
        }
        self.next_unit.set(next);
        let mut ring = self.ring.borrow_mut();
        for chunk in scratch.drain(..) {
            let may_begin = chunk.head.is_some();
            ring.push(chunk, may_begin);
        }
        next >= units.end()
    }

    /// Takes a chunk that the publisher brought.
    pub(super) fn push(&self, chunk: Chunk) {
        let may_begin = chunk.head.is_some();
        self.ring.borrow_mut().push(chunk, may_begin);
    }

    /// Reads the ring; `f` must not suspend.
    pub(super) fn with_ring<R>(&self, f: impl FnOnce(&Ring<Chunk>) -> R) -> R {
        f(&self.ring.borrow())
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.has_ended.set(true);
        self.more.broadcast();
    }

    /// The selected tracks that are left out, and why.
    pub(super) fn left_out(&self) -> Vec<(TrackId, LeftOut)> {
        self.mux.borrow().as_ref().map(|mux| mux.left_out()).unwrap_or_default()
    }

    /// Says which tracks are left out, each once.
    pub(super) fn tell_left_out(&self, stream: &StreamKey) {
        let now = self.left_out();
        let mut told = self.left_out.borrow_mut();
        for left_out in now {
            if !told.contains(&left_out) {
                let (track, why) = left_out;
                warn!(%stream, format = self.key.name, track = track.0, %why, "a track is left out");
                told.push(left_out);
            }
        }
    }

    /// Bytes and media time in the ring.
    pub(super) fn fill(&self) -> (usize, Span) {
        self.with_ring(|ring| (ring.bytes(), ring.span()))
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("key", &self.key)
            .field("readers", &self.readers)
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}
