//! A condition variable, which needs no mutex: nothing else runs between a check and a wait.

use std::time::Instant;

use crate::clock::NEVER;
use crate::error::WaitError;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, WaitQueue, WaitingFor};

/// A condition variable.
///
/// A signal goes to the coroutine that has waited longest, and is lost when none waits. So check
/// the condition before waiting, and again after: another coroutine may have run in between.
///
/// ```
/// # use std::{cell::Cell, rc::Rc};
/// # use thalweg_runtime::{self as rt, sync::Cond};
/// # rt::run(|| -> std::io::Result<()> {
/// let shared = Rc::new((Cell::new(false), Cond::new()));
/// let theirs = Rc::clone(&shared);
/// rt::spawn(move || {
///     theirs.0.set(true);
///     theirs.1.signal();
/// });
/// while !shared.0.get() {
///     shared.1.wait()?;
/// }
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Cond {
    waiters: WaitQueue,
}

impl Cond {
    /// A condition variable that nobody waits for.
    pub const fn new() -> Self {
        Self { waiters: WaitQueue::new() }
    }

    /// Waits for a signal.
    ///
    /// # Suspends
    ///
    /// Always, until a signal, a deadline or a cancellation.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`].
    #[inline(always)]
    #[track_caller]
    pub fn wait(&self) -> Result<(), WaitError> {
        wait::enter()?.wait_in(&self.waiters, WaitingFor::Cond, NEVER)
    }

    /// Waits for a signal, but not longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// Always, until a signal, a deadline or a cancellation.
    ///
    /// # Errors
    ///
    /// As [`Cond::wait`].
    #[track_caller]
    pub fn wait_until(&self, deadline: Instant) -> Result<(), WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        here.wait_in(&self.waiters, WaitingFor::Cond, until)
    }

    /// The next signal, as a source of [`select!`](crate::select!): a signal before the select
    /// waits is lost, and one that wakes the select belongs to this arm.
    pub const fn being_signalled(&self) -> BeingSignalled<'_> {
        BeingSignalled { cond: self }
    }

    /// Wakes the coroutine that has waited longest; `false` when none waits.
    #[inline]
    pub fn signal(&self) -> bool {
        self.waiters.wake_one()
    }

    /// Wakes every coroutine that waits; the result is how many.
    pub fn broadcast(&self) -> usize {
        self.waiters.wake_all()
    }
}

impl Default for Cond {
    fn default() -> Self {
        Self::new()
    }
}

/// Made by [`Cond::being_signalled`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct BeingSignalled<'a> {
    cond: &'a Cond,
}

impl Select for BeingSignalled<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        None
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.wait_in(&self.cond.waiters)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<()> {
        waiter.leave(&self.cond.waiters).then_some(())
    }
}
