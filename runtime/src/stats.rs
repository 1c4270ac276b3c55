//! What a runtime has done and what it holds: counters and gauges, for metrics.

use std::time::Duration;

use crate::clock::Nanos;
use crate::scheduler::Scheduler;
use crate::wait::Wake;

/// What a runtime has done since it was built, and what it holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Turns of the scheduler.
    pub turns: u64,
    /// How often a coroutine was resumed.
    pub switches: u64,
    /// Wake-ups by a fellow coroutine: a signal, a message, an end that was joined.
    pub wakeups_by_fellows: u64,
    /// Wake-ups by a descriptor or from another thread.
    pub wakeups_by_events: u64,
    /// Wake-ups by a deadline.
    pub wakeups_by_timers: u64,
    /// Wake-ups by a cancellation.
    pub wakeups_by_cancellation: u64,
    /// Coroutines spawned.
    pub spawned: u64,
    /// Coroutines that a panic ended.
    pub panicked: u64,
    /// Coroutines that have not ended.
    pub live: usize,
    /// Coroutines in the run queue.
    pub runnable: usize,
    /// Deadlines to come; one whose wait ended early may be among them until its time has come.
    pub timers: usize,
    /// Stacks that coroutines run on, those left behind included.
    pub stacks_in_use: usize,
    /// Stacks that wait to be used again.
    pub stacks_pooled: usize,
    /// Threads for blocking work, for names and for dumps.
    pub pool_threads: usize,
    /// Blocking calls and lookups of names that wait for a thread or run on one, those that nobody
    /// waits for included.
    pub pool_jobs: usize,
    /// Places where other threads may wake coroutines: blocking calls that are waited for, and
    /// channels from other threads.
    pub bells: usize,
    /// How long the running parts of turns took.
    pub turn_times: TurnTimes,
}

/// A histogram of how long the running parts of turns took. A coroutine that runs long without
/// suspending shows here, and so does everybody's delay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnTimes {
    /// Bucket `n` counts the turns of less than [`TurnTimes::bound`]`(n)`, and not less than the
    /// bound before; the last counts the longer ones, too.
    pub counts: [u64; TURN_BUCKETS],
}

/// Buckets of [`TurnTimes`]: from 1 µs to 16 s, each twice as long as the one before.
pub const TURN_BUCKETS: usize = 25;

/// The counters that the scheduler keeps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) turns: std::cell::Cell<u64>,
    pub(crate) switches: std::cell::Cell<u64>,
    pub(crate) wakeups: [std::cell::Cell<u64>; 4],
    pub(crate) panicked: std::cell::Cell<u64>,
    turn_times: std::cell::RefCell<TurnTimes>,
}

impl TurnTimes {
    /// The time that bucket `n` stays under.
    #[must_use]
    pub const fn bound(bucket: usize) -> Duration {
        Duration::from_micros(1 << bucket)
    }

    fn record(&mut self, time: Nanos) {
        let micros = time / 1000;
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bucket.min(TURN_BUCKETS - 1)] += 1;
    }
}

impl Counters {
    /// Counts a wake-up; `by_event` tells whether it came from outside the coroutines.
    #[inline(always)]
    pub(crate) fn count_wakeup(&self, wake: Wake, by_event: bool) {
        let cause = match wake {
            Wake::Signal => usize::from(by_event),
            Wake::Timer => 2,
            Wake::Cancel => 3,
        };
        let count = &self.wakeups[cause];
        count.set(count.get() + 1);
    }

    /// Counts a turn whose running part took `time`.
    pub(crate) fn count_turn(&self, time: Nanos) {
        self.turns.set(self.turns.get() + 1);
        self.turn_times.borrow_mut().record(time);
    }

    pub(crate) fn turn_times(&self) -> TurnTimes {
        self.turn_times.borrow().clone()
    }
}

/// The statistics of the runtime that the caller runs on; `None` outside one.
#[must_use]
pub fn stats() -> Option<Stats> {
    Scheduler::current().map(Scheduler::stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_bucket_whose_bound_it_is_under() {
        let mut times = TurnTimes::default();
        for micros in [0, 1, 2, 3, 4, 1023, 1024, 1 << 40] {
            times.record(micros * 1000 + 999);
        }
        let expected = [(0, 1), (1, 1), (2, 2), (3, 1), (10, 1), (11, 1), (TURN_BUCKETS - 1, 1)];
        for (bucket, count) in expected {
            assert_eq!(times.counts[bucket], count, "bucket {bucket}");
        }
        assert!(Duration::from_nanos(999) < TurnTimes::bound(0));
        assert!(TurnTimes::bound(0) <= Duration::from_micros(1));
    }
}
