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
    match on_own_stack() {
        Some(here) => within(here, here.scheduler.clock.nanos(at), f),
        None => f(),
    }
}

/// Runs `f` with a deadline `limit` from now; see [`deadline`].
pub fn timeout<R>(limit: Duration, f: impl FnOnce() -> R) -> R {
    match on_own_stack() {
        Some(here) => within(here, after(here, limit), f),
        None => f(),
    }
}

/// Runs `f` sheltered from cancellation and from the deadlines in force around it, for work that
/// has to be done even then. Instead `limit` from now is the deadline of every wait in it.
///
/// # Panics
///
/// When shields nest 65536 deep.
pub fn shield<R>(limit: Duration, f: impl FnOnce() -> R) -> R {
    let Some(here) = on_own_stack() else { return f() };
    let task = here.task;
    let _restored = Restore::new(here);
    task.shields.set(task.shields.get().checked_add(1).expect("shields nest less than 65536 deep"));
    task.update_alerts();
    task.set_deadline(after(here, limit), false);
    f()
}

/// The running coroutine, unless the caller is a generator inside it: that may be suspended, and
/// outlive the coroutine. No wait succeeds there, so it does without a deadline or a shelter.
fn on_own_stack() -> Option<Here> {
    Here::running().filter(|here| here.task.is_on_own_stack())
}

fn within<R>(here: Here, at: Nanos, f: impl FnOnce() -> R) -> R {
    let task = here.task;
    let _restored = Restore::new(here);
    let around = task.deadline();
    task.set_deadline(at.min(around), around < at);
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
            deadline: here.task.deadline(),
            deadline_is_outer: here.task.deadline_is_outer.get(),
            shields: here.task.shields.get(),
        }
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        let task = self.here.task;
        task.set_deadline(self.deadline, self.deadline_is_outer);
        task.shields.set(self.shields);
        task.update_alerts();
        if !task.is_cancelled() && self.here.scheduler.clock.now() < self.deadline {
            // Not none: a loop over a timeout of zero must let others run, too.
            task.ignored.set(task.ignored.get().min(1));
        }
    }
}
