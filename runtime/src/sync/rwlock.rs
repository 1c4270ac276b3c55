//! A lock that many may hold to read, or one to write.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use super::mutex::Holder;
use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// A lock around a value that any number of coroutines read at a time, or one writes.
///
/// It is first come first served: a writer that waits keeps out readers that come after it, so
/// neither kind starves the other. For that reason a coroutine that reads must not read again
/// while it holds its guard, nor write: with a writer in between, or always, it waits for itself.
/// A panic or a cancellation poisons nothing.
///
/// ```
/// # use thalweg_runtime::{self as rt, sync::RwLock};
/// # rt::run(|| -> std::io::Result<()> {
/// let routes = RwLock::new(vec!["live/cam"]);
/// routes.write()?.push("live/stage");
/// assert_eq!(routes.read()?.len(), 2);
/// # Ok(())
/// # }).unwrap();
/// ```
pub struct RwLock<T: ?Sized> {
    /// Who holds the lock, including those whom it was handed to and who have not run since.
    state: Cell<State>,
    /// The coroutine that writes; nobody while the lock is handed over.
    writer: Cell<Holder>,
    /// The note of a node tells what it waits for: `READ` or `WRITE`.
    waiters: WaitQueue,
    /// Borrowed as the guards that live say.
    value: RefCell<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many read; free while it is 0.
    Reading(usize),
    Writing,
}

/// Notes of waiting nodes.
const READ: u32 = 0;
const WRITE: u32 = 1;

/// Shared access to an [`RwLock`], given back when it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub struct ReadGuard<'a, T: ?Sized> {
    value: Ref<'a, T>,
    lock: &'a RwLock<T>,
}

/// Exclusive access to an [`RwLock`], given back when it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub struct WriteGuard<'a, T: ?Sized> {
    value: RefMut<'a, T>,
    lock: &'a RwLock<T>,
}

impl<T> RwLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self {
            state: Cell::new(State::Reading(0)),
            writer: Cell::new(Holder::NOBODY),
            waiters: WaitQueue::new(),
            value: RefCell::new(value),
        }
    }

    /// The value, out of a lock that nobody can take any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read.
    ///
    /// # Suspends
    ///
    /// While somebody writes or has waited longer to, until the lock is handed to the caller, a
    /// deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`]; the lock is
    /// not taken then.
    ///
    /// # Panics
    ///
    /// When the calling coroutine holds the lock to write: it would wait for itself.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> Result<ReadGuard<'_, T>, WaitError> {
        self.read_by(wait::enter()?, NEVER)
    }

    /// Takes the lock to read, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`RwLock::read`].
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    ///
    /// # Panics
    ///
    /// As [`RwLock::read`].
    #[track_caller]
    pub fn read_until(&self, deadline: Instant) -> Result<ReadGuard<'_, T>, WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.read_by(here, until)
    }

    /// Takes the lock to read, unless somebody writes or waits. Also works outside a coroutine.
    #[inline]
    pub fn try_read(&self) -> Option<ReadGuard<'_, T>> {
        (self.waiters.first().is_none() && self.take(READ)).then(|| self.read_guard())
    }

    /// Takes the lock to write.
    ///
    /// # Suspends
    ///
    /// While anybody holds the lock, until it is handed to the caller, a deadline passes or the
    /// caller is cancelled.
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    ///
    /// # Panics
    ///
    /// As [`RwLock::read`].
    #[inline]
    #[track_caller]
    pub fn write(&self) -> Result<WriteGuard<'_, T>, WaitError> {
        self.write_by(wait::enter()?, NEVER)
    }

    /// Takes the lock to write, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`RwLock::write`].
    ///
    /// # Errors
    ///
    /// As [`RwLock::read`].
    ///
    /// # Panics
    ///
    /// As [`RwLock::read`].
    #[track_caller]
    pub fn write_until(&self, deadline: Instant) -> Result<WriteGuard<'_, T>, WaitError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.write_by(here, until)
    }

    /// Takes the lock to write, unless somebody holds it or waits. Also works outside a coroutine.
    #[inline]
    pub fn try_write(&self) -> Option<WriteGuard<'_, T>> {
        let taken = self.waiters.first().is_none() && self.take(WRITE);
        taken.then(|| self.write_guard(Here::running().map_or(Holder::NOBODY, Holder::of)))
    }

    /// The value, without locking: the borrow proves that nobody else can.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    #[track_caller]
    fn read_by(&self, here: Here, until: Nanos) -> Result<ReadGuard<'_, T>, WaitError> {
        if self.waiters.first().is_some() || !self.take(READ) {
            self.wait(here, READ, until)?;
        }
        Ok(self.read_guard())
    }

    #[track_caller]
    fn write_by(&self, here: Here, until: Nanos) -> Result<WriteGuard<'_, T>, WaitError> {
        if self.waiters.first().is_some() || !self.take(WRITE) {
            self.wait(here, WRITE, until)?;
        }
        Ok(self.write_guard(Holder::of(here)))
    }

    /// Returns when the lock is handed to the caller.
    #[cold]
    #[track_caller]
    fn wait(&self, here: Here, what: u32, until: Nanos) -> Result<(), WaitError> {
        assert!(
            self.writer.get() != Holder::of(here),
            "an RwLock is locked again by the coroutine that writes, {:?}",
            here.task
        );
        here.task.node.note.set(what);
        let result = here.wait_in(&self.waiters, WaitingFor::RwLock, until);
        if result.is_err() {
            // A writer that gives up may have kept readers out.
            self.hand_over();
        }
        result
    }

    /// Counts one more holder, if there may be one.
    #[inline]
    fn take(&self, what: u32) -> bool {
        let next = match (self.state.get(), what) {
            (State::Reading(readers), READ) => State::Reading(readers + 1),
            (State::Reading(0), _) => State::Writing,
            _ => return false,
        };
        self.state.set(next);
        true
    }

    #[inline]
    fn release(&self) {
        self.state.set(match self.state.get() {
            State::Reading(readers) => State::Reading(readers - 1),
            State::Writing => State::Reading(0),
        });
        self.hand_over();
    }

    /// Hands the lock to those who have waited longest, as far as they can hold it together.
    #[inline]
    fn hand_over(&self) {
        while let Some(first) = self.waiters.first() {
            if !self.take(first.note.get()) {
                break;
            }
            let woken = self.waiters.wake(first);
            debug_assert!(woken, "the first of a queue waits");
        }
    }

    fn read_guard(&self) -> ReadGuard<'_, T> {
        ReadGuard { value: self.value.borrow(), lock: self }
    }

    fn write_guard(&self, holder: Holder) -> WriteGuard<'_, T> {
        self.writer.set(holder);
        WriteGuard { value: self.value.borrow_mut(), lock: self }
    }
}

impl<T: ?Sized> Drop for ReadGuard<'_, T> {
    /// Whoever gets the lock borrows the value only when it runs, after this guard's borrow.
    #[inline]
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl<T: ?Sized> Drop for WriteGuard<'_, T> {
    /// Whoever gets the lock borrows the value only when it runs, after this guard's borrow.
    #[inline]
    fn drop(&mut self) {
        self.lock.writer.set(Holder::NOBODY);
        self.lock.release();
    }
}

impl<T: ?Sized> Deref for ReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Deref for WriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for WriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.try_borrow() {
            Ok(value) => f.debug_tuple("RwLock").field(&&*value).finish(),
            Err(_) => f.write_str("RwLock(<locked>)"),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.value, f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for WriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.value, f)
    }
}
