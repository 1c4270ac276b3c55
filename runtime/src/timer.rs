//! Pending deadlines: one bucket for each time at which something is due, and a heap of the times.
//!
//! Deadlines are rounded up to a common slack before they come here, so many share a bucket: of
//! 100 000 sleepers that wake within a second, a hundred do each millisecond. The heap therefore
//! stays as small as the number of distinct times, arming is an append to a bucket, and what is due
//! comes out as a list of keys, whose task blocks can be prefetched because they are known ahead.
//!
//! An entry is never searched for. A wait that ends early leaves its entry, and the scheduler,
//! which knows for each coroutine when its earliest entry comes up, passes over the others.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;

use crate::clock::Nanos;

#[derive(Debug)]
pub(crate) struct Timers {
    /// The times of the buckets, each once.
    times: BinaryHeap<Reverse<Nanos>>,
    buckets: HashMap<Nanos, Vec<u32>, BuildHasherDefault<TimeHasher>>,
    /// Emptied buckets, kept for their memory.
    spare: Vec<Vec<u32>>,
    entries: usize,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            times: BinaryHeap::new(),
            buckets: HashMap::default(),
            spare: Vec::new(),
            entries: 0,
        }
    }

    /// Adds an entry: `key` comes up at `due`.
    pub(crate) fn insert(&mut self, due: Nanos, key: u32) {
        let Self { times, buckets, spare, .. } = self;
        let bucket = buckets.entry(due).or_insert_with(|| {
            times.push(Reverse(due));
            spare.pop().unwrap_or_default()
        });
        bucket.push(key);
        self.entries += 1;
    }

    /// Takes out entries of the earliest time if that is not after `now`, `limit` at most, in the
    /// order they were added.
    pub(crate) fn take_due(&mut self, now: Nanos, limit: usize) -> Option<(Nanos, Vec<u32>)> {
        let due = self.first_time().filter(|due| *due <= now)?;
        let bucket = self.buckets.get_mut(&due).expect("every time in the heap has a bucket");
        let keys = if bucket.len() > limit {
            let rest = bucket.split_off(limit);
            mem::replace(bucket, rest)
        } else {
            self.times.pop();
            self.buckets.remove(&due).expect("it was there just now")
        };
        self.entries -= keys.len();
        Some((due, keys))
    }

    /// Gives back the list that [`Timers::take_due`] returned.
    pub(crate) fn recycle(&mut self, mut keys: Vec<u32>) {
        const SPARE: usize = 64;
        keys.clear();
        if self.spare.len() < SPARE {
            self.spare.push(keys);
        }
    }

    /// The earliest time and the last entry added to it.
    pub(crate) fn first(&self) -> Option<(Nanos, u32)> {
        let due = self.first_time()?;
        let key = self.buckets.get(&due).and_then(|bucket| bucket.last());
        Some((due, *key.expect("a bucket is removed with its last entry")))
    }

    /// Takes out the entry that [`Timers::first`] showed.
    pub(crate) fn remove_first(&mut self) {
        let Some(due) = self.first_time() else { return };
        let Some(bucket) = self.buckets.get_mut(&due) else { return };
        bucket.pop();
        self.entries -= 1;
        if bucket.is_empty() {
            let bucket = self.buckets.remove(&due).expect("it was there just now");
            self.times.pop();
            self.recycle(bucket);
        }
    }

    /// Drops the entries for which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Nanos, u32) -> bool) {
        for (due, bucket) in &mut self.buckets {
            bucket.retain(|key| keep(*due, *key));
        }
        self.buckets.retain(|_, bucket| !bucket.is_empty());
        self.times = self.buckets.keys().copied().map(Reverse).collect();
        self.entries = self.buckets.values().map(Vec::len).sum();
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    fn first_time(&self) -> Option<Nanos> {
        self.times.peek().map(|Reverse(due)| *due)
    }
}

/// Spreads times, which are multiples of the slack, over the table (Fibonacci hashing: the golden
/// ratio of 2^64). Times are the runtime's own, so nobody can choose them to collide.
#[derive(Debug, Default)]
struct TimeHasher(u64);

impl Hasher for TimeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, time: u64) {
        let spread = time.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The table takes both ends of the hash.
        self.0 = spread ^ spread >> 32;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only times are hashed, by write_u64");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator of our own: Miri runs these tests, and they must be repeatable.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn entries_come_out_by_time_and_within_a_time_in_the_order_added() {
        let mut random = Random(7);
        let mut timers = Timers::new();
        for key in 0..300 {
            timers.insert(random.below(20), key);
        }
        let mut seen = Vec::new();
        while let Some((due, keys)) = timers.take_due(Nanos::MAX, 4) {
            assert!(keys.len() <= 4);
            seen.extend(keys.iter().map(|key| (due, *key)));
            assert_eq!(timers.len(), 300 - seen.len());
            timers.recycle(keys);
        }
        assert_eq!(seen.len(), 300);
        assert!(seen.is_sorted());
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let mut timers = Timers::new();
        timers.insert(10, 1);
        timers.insert(20, 2);
        assert_eq!(timers.take_due(9, 10), None);
        assert_eq!(timers.take_due(10, 10), Some((10, vec![1])));
        assert_eq!(timers.take_due(19, 10), None);
        assert_eq!(timers.first(), Some((20, 2)));
    }

    #[test]
    fn removing_and_retaining_leave_the_rest_in_place() {
        let mut random = Random(11);
        let mut timers = Timers::new();
        for key in 0..200 {
            timers.insert(random.below(50), key);
        }
        for _ in 0..50 {
            let (due, key) = timers.first().unwrap();
            timers.remove_first();
            assert_ne!(timers.first(), Some((due, key)));
        }
        timers.retain(|_, key| key % 2 == 0);
        let left = timers.len();
        let mut count = 0;
        let mut last = 0;
        while let Some((due, keys)) = timers.take_due(Nanos::MAX, 1000) {
            assert!(due >= last && keys.iter().all(|key| key % 2 == 0));
            last = due;
            count += keys.len();
        }
        assert_eq!((count, timers.len(), timers.first()), (left, 0, None));
    }
}
