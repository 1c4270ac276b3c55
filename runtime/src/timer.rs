//! Pending deadlines: a flat 4-ary heap whose items know their place in it.
//!
//! One array, no pointers to follow: four children share a cache line, so a deadline of 100 000
//! is found in a handful of lines. Each item keeps its index (see [`Place`]), which makes moving a
//! deadline forward O(log n) without a search. The scheduler uses it lazily: a wait that ends
//! early leaves its node where it is, and the node is corrected when it comes to the top.

use std::cell::Cell;

use crate::clock::Nanos;

/// An item that remembers where in the heap it is.
pub(crate) trait Place: Copy {
    fn place(&self) -> &Cell<u32>;
}

/// The place of an item that is in no heap.
pub(crate) const NOWHERE: u32 = u32::MAX;

const ARITY: usize = 4;

#[derive(Debug)]
pub(crate) struct TimerHeap<T> {
    nodes: Vec<(Nanos, T)>,
}

impl<T: Place> TimerHeap<T> {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    pub(crate) fn insert(&mut self, due: Nanos, item: T) {
        debug_assert_eq!(item.place().get(), NOWHERE);
        let index = self.nodes.len();
        self.nodes.push((due, item));
        self.sift_up(index, (due, item));
    }

    /// The time of the node at `item`'s place.
    #[inline]
    pub(crate) fn due(&self, item: &T) -> Nanos {
        self.nodes[item.place().get() as usize].0
    }

    /// Moves `item`, which must be in the heap, to an earlier or equal time.
    pub(crate) fn advance(&mut self, due: Nanos, item: T) {
        let index = item.place().get() as usize;
        debug_assert!(due <= self.nodes[index].0);
        self.sift_up(index, (due, item));
    }

    #[inline]
    pub(crate) fn peek(&self) -> Option<(Nanos, T)> {
        self.nodes.first().copied()
    }

    /// Gives the first node a later time.
    pub(crate) fn postpone_first(&mut self, due: Nanos) {
        let item = self.nodes[0].1;
        self.sift_down(0, (due, item));
    }

    pub(crate) fn pop(&mut self) -> Option<(Nanos, T)> {
        let first = *self.nodes.first()?;
        first.1.place().set(NOWHERE);
        let last = self.nodes.pop().expect("a first node exists");
        if !self.nodes.is_empty() {
            self.sift_down(0, last);
        }
        Some(first)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    #[inline]
    fn set(&mut self, index: usize, node: (Nanos, T)) {
        node.1.place().set(u32::try_from(index).expect("fewer than 2^32 coroutines"));
        self.nodes[index] = node;
    }

    fn sift_up(&mut self, mut index: usize, node: (Nanos, T)) {
        while index > 0 {
            let parent = (index - 1) / ARITY;
            let above = self.nodes[parent];
            if above.0 <= node.0 {
                break;
            }
            self.set(index, above);
            index = parent;
        }
        self.set(index, node);
    }

    fn sift_down(&mut self, mut index: usize, node: (Nanos, T)) {
        loop {
            let first = ARITY * index + 1;
            let Some(children) = self.nodes.get(first..self.nodes.len().min(first + ARITY)) else {
                break;
            };
            let Some((offset, &least)) =
                children.iter().enumerate().min_by_key(|(_, child)| child.0)
            else {
                break;
            };
            if least.0 >= node.0 {
                break;
            }
            self.set(index, least);
            index = first + offset;
        }
        self.set(index, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Item<'a> = &'a Cell<u32>;

    impl Place for Item<'_> {
        fn place(&self) -> &Cell<u32> {
            self
        }
    }

    /// A small generator of our own: Miri runs these tests, and they must be repeatable.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % bound
        }
    }

    fn cells(count: usize) -> Vec<Cell<u32>> {
        (0..count).map(|_| Cell::new(NOWHERE)).collect()
    }

    #[test]
    fn deadlines_come_out_in_order() {
        let cells = cells(300);
        let mut random = Random(7);
        let mut heap = TimerHeap::new();
        for cell in &cells {
            heap.insert(random.below(1000), cell);
        }
        let mut last = 0;
        for left in (0..300).rev() {
            let (due, cell) = heap.pop().unwrap();
            assert!(due >= last);
            assert_eq!(cell.get(), NOWHERE);
            assert_eq!(heap.len(), left);
            last = due;
        }
        assert!(heap.pop().is_none());
    }

    #[test]
    fn every_item_knows_its_place_through_random_changes() {
        let cells = cells(64);
        let mut random = Random(11);
        let mut heap = TimerHeap::<Item<'_>>::new();
        for _ in 0..2000 {
            let cell = &cells[usize::try_from(random.below(64)).unwrap()];
            if cell.get() == NOWHERE {
                heap.insert(random.below(1 << 40), cell);
            } else if random.below(2) == 0 {
                let due = heap.due(&cell);
                heap.advance(due / 2, cell);
            } else if let Some((due, _)) = heap.peek() {
                heap.postpone_first(due + random.below(1 << 20));
            }
            if random.below(8) == 0 {
                heap.pop();
            }
            for (index, (_, item)) in heap.nodes.iter().enumerate() {
                assert_eq!(item.get() as usize, index);
                assert!(index == 0 || heap.nodes[(index - 1) / ARITY].0 <= heap.nodes[index].0);
            }
        }
    }
}
