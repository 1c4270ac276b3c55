//! What is under way: datagrams in the order in which they are due, and the bottleneck before it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::fate::Conditions;

/// A heap of things that are due at some time; those due at the same time come out as they went in.
#[derive(Debug)]
pub(crate) struct DueQueue<T> {
    heap: BinaryHeap<Due<T>>,
    next_order: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: Instant,
    order: u64,
    thing: T,
}

impl<T> DueQueue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), next_order: 0 }
    }

    /// Returns whether the thing is now the first one due.
    pub(crate) fn push(&mut self, at: Instant, thing: T) -> bool {
        let is_first = self.next_due().is_none_or(|first| at < first);
        self.heap.push(Due { at, order: self.next_order, thing });
        self.next_order += 1;
        is_first
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|due| due.thing)
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|due| due.at)
    }
}

/// The heap has its greatest on top: the earliest is made the greatest.
impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

/// The slowest hop of one direction: datagrams pass it one after another.
#[derive(Debug, Default)]
pub(crate) struct Bottleneck {
    /// When the last datagram will have passed.
    free_at: Option<Instant>,
}

impl Bottleneck {
    /// Returns when a datagram that comes now has passed; `None` when the queue before the hop is full.
    pub(crate) fn pass(
        &mut self,
        now: Instant,
        len_bytes: usize,
        conditions: &Conditions,
    ) -> Option<Instant> {
        let Some(rate_bps) = conditions.rate_bps else {
            return Some(now);
        };
        let begin = self.free_at.map_or(now, |free| free.max(now));
        if begin - now > conditions.queue_limit {
            return None;
        }
        let bits = (len_bytes + HEADER_BYTES) as u64 * 8;
        let end = begin + Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate_bps);
        self.free_at = Some(end);
        Some(end)
    }
}

/// IPv4 (RFC 791 §3.1) and UDP (RFC 768), which a rate limit counts too.
const HEADER_BYTES: usize = 28;

#[cfg(test)]
mod tests {
    use super::{Bottleneck, Conditions, DueQueue};
    use std::time::{Duration, Instant};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_earliest_comes_first_and_equals_in_order() {
        let start = Instant::now();
        let mut queue = DueQueue::new();
        assert!(queue.push(start + 2 * MS, 'c'));
        assert!(queue.push(start + MS, 'a'));
        assert!(!queue.push(start + MS, 'b'));
        assert_eq!(queue.pop_due(start), None);
        assert_eq!(queue.next_due(), Some(start + MS));
        let mut out = Vec::new();
        while let Some(thing) = queue.pop_due(start + 2 * MS) {
            out.push(thing);
        }
        assert_eq!(out, ['a', 'b', 'c']);
    }

    #[test]
    fn a_bottleneck_spaces_datagrams_and_drops_what_waits_too_long() {
        let start = Instant::now();
        let mut hop = Bottleneck::default();
        let narrow = Conditions { rate_bps: Some(1_000_000), ..Conditions::default() };
        // 1 000 bytes with headers at 1 Mbit/s take 8 ms.
        let passed: Vec<Option<Instant>> =
            (0..30).map(|_index| hop.pass(start, 972, &narrow)).collect();
        assert_eq!(passed[0], Some(start + 8 * MS));
        assert_eq!(passed[25], Some(start + 26 * 8 * MS));
        assert_eq!(passed[26], None);
        let later = start + 500 * MS;
        assert_eq!(hop.pass(later, 972, &narrow), Some(later + 8 * MS));
        assert_eq!(hop.pass(later, 972, &Conditions::default()), Some(later));
    }
}
