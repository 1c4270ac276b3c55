//! Seeded random numbers, so that every contender meets the same random order.

use std::time::Duration;

/// The generator of `thalweg-badlink`, and what the cases draw from it.
#[derive(Clone, Debug)]
pub(crate) struct Rng(thalweg_badlink::Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(thalweg_badlink::Rng::new(seed))
    }

    #[inline]
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `bound`.
    #[inline]
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// The sleep of the timer case: 0.1 s to 1.1 s.
    #[inline]
    pub(crate) fn short_sleep(&mut self) -> Duration {
        Duration::from_micros(100_000 + self.below(1_000_000))
    }

    /// The sleep of a coroutine that shall not wake during a run: 1000 s to 2000 s, so that the
    /// timers of many are in random order.
    #[inline]
    pub(crate) fn long_sleep(&mut self) -> Duration {
        Duration::from_micros(1_000_000_000 + self.below(1_000_000_000))
    }

    /// Returns `0..count` in random order.
    pub(crate) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            let pick = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            order.swap(last, pick);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn permutation_holds_each_index_once() {
        let mut order = Rng::new(1).permutation(1000);
        assert!(order.iter().enumerate().any(|(at, &index)| at != index));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..1000));
    }
}
