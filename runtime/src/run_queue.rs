//! Runnable coroutines in first-in, first-out order: a power-of-two ring.
//!
//! A ring and not a linked list: a list is a chain of cache misses, one after the other, while the
//! ring tells which coroutine comes next before this one is touched. So [`RunQueue::pop`]
//! prefetches what the coroutines a few places on will need.
//!
//! # Safety
//!
//! The only unsafe operation is the prefetch instruction, which reads nothing and cannot fault.
#![expect(unsafe_code, reason = "the prefetch instruction has no safe form")]

use std::cell::{Cell, RefCell};

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

#[derive(Debug)]
pub(crate) struct RunQueue<T> {
    /// The length is a power of two. Slots from `head` to `tail` are `Some`.
    ring: RefCell<Box<[Option<T>]>>,
    head: Cell<usize>,
    tail: Cell<usize>,
}

impl<T: Prefetch> RunQueue<T> {
    pub(crate) fn new() -> Self {
        Self { ring: RefCell::new(vec![None; 64].into()), head: Cell::new(0), tail: Cell::new(0) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.tail.get().wrapping_sub(self.head.get())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == self.tail.get()
    }

    #[inline]
    pub(crate) fn push(&self, item: T) {
        let mut ring = self.ring.borrow_mut();
        if self.len() == ring.len() {
            drop(ring);
            self.grow();
            ring = self.ring.borrow_mut();
        }
        let tail = self.tail.get();
        let mask = ring.len() - 1;
        ring[tail & mask] = Some(item);
        self.tail.set(tail.wrapping_add(1));
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut ring = self.ring.borrow_mut();
        let head = self.head.get();
        let mask = ring.len() - 1;
        let item = ring[head & mask].take();
        self.head.set(head.wrapping_add(1));
        if let Some(near) = ring[(head + AHEAD) & mask] {
            near.prefetch_near();
        }
        if let Some(far) = ring[(head + 2 * AHEAD) & mask] {
            far.prefetch_far();
        }
        item
    }

    /// Exchanges the first item with the one `offset` places behind it.
    pub(crate) fn bring_forward(&self, offset: usize) {
        debug_assert!(offset < self.len());
        let mut ring = self.ring.borrow_mut();
        let mask = ring.len() - 1;
        let head = self.head.get();
        ring.swap(head & mask, head.wrapping_add(offset) & mask);
    }

    #[cold]
    fn grow(&self) {
        let mut ring = self.ring.borrow_mut();
        let mask = ring.len() - 1;
        let mut larger: Box<[Option<T>]> = vec![None; ring.len() * 2].into();
        let larger_mask = larger.len() - 1;
        let head = self.head.get();
        for index in (0..self.len()).map(|offset| head.wrapping_add(offset)) {
            larger[index & larger_mask] = ring[index & mask];
        }
        *ring = larger;
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
        let queue = RunQueue::new();
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
        let queue = RunQueue::new();
        (0..5).for_each(|item| queue.push(item));
        queue.bring_forward(3);
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 1, 2, 0, 4]);
    }
}
