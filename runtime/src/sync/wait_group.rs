//! Waiting until a number of pieces of work are done.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// A counter of work that is not done yet, and coroutines that wait for it to become zero.
///
/// Clones count together.
///
/// ```
/// # use thalweg_runtime::{self as rt, sync::WaitGroup};
/// # rt::run(|| -> std::io::Result<()> {
/// let group = WaitGroup::new();
/// for _ in 0..3 {
///     let worker = group.worker();
///     rt::spawn(move || {
///         let _worker = worker; // done when dropped, also by a panic
///         rt::yield_now()
///     });
/// }
/// group.wait()?;
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct WaitGroup {
    shared: Rc<Shared>,
}

#[derive(Debug)]
struct Shared {
    count: Cell<usize>,
    waiters: WaitQueue,
}

/// One piece of work of a [`WaitGroup`], done when it is dropped.
#[derive(Debug)]
#[must_use = "the work counts as done when this is dropped"]
pub struct Worker {
    group: WaitGroup,
}

impl WaitGroup {
    /// A group without work.
    #[must_use]
    pub fn new() -> Self {
        Self { shared: Rc::new(Shared { count: Cell::new(0), waiters: WaitQueue::new() }) }
    }

    /// Counts `n` more pieces of work, for each of which [`WaitGroup::done`] is to be called.
    ///
    /// # Panics
    ///
    /// When the count overflows.
    pub fn add(&self, n: usize) {
        let count = self.shared.count.get().checked_add(n);
        self.shared.count.set(count.expect("a WaitGroup counts at most usize::MAX"));
    }

    /// Counts one piece of work less. Those who wait are woken when none is left, even if more is
    /// added before they run.
    ///
    /// # Panics
    ///
    /// When the count is zero: `done` was called more often than work was added.
    pub fn done(&self) {
        let left = self.shared.count.get().checked_sub(1);
        let left = left.expect("WaitGroup::done was called more often than work was added");
        self.shared.count.set(left);
        if left == 0 {
            self.shared.waiters.wake_all();
        }
    }

    /// Counts one more piece of work, which is done when the result is dropped.
    pub fn worker(&self) -> Worker {
        self.add(1);
        Worker { group: self.clone() }
    }

    /// How much work is not done yet.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count.get()
    }

    /// Waits until no work is left.
    ///
    /// # Suspends
    ///
    /// While work is left, until it is done, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) -> Result<(), WaitError> {
        self.wait_by(wait::enter()?, NEVER)
    }

    /// Waits like [`WaitGroup::wait`], but not longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`WaitGroup::wait`].
    ///
    /// # Errors
    ///
    /// As [`WaitGroup::wait`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, deadline: Instant) -> Result<(), WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.wait_by(here, until)
    }

    /// The end of all work, as a source of [`select!`](crate::select!).
    pub const fn finishing(&self) -> Finishing<'_> {
        Finishing { group: self }
    }

    fn wait_by(&self, here: Here, until: Nanos) -> Result<(), WaitError> {
        if self.count() == 0 {
            return Ok(());
        }
        here.wait_in(&self.shared.waiters, WaitingFor::WaitGroup, until)
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.group.done();
    }
}

/// Made by [`WaitGroup::finishing`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Finishing<'a> {
    group: &'a WaitGroup,
}

impl Select for Finishing<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        (self.group.count() == 0).then_some(())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.wait_in(&self.group.shared.waiters)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<()> {
        waiter.leave(&self.group.shared.waiters).then_some(())
    }
}
