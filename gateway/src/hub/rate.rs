//! Whether a publisher sends more than it may, on average: bursts, as of a random-access point or of packets that the
//! network held back, are no offence.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};
use thalweg_runtime as rt;

/// So much time's worth of the limit may come at once.
const BURST: Duration = Duration::from_secs(5);

/// A bucket that fills with what comes and leaks as fast as the limit.
#[derive(Debug)]
pub(super) struct Rate {
    limit_bps: u64,
    /// Bits in the bucket, and when that was so.
    level: Cell<(u64, Instant)>,
}

impl Rate {
    pub(super) fn new(limit_bps: u64) -> Self {
        Self { limit_bps, level: Cell::new((0, rt::now())) }
    }

    pub(super) const fn limit_bps(&self) -> u64 {
        self.limit_bps
    }

    pub(super) fn add(&self, bytes: u64) {
        let (level, since) = self.level.get();
        let now = rt::now();
        let leaked = self.bits_in(now.saturating_duration_since(since));
        self.level.set((level.saturating_sub(leaked).saturating_add(bytes.saturating_mul(8)), now));
    }

    /// Whether the bucket is full.
    pub(super) fn is_exceeded(&self) -> bool {
        self.level.get().0 > self.bits_in(BURST)
    }

    fn bits_in(&self, time: Duration) -> u64 {
        let bits = u128::from(self.limit_bps) * time.as_micros() / 1_000_000;
        u64::try_from(bits).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::{ClockKind, Runtime};

    fn on_virtual_clock(f: impl FnOnce() + 'static) {
        let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
        runtime.block_on(f).unwrap();
    }

    #[test]
    fn a_burst_is_no_offence_and_lasting_excess_is_one() {
        on_virtual_clock(|| {
            let rate = Rate::new(8_000);
            rate.add(5_000);
            assert!(!rate.is_exceeded(), "five seconds' worth at once");
            for _ in 0..100 {
                rt::sleep(Duration::from_secs(1)).unwrap();
                rate.add(1_000);
                assert!(!rate.is_exceeded(), "as much as is allowed");
            }
            let seconds = (1..).find(|_| {
                rt::sleep(Duration::from_secs(1)).unwrap();
                rate.add(2_000);
                rate.is_exceeded()
            });
            assert!(seconds.is_some_and(|seconds| seconds <= 6), "{seconds:?}");
        });
    }
}
