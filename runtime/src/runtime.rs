//! Starting a runtime, running a program on it, or driving it from a foreign event loop.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::blocking::{PoolSettings, Spawner};
use crate::clock::ClockKind;
use crate::dump::Dump;
use crate::error::RunError;
use crate::join::{JoinError, JoinHandle, install_panic_hook};
use crate::lease::Lease;
use crate::net::NamesSettings;
use crate::overflow;
use crate::scheduler::Scheduler;
use crate::spawn::Builder;
use crate::stack::{GuardKind, STACK_DEFAULT};
use crate::stats::Stats;
use crate::trace;

/// A single-threaded runtime: its coroutines, timers and descriptors.
///
/// A thread runs one runtime at a time; a process may have one on each of several threads.
/// Dropping the runtime ends it as [`Runtime::block_on`] does.
pub struct Runtime {
    lease: Lease,
    name: Option<String>,
    /// Stays on its thread.
    stays: PhantomData<*const ()>,
}

/// What [`RuntimeBuilder`] collects.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) stack_size: usize,
    pub(crate) stack_retain: usize,
    pub(crate) guard: GuardKind,
    pub(crate) clock: ClockKind,
    pub(crate) timer_slack: Duration,
    pub(crate) seed: Option<u64>,
    pub(crate) shutdown_grace: Duration,
    pub(crate) cpu_accounting: bool,
    pub(crate) pool: PoolSettings,
    pub(crate) names: NamesSettings,
}

/// Settings for a [`Runtime`].
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct RuntimeBuilder {
    name: Option<String>,
    settings: Settings,
}

/// What the function given to [`run`] may return: a `Result` that can say why the runtime could
/// not run, or nothing.
pub trait Outcome {
    /// The outcome of a program whose runtime failed.
    fn failed(error: RunError) -> Self;
}

impl<T, E: From<RunError>> Outcome for Result<T, E> {
    fn failed(error: RunError) -> Self {
        Err(error.into())
    }
}

impl Outcome for () {
    /// Panics: there is no way to return the error.
    fn failed(error: RunError) -> Self {
        panic!("{error}");
    }
}

/// Runs `f` as a coroutine on a new runtime with default settings, until it returns.
///
/// See [`Runtime::block_on`], also for what becomes of other coroutines. A failure of the runtime
/// itself is returned as an error where `f` returns a `Result`.
///
/// # Panics
///
/// With `f`'s panic, if it panics; and if the runtime fails and `f` returns `()`.
#[track_caller]
pub fn run<F, R>(f: F) -> R
where
    F: FnOnce() -> R + 'static,
    R: Outcome + 'static,
{
    match Runtime::builder().build() {
        Ok(runtime) => runtime.block_on(f).unwrap_or_else(R::failed),
        Err(error) => R::failed(error.into()),
    }
}

impl Runtime {
    /// Default settings, to be changed.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder {
            name: None,
            settings: Settings {
                stack_size: STACK_DEFAULT,
                stack_retain: 1024,
                guard: GuardKind::Auto,
                clock: ClockKind::Real,
                timer_slack: Duration::from_millis(1),
                seed: None,
                shutdown_grace: Duration::from_secs(5),
                cpu_accounting: false,
                pool: PoolSettings {
                    threads: 32,
                    resolver_threads: 16,
                    queue: 1024,
                    idle: Duration::from_secs(10),
                    name: None,
                    spawner: |builder, work| builder.spawn(work).map(drop),
                },
                names: NamesSettings {
                    resolver: None,
                    ttl: Duration::from_secs(30),
                    failure_ttl: Duration::from_secs(2),
                },
            },
        }
    }

    /// Runs `f` as a coroutine until it returns, then ends all others.
    ///
    /// They are cancelled, and so are those they spawn outside a [`shield`](crate::shield), and run
    /// on until all have ended or the grace (5 s by default) is over.
    /// Those that are left then are named in one warning and left behind: they are never resumed
    /// and never unwound, and their stacks stay mapped.
    ///
    /// # Errors
    ///
    /// [`RunError::Deadlock`] when nothing can wake any coroutine any more, `f`'s among them;
    /// [`RunError::Nested`] inside a runtime, [`RunError::Forked`], [`RunError::Unwinding`],
    /// [`RunError::Io`] when no stack can be had or epoll fails.
    ///
    /// # Panics
    ///
    /// With `f`'s panic, if it panics.
    #[track_caller]
    pub fn block_on<F, T>(&self, f: F) -> Result<T, RunError>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        if Scheduler::current().is_some() {
            return Err(RunError::Nested);
        }
        // For the whole run, so that a subscriber is not told of each turn.
        let _outside = trace::outside_spans();
        let scheduler = self.lease.scheduler();
        let builder = Builder::new().name("main");
        let root = builder.spawn_on(scheduler, Location::caller(), f)?;
        let result = scheduler.run_until(|| root.is_finished());
        scheduler.shut_down();
        result?;
        match root.join() {
            Ok(value) => Ok(value),
            Err(JoinError::Panicked(panic)) => resume_unwind(panic.into_payload()),
            Err(error) => Err(RunError::Io(error.into())),
        }
    }

    /// Starts a coroutine from outside; it runs in the next turns.
    ///
    /// # Errors
    ///
    /// As [`Builder::spawn`].
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let scheduler = self.lease.scheduler();
        scheduler.check_fork()?;
        Builder::new().spawn_on(scheduler, Location::caller(), f)
    }

    /// Takes one turn: waits for events at most `max_wait` (`None`: as long as it takes; not at
    /// all while a coroutine is runnable), then runs what is runnable, for 1 ms at most while the
    /// coroutines suspend in time.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`], [`RunError::Forked`], [`RunError::Unwinding`], and [`RunError::Io`]
    /// when epoll fails.
    pub fn turn(&self, max_wait: Option<Duration>) -> Result<(), RunError> {
        self.lease.scheduler().turn(max_wait)
    }

    /// When the next turn is due even if [`AsFd`]'s descriptor does not become readable: now while
    /// a coroutine is runnable, and `None` while all wait for events.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let scheduler = self.lease.scheduler();
        if scheduler.is_runnable() {
            return Some(scheduler.clock.instant(scheduler.clock.now()));
        }
        scheduler.next_due().map(|due| scheduler.clock.instant(due))
    }

    /// How many coroutines have not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.lease.scheduler().live()
    }

    /// What the runtime has done and what it holds, for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lease.scheduler().stats()
    }

    /// Every coroutine of the runtime, taken between turns, in one go.
    #[must_use]
    pub fn dump(&self) -> Dump {
        Dump::of(self.lease.scheduler())
    }

    /// The name given by [`RuntimeBuilder::name`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.lease.scheduler().shut_down();
    }
}

impl AsFd for Runtime {
    /// The epoll descriptor: readable when a [`Runtime::turn`] would find an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lease.scheduler().poller.as_fd()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("name", &self.name)
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

impl RuntimeBuilder {
    /// A name for logs and dumps.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The stack size of coroutines that ask for none, in bytes of address space: 256 KiB by
    /// default, the lowest 64 KiB of which are the guard. Rounded up to a power of two.
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = bytes;
        self
    }

    /// How many stacks that are not in use keep their memory while the runtime is idle: 1024 by
    /// default. The memory of the others is given back to the system, the address space is not.
    pub const fn stack_retain(mut self, stacks: usize) -> Self {
        self.settings.stack_retain = stacks;
        self
    }

    /// How stacks are guarded.
    pub const fn guard(mut self, guard: GuardKind) -> Self {
        self.settings.guard = guard;
        self
    }

    /// The real clock (the default), or one that jumps to the next deadline when all coroutines
    /// are parked, for tests.
    pub const fn clock(mut self, clock: ClockKind) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Deadlines are rounded up to multiples of this, so that many that are close together cost
    /// one wake-up: 1 ms by default; zero for exact ones.
    pub const fn timer_slack(mut self, slack: Duration) -> Self {
        self.settings.timer_slack = slack;
        self
    }

    /// Has the next coroutine picked at random, repeatably, instead of first come first served: a
    /// test that holds under every seed does not depend on the order.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = Some(seed);
        self
    }

    /// How long coroutines have to end when the runtime does: 5 s by default.
    pub const fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.settings.shutdown_grace = grace;
        self
    }

    /// Has the runtime count how long each coroutine runs, for dumps: two clock readings more each
    /// time one is resumed. Off by default. Not counted while a seed picks who runs next.
    pub const fn cpu_accounting(mut self, on: bool) -> Self {
        self.settings.cpu_accounting = on;
        self
    }

    /// How many threads do blocking work at once: 32 by default. They are started as they are
    /// needed. What hangs, such as a disk, holds one for as long.
    pub const fn blocking_threads(mut self, threads: usize) -> Self {
        self.settings.pool.threads = threads;
        self
    }

    /// How many threads look names up at once: 16 by default. They are started as they are needed.
    /// A resolver that hangs holds one for as long, but none of those for blocking work.
    pub const fn resolver_threads(mut self, threads: usize) -> Self {
        self.settings.pool.resolver_threads = threads;
        self
    }

    /// How many blocking calls wait while all threads are busy, before callers wait for room: 1024
    /// by default. As many lookups of names wait for theirs.
    pub const fn blocking_queue(mut self, calls: usize) -> Self {
        self.settings.pool.queue = calls;
        self
    }

    /// After how long without work a thread for blocking work, or for names, ends: 10 s by default.
    pub const fn blocking_idle(mut self, idle: Duration) -> Self {
        self.settings.pool.idle = idle;
        self
    }

    /// Starts the threads for blocking work in another way, for tests in which that fails.
    #[doc(hidden)]
    pub const fn blocking_spawner(mut self, spawner: Spawner) -> Self {
        self.settings.pool.spawner = spawner;
        self
    }

    /// How long [`net::resolve`](crate::net::resolve()) keeps addresses and how long failures: 30 s
    /// and 2 s by default; zero for not at all.
    pub const fn resolve_ttl(mut self, addresses: Duration, failures: Duration) -> Self {
        self.settings.names.ttl = addresses;
        self.settings.names.failure_ttl = failures;
        self
    }

    /// What looks names up, on a thread for that, instead of the system's resolver. It gets
    /// the name in lower case.
    pub fn resolver(
        mut self,
        resolver: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.settings.names.resolver = Some(Arc::new(resolver));
        self
    }

    /// Makes the runtime.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack size out of range (128 KiB to 1 GiB) and for no thread at all for
    /// blocking work or for names, or what the system says when it gives no epoll or eventfd
    /// descriptor.
    pub fn build(mut self) -> io::Result<Runtime> {
        for (threads, text) in [
            (
                self.settings.pool.threads,
                "blocking_threads is 0: files and blocking calls need one",
            ),
            (self.settings.pool.resolver_threads, "resolver_threads is 0: names need one"),
        ] {
            if threads == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        self.settings.pool.name.clone_from(&self.name);
        install_panic_hook();
        overflow::install()?;
        let lease = Lease::new(Scheduler::new(&self.settings)?);
        Ok(Runtime { lease, name: self.name, stays: PhantomData })
    }
}
