//! The time as coroutines see it, and waiting for it to pass.

use std::time::{Duration, Instant};

use crate::clock::{NEVER, Nanos, nanos};
use crate::error::WaitError;
use crate::scheduler::Scheduler;
use crate::wait::{self, Here, WaitingFor, Wake};

/// The time of the present turn: the clock is read once a turn, so this costs no system call, and
/// may lag by the 500 µs that a turn lasts at most while its coroutines suspend in time.
///
/// Outside a runtime it reads the clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the clock of callers outside a runtime")]
pub fn now() -> Instant {
    Scheduler::current().map_or_else(Instant::now, |home| home.clock.instant(home.clock.now()))
}

/// Waits until at least `duration` has passed.
///
/// # Suspends
///
/// Always.
///
/// # Errors
///
/// [`WaitError::Cancelled`], [`WaitError::TimedOut`] when a deadline around it comes first, and
/// [`WaitError::Refused`].
#[track_caller]
#[inline(always)]
pub fn sleep(duration: Duration) -> Result<(), WaitError> {
    let here = wait::enter()?;
    // The cached time would let the sleep end early by as much as it lags.
    rest(here, here.scheduler.clock.refresh().saturating_add(nanos(duration)))
}

/// Waits until `at`.
///
/// # Suspends
///
/// Always, also when `at` has passed already.
///
/// # Errors
///
/// As [`sleep`].
#[track_caller]
#[inline(always)]
pub fn sleep_until(at: Instant) -> Result<(), WaitError> {
    let here = wait::enter()?;
    rest(here, here.scheduler.clock.nanos(at))
}

#[inline(always)]
fn rest(here: Here, until: Nanos) -> Result<(), WaitError> {
    let inherited = here.task.deadline();
    match here.park(WaitingFor::Timer, until.min(inherited)) {
        Wake::Timer if until <= inherited => Ok(()),
        wake => Err(here.failure(wake, NEVER)),
    }
}
