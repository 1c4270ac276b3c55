//! A condition that is either set or not, which any number of coroutines wait for.

use std::cell::Cell;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// An event that stays set until it is reset by hand.
///
/// ```
/// # use std::rc::Rc;
/// # use thalweg_runtime::{self as rt, sync::Event};
/// # rt::run(|| -> std::io::Result<()> {
/// let ready = Rc::new(Event::new());
/// let theirs = Rc::clone(&ready);
/// rt::spawn(move || theirs.set());
/// ready.wait()?;
/// ready.wait()?; // does not wait: it is still set
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Event {
    set: Cell<bool>,
    waiters: WaitQueue,
}

impl Event {
    /// An event that is not set.
    pub const fn new() -> Self {
        Self { set: Cell::new(false), waiters: WaitQueue::new() }
    }

    /// Sets the event and wakes every coroutine that waits for it, even if it is reset before they
    /// run.
    pub fn set(&self) {
        self.set.set(true);
        self.waiters.wake_all();
    }

    /// Makes later waits wait again.
    pub fn reset(&self) {
        self.set.set(false);
    }

    /// Whether the event is set now.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.get()
    }

    /// Waits until the event is set.
    ///
    /// # Suspends
    ///
    /// While the event is not set, until it is, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_by(wait::enter()?, NEVER)
    }

    /// Waits like [`Event::wait`], but not longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Event::wait`].
    ///
    /// # Errors
    ///
    /// As [`Event::wait`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, deadline: Instant) -> Result<(), WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.wait_by(here, until)
    }

    /// The event being set, as a source of [`select!`](crate::select!).
    pub const fn becoming_set(&self) -> BecomingSet<'_> {
        BecomingSet { event: self }
    }

    fn wait_by(&self, here: Here, until: Nanos) -> Result<(), WaitError> {
        if self.set.get() {
            return Ok(());
        }
        here.wait_in(&self.waiters, WaitingFor::Event, until)
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

/// Made by [`Event::becoming_set`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct BecomingSet<'a> {
    event: &'a Event,
}

impl Select for BecomingSet<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        self.event.is_set().then_some(())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.wait_in(&self.event.waiters)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<()> {
        waiter.leave(&self.event.waiters).then_some(())
    }
}
