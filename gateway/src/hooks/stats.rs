//! What is counted of hooks, for metrics.

use std::time::Duration;

use super::Hook;

/// The upper bounds of the histogram's buckets, in seconds; one more holds the rest.
pub const LATENCY_BOUNDS_S: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Of all hooks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Of each, in the order of [`Hook::ALL`].
    pub hooks: [HookStats; Hook::ALL.len()],
    /// Events that wait to be told.
    pub queued: usize,
    /// Events that were not told, since too many waited.
    pub dropped: u64,
    /// Events that were given up after many attempts.
    pub given_up: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Servers that are left alone for a while, since they failed.
    pub open_breakers: usize,
}

/// Of one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HookStats {
    /// Calls whose answer accepted.
    pub accepted: u64,
    /// Calls whose answer refused.
    pub refused: u64,
    /// Calls without an answer.
    pub failed: u64,
    /// Calls that were not made, since the server is left alone.
    pub skipped: u64,
    /// How long calls took until their answer or failure.
    pub latency: Latency,
}

/// A histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many there are in each bucket.
    pub counts: [u64; LATENCY_BOUNDS_S.len() + 1],
    /// The sum, in seconds.
    pub sum_s: f64,
}

impl Latency {
    pub(super) fn record(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|&bound| bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_s += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_no_longer_than_its_bound() {
        let mut latency = Latency::default();
        for ms in [0, 5, 6, 10_000, 10_001, 60_000] {
            latency.record(Duration::from_millis(ms));
        }
        assert_eq!(latency.counts[..2], [2, 1]);
        assert_eq!(latency.counts[10..], [1, 2]);
        assert!((latency.sum_s - 80.012).abs() < 1e-9);
    }
}
