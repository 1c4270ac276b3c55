//! Runnable coroutines in first-in, first-out order: a power-of-two ring.
//!
//! A ring and not a linked list: a list is a chain of cache misses, one after the other, while the
//! ring tells which coroutine comes next before this one is touched. So [`RunQueue::pop`]
//! prefetches what the coroutines a few places on will need.
//!
//! # Safety
//!
//! The ring is touched only inside the methods, none of which calls out while it holds a reference
//! into it, and the queue is not `Sync`. The ring's length is `mask + 1`, a power of two, so an
//! index that was masked is in bounds. The prefetch instruction reads nothing and cannot fault.
#![expect(unsafe_code, reason = "the bounds are known, and prefetching has no safe form")]

use std::cell::{Cell, UnsafeCell};

/// An item whose memory is worth fetching before it is run.
pub(crate) trait Prefetch: Copy {
    /// Fetches the item itself; called well ahead.
    fn prefetch_far(self);
    /// Fetches what the item points at; called a little ahead, when the item has arrived.
    fn prefetch_near(self);
}

/// How far ahead of the head [`Prefetch::prefetch_near`] is called: long enough for memory to
/// answer (100 ns) while a few switches (7 ns each) go by, short enough to stay in L1.
const AHEAD: usize = 4;

pub(crate) struct RunQueue<T> {
    /// At least one slot is free. Slots from `head` to `tail` are `Some`, the others `None`.
    ring: UnsafeCell<Box<[Option<T>]>>,
    mask: Cell<usize>,
    /// Nothing is prefetched while the queue is not longer than this.
    in_cache: usize,
    head: Cell<usize>,
    tail: Cell<usize>,
}

impl<T: Prefetch> RunQueue<T> {
    /// A queue that prefetches when it is longer than `in_cache`.
    pub(crate) fn new(in_cache: usize) -> Self {
        const SLOTS: usize = 64;
        Self {
            ring: UnsafeCell::new(vec![None; SLOTS].into()),
            mask: Cell::new(SLOTS - 1),
            in_cache,
            head: Cell::new(0),
            tail: Cell::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == self.tail.get()
    }

    #[inline(always)]
    pub(crate) fn push(&self, item: T) {
        let tail = self.tail.get();
        self.slot(tail).set(Some(item));
        self.tail.set(tail.wrapping_add(1));
        if self.len() > self.mask.get() {
            self.grow();
        }
    }

    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<T> {
        let head = self.head.get();
        let len = self.tail.get().wrapping_sub(head);
        if len == 0 {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        if len > self.in_cache {
            if let Some(near) = self.slot(head.wrapping_add(AHEAD)).get() {
                near.prefetch_near();
            }
            if let Some(far) = self.slot(head.wrapping_add(2 * AHEAD)).get() {
                far.prefetch_far();
            }
        }
        self.slot(head).take()
    }

    /// Exchanges the first item with the one `offset` places behind it.
    pub(crate) fn bring_forward(&self, offset: usize) {
        debug_assert!(offset < self.len());
        let head = self.head.get();
        self.slot(head).swap(self.slot(head.wrapping_add(offset)));
    }

    #[inline(always)]
    fn slot(&self, index: usize) -> &Cell<Option<T>> {
        // SAFETY: nobody holds a mutable reference to the ring: `grow` ends its own before it
        // returns, and calls nothing of ours meanwhile.
        let ring = unsafe { &*self.ring.get() };
        let first = ring.as_ptr().cast::<Cell<Option<T>>>();
        // SAFETY: the masked index is in bounds of the ring (the file's Safety paragraph).
        let slot = unsafe { first.add(index & self.mask.get()) };
        // SAFETY: `Cell<U>` has the layout of `U`, the ring is in an `UnsafeCell` and is only
        // reached through such cells, and the slot lives as long as the ring, which is replaced in
        // `grow` only: no caller keeps the reference over a call of that.
        unsafe { &*slot }
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) {
        let slots = (self.mask.get() + 1) * 2;
        let mut larger: Box<[Option<T>]> = vec![None; slots].into();
        for index in (0..self.len()).map(|offset| self.head.get().wrapping_add(offset)) {
            larger[index & (slots - 1)] = self.slot(index).get();
        }
        self.mask.set(slots - 1);
        // SAFETY: no reference into the ring is held: those of the loop above have ended, and the
        // callers keep none.
        unsafe { *self.ring.get() = larger };
    }
}

impl<T> std::fmt::Debug for RunQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (head, tail) = (self.head.get(), self.tail.get());
        f.debug_struct("RunQueue").field("head", &head).field("tail", &tail).finish_non_exhaustive()
    }
}

/// Asks the CPU to fetch the cache line at `address`, whatever it is.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: `_mm_prefetch` needs SSE, which every x86-64 CPU has, and nothing of `address`:
        // the instruction is a hint that ignores addresses it cannot read.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) };
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    {
        let _ = address;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Prefetch for u32 {
        fn prefetch_far(self) {}
        fn prefetch_near(self) {}
    }

    #[test]
    fn items_come_out_in_the_order_they_went_in_while_the_ring_grows_and_wraps() {
        let queue = RunQueue::new(2);
        let (mut pushed, mut popped) = (0_u32, 0);
        for round in 0..200_u32 {
            for _ in 0..round % 17 + 3 {
                queue.push(pushed);
                pushed += 1;
            }
            for _ in 0..round % 11 {
                let item = queue.pop();
                assert_eq!(item, (popped < pushed).then_some(popped));
                popped += u32::from(item.is_some());
            }
            assert_eq!(queue.len(), (pushed - popped) as usize);
        }
        while let Some(item) = queue.pop() {
            assert_eq!(item, popped);
            popped += 1;
        }
        assert_eq!(popped, pushed);
        assert!(queue.is_empty());
    }

    #[test]
    fn bring_forward_exchanges_two_items_and_loses_none() {
        let queue = RunQueue::new(2);
        (0..5).for_each(|item| queue.push(item));
        queue.bring_forward(3);
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 1, 2, 0, 4]);
    }
}
