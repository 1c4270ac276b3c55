//! A bounded ring of shared items with sequence numbers, and marks where reading may begin.

use crate::{
    container::Chunk,
    media::{AccessUnit, Span, Timestamp},
};
use std::{collections::VecDeque, rc::Rc};

/// What a ring holds.
pub(super) trait Item {
    /// How many bytes it keeps in memory.
    fn len_bytes(&self) -> usize;
    /// When it is due.
    fn dts(&self) -> Timestamp;
}

/// How much a ring may keep. The newest item stays, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of payload.
    pub bytes: usize,
    /// Media time from the oldest item to the newest.
    pub span: Span,
}

#[derive(Debug)]
pub(super) struct Ring<T> {
    items: VecDeque<Rc<T>>,
    /// Sequence number of the first item; the first ever pushed has number 0.
    first: u64,
    /// The newest item at which reading may begin, while it is in the ring.
    mark: Option<u64>,
    bytes: usize,
    bounds: Bounds,
}

impl<T: Item> Ring<T> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { items: VecDeque::new(), first: 0, mark: None, bytes: 0, bounds }
    }

    /// Appends an item and drops what is beyond the bounds, oldest first.
    pub(super) fn push(&mut self, item: T, may_begin: bool) {
        if may_begin {
            self.mark = Some(self.end());
        }
        self.bytes = self.bytes.saturating_add(item.len_bytes());
        self.items.push_back(Rc::new(item));
        while self.items.len() > 1 && self.is_over() {
            self.drop_first();
        }
    }

    /// Nobody may begin with what is in the ring any more: what follows does not continue it.
    pub(super) const fn forget_mark(&mut self) {
        self.mark = None;
    }

    /// The number that the next item will have.
    pub(super) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// The number of the oldest item that is there.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// The newest place at which reading may begin.
    pub(super) const fn newest_mark(&self) -> Option<u64> {
        self.mark
    }

    /// The item of this number; `None` when it has left the ring or is still to come.
    pub(super) fn item(&self, sequence: u64) -> Option<&Rc<T>> {
        let at = sequence.checked_sub(self.first)?;
        self.items.get(usize::try_from(at).ok()?)
    }

    /// Whether the item of this number has left the ring.
    pub(super) const fn has_lost(&self, sequence: u64) -> bool {
        sequence < self.first
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Media time from the oldest item to the newest.
    pub(super) fn span(&self) -> Span {
        match (self.items.front(), self.items.back()) {
            (Some(oldest), Some(newest)) => newest.dts() - oldest.dts(),
            _ => Span::ZERO,
        }
    }

    /// Media time from the item of this number, or the oldest that is left, to the newest.
    pub(super) fn span_from(&self, sequence: u64) -> Span {
        match (self.item(sequence.max(self.first)), self.items.back()) {
            (Some(first), Some(newest)) => newest.dts() - first.dts(),
            _ => Span::ZERO,
        }
    }

    fn is_over(&self) -> bool {
        self.bytes > self.bounds.bytes || self.span() > self.bounds.span
    }

    fn drop_first(&mut self) {
        let Some(item) = self.items.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(item.len_bytes());
        self.first += 1;
        self.mark = self.mark.filter(|&mark| mark >= self.first);
    }
}

impl Item for AccessUnit {
    fn len_bytes(&self) -> usize {
        self.payload.len() + size_of::<Self>()
    }

    fn dts(&self) -> Timestamp {
        self.dts
    }
}

impl Item for Chunk {
    fn len_bytes(&self) -> usize {
        self.len() + size_of::<Self>()
    }

    fn dts(&self) -> Timestamp {
        self.dts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn chunk(ms: i64, len: usize) -> Chunk {
        let parts = vec![Bytes::from(vec![0; len])];
        Chunk { parts, dts: Timestamp::from_ms(ms), head: None }
    }

    fn ring(bytes: usize, ms: i64) -> Ring<Chunk> {
        Ring::new(Bounds { bytes, span: Span::from_ms(ms) })
    }

    #[test]
    fn the_oldest_leave_when_the_bytes_are_too_many() {
        let overhead = size_of::<Chunk>();
        let mut ring = ring(3 * (100 + overhead), 1_000_000);
        for n in 0..10 {
            ring.push(chunk(n, 100), n % 4 == 0);
        }
        assert_eq!(ring.end(), 10);
        assert!(ring.has_lost(6) && !ring.has_lost(7));
        assert_eq!(ring.newest_mark(), Some(8));
        assert!(ring.item(6).is_none() && ring.item(7).is_some() && ring.item(10).is_none());
        assert!(ring.bytes() <= 3 * (100 + overhead));
    }

    #[test]
    fn the_oldest_leave_when_the_span_is_too_long() {
        let mut ring = ring(usize::MAX, 1_000);
        for n in 0..100 {
            ring.push(chunk(n * 100, 10), n == 0);
        }
        assert_eq!(ring.span(), Span::from_ms(1_000));
        assert_eq!(ring.newest_mark(), None);
    }

    #[test]
    fn one_item_larger_than_the_ring_is_kept() {
        let mut ring = ring(10, 1_000);
        ring.push(chunk(0, 1_000), true);
        assert_eq!(ring.newest_mark(), Some(0));
        ring.push(chunk(1, 1_000), false);
        assert!(ring.has_lost(0) && ring.item(1).is_some());
    }
}
