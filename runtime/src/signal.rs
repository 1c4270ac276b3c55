//! Signals of the process, as something that a coroutine waits for.
//!
//! The handler notes a signal in the slot of each [`Signals`] that listens for it and writes the
//! slot's eventfd, on which coroutines wait as on any descriptor. Nothing is masked: `signalfd(2)`
//! would need that in every thread of the process, foreign ones included. Who sent a signal, what
//! value came with it and how many were merged into one is left out.
//!
//! An eventfd stays with its slot for the rest of the process, so a handler that is late writes to
//! the slot's next user at worst, and never to a stranger's descriptor. It is never read: it is
//! registered edge-triggered and each write is an edge, so a forked child, which shares it, can
//! cause a needless wake-up but not take one away.
//!
//! # Safety
//!
//! The handler is async-signal-safe. It uses atomics and the eventfds in `SLOTS`, which are there
//! before a slot names a signal and are never closed; it neither allocates, locks nor panics, and
//! leaves `errno` as it was. Dispositions change under `DISPOSITIONS`, which it never takes.
#![expect(unsafe_code, reason = "installs signal handlers")]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
#[expect(
    clippy::disallowed_types,
    reason = "dispositions are the process's, not one thread's"
)]
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Native, sigaction};

use crate::clock::{ClockKind, NEVER, Nanos};
use crate::fd::NetFd;
use crate::scheduler::Scheduler;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{Direction, Here, WaitingFor};

/// Signals of the process that this value listens for.
///
/// ```no_run
/// # use thalweg_runtime::{self as rt, signal::{Signal, Signals}};
/// # fn reload() {}
/// # rt::run(|| -> std::io::Result<()> {
/// let signals = Signals::new([Signal::Hangup, Signal::Interrupt, Signal::Terminate])?;
/// while signals.recv()? == Signal::Hangup {
///     reload();
/// }
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// While one listens for a signal, the process does nothing else about it: it does not end, and
/// a handler that was there before is not called. What was in force before comes back when the last
/// value that listens for the signal is dropped, unless other code has replaced our handler since.
/// Signals that arrived and were not received are gone then.
///
/// Every value that listens for a signal is told of it, on whichever thread and runtime it is; of
/// coroutines that wait on the same value one is. Signals of one kind that come in a burst may be
/// told as one, but after the last of them at least one is. Those of different kinds that are there
/// at once are told in the order of [`Signal`]'s variants.
///
/// Handlers run on the thread's stack for signal handlers where there is one, as on every thread
/// of a runtime, and never interrupt a system call that the kernel can restart (`SA_RESTART`).
pub struct Signals {
    fd: NetFd,
    slot: &'static Slot,
    /// Stays on its thread, as all but sockets does.
    stays: PhantomData<*const ()>,
}

/// A signal that a program may want to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGINT`: the user pressed Ctrl-C.
    Interrupt,
    /// `SIGTERM`: the program is asked to end.
    Terminate,
    /// `SIGHUP`: the terminal is gone; daemons read their configuration again.
    Hangup,
    /// `SIGQUIT`: the user pressed Ctrl-\.
    Quit,
    /// `SIGUSR1`: means what the program says.
    User1,
    /// `SIGUSR2`: means what the program says.
    User2,
    /// `SIGCHLD`: a child process ended, stopped or went on.
    Child,
    /// `SIGWINCH`: the terminal has another size.
    WindowChange,
}

impl Signals {
    /// Begins to listen. A signal that arrives from now on is kept until it is received.
    ///
    /// A signal that every thread of the process masks never arrives.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside a runtime and under a virtual clock, `InvalidInput` without any
    /// signal, `QuotaExceeded` when 256 values exist, and what `eventfd(2)` and `epoll_ctl(2)`
    /// report.
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        let mask = signals.into_iter().fold(0, |mask, signal| mask | signal.bit());
        if mask == 0 {
            let text = "at least one signal has to be listened for";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if Scheduler::current().is_some_and(|home| home.clock.kind == ClockKind::Virtual) {
            let text = "a signal comes at a real time, and the clock is virtual";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let mut dispositions = dispositions();
        let Some(slot) = SLOTS.iter().find(|slot| slot.mask.load(Ordering::Relaxed) == 0) else {
            let text = format!("{} values listen for signals already", SLOTS.len());
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        };
        let fd = NetFd::from_nonblocking(slot.event()?.as_fd().try_clone_to_owned()?)?;
        fd.register()?;
        slot.pending.store(0, Ordering::Relaxed);
        slot.mask.store(mask, Ordering::Release);
        for signal in Signal::of(mask) {
            dispositions[signal as usize].begin(signal);
        }
        Ok(Self { fd, slot, stays: PhantomData })
    }

    /// Waits for the next signal and takes it.
    ///
    /// # Suspends
    ///
    /// Unless one has arrived already; until one does, a deadline passes or the caller is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error, and
    /// `Unsupported` on another runtime than that where the value was made. No signal is taken
    /// then.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self) -> io::Result<Signal> {
        self.recv_by(self.fd.home()?, NEVER)
    }

    /// Waits like [`Signals::recv`], but not longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Signals::recv`].
    ///
    /// # Errors
    ///
    /// As [`Signals::recv`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_until(&self, deadline: Instant) -> io::Result<Signal> {
        let (here, until) = self.fd.home_until(deadline)?;
        self.recv_by(here, until)
    }

    /// Takes the next signal if one has arrived. Also works outside a coroutine.
    #[must_use]
    pub fn try_recv(&self) -> Option<Signal> {
        self.slot.take()
    }

    /// The next signal, as a source of [`select!`](crate::select!). It gives an error only on
    /// another runtime than that where the value was made.
    pub const fn receiving(&self) -> Receiving<'_> {
        Receiving { signals: self }
    }

    fn recv_by(&self, here: Here, until: Nanos) -> io::Result<Signal> {
        // Signals that keep coming must not keep the others from running.
        here.scheduler.count_io(here);
        loop {
            if let Some(signal) = self.try_recv() {
                return Ok(signal);
            }
            let node = &here.task.node;
            self.fd.begin_wait(here, Direction::Read, node);
            let wake = here.park(WaitingFor::ProcessSignal, until.min(here.task.deadline()));
            self.fd.end_wait(here, Direction::Read, node);
            if !node.fired() {
                return Err(here.failure(wake, until).into());
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let mut dispositions = dispositions();
        for signal in Signal::of(self.slot.mask.load(Ordering::Relaxed)) {
            dispositions[signal as usize].end(signal);
        }
        self.slot.mask.store(0, Ordering::Release);
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")?;
        f.debug_set().entries(Signal::of(self.slot.mask.load(Ordering::Relaxed))).finish()
    }
}

/// Made by [`Signals::receiving`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Receiving<'a> {
    signals: &'a Signals,
}

impl Select for Receiving<'_> {
    type Output = io::Result<Signal>;

    fn poll(&mut self) -> Option<io::Result<Signal>> {
        match self.signals.fd.home_scheduler() {
            Ok(_) => self.signals.try_recv().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        self.signals.fd.begin_wait(waiter.here(), Direction::Read, waiter.node());
        Registration::Waiting
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<io::Result<Signal>> {
        if waiter.is_registered() {
            self.signals.fd.end_wait(waiter.here(), Direction::Read, waiter.node());
        }
        // It stays where it is: the select polls again.
        None
    }
}

impl Signal {
    const ALL: [Self; 8] = [
        Self::Interrupt,
        Self::Terminate,
        Self::Hangup,
        Self::Quit,
        Self::User1,
        Self::User2,
        Self::Child,
        Self::WindowChange,
    ];

    /// The signal's number, as `kill(2)` takes it.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.native() as i32
    }

    const fn native(self) -> Native {
        match self {
            Self::Interrupt => Native::SIGINT,
            Self::Terminate => Native::SIGTERM,
            Self::Hangup => Native::SIGHUP,
            Self::Quit => Native::SIGQUIT,
            Self::User1 => Native::SIGUSR1,
            Self::User2 => Native::SIGUSR2,
            Self::Child => Native::SIGCHLD,
            Self::WindowChange => Native::SIGWINCH,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The signals in a set of bits.
    fn of(mask: u32) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |signal| mask & signal.bit() != 0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.native().as_str())
    }
}

/// What the handler needs to know of one [`Signals`].
struct Slot {
    /// The signals that are listened for, as bits; none while nobody uses the slot.
    mask: AtomicU32,
    /// Those that arrived and were not received yet. Others may be there, noted by a handler that
    /// began under the slot's last user.
    pending: AtomicU32,
    event: OnceLock<EventFd>,
}

impl Slot {
    const fn new() -> Self {
        Self { mask: AtomicU32::new(0), pending: AtomicU32::new(0), event: OnceLock::new() }
    }

    /// The eventfd, made now if the slot has none. The caller holds [`DISPOSITIONS`].
    fn event(&self) -> io::Result<&EventFd> {
        if let Some(event) = self.event.get() {
            return Ok(event);
        }
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(self.event.get_or_init(|| event))
    }

    /// Notes a signal; called in its handler.
    fn note(&self, bit: u32) {
        if self.mask.load(Ordering::Acquire) & bit == 0 {
            return;
        }
        if self.pending.fetch_or(bit, Ordering::SeqCst) & bit != 0 {
            // It was noted before and not received since: its wake-up is under way.
            return;
        }
        if let Some(event) = self.event.get() {
            // It fails only when the counter is full, after 2^64 signals.
            let _written = event.write(1);
        }
    }

    fn take(&self) -> Option<Signal> {
        let pending = self.pending.load(Ordering::SeqCst) & self.mask.load(Ordering::Relaxed);
        let first = Signal::of(pending).next()?;
        self.pending.fetch_and(!first.bit(), Ordering::SeqCst);
        Some(first)
    }
}

/// What the process does about one signal.
struct Disposition {
    /// How many [`Signals`] listen for it.
    listeners: usize,
    /// What to put back when none does.
    previous: Option<SigAction>,
}

impl Disposition {
    const fn new() -> Self {
        Self { listeners: 0, previous: None }
    }

    fn begin(&mut self, signal: Signal) {
        let flags = SaFlags::SA_RESTART | SaFlags::SA_ONSTACK;
        // Other handlers wait: eight of them in one another could be too much for the small stack.
        let ours = SigAction::new(SigHandler::Handler(on_signal), flags, SigSet::all());
        let before = install(signal, &ours);
        if !is_ours(&before) {
            self.previous = Some(before);
        }
        self.listeners += 1;
    }

    fn end(&mut self, signal: Signal) {
        self.listeners -= 1;
        if self.listeners > 0 {
            return;
        }
        if let Some(previous) = self.previous.take() {
            let present = install(signal, &previous);
            if !is_ours(&present) {
                // Other code has taken the signal over; it is not ours to give back.
                install(signal, &present);
            }
        }
    }
}

extern "C" fn on_signal(number: libc::c_int) {
    let errno = Errno::last_raw();
    if let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.number() == number) {
        SLOTS.iter().for_each(|slot| slot.note(signal.bit()));
    }
    Errno::set_raw(errno);
}

/// Has `action` taken on `signal`; the result is what was before.
fn install(signal: Signal, action: &SigAction) -> SigAction {
    // SAFETY: `sigaction` asks that a handler in `action` is async-signal-safe and lasts. Ours is;
    // see the file's Safety paragraph. Any other was in force before by somebody's own choice.
    let before = unsafe { sigaction(signal.native(), action) };
    before.expect("the kernel lets these signals be caught")
}

fn is_ours(action: &SigAction) -> bool {
    let ours: extern "C" fn(libc::c_int) = on_signal;
    matches!(action.handler(), SigHandler::Handler(handler) if ptr::fn_addr_eq(handler, ours))
}

/// Held for a few system calls, never over a suspension.
fn dispositions() -> MutexGuard<'static, [Disposition; Signal::ALL.len()]> {
    DISPOSITIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is told of signals.
static SLOTS: [Slot; 256] = [const { Slot::new() }; 256];

/// By [`Signal`]; whoever takes or leaves a slot holds it, too.
#[expect(clippy::disallowed_types, reason = "dispositions are the process's, not one thread's")]
static DISPOSITIONS: Mutex<[Disposition; Signal::ALL.len()]> =
    Mutex::new([const { Disposition::new() }; Signal::ALL.len()]);
