//! A number of permits that coroutines take and give back: a bound on what runs at a time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// A counting semaphore.
///
/// It is first come first served: while a request for many permits waits, smaller ones that came
/// later wait behind it. A request for more permits than there will ever be is legal and waits
/// until [`Semaphore::add_permits`] made enough, or what is in force around it ends it.
///
/// ```
/// # use std::rc::Rc;
/// # use thalweg_runtime::{self as rt, sync::Semaphore};
/// # rt::run(|| -> std::io::Result<()> {
/// let connections = Rc::new(Semaphore::new(2));
/// for _ in 0..10 {
///     let permit = connections.acquire_owned(1)?; // waits while two are being served
///     rt::spawn(move || {
///         let _permit = permit;
///         rt::yield_now()
///     });
/// }
/// # Ok(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Semaphore {
    available: Cell<u32>,
    /// The note of a node tells how many permits it asks for.
    waiters: WaitQueue,
}

/// Permits of a [`Semaphore`], given back when it is dropped.
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    permits: u32,
}

/// Permits that keep their [`Semaphore`] alive, so that a coroutine can be spawned with them.
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct OwnedPermit {
    semaphore: Rc<Semaphore>,
    permits: u32,
}

impl Semaphore {
    /// A semaphore with so many permits.
    pub const fn new(permits: u32) -> Self {
        Self { available: Cell::new(permits), waiters: WaitQueue::new() }
    }

    /// Takes `permits` permits, all at once. None is always there.
    ///
    /// # Suspends
    ///
    /// While there are too few, or others have waited longer, until the permits are handed to the
    /// caller, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`]; no permit is
    /// taken then.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire(&self, permits: u32) -> Result<Permit<'_>, WaitError> {
        self.acquire_by(wait::enter()?, permits, NEVER)?;
        Ok(Permit { semaphore: self, permits })
    }

    /// Takes permits like [`Semaphore::acquire`], but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Semaphore::acquire`].
    ///
    /// # Errors
    ///
    /// As [`Semaphore::acquire`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire_until(&self, permits: u32, deadline: Instant) -> Result<Permit<'_>, WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.acquire_by(here, permits, until)?;
        Ok(Permit { semaphore: self, permits })
    }

    /// Takes permits like [`Semaphore::acquire`], to be moved into another coroutine.
    ///
    /// # Suspends
    ///
    /// As [`Semaphore::acquire`].
    ///
    /// # Errors
    ///
    /// As [`Semaphore::acquire`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn acquire_owned(self: &Rc<Self>, permits: u32) -> Result<OwnedPermit, WaitError> {
        self.acquire_by(wait::enter()?, permits, NEVER)?;
        Ok(OwnedPermit { semaphore: Rc::clone(self), permits })
    }

    /// Takes permits that are there and that nobody waits for. Also works outside a coroutine.
    #[inline]
    pub fn try_acquire(&self, permits: u32) -> Option<Permit<'_>> {
        self.take(permits).then(|| Permit { semaphore: self, permits })
    }

    /// Makes more permits.
    ///
    /// # Panics
    ///
    /// When there would be more than [`u32::MAX`] that nobody holds.
    pub fn add_permits(&self, permits: u32) {
        let available = self.available.get().checked_add(permits);
        self.available.set(available.expect("a semaphore has at most u32::MAX permits"));
        self.hand_over();
    }

    /// The permits that nobody holds.
    #[must_use]
    pub fn available_permits(&self) -> u32 {
        self.available.get()
    }

    /// Takes permits back. There are never more than `u32::MAX`.
    #[inline]
    fn release(&self, permits: u32) {
        self.available.set(self.available.get().saturating_add(permits));
        self.hand_over();
    }

    #[inline]
    fn acquire_by(&self, here: Here, permits: u32, until: Nanos) -> Result<(), WaitError> {
        if self.take(permits) { Ok(()) } else { self.wait(here, permits, until) }
    }

    /// Returns when the permits are handed to the caller.
    #[cold]
    fn wait(&self, here: Here, permits: u32, until: Nanos) -> Result<(), WaitError> {
        here.task.node.note.set(permits);
        let result = here.wait_in(&self.waiters, WaitingFor::Semaphore, until);
        if result.is_err() {
            // A big request that gives up may have kept small ones waiting.
            self.hand_over();
        }
        result
    }

    #[inline]
    fn take(&self, permits: u32) -> bool {
        if permits == 0 {
            return true;
        }
        let left = self.available.get().checked_sub(permits);
        match left.filter(|_| self.waiters.first().is_none()) {
            Some(left) => {
                self.available.set(left);
                true
            }
            None => false,
        }
    }

    /// Hands permits to those who have waited longest, as far as they go.
    #[inline]
    fn hand_over(&self) {
        while let Some(first) = self.waiters.first() {
            let Some(left) = self.available.get().checked_sub(first.note.get()) else { break };
            self.available.set(left);
            let woken = self.waiters.wake(first);
            debug_assert!(woken, "the first of a queue waits");
        }
    }
}

impl Permit<'_> {
    /// How many permits these are.
    #[must_use]
    pub const fn permits(&self) -> u32 {
        self.permits
    }

    /// Uses the permits up: the semaphore has that many fewer from now on.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl OwnedPermit {
    /// How many permits these are.
    #[must_use]
    pub const fn permits(&self) -> u32 {
        self.permits
    }

    /// Uses the permits up: the semaphore has that many fewer from now on.
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for Permit<'_> {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.release(self.permits);
    }
}

impl Drop for OwnedPermit {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.release(self.permits);
    }
}
