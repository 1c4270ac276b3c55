//! Rates over the last half minute, of counters that nobody samples: each look at a counter is a sample for the next.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What was seen of counters, by the names of those that have them.
#[derive(Debug, Default)]
pub(super) struct Rates {
    seen: RefCell<HashMap<String, Seen>>,
}

/// Bits a second, in thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kbps {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Counters at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// Two readings at least [`WINDOW`] apart, the later one becoming the base when it is old enough.
#[derive(Clone, Copy, Debug)]
struct Seen {
    base: Reading,
    next: Reading,
}

/// The least time that a rate is over, except at the beginning.
const WINDOW: Duration = Duration::from_secs(30);

/// How many counters are remembered. Beyond, rates are those since the beginning.
const SEEN_MAX: usize = 20_000;

impl Rates {
    /// The rates of counters that were 0 at `since` and are `now`.
    pub(super) fn of(&self, name: &str, since: Instant, now: Reading) -> Kbps {
        let mut all = self.seen.borrow_mut();
        let beginning = Reading { at: since, received: 0, sent: 0 };
        let age = |reading: &Reading| now.at.saturating_duration_since(reading.at);
        let base = match all.get_mut(name) {
            Some(seen) => {
                if age(&seen.next) >= WINDOW {
                    *seen = Seen { base: seen.next, next: now };
                }
                seen.base
            }
            None => {
                if all.len() >= SEEN_MAX {
                    // Whoever was not looked at for that long is likely gone.
                    all.retain(|_, seen| age(&seen.next) < 4 * WINDOW);
                }
                if all.len() < SEEN_MAX {
                    all.insert(name.to_owned(), Seen { base: beginning, next: now });
                }
                beginning
            }
        };
        let millis = u64::try_from(age(&base).as_millis()).unwrap_or(u64::MAX).max(1);
        let kbps = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(8) / millis;
        Kbps { received: kbps(now.received, base.received), sent: kbps(now.sent, base.sent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_runtime as rt;

    #[test]
    fn a_rate_is_over_the_last_half_minute_or_a_little_more() {
        let rates = Rates::default();
        let start = rt::now();
        let look = |seconds: u64, received: u64| {
            let at = start + Duration::from_secs(seconds);
            rates.of("x", start, Reading { at, received, sent: 2 * received }).received
        };
        // 1 kB/s from the beginning, 10 kB/s later.
        assert_eq!(look(10, 10_000), 8);
        assert_eq!(look(20, 20_000), 8);
        assert_eq!(look(40, 40_000), 8);
        assert_eq!(look(70, 340_000), 80);
        assert_eq!(look(80, 440_000), 80);
        assert_eq!(look(110, 440_000), 20);
        assert_eq!(look(140, 440_000), 0);
        let fresh = Reading { at: start, received: 5, sent: 5 };
        assert_eq!(rates.of("y", start, fresh), Kbps { received: 40, sent: 40 });
    }
}
