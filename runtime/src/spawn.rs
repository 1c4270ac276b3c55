//! Making coroutines, and what a coroutine may ask of itself.

use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;

use tracing::Span;

use crate::coroutine::begin;
use crate::error::{Refused, WaitError};
use crate::join::JoinHandle;
use crate::local;
use crate::scheduler::Scheduler;
use crate::trace;
use crate::wait::{self, Here};

/// Starts a coroutine on the runtime that this coroutine belongs to.
///
/// It is put at the end of the run queue and does not inherit the deadline in force; nothing of
/// `f` runs before the caller suspends. `f` needs no `Send`.
///
/// # Panics
///
/// Outside a runtime, and when no stack can be had. [`Builder::spawn`] reports both as errors.
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let started = match Scheduler::current() {
        Some(scheduler) => start(scheduler, None, Location::caller(), f),
        None => Err(outside()),
    };
    match started {
        Ok(handle) => handle,
        Err(error) => panic!("cannot spawn a coroutine: {error}"),
    }
}

/// Starts a coroutine with neither name nor span.
fn start<F, T>(
    scheduler: &'static Scheduler,
    stack_size: Option<usize>,
    spawned_at: &'static Location<'static>,
    f: F,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let locals = local::inherited(scheduler);
    let (task, stack) = scheduler.prepare(stack_size, spawned_at)?;
    if locals.is_some() {
        task.locals.set(locals);
    }
    let handle = JoinHandle::new(task);
    begin(task, stack, f);
    scheduler.launch(task);
    Ok(handle)
}

/// What a coroutine gets besides its function.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing until `spawn`"]
pub struct Builder {
    pub(crate) name: Option<Rc<str>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) span: Option<Span>,
}

impl Builder {
    /// Starts with no name, no span and the runtime's stack size.
    pub const fn new() -> Self {
        Self { name: None, stack_size: None, span: None }
    }

    /// The name that logs, dumps and the overflow message give the coroutine.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// The stack's size in bytes: address space, the lowest 64 KiB of which are the guard, rounded
    /// up to a power of two. Memory is used only where the stack was touched.
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// The span that the coroutine is in whenever it runs, from its beginning to its end; see
    /// [`trace`](crate::trace).
    pub fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Starts the coroutine; see [`spawn`].
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack size out of range (128 KiB to 1 GiB), `Unsupported` outside a
    /// runtime, and what the system says when no stack can be had.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let Some(scheduler) = Scheduler::current() else { return Err(outside()) };
        self.spawn_on(scheduler, Location::caller(), f)
    }

    pub(crate) fn spawn_on<F, T>(
        self,
        scheduler: &'static Scheduler,
        spawned_at: &'static Location<'static>,
        f: F,
    ) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let handle = match self.span {
            None => start(scheduler, self.stack_size, spawned_at, f)?,
            span => start(scheduler, self.stack_size, spawned_at, move || {
                trace::enter_for_life(span);
                f()
            })?,
        };
        if self.name.is_some() {
            // The coroutine has not run yet.
            handle.task().name.replace(self.name);
        }
        Ok(handle)
    }
}

pub(crate) fn outside() -> io::Error {
    let forked = Scheduler::was_forked();
    io::Error::from(if forked { Refused::Forked } else { Refused::NoCoroutine })
}

/// Lets every other runnable coroutine run first.
///
/// # Suspends
///
/// Always, once.
///
/// # Errors
///
/// [`WaitError::Cancelled`] and [`WaitError::TimedOut`] when that is due before the call.
#[inline(always)]
#[track_caller]
pub fn yield_now() -> Result<(), WaitError> {
    let here = wait::enter()?;
    here.reschedule();
    Ok(())
}

/// The coroutine that calls this, or `None` outside one.
#[must_use]
pub fn current() -> Option<Current> {
    let task = Here::running()?.task;
    let name = task.name.borrow().clone();
    Some(Current { id: task.id.get(), name, stack_size: task.span().size() })
}

/// The running coroutine, as told by [`current`].
#[derive(Clone, Debug)]
pub struct Current {
    id: u64,
    name: Option<Rc<str>>,
    stack_size: usize,
}

impl Current {
    /// The coroutine's number, which no other coroutine of its runtime ever has.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The name given by [`Builder::name`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The bytes of address space that its stack has, the guard of 64 KiB included.
    #[must_use]
    pub const fn stack_size(&self) -> usize {
        self.stack_size
    }
}

/// Gives back the memory that the caller's stack used deeper than it is now, after a call that
/// went deep once, such as a handshake. It costs about 2 µs.
///
/// # Errors
///
/// `Unsupported` outside a coroutine, and what `madvise(2)` reports.
pub fn trim_stack() -> io::Result<()> {
    let here = Here::running().filter(|here| here.task.is_on_own_stack()).ok_or_else(outside)?;
    here.task.trim_stack()
}

/// How many bytes of memory the caller's stack holds: the deepest it was used since it was made or
/// trimmed, in whole pages. Stacks are reused, so a new coroutine's may hold what an earlier one
/// needed.
///
/// # Errors
///
/// `Unsupported` outside a coroutine, and what `mincore(2)` reports.
pub fn stack_high_water() -> io::Result<usize> {
    let here = Here::running().filter(|here| here.task.is_on_own_stack()).ok_or_else(outside)?;
    here.task.span().resident()
}

/// Forbids the running coroutine, and what it calls, to suspend while the guard lives.
///
/// It documents and checks a critical section: code between two suspension points that others
/// must not see half done. In release builds it does nothing.
#[track_caller]
#[must_use = "suspension is forbidden only while the guard lives"]
pub fn no_suspend() -> NoSuspend {
    let here = if cfg!(debug_assertions) { Here::running() } else { None };
    // Not in the closure, whose caller would be this function.
    let place = Location::caller();
    let holder = here.map(|here| {
        here.scheduler.forbid_suspension(place);
        (here.scheduler.id(), here.task.id.get())
    });
    NoSuspend { holder, stays: PhantomData }
}

/// A guard of [`no_suspend`].
#[derive(Debug)]
pub struct NoSuspend {
    /// The scheduler and the coroutine that the guard was taken in.
    holder: Option<(u64, u64)>,
    stays: PhantomData<*const ()>,
}

impl Drop for NoSuspend {
    fn drop(&mut self) {
        let Some(holder) = self.holder else { return };
        if let Some(here) = Here::running()
            && (here.scheduler.id(), here.task.id.get()) == holder
        {
            here.scheduler.allow_suspension();
        }
    }
}
