//! Deadlines over a whole piece of work, and shelter from cancellation for cleaning up.
//!
//! Both are states of the running coroutine that every wait in it looks at; see `wait`.

use std::time::{Duration, Instant};

use crate::clock::{Nanos, nanos};
use crate::wait::Here;

/// Runs `f` with a deadline: every wait inside it, however many there are, ends with
/// [`WaitError::TimedOut`](crate::WaitError::TimedOut) once `at` is reached.
///
/// Deadlines nest; the earliest is in force. A coroutine spawned inside does not inherit it, one
/// spawned in a [`scope`](crate::scope) inside does. Outside a coroutine this only calls `f`.
pub fn deadline<R>(at: Instant, f: impl FnOnce() -> R) -> R {
    match Here::running() {
        Some(here) => within(here, here.scheduler.clock.nanos(at), f),
        None => f(),
    }
}

/// Runs `f` with a deadline `limit` from now; see [`deadline`].
pub fn timeout<R>(limit: Duration, f: impl FnOnce() -> R) -> R {
    match Here::running() {
        Some(here) => within(here, after(here, limit), f),
        None => f(),
    }
}

/// Runs `f` sheltered from cancellation and from the deadlines in force around it, for work that
/// has to be done even then. Instead `limit` from now is the deadline of every wait in it.
pub fn shield<R>(limit: Duration, f: impl FnOnce() -> R) -> R {
    let Some(here) = Here::running() else { return f() };
    let task = here.task;
    let _restored = Restore::new(here);
    task.shields.set(task.shields.get().checked_add(1).expect("shields nest less than 65536 deep"));
    task.attention.set(false);
    task.deadline.set(after(here, limit));
    task.deadline_is_outer.set(false);
    f()
}

fn within<R>(here: Here, at: Nanos, f: impl FnOnce() -> R) -> R {
    let task = here.task;
    let _restored = Restore::new(here);
    if at <= task.deadline.get() {
        task.deadline.set(at);
        task.deadline_is_outer.set(false);
    } else {
        task.deadline_is_outer.set(true);
    }
    f()
}

fn after(here: Here, limit: Duration) -> Nanos {
    here.scheduler.clock.refresh().saturating_add(nanos(limit))
}

/// Puts back what was in force, also when `f` panics.
struct Restore {
    here: Here,
    deadline: Nanos,
    deadline_is_outer: bool,
    shields: u16,
}

impl Restore {
    fn new(here: Here) -> Self {
        Self {
            here,
            deadline: here.task.deadline.get(),
            deadline_is_outer: here.task.deadline_is_outer.get(),
            shields: here.task.shields.get(),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let task = self.here.task;
        task.deadline.set(self.deadline);
        task.deadline_is_outer.set(self.deadline_is_outer);
        task.shields.set(self.shields);
        let cancelled = task.cancelled.get() && self.shields == 0;
        task.attention.set(cancelled);
        if !cancelled {
            task.reports.set(0);
        }
    }
}
