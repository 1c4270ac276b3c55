//! Waiting for a coroutine to end, and what it left behind.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::time::Instant;

use crate::blocking::is_in_job;
use crate::clock::{NEVER, Nanos};
use crate::coroutine::{Outcome, State, TaskRef};
use crate::error::{Refused, WaitError};
use crate::wait::{self, Here, WaitingFor};

/// A handle to a coroutine: joins it, cancels it.
///
/// Dropping the handle detaches the coroutine, which then runs on by itself; if it panics, the
/// panic is logged with its name and backtrace.
pub struct JoinHandle<T> {
    task: TaskRef,
    id: u64,
    /// Handles stay on the runtime's thread.
    value: PhantomData<Rc<T>>,
}

/// Why joining gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The coroutine panicked.
    Panicked(Panic),
    /// Another call on the same handle took the value already.
    Taken,
    /// A coroutine cannot wait for its own end.
    Itself,
    /// The runtime ended and left the coroutine behind: it will never end.
    LeftBehind,
    /// The wait ended before the coroutine did; its value is still there for a later call.
    Wait(WaitError),
}

/// A panic that ended a coroutine.
pub struct Panic(Box<Details>);

struct Details {
    /// Never contended: the lock is what makes a panic `Sync`, and so the errors that hold it.
    #[expect(clippy::disallowed_types, reason = "only one who owns the panic takes it")]
    payload: std::sync::Mutex<Box<dyn Any + Send>>,
    message: Option<String>,
    origin: Option<Origin>,
}

/// Where a coroutine panicked, and how it got there.
struct Origin {
    /// The scheduler and the coroutine.
    who: (u64, u64),
    location: Option<String>,
    backtrace: Backtrace,
}

thread_local! {
    static LAST_PANIC: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

impl<T: 'static> JoinHandle<T> {
    pub(crate) fn new(task: TaskRef) -> Self {
        task.handles.set(task.handles.get() + 1);
        Self { task, id: task.id.get(), value: PhantomData }
    }

    /// Waits until the coroutine has ended and takes its value.
    ///
    /// Outside a coroutine this works once the coroutine has ended.
    ///
    /// # Suspends
    ///
    /// Until the coroutine has ended, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// - [`JoinError::Panicked`]: the coroutine panicked.
    /// - [`JoinError::Wait`]: the *caller* was cancelled, ran into a deadline or may not suspend.
    ///   The handle is as it was, and a later call gets the value.
    /// - [`JoinError::Itself`], [`JoinError::Taken`], [`JoinError::LeftBehind`].
    #[inline(always)]
    #[track_caller]
    pub fn join(&self) -> Result<T, JoinError> {
        self.join_by(wait::enter().map(|here| (here, NEVER)))
    }

    /// Waits like [`JoinHandle::join`], but not longer than until `deadline`.
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
        self.join_by(wait::enter_until(deadline))
    }

    #[inline(always)]
    fn join_by(&self, entered: Result<(Here, Nanos), WaitError>) -> Result<T, JoinError> {
        match entered {
            Ok((here, until)) => self.wait(here, until)?,
            Err(WaitError::Refused(Refused::NoCoroutine)) if !self.can_end() => {}
            Err(error) => return Err(JoinError::Wait(error)),
        }
        self.take()
    }

    /// Takes what the coroutine, which has ended, left behind.
    pub(crate) fn take(&self) -> Result<T, JoinError> {
        match self.task.outcome.take() {
            Some(Outcome::Value(value)) => {
                Ok(*value.downcast::<T>().expect("the handle has the type of its coroutine"))
            }
            Some(Outcome::Panic(panic)) => Err(JoinError::Panicked(panic)),
            None if self.task.state.get() == State::Leaked => Err(JoinError::LeftBehind),
            None => Err(JoinError::Taken),
        }
    }

    /// Whether the coroutine is still to end.
    fn can_end(&self) -> bool {
        matches!(self.task.state.get(), State::Runnable | State::Parked)
    }

    #[inline(always)]
    fn wait(&self, here: Here, until: Nanos) -> Result<(), JoinError> {
        match self.task.state.get() {
            State::Ended | State::Leaked => Ok(()),
            _ if std::ptr::eq(self.task, here.task) => Err(JoinError::Itself),
            _ => here
                .wait_in(&self.task.joiners, self.waiting_for(here), until)
                .map_err(JoinError::Wait),
        }
    }

    #[inline(always)]
    fn waiting_for(&self, here: Here) -> WaitingFor {
        match self.task.scheduler.get() {
            Some(home) if std::ptr::eq(home, here.scheduler) => {
                WaitingFor::Join(self.task.slot.get())
            }
            // Its slot means nothing here.
            _ => WaitingFor::JoinElsewhere,
        }
    }
}

impl<T> JoinHandle<T> {
    /// Cancels the coroutine: its present wait and every later one fail with
    /// [`WaitError::Cancelled`], except inside [`shield`](crate::shield).
    ///
    /// It stays cancelled. One that has not run yet starts, and its first wait fails. One that was
    /// given something by its present wait keeps it, and the next wait fails.
    pub fn cancel(&self) {
        if let Some(home) = self.task.scheduler.get() {
            home.cancel(self.task);
        }
    }

    /// Whether the coroutine has ended, so that joining it does not wait.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.state.get() == State::Ended
    }

    /// The coroutine's number, which no other coroutine of its runtime ever has.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What a select waits on to learn that the coroutine has ended.
    pub(crate) const fn task(&self) -> TaskRef {
        self.task
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let handles = self.task.handles.get() - 1;
        self.task.handles.set(handles);
        if handles == 0 && self.task.state.get() == State::Ended {
            // Dropping the value may run any code, so it comes before the block is used again.
            let outcome = self.task.outcome.take();
            if let Some(Outcome::Panic(panic)) = &outcome {
                tracing::error!(coroutine = ?self.task, "a detached coroutine {panic}");
            }
            drop(outcome);
            if let Some(home) = self.task.scheduler.get() {
                home.recycle(self.task);
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Panic {
    /// Takes what the hook recorded of the panic that `payload` was just caught from.
    pub(crate) fn caught(payload: Box<dyn Any + Send>) -> Self {
        // One that the hook saw in another coroutine was caught there; this one came from
        // `resume_unwind`, of which it is not told.
        let origin = LAST_PANIC.take().filter(|origin| Some(origin.who) == who_runs());
        let message = payload
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Self(Box::new(Details { payload: payload.into(), message, origin }))
    }

    /// Panics on with what was caught.
    pub(crate) fn resume(mut self) -> ! {
        LAST_PANIC.set(self.0.origin.take());
        panic::resume_unwind(self.into_payload())
    }

    /// The panic's message, if it has one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The file, line and column of the panic.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.0.origin.as_ref()?.location.as_deref()
    }

    /// How the coroutine got there; captured when `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks
    /// for backtraces.
    #[must_use]
    pub fn backtrace(&self) -> Option<&Backtrace> {
        Some(&self.0.origin.as_ref()?.backtrace)
    }

    /// The value that the coroutine panicked with, for [`std::panic::resume_unwind`].
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        // Nobody else can have held the lock, so it is not poisoned.
        self.0.payload.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Records where a coroutine panics, which is known only while it happens, and then does what the
/// program's own hook does.
pub(crate) fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if let Some(who) = who_runs() {
                let location = info.location().map(ToString::to_string);
                LAST_PANIC.set(Some(Origin { who, location, backtrace: Backtrace::capture() }));
            }
            next(info);
        }));
    });
}

fn who_runs() -> Option<(u64, u64)> {
    let running = Here::running().map(|here| (here.scheduler.id(), here.task.id.get()));
    // Jobs of a pool have no number, and no other thread looks.
    running.or_else(|| is_in_job().then_some((0, 0)))
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panic")
            .field("message", &self.message())
            .field("location", &self.location())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("panicked")?;
        if let Some(location) = self.location() {
            write!(f, " at {location}")?;
        }
        write!(f, ": {}", self.message().unwrap_or("a value that is not text"))?;
        match self.backtrace() {
            Some(trace) if trace.status() == BacktraceStatus::Captured => write!(f, "\n{trace}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => write!(f, "the coroutine {panic}"),
            Self::Taken => f.write_str("the coroutine's value was taken before"),
            Self::Itself => f.write_str("a coroutine cannot join itself"),
            Self::LeftBehind => f.write_str("the runtime ended and left the coroutine behind"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wait(error) => Some(error),
            _ => None,
        }
    }
}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Wait(error) => error.into(),
            other => Self::other(other.to_string()),
        }
    }
}
