//! Coroutines that borrow from the one that made them, which therefore outlives them.
//!
//! # Safety
//!
//! What a child borrows outlives `'scope`, and `'scope` ends when [`scope`] returns or unwinds. It
//! does neither before [`State::live`] is zero, and a child counts as live until the last thing it
//! does, the drop of its [`Ended`]. A parent that is left behind at the end of the runtime never
//! returns from its wait, so what its children borrow stays for good.
#![expect(unsafe_code, reason = "lets a coroutine borrow for less than 'static")]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use slab::Slab;

use crate::clock::NEVER;
use crate::coroutine::TaskRef;
use crate::error::Refused;
use crate::join::{JoinError, JoinHandle, Panic};
use crate::local;
use crate::scheduler::Scheduler;
use crate::spawn::{Builder, outside};
use crate::trace;
use crate::wait::{Here, WaitQueue, WaitingFor};

/// Where scoped coroutines are spawned; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    state: Rc<State>,
    /// `'scope` must not grow or shrink.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

#[derive(Debug)]
struct State {
    /// Children that may still use what they borrow.
    live: Cell<usize>,
    children: RefCell<Slab<TaskRef>>,
    /// Where the parent waits for the last child.
    parent: WaitQueue,
    /// Children that panicked and that nobody joined.
    panics: Cell<usize>,
}

/// A handle to a scoped coroutine.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<()>,
    packet: Rc<Packet<T>>,
    state: Rc<State>,
    scope: PhantomData<&'scope ()>,
}

/// What a child leaves: its value may borrow, so it cannot go where other coroutines leave theirs.
struct Packet<T> {
    result: Cell<Option<Result<T, Panic>>>,
}

/// Runs `f`, which may spawn coroutines that borrow what lives around the call, and returns when
/// all of them have ended.
///
/// The children inherit the deadline in force where they are spawned. When `f` panics, or the
/// parent is cancelled or past its deadline once `f` has returned, the children are cancelled; the
/// parent then goes on waiting for them, and neither a cancellation nor a deadline ends that wait.
///
/// ```
/// # use thalweg_runtime as rt;
/// # rt::run(|| -> std::io::Result<()> {
/// let mut counts = [0, 0];
/// let [first, second] = &mut counts;
/// rt::scope(|s| {
///     s.spawn(|| *first += 1);
///     s.spawn(|| *second += 2);
/// });
/// assert_eq!(counts, [1, 2]);
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// # Suspends
///
/// Until all children have ended.
///
/// # Panics
///
/// With `f`'s panic, once the children have ended; and when a child panicked that nobody joined.
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let state = Rc::new(State {
        live: Cell::new(0),
        children: RefCell::new(Slab::new()),
        parent: WaitQueue::new(),
        panics: Cell::new(0),
    });
    let scope = Scope { state: Rc::clone(&state), scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope))).map_err(Panic::caught);
    state.join_all(result.is_err());
    match result {
        Err(panic) => panic.resume(),
        Ok(_) if state.panics.get() > 0 => panic!("a scoped coroutine panicked"),
        Ok(value) => value,
    }
}

impl State {
    /// Waits for the last child, whatever happens to the parent meanwhile.
    fn join_all(&self, panicked: bool) {
        if self.live.get() == 0 {
            return;
        }
        // Only the child of a fork finds itself outside its runtime here. Nothing of the runtime runs
        // in it any more, so its children touch nothing.
        let Some(here) = Here::running() else { return };
        let task = here.task;
        let mut cancelled = false;
        while self.live.get() > 0 {
            let late = || task.deadline() <= here.scheduler.clock.now();
            if !cancelled && (panicked || task.is_cancelled() || late()) {
                self.children.borrow().iter().for_each(|(_, child)| here.scheduler.cancel(child));
                cancelled = true;
            }
            let until = if cancelled { NEVER } else { task.deadline() };
            self.parent.push(&task.node);
            here.park_regardless(WaitingFor::Scope, until);
            self.parent.remove(&task.node);
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a coroutine that may borrow what outlives the scope.
    ///
    /// # Panics
    ///
    /// Where [`Builder::spawn_scoped`] returns an error.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        match Builder::new().spawn_scoped(self, f) {
            Ok(handle) => handle,
            Err(error) => panic!("cannot spawn a coroutine: {error}"),
        }
    }

    /// Cancels all children that live now, as [`JoinHandle::cancel`] does one.
    pub fn cancel(&self) {
        let Some(scheduler) = Scheduler::current() else { return };
        self.state.children.borrow().iter().for_each(|(_, child)| scheduler.cancel(child));
    }
}

impl Builder {
    /// Starts a coroutine in `scope`; see [`scope`].
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`], and `Unsupported` while the caller unwinds from a panic, in a
    /// `tracing` subscriber and on a stack that is not its coroutine's own, where the scope could
    /// not wait for it.
    #[track_caller]
    pub fn spawn_scoped<'scope, F, T>(
        self,
        scope: &'scope Scope<'scope, '_>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let here = Here::running().ok_or_else(outside)?;
        if !here.task.is_on_own_stack() {
            return Err(Refused::ForeignStack.into());
        }
        if std::thread::panicking() {
            return Err(Refused::Unwinding.into());
        }
        if here.task.is_switching() {
            return Err(Refused::Switching.into());
        }
        let locals = local::inherited(here.scheduler);
        let (task, stack) = here.scheduler.prepare(self.stack_size, Location::caller())?;
        if self.name.is_some() {
            task.name.replace(self.name);
        }
        if locals.is_some() {
            task.locals.set(locals);
        }
        task.set_deadline(here.task.deadline(), true);
        let packet = Rc::new(Packet { result: Cell::new(None) });
        let state = &scope.state;
        let ended =
            Ended { state: Rc::clone(state), key: state.children.borrow_mut().insert(task) };
        state.live.set(state.live.get() + 1);
        let handle = JoinHandle::new(task);
        let theirs = Rc::clone(&packet);
        let span = self.span;
        let body = move || {
            // Dropped in the opposite order: `ended` after all that may borrow.
            let ended = ended;
            let theirs = theirs;
            let result = catch_unwind(AssertUnwindSafe(|| {
                trace::enter_for_life(span);
                f()
            }))
            .map_err(Panic::caught);
            let result = local::end(task, result);
            if result.is_err() {
                ended.state.panics.set(ended.state.panics.get() + 1);
            }
            theirs.result.set(Some(result));
        };
        // SAFETY: `begin` asks that what `body` borrows lives until the coroutine has ended. It
        // lives as long as `'scope`, which `scope` does not let end before `ended` was dropped;
        // after that the coroutine touches nothing of `body`'s. See the file's Safety paragraph.
        unsafe { task.begin(stack, body) };
        here.scheduler.launch(task);
        Ok(ScopedJoinHandle { handle, packet, state: Rc::clone(state), scope: PhantomData })
    }
}

/// The last thing of a child: tells its parent that it uses nothing any more.
struct Ended {
    state: Rc<State>,
    key: usize,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.state.children.borrow_mut().remove(self.key);
        let live = self.state.live.get() - 1;
        self.state.live.set(live);
        if live == 0 {
            self.state.parent.wake_all();
        }
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits until the coroutine has ended and takes its value; see [`JoinHandle::join`].
    ///
    /// # Suspends
    ///
    /// Until the coroutine has ended, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    #[track_caller]
    pub fn join(&self) -> Result<T, JoinError> {
        self.handle.join()?;
        self.take()
    }

    /// Waits like [`ScopedJoinHandle::join`], but not longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// Until the coroutine has ended, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// As [`JoinHandle::join`].
    #[track_caller]
    pub fn join_until(&self, deadline: Instant) -> Result<T, JoinError> {
        self.handle.join_until(deadline)?;
        self.take()
    }

    /// Cancels the coroutine; see [`JoinHandle::cancel`].
    pub fn cancel(&self) {
        self.handle.cancel();
    }

    /// Whether the coroutine has ended, so that joining it does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// The coroutine's number, which no other coroutine of its runtime ever has.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.handle.id()
    }

    pub(crate) const fn handle(&self) -> &JoinHandle<()> {
        &self.handle
    }

    pub(crate) fn take(&self) -> Result<T, JoinError> {
        match self.packet.result.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(panic)) => {
                self.state.panics.set(self.state.panics.get() - 1);
                Err(JoinError::Panicked(panic))
            }
            None => Err(JoinError::Taken),
        }
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}
