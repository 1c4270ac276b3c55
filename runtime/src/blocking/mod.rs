//! Work that blocks: it runs on threads beside the runtime's own, and only its caller waits.
//!
//! [`fs`](crate::fs), which is built on it, shares the threads; [`net::resolve`](crate::net::resolve())
//! has some of its own. Work that computes for long belongs here, too, if others are not to wait for it.

mod job;
mod pool;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;

use crate::error::WaitError;
use crate::join::Panic;
use crate::wait::{self, Here};

pub(crate) use job::{Job, Packet};
pub(crate) use pool::{Place, Pool, PoolSettings, Pools, Spawner, Ticket};

/// Why a function that [`run`] was given has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockingError {
    /// The wait ended first. A function that had not begun never will; one that had goes on, and
    /// its result is dropped on its thread.
    Wait(WaitError),
    /// The function panicked.
    Panicked(Panic),
    /// There is no thread to run the function, and none can be started: it did not run.
    NoThread(io::Error),
}

/// Runs `f` on a thread of the runtime's pool and waits for its result.
///
/// The pool has at most [`blocking_threads`](crate::RuntimeBuilder::blocking_threads), which start
/// as they are needed and end when they have been idle for a while. In front of them jobs wait in
/// a queue of at most [`blocking_queue`](crate::RuntimeBuilder::blocking_queue); while that is full
/// callers wait for room, first come first served. When a thread cannot be started, those who are
/// there do its work.
///
/// A thread cannot be interrupted. When the caller is cancelled or runs into a deadline, this call
/// returns at once; an `f` that has not begun is taken back and dropped by the caller, and one that
/// runs already goes on to its end, holds its thread for as long, and has its result dropped there.
/// At the end of the runtime it is the same: nobody waits for the threads, which go on with what
/// they do and then end; the end of the process ends them wherever they are.
///
/// A virtual clock stands still while anybody waits for the pool.
///
/// ```
/// # use thalweg_runtime::{self as rt, blocking};
/// # rt::run(|| -> std::io::Result<()> {
/// let sum = blocking::run(|| (1..=1_000_000_u64).sum::<u64>())?;
/// assert_eq!(sum, 500_000_500_000);
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// # Suspends
///
/// Always, until `f` has returned, a deadline passes or the caller is cancelled.
///
/// # Errors
///
/// [`BlockingError::Wait`], [`BlockingError::Panicked`] and [`BlockingError::NoThread`].
#[track_caller]
pub fn run<F, T>(f: F) -> Result<T, BlockingError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let here = wait::enter()?;
    run_on(here, &here.scheduler.pools.work, f)
}

/// Runs `f` on a thread of `pool`, as [`run`] does.
pub(crate) fn run_on<F, T>(here: Here, pool: &Pool, f: F) -> Result<T, BlockingError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let job = Job::submit(here, pool, f)?;
    job.wait(here)?;
    job.take()
}

thread_local! {
    /// Whether this thread runs a job whose panic is going to be reported.
    static REPORTS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`, whose panic the caller of the job will be told of.
fn report<R>(f: impl FnOnce() -> R) -> R {
    REPORTS.set(true);
    let result = f();
    REPORTS.set(false);
    result
}

/// Whether the caller runs on a thread of a pool, in a job.
pub(crate) fn is_in_job() -> bool {
    REPORTS.get()
}

impl From<WaitError> for BlockingError {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl From<BlockingError> for io::Error {
    fn from(error: BlockingError) -> Self {
        match error {
            BlockingError::Wait(error) => error.into(),
            BlockingError::NoThread(ref cause) => Self::new(cause.kind(), error.to_string()),
            BlockingError::Panicked(_) => Self::other(error.to_string()),
        }
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wait(error) => error.fmt(f),
            Self::Panicked(panic) => write!(f, "the blocking function {panic}"),
            Self::NoThread(error) => write!(f, "cannot start a thread for blocking work: {error}"),
        }
    }
}

impl Error for BlockingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Wait(error) => Some(error),
            Self::NoThread(error) => Some(error),
            Self::Panicked(_) => None,
        }
    }
}
