//! A circuit breaker: a server that fails again and again is left alone for a while, so that not every
//! connection waits for it in vain.

use std::time::{Duration, Instant};

/// What is known of one server's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// It is left alone until then.
    open_until: Option<Instant>,
    /// One call has been let through to see how it is.
    is_probing: bool,
}

/// So many failures in a row open it.
const FAILURES: u32 = 5;

/// For how long at first, and at most; it doubles in between.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Breaker {
    /// Whether a call may be made; if not, when it is worth asking again.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Instant> {
        match self.open_until {
            None => Ok(()),
            Some(until) if now < until => Err(until),
            Some(_) if self.is_probing => Err(now + PAUSE),
            Some(_) => {
                self.is_probing = true;
                Ok(())
            }
        }
    }

    /// A call was answered; `true` when this closes it.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        *self = Self::default();
        was_open
    }

    /// A call was not answered; `true` when this opens it.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let was_open = self.open_until.is_some();
        self.is_probing = false;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            let doublings = (self.failures - FAILURES).min(5);
            let pause = PAUSE.saturating_mul(1 << doublings).min(PAUSE_MAX);
            self.open_until = Some(now + pause);
        }
        self.open_until.is_some() && !was_open
    }

    /// A call was given up by us and tells nothing.
    pub(super) fn abandoned(&mut self) {
        self.is_probing = false;
    }

    /// Whether calls are held back.
    pub(super) const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use thalweg_runtime as rt;

    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_closes_it() {
        let start = rt::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            assert_eq!(breaker.admit(start), Ok(()));
            assert!(!breaker.failed(start));
        }
        assert!(!breaker.succeeded(), "it was not open");
        for at in 1..=FAILURES {
            assert_eq!(breaker.failed(start), at == FAILURES);
        }
        assert_eq!(breaker.admit(start), Err(start + PAUSE));
        assert_eq!(breaker.admit(start + PAUSE), Ok(()), "one call to see");
        assert!(breaker.admit(start + PAUSE).is_err(), "and only one");
        assert!(breaker.succeeded());
        assert_eq!(breaker.admit(start), Ok(()));
    }

    #[test]
    fn the_pause_grows_and_ends_at_its_bound() {
        let start = rt::now();
        let mut breaker = Breaker::default();
        let pauses = (0..FAILURES + 10).filter_map(|_| {
            breaker.failed(start);
            breaker.admit(start).err().map(|until| (until - start).as_secs())
        });
        let pauses: Vec<u64> = pauses.collect();
        assert_eq!(pauses[..6], [1, 2, 4, 8, 16, 30]);
        assert_eq!(pauses.last(), Some(&30));
    }

    #[test]
    fn a_call_that_was_given_up_makes_room_for_another() {
        let start = rt::now();
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| _ = breaker.failed(start));
        let later = start + PAUSE;
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.abandoned();
        assert_eq!(breaker.admit(later), Ok(()));
    }
}
