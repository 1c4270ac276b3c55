//! What becomes of a datagram: lost or not, how often it arrives, and how late.
//!
//! One [`Dice`] for each flow and direction. It is thrown the same number of times for every datagram,
//! whatever the conditions are, so the fate of the k-th datagram depends on the seed and on k alone.

use std::time::Duration;

use crate::rng::Rng;

/// What the link does to what it carries, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conditions {
    /// Chance of a datagram to be lost, 0 to 1.
    pub(crate) loss: f64,
    /// Chance to arrive twice, 0 to 1.
    pub(crate) duplicate: f64,
    /// Chance to be held back by `reorder_by`, 0 to 1.
    pub(crate) reorder: f64,
    pub(crate) reorder_by: Duration,
    /// What every datagram takes.
    pub(crate) delay: Duration,
    /// The most that is added to `delay`; each datagram draws its own share of it.
    pub(crate) jitter: Duration,
    /// Bits on the wire per second; `None` is no limit.
    pub(crate) rate_bps: Option<u64>,
    /// How much waits before the bottleneck at most.
    pub(crate) queue_limit: Duration,
}

/// A good link; what waits before a bottleneck is as much as in a home router.
impl Default for Conditions {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bps: None,
            queue_limit: Duration::from_millis(200),
        }
    }
}

/// What is decided about one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fate {
    pub(crate) is_lost: bool,
    pub(crate) arrives_twice: bool,
    /// Counted from when the datagram leaves the bottleneck.
    pub(crate) delay: Duration,
}

/// Draws fates.
#[derive(Debug)]
pub(crate) struct Dice(Rng);

impl Dice {
    /// The dice of one flow in one direction; `stream` tells them apart.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Neighbouring seeds of splitmix64 are its neighbouring states; one draw parts them.
        Self(Rng::new(Rng::new(seed).next_u64() ^ Rng::new(stream).next_u64()))
    }

    pub(crate) fn throw(&mut self, conditions: &Conditions) -> Fate {
        let is_lost = self.0.unit() < conditions.loss;
        let arrives_twice = self.0.unit() < conditions.duplicate;
        let is_held_back = self.0.unit() < conditions.reorder;
        let jitter = conditions.jitter.mul_f64(self.0.unit());
        let held_back = if is_held_back { conditions.reorder_by } else { Duration::ZERO };
        Fate { is_lost, arrives_twice, delay: conditions.delay + jitter + held_back }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Dice, Fate};
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn fates(conditions: &Conditions, seed: u64, count: usize) -> Vec<Fate> {
        let mut dice = Dice::new(seed, 0);
        (0..count).map(|_index| dice.throw(conditions)).collect()
    }

    #[test]
    fn a_good_link_changes_nothing() {
        let untouched = Fate { is_lost: false, arrives_twice: false, delay: Duration::ZERO };
        assert!(fates(&Conditions::default(), 1, 1000).iter().all(|&fate| fate == untouched));
    }

    #[test]
    fn chances_are_those_asked_for() {
        let conditions = Conditions {
            loss: 0.1,
            duplicate: 0.02,
            reorder: 0.3,
            reorder_by: 50 * MS,
            delay: 10 * MS,
            jitter: 5 * MS,
            ..Conditions::default()
        };
        let fates = fates(&conditions, 1, 100_000);
        let share = |of: fn(&Fate) -> bool| {
            fates.iter().filter(|fate| of(fate)).count() as f64 / fates.len() as f64
        };
        // Four standard deviations of a share of 0.3 over 100 000 are 0.006.
        assert!((share(|fate| fate.is_lost) - 0.1).abs() < 0.006);
        assert!((share(|fate| fate.arrives_twice) - 0.02).abs() < 0.006);
        assert!((share(|fate| fate.delay >= 60 * MS) - 0.3).abs() < 0.006);
        assert!(fates.iter().all(|fate| fate.delay >= 10 * MS && fate.delay < 65 * MS));
        assert!((share(|fate| fate.delay < Duration::from_micros(12_500)) - 0.35).abs() < 0.01);
    }

    #[test]
    fn a_seed_fixes_every_fate() {
        let lossy = Conditions { loss: 0.5, ..Conditions::default() };
        assert_eq!(fates(&lossy, 9, 100), fates(&lossy, 9, 100));
        assert_ne!(fates(&lossy, 9, 100), fates(&lossy, 10, 100));
    }

    #[test]
    fn other_conditions_do_not_shift_the_losses() {
        let lossy = Conditions { loss: 0.5, ..Conditions::default() };
        let late = Conditions { jitter: MS, reorder: 0.5, reorder_by: MS, ..lossy };
        let lost = |fates: Vec<Fate>| fates.iter().map(|fate| fate.is_lost).collect::<Vec<_>>();
        assert_eq!(lost(fates(&lossy, 3, 1000)), lost(fates(&late, 3, 1000)));
    }
}
