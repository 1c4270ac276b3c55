//! Why a suspending call did not do what was asked, and why a runtime could not run.
//!
//! Calls that return [`std::io::Error`] carry the same values inside it: find them again with
//! [`is_cancelled`] and [`timed_out`]. Neither is ever `ErrorKind::Interrupted`, which std's
//! `read_exact`, `write_all` and `copy` retry for ever.

use std::error::Error;
use std::fmt;
use std::io;

/// The coroutine was cancelled; see [`JoinHandle::cancel`](crate::JoinHandle::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// A deadline passed before the call could finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut {
    pub(crate) outer: bool,
}

/// The call may not suspend where it was made, so it did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The caller is not a coroutine of a runtime that runs on this thread.
    NoCoroutine,
    /// The coroutine is unwinding from a panic: other coroutines would see `panicking()`.
    Unwinding,
    /// The caller runs on a stack that is not the coroutine's own, such as a nested generator's.
    ForeignStack,
    /// The process was forked after the runtime was built.
    Forked,
    /// The coroutine is being suspended or resumed already, and the caller is a `tracing`
    /// subscriber that is told so.
    Switching,
    /// The call blocks its thread, and that runs coroutines.
    BlocksRuntime,
}

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The coroutine was cancelled. Nothing was consumed.
    Cancelled,
    /// A deadline passed. Nothing was consumed.
    TimedOut(TimedOut),
    /// The call may not suspend here. It had no effect.
    Refused(Refused),
}

/// Why a runtime could not run, or stopped before its root function returned.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing can ever wake any coroutine again; the text lists them all.
    Deadlock(String),
    /// The call was made on a thread that already runs a runtime, from inside one of its turns.
    Nested,
    /// The process was forked after the runtime was built.
    Forked,
    /// The thread is unwinding from a panic, on which coroutines cannot be told apart.
    Unwinding,
    /// The runtime could not get what it needs from the system.
    Io(io::Error),
}

impl TimedOut {
    /// Whether an enclosing deadline passed, not the innermost one that was in force.
    ///
    /// The innermost is the deadline or timeout given to the call itself or, where the call has
    /// none, the closest [`deadline`](crate::deadline) or [`timeout`](crate::timeout) around it.
    #[must_use]
    pub const fn is_outer(self) -> bool {
        self.outer
    }
}

/// Whether `error` reports that the calling coroutine was cancelled.
#[must_use]
pub fn is_cancelled(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Cancelled>())
}

/// The deadline that `error` reports as passed, if that is what it reports.
#[must_use]
pub fn timed_out(error: &io::Error) -> Option<TimedOut> {
    error.get_ref()?.downcast_ref::<TimedOut>().copied()
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the coroutine was cancelled")
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.outer { "an enclosing deadline passed" } else { "the deadline passed" })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCoroutine => "only a coroutine can suspend, and the caller is not one",
            Self::Unwinding => "a coroutine cannot suspend while it unwinds from a panic",
            Self::ForeignStack => "a coroutine can suspend only on its own stack",
            Self::Forked => "the runtime cannot be used in a forked child",
            Self::Switching => "a tracing subscriber cannot suspend",
            Self::BlocksRuntime => "the call would block every coroutine of the runtime",
        })
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => Cancelled.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock(dump) => {
                write!(f, "deadlock: no event can wake any of these coroutines\n{dump}")
            }
            Self::Nested => f.write_str("a runtime is already running on this thread"),
            Self::Forked => Refused::Forked.fmt(f),
            Self::Unwinding => f.write_str("a runtime cannot run while its thread unwinds"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl Error for Cancelled {}
impl Error for TimedOut {}
impl Error for Refused {}
impl Error for WaitError {}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Cancelled> for io::Error {
    fn from(error: Cancelled) -> Self {
        Self::other(error)
    }
}

impl From<TimedOut> for io::Error {
    fn from(error: TimedOut) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}

impl From<Refused> for io::Error {
    fn from(error: Refused) -> Self {
        Self::new(io::ErrorKind::Unsupported, error)
    }
}

impl From<WaitError> for io::Error {
    #[cold]
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Cancelled => Cancelled.into(),
            WaitError::TimedOut(timed_out) => timed_out.into(),
            WaitError::Refused(refused) => refused.into(),
        }
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
