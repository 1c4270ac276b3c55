//! A lock that is held across suspending calls.
//!
//! Between two suspending calls a coroutine has everything for itself; a `Cell` or `RefCell` does
//! there. This is for what must not be seen half done while its owner waits for something.

use std::cell::{Cell, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// A mutual exclusion lock around a value.
///
/// Unlocking hands the lock to the coroutine that has waited longest. A panic or a cancellation
/// while the lock is held releases it and poisons nothing. A guard that is forgotten
/// ([`std::mem::forget`]) holds the lock for good.
///
/// ```
/// # use std::rc::Rc;
/// # use thalweg_runtime::{self as rt, sync::Mutex};
/// # rt::run(|| -> std::io::Result<()> {
/// let log = Rc::new(Mutex::new(Vec::new()));
/// let theirs = Rc::clone(&log);
/// let other = rt::spawn(move || theirs.lock().map(|mut log| log.push("second")));
/// let mut mine = log.lock()?;
/// rt::yield_now()?; // the other one waits
/// mine.push("first");
/// drop(mine);
/// other.join()??;
/// assert_eq!(*log.lock()?, ["first", "second"]);
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct Mutex<T: ?Sized> {
    locked: Cell<bool>,
    /// The coroutine that locked it; nobody while it is handed over.
    holder: Cell<Holder>,
    waiters: WaitQueue,
    /// Borrowed exactly while a guard lives.
    value: RefCell<T>,
}

/// The lock on a [`Mutex`], released when it is dropped.
#[must_use = "the mutex is locked only while the guard lives"]
pub struct MutexGuard<'a, T: ?Sized> {
    value: RefMut<'a, T>,
    mutex: &'a Mutex<T>,
}

/// Who holds a lock: numbers and not a reference, for the coroutine may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    scheduler: u64,
    coroutine: u64,
}

impl Holder {
    /// Schedulers and coroutines are numbered from 1.
    pub(super) const NOBODY: Self = Self { scheduler: 0, coroutine: 0 };

    #[inline]
    pub(super) fn of(here: Here) -> Self {
        Self { scheduler: here.scheduler.id(), coroutine: here.task.id.get() }
    }
}

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            locked: Cell::new(false),
            holder: Cell::new(Holder::NOBODY),
            waiters: WaitQueue::new(),
            value: RefCell::new(value),
        }
    }

    /// The value, out of a mutex that nobody can lock any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks the mutex.
    ///
    /// # Suspends
    ///
    /// While it is locked, until it is handed to the caller, a deadline passes or the caller is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`]; the mutex is
    /// not locked then.
    ///
    /// # Panics
    ///
    /// When the calling coroutine has locked the mutex already and the guard still lives: it would
    /// wait for itself.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, WaitError> {
        let here = wait::enter()?;
        if self.locked.get() {
            self.wait(here, NEVER)?;
        }
        Ok(self.guard(Holder::of(here)))
    }

    /// Locks the mutex, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Mutex::lock`].
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`].
    ///
    /// # Panics
    ///
    /// As [`Mutex::lock`].
    #[track_caller]
    pub fn lock_until(&self, deadline: Instant) -> Result<MutexGuard<'_, T>, WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        if self.locked.get() {
            self.wait(here, until)?;
        }
        Ok(self.guard(Holder::of(here)))
    }

    /// Locks the mutex unless it is locked or promised to a coroutine that waited for it. Also
    /// works outside a coroutine.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if self.locked.get() {
            return None;
        }
        Some(self.guard(Here::running().map_or(Holder::NOBODY, Holder::of)))
    }

    /// The value, without locking: the borrow proves that nobody else can.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Whether somebody holds the lock, or is about to because it was handed over.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.locked.get()
    }

    /// Returns when the mutex is handed to the caller.
    #[cold]
    #[track_caller]
    fn wait(&self, here: Here, until: Nanos) -> Result<(), WaitError> {
        assert!(
            self.holder.get() != Holder::of(here),
            "a Mutex is locked again by the coroutine that holds it, {:?}",
            here.task
        );
        here.wait_in(&self.waiters, WaitingFor::Mutex, until)
    }

    /// Makes the guard of a mutex that is free or was handed to the caller.
    #[inline]
    fn guard(&self, holder: Holder) -> MutexGuard<'_, T> {
        self.locked.set(true);
        self.holder.set(holder);
        MutexGuard { value: self.value.borrow_mut(), mutex: self }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    /// Hands the lock to who waits for it. That one borrows the value only when it runs, and by
    /// then this guard's borrow is over.
    #[inline]
    fn drop(&mut self) {
        self.mutex.holder.set(Holder::NOBODY);
        if !self.mutex.waiters.wake_one() {
            self.mutex.locked.set(false);
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.try_borrow() {
            Ok(value) => f.debug_tuple("Mutex").field(&&*value).finish(),
            Err(_) => f.write_str("Mutex(<locked>)"),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.value, f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.value, f)
    }
}
