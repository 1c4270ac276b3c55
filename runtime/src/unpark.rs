//! Waking a coroutine from any thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::remote::{Message, Remote};
use crate::wait::{self, Here, WaitingFor};

/// Wakes one coroutine out of [`park`], from any thread.
///
/// Unparking leaves a permit, which the coroutine's present or next [`park`] takes; a second one
/// before that changes nothing. A burst of them, over any number of coroutines, costs the thread
/// of the runtime one wake-up. While an unparker exists the runtime does not take its coroutines
/// for deadlocked, and a virtual clock stands still.
#[derive(Debug)]
pub struct Unparker {
    remote: Arc<Remote>,
    slot: u32,
    generation: u32,
}

impl Unparker {
    /// An unparker for the running coroutine; `None` outside one.
    #[must_use]
    pub fn for_current() -> Option<Self> {
        let here = Here::running()?;
        let remote = Arc::clone(&here.scheduler.remote);
        Some(Self::new(remote, here.task.slot.get(), here.task.generation.get()))
    }

    /// Gives the coroutine its permit. When the coroutine has ended, nothing happens.
    pub fn unpark(&self) {
        self.remote.send(Message::Unpark { slot: self.slot, generation: self.generation });
    }

    fn new(remote: Arc<Remote>, slot: u32, generation: u32) -> Self {
        remote.unparkers.fetch_add(1, Ordering::SeqCst);
        Self { remote, slot, generation }
    }
}

impl Clone for Unparker {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.remote), self.slot, self.generation)
    }
}

impl Drop for Unparker {
    fn drop(&mut self) {
        if self.remote.unparkers.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Without unparkers the coroutines may be deadlocked, or a virtual clock may move on.
            self.remote.send(Message::Look);
        }
    }
}

/// Waits for the permit that an [`Unparker`] of this coroutine gives, and takes it.
///
/// # Suspends
///
/// Until the permit is there, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`]; a permit that
/// comes later stays for the next call.
#[track_caller]
pub fn park() -> Result<(), WaitError> {
    park_by(wait::enter()?, NEVER)
}

/// Waits like [`park`], but not longer than until `deadline`.
///
/// # Suspends
///
/// Until the permit is there, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`park`].
#[track_caller]
pub fn park_until(deadline: Instant) -> Result<(), WaitError> {
    let (here, until) = wait::enter_until(deadline)?;
    park_by(here, until)
}

fn park_by(here: Here, until: Nanos) -> Result<(), WaitError> {
    if here.task.permit.replace(false) {
        return Ok(());
    }
    let wake = here.park(WaitingFor::Permit, until.min(here.task.deadline()));
    here.task.waiting_for.set(WaitingFor::Nothing);
    if here.task.permit.replace(false) { Ok(()) } else { Err(here.failure(wake, until)) }
}
