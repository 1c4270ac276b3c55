//! A socket of libsrt with what is known of its readiness, and the coroutines that wait for it.
//!
//! The bridge counts events up, from its thread. Who finds nothing to do notes at which count that was,
//! read *before* trying: as long as the count is the same there is nothing to do. So an event between a
//! try and the wait is never lost, and no event is needed for the first try.
//!
//! A coroutine that waits is woken over a channel of its own, which lasts as long as the coroutine. So no
//! runtime owns a socket: whoever calls waits on its own runtime, and a socket may be moved to
//! another thread and used there. While somebody waits, a runtime does not take itself for deadlocked.
#![expect(
    clippy::disallowed_types,
    reason = "shared with the bridge's thread; the lock is held for one push or one look"
)]

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use thalweg_runtime::sync::Event;
use thalweg_runtime::sync::channel::{self, RecvError, RemoteReceiver, RemoteSender};
use thalweg_runtime::{WaitError, coroutine_local, now, yield_now};

use super::ffi::{Flags, RawSocket};
use crate::error::SrtError;

/// A socket, as those who use it and the bridge share it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) raw: RawSocket,
    /// Receiving and accepting.
    pub(super) input: Side,
    /// Sending and being connected.
    pub(super) output: Side,
    closed: AtomicBool,
    /// When the bridge heard that the connection broke.
    broken_at: OnceLock<Instant>,
}

/// One direction of a socket.
#[derive(Debug)]
pub(super) struct Side {
    /// How many events there were. It wraps.
    events: AtomicU32,
    /// The count at which there was nothing to do.
    dry_at: AtomicU32,
    waiting: Mutex<Vec<Arc<Wake>>>,
}

/// Why an operation was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The socket was closed by its owner.
    Closed,
    Wait(WaitError),
    Srt(SrtError),
}

/// What an operation leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// There may be more to do.
    More,
    /// The next try would have to wait.
    Nothing,
}

type Wake = RemoteSender<()>;

/// Where a coroutine is told that it need not wait any longer.
#[derive(Debug)]
struct Inbox {
    wake: Arc<Wake>,
    woken: RemoteReceiver<()>,
}

coroutine_local! {
    static INBOX: Inbox = Inbox::new();
}

thread_local! {
    /// Set for ever: waiting for it is a look at cancellation and deadlines, and nothing else.
    static PASSED: Event = {
        let event = Event::new();
        event.set();
        event
    };
    /// Operations since a coroutine of this thread let others run.
    static BURST: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// So many operations that need not wait are done before others get their turn: about 50 µs.
const LONGEST_BURST: u32 = 64;

/// Looks for a cancellation and for deadlines that have passed, as every call does on entry.
pub(super) fn enter() -> Result<(), WaitError> {
    PASSED.with(Event::wait)
}

impl Source {
    /// Events are expected only from now on: nothing is known, so everything is tried first.
    pub(super) fn new(raw: RawSocket) -> Self {
        Self {
            raw,
            input: Side::new(),
            output: Side::new(),
            closed: AtomicBool::new(false),
            broken_at: OnceLock::new(),
        }
    }

    /// Takes an event from the bridge.
    pub(super) fn report(&self, flags: Flags) {
        if flags.is_error() {
            self.broken_at.get_or_init(now);
        }
        if flags.is_readable() || flags.is_error() {
            self.input.signal();
        }
        if flags.is_writable() || flags.is_error() {
            self.output.signal();
        }
    }

    /// Closes the socket and wakes whoever waits: libsrt reports no event for what its owner does.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.raw.close();
        self.input.signal();
        self.output.signal();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// When the connection broke, if it did.
    pub(super) fn broken_at(&self) -> Option<Instant> {
        self.broken_at.get().copied()
    }

    /// Performs `operation`, waiting and trying again as long as it would block.
    pub(super) fn perform<T>(
        &self,
        side: &Side,
        mut operation: impl FnMut(&RawSocket) -> Result<(T, Left), SrtError>,
    ) -> Result<T, Failure> {
        enter().map_err(Failure::Wait)?;
        loop {
            let seen = side.events();
            if self.is_closed() {
                return Err(Failure::Closed);
            }
            if side.may_be_ready(seen) {
                count_operation().map_err(Failure::Wait)?;
                match operation(&self.raw) {
                    Ok((done, left)) => {
                        if left == Left::Nothing {
                            side.is_dry(seen);
                        }
                        return Ok(done);
                    }
                    Err(error) if error.would_block() => side.is_dry(seen),
                    Err(error) => return Err(Failure::Srt(error)),
                }
            } else {
                side.wait(seen).map_err(Failure::Wait)?;
            }
        }
    }
}

impl Side {
    const fn new() -> Self {
        Self {
            events: AtomicU32::new(1),
            dry_at: AtomicU32::new(0),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// The count of events so far, to be read before a try.
    pub(super) fn events(&self) -> u32 {
        self.events.load(Ordering::SeqCst)
    }

    fn may_be_ready(&self, seen: u32) -> bool {
        self.dry_at.load(Ordering::SeqCst) != seen
    }

    /// Notes that a try which began at count `seen` found nothing to do.
    fn is_dry(&self, seen: u32) {
        self.dry_at.store(seen, Ordering::SeqCst);
    }

    /// Counts an event and wakes all who wait.
    fn signal(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
        let woken = mem::take(&mut *self.lock());
        for wake in woken {
            // One wake-up is enough: a coroutine that has one waiting looks anyway.
            let _full_or_gone = wake.try_send(());
        }
    }

    /// Waits until there were more events than `seen`; may also return for no reason.
    pub(super) fn wait(&self, seen: u32) -> Result<(), WaitError> {
        BURST.set(0);
        match INBOX.try_with(|inbox| self.wait_in(inbox, seen)) {
            Ok(result) => result,
            // The coroutine is ending, and a destructor of its values waits.
            Err(_dropped) => self.wait_in(&Inbox::new(), seen),
        }
    }

    fn wait_in(&self, inbox: &Inbox, seen: u32) -> Result<(), WaitError> {
        // A wait that ended otherwise may have been woken, too.
        while inbox.woken.try_recv().is_ok() {}
        {
            let mut waiting = self.lock();
            if self.events() != seen {
                return Ok(());
            }
            waiting.push(Arc::clone(&inbox.wake));
        }
        match inbox.woken.recv() {
            Ok(()) => Ok(()),
            Err(error) => {
                self.lock().retain(|wake| !Arc::ptr_eq(wake, &inbox.wake));
                match error {
                    RecvError::Wait(error) => Err(error),
                    // A sender is in the inbox, so the channel is open: look again.
                    _ => Ok(()),
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Wake>>> {
        // No code that could panic runs under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn new() -> Self {
        let (wake, woken) = channel::remote(1);
        Self { wake: Arc::new(wake), woken }
    }
}

/// Lets others run after a burst of operations of which none had to wait.
fn count_operation() -> Result<(), WaitError> {
    let burst = BURST.get() + 1;
    if burst < LONGEST_BURST {
        BURST.set(burst);
        return Ok(());
    }
    BURST.set(0);
    yield_now()
}
