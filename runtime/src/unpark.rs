//! Waking a coroutine from any thread.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::remote::{Message, WayIn};
use crate::wait::{self, Here, WaitingFor};

/// Wakes one coroutine out of [`park`], from any thread.
///
/// Unparking leaves a permit, which the coroutine's present or next [`park`] takes; a second one
/// before that changes nothing. A burst of them, over any number of coroutines, costs the thread
/// of the runtime one wake-up. While an unparker exists the runtime does not take its coroutines
/// for deadlocked, and a virtual clock stands still.
#[derive(Clone, Debug)]
pub struct Unparker {
    way_in: WayIn,
    slot: u32,
    generation: u32,
}

impl Unparker {
    /// An unparker for the running coroutine; `None` outside one.
    #[must_use]
    pub fn for_current() -> Option<Self> {
        let here = Here::running()?;
        let way_in = WayIn::new(Arc::clone(&here.scheduler.remote));
        let task = here.task;
        Some(Self { way_in, slot: task.slot.get(), generation: task.generation.get() })
    }

    /// Gives the coroutine its permit. When the coroutine has ended, nothing happens.
    pub fn unpark(&self) {
        let (slot, generation) = (self.slot, self.generation);
        self.way_in.remote().send(Message::Unpark { slot, generation });
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
