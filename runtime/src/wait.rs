//! The one way to wait: every call that suspends a coroutine goes through [`enter`] and
//! [`Here::park`], and everything that can wake one goes through `Scheduler::wake`.
//!
//! A coroutine that waits for others links a [`Node`] into their [`WaitQueue`]. Who signals takes
//! the node out and marks it fired; who waited looks at its node first when it runs again: fired
//! means that it was given what it waited for, whatever else happened meanwhile. A wait that ends
//! by a deadline or a cancellation takes its own node out. A signal that reaches a coroutine which
//! something else has woken already goes on to the next one, so none is lost.
//!
//! The functions between a caller's loop and the switch are `inline(always)`: a frame that is left
//! by the switch and returned from after it makes the CPU mispredict both returns (10 ns each).

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::RawFd;
use std::time::Instant;

use crate::clock::{NEVER, Nanos};
use crate::coroutine::{State, TaskRef};
use crate::error::{Refused, TimedOut, WaitError};
use crate::scheduler::Scheduler;
use crate::trace;

/// A node of a wait queue, which stays where it is for as long as its coroutine's block does.
pub(crate) type NodeRef = &'static Node;

/// The running coroutine and its scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here {
    pub(crate) scheduler: &'static Scheduler,
    pub(crate) task: TaskRef,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// What the coroutine waited for may be there.
    Signal,
    /// The wait's deadline passed.
    Timer,
    /// The coroutine was cancelled.
    Cancel,
}

/// Which way data flows through a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// What a parked coroutine waits for, as people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitingFor {
    Nothing,
    Timer,
    Fd(RawFd, Direction),
    Fds,
    Cond,
    Mutex,
    RwLock,
    Semaphore,
    Event,
    WaitGroup,
    Send,
    Receive,
    Duplex,
    /// The end of the coroutine in this slot.
    Join(u32),
    /// The end of a coroutine of another runtime.
    JoinElsewhere,
    Scope,
    Permit,
    /// Another thread to do a job, or to have room for one.
    Pool,
    Resolve,
    ProcessSignal,
    Select,
}

/// A coroutine's place in a wait queue.
#[derive(Debug)]
pub(crate) struct Node {
    /// The coroutine that waits.
    pub(crate) task: Cell<Option<TaskRef>>,
    next: Cell<Option<NodeRef>>,
    prev: Cell<Option<NodeRef>>,
    link: Cell<Link>,
    /// What who waits tells who wakes, such as the number of permits it asks for.
    pub(crate) note: Cell<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// In no queue.
    Idle,
    /// In a queue.
    Queued,
    /// Taken out by a signal that is meant for this wait.
    Fired,
}

/// Coroutines that wait for the same thing, first come first served.
pub(crate) struct WaitQueue {
    head: Cell<Option<NodeRef>>,
    tail: Cell<Option<NodeRef>>,
}

thread_local! {
    /// Nodes that [`Node::lend`] has made and that nobody uses now.
    static SPARE_NODES: RefCell<Vec<NodeRef>> = const { RefCell::new(Vec::new()) };
}

impl Node {
    pub(crate) const fn new() -> Self {
        Self {
            task: Cell::new(None),
            next: Cell::new(None),
            prev: Cell::new(None),
            link: Cell::new(Link::Idle),
            note: Cell::new(0),
        }
    }

    /// Whether a signal took the node out of its queue for this wait.
    #[inline]
    pub(crate) fn fired(&self) -> bool {
        self.link.get() == Link::Fired
    }

    /// Whether the node is in a queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.link.get() == Link::Queued
    }

    /// A further node for `task`, which waits in several queues at once.
    pub(crate) fn lend(task: TaskRef) -> NodeRef {
        let spare = SPARE_NODES.with_borrow_mut(Vec::pop);
        let node = spare.unwrap_or_else(|| Box::leak(Box::new(Self::new())));
        node.task.set(Some(task));
        node
    }

    /// Ends what [`Node::lend`] began. A node that is still in a queue, because its user panicked,
    /// is passed over there and not used again.
    pub(crate) fn give_back(&'static self) {
        self.task.set(None);
        if !self.is_queued() {
            self.link.set(Link::Idle);
            SPARE_NODES.with_borrow_mut(|spare| spare.push(self));
        }
    }

    /// Whether the coroutine waits, and nothing has woken it yet.
    #[inline]
    fn waits(&self) -> bool {
        self.task.get().is_some_and(|task| task.state.get() == State::Parked)
    }
}

impl WaitQueue {
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(None), tail: Cell::new(None) }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// The coroutine that has waited longest and still does. Those that something else has woken
    /// already are taken out.
    #[inline]
    pub(crate) fn first(&self) -> Option<NodeRef> {
        while let Some(node) = self.head.get() {
            if node.waits() {
                return Some(node);
            }
            self.remove(node);
        }
        None
    }

    #[inline]
    pub(crate) fn push(&self, node: NodeRef) {
        debug_assert_ne!(node.link.get(), Link::Queued, "a node is in one queue at a time");
        node.link.set(Link::Queued);
        node.next.set(None);
        node.prev.set(self.tail.get());
        match self.tail.get() {
            Some(tail) => tail.next.set(Some(node)),
            None => self.head.set(Some(node)),
        }
        self.tail.set(Some(node));
    }

    /// Takes `node` out, if it still is in this queue.
    #[inline]
    pub(crate) fn remove(&self, node: NodeRef) {
        if node.link.get() != Link::Queued {
            return;
        }
        node.link.set(Link::Idle);
        match node.prev.get() {
            Some(prev) => prev.next.set(node.next.get()),
            None => self.head.set(node.next.get()),
        }
        match node.next.get() {
            Some(next) => next.prev.set(node.prev.get()),
            None => self.tail.set(node.prev.get()),
        }
    }

    /// Wakes the coroutine that has waited longest; `false` when none waits.
    #[inline]
    pub(crate) fn wake_one(&self) -> bool {
        while let Some(node) = self.head.get() {
            if self.wake(node) {
                return true;
            }
        }
        false
    }

    /// Wakes every coroutine that waits now; the result is how many.
    pub(crate) fn wake_all(&self) -> usize {
        let mut woken = 0;
        while self.wake_one() {
            woken += 1;
        }
        woken
    }

    /// Takes `node` out and wakes its coroutine, unless something else did so before.
    #[inline]
    pub(crate) fn wake(&self, node: NodeRef) -> bool {
        self.remove(node);
        let Some(task) = node.task.get() else { return false };
        let woken = task.scheduler.get().is_some_and(|home| home.wake(task, Wake::Signal));
        if woken {
            node.link.set(Link::Fired);
        }
        woken
    }
}

impl Drop for WaitQueue {
    /// A queue that is dropped under coroutines which wait in it (only those of a select can)
    /// lets go of their nodes.
    fn drop(&mut self) {
        while let Some(node) = self.head.get() {
            self.remove(node);
        }
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "WaitQueue(empty)" } else { "WaitQueue(..)" })
    }
}

/// Checks that the caller may suspend now, before it has any effect.
///
/// # Errors
///
/// What the call has to return instead of waiting: a cancellation or a deadline that is due, or
/// the reason why it must not suspend here.
#[inline(always)]
#[track_caller]
pub(crate) fn enter() -> Result<Here, WaitError> {
    let Some(here) = Here::running() else { return Err(outside()) };
    if here.is_plain() { Ok(here) } else { enter_with_care(here, NEVER) }
}

/// Like [`enter`], for a call with a `deadline` of its own, which is returned too. When one around
/// it has passed, that is an outer one, unless the call's own had passed before.
#[inline]
#[track_caller]
pub(crate) fn enter_until(deadline: Instant) -> Result<(Here, Nanos), WaitError> {
    let Some(here) = Here::running() else { return Err(outside()) };
    let until = here.scheduler.clock.nanos(deadline);
    if !here.is_plain() {
        enter_with_care(here, until)?;
    }
    Ok((here, until))
}

/// Like [`enter`], but leaves a cancellation that is due to the caller.
#[inline]
#[track_caller]
pub(crate) fn enter_when_cancelled() -> Result<Here, WaitError> {
    match Here::running() {
        Some(here) if here.task.is_cancelled() => {
            here.check_place()?;
            Ok(here)
        }
        _ => enter(),
    }
}

#[cold]
fn outside() -> WaitError {
    WaitError::Refused(if Scheduler::was_forked() { Refused::Forked } else { Refused::NoCoroutine })
}

#[cold]
#[track_caller]
fn enter_with_care(here: Here, until: Nanos) -> Result<Here, WaitError> {
    here.check_place()?;
    if here.task.is_cancelled() {
        return Err(here.report(WaitError::Cancelled));
    }
    if here.task.deadline() <= here.scheduler.clock.now() {
        return Err(here.report(here.timed_out(until)));
    }
    Ok(here)
}

impl Here {
    /// The coroutine that runs on this thread now, if one does.
    #[inline(always)]
    pub(crate) fn running() -> Option<Self> {
        let scheduler = Scheduler::current()?;
        Some(Self { scheduler, task: scheduler.running.get()? })
    }

    /// Whether nothing stands in the way of suspending.
    #[inline(always)]
    fn is_plain(self) -> bool {
        self.task.is_undisturbed()
            && self.task.is_on_own_stack()
            && !std::thread::panicking()
            && !self.scheduler.is_suspension_forbidden()
    }

    /// Refuses a place where no coroutine may suspend.
    #[track_caller]
    fn check_place(self) -> Result<(), WaitError> {
        if !self.task.is_on_own_stack() {
            return Err(WaitError::Refused(Refused::ForeignStack));
        }
        if std::thread::panicking() {
            return Err(WaitError::Refused(Refused::Unwinding));
        }
        if self.task.is_switching() {
            return Err(WaitError::Refused(Refused::Switching));
        }
        self.scheduler.assert_suspension_allowed();
        Ok(())
    }

    /// Counts `error`, which the caller returns instead of waiting. From the second on it lets
    /// others run first, so that a loop which ignores errors starves nobody.
    fn report(self, error: WaitError) -> WaitError {
        if self.count(error) > 1 {
            self.reschedule();
        }
        error
    }

    /// Counts `error`; the result is how many there were in a row.
    pub(crate) fn count(self, error: WaitError) -> u32 {
        const NAMED_AT: u32 = 1000;
        let reports = self.task.ignored.get().saturating_add(1);
        self.task.ignored.set(reports);
        if reports == NAMED_AT {
            tracing::warn!(coroutine = ?self.task, %error, "ignored {NAMED_AT} errors of waits that cannot succeed");
        }
        reports
    }

    /// Goes to the end of the run queue. Neither a cancellation nor a deadline ends this.
    #[inline(always)]
    pub(crate) fn reschedule(self) {
        self.scheduler.push(self.task);
        self.suspend();
    }

    /// Suspends until `Scheduler::wake`; `until` and the cancellation in force end it too. One that
    /// came since [`enter`], while the coroutine was runnable, does so at once.
    #[inline(always)]
    pub(crate) fn park(self, waiting_for: WaitingFor, until: Nanos) -> Wake {
        if self.task.is_cancelled() {
            return Wake::Cancel;
        }
        self.park_regardless(waiting_for, until)
    }

    /// Suspends like [`Here::park`], also when the coroutine is cancelled already.
    #[inline(always)]
    pub(crate) fn park_regardless(self, waiting_for: WaitingFor, until: Nanos) -> Wake {
        let task = self.task;
        task.waiting_for.set(waiting_for);
        task.parked_at.set(self.scheduler.clock.tick());
        if until != NEVER {
            self.scheduler.arm(task, until);
        }
        task.state.set(State::Parked);
        self.suspend();
        task.wake.get()
    }

    /// Leaves the coroutine, and the spans that it is in, until the scheduler resumes it.
    #[inline(always)]
    fn suspend(self) {
        if trace::is_in_span() {
            trace::suspend_outside_spans(self.task);
        } else {
            self.task.suspend();
        }
    }

    /// Waits in `queue` until a signal, `until` (`NEVER` for none) or what is in force around.
    #[inline(always)]
    pub(crate) fn wait_in(
        self,
        queue: &WaitQueue,
        waiting_for: WaitingFor,
        until: Nanos,
    ) -> Result<(), WaitError> {
        let node = &self.task.node;
        queue.push(node);
        let wake = self.park(waiting_for, until.min(self.task.deadline()));
        if node.fired() {
            return Ok(());
        }
        queue.remove(node);
        Err(self.failure(wake, until))
    }

    /// The error for a wait that `wake` ended and that had `until` as its own deadline.
    #[cold]
    pub(crate) fn failure(self, wake: Wake, until: Nanos) -> WaitError {
        let lasting = wake == Wake::Cancel || until > self.task.deadline();
        if lasting {
            self.task.ignored.set(self.task.ignored.get().saturating_add(1));
        }
        match wake {
            Wake::Cancel => WaitError::Cancelled,
            Wake::Timer | Wake::Signal => self.timed_out(until),
        }
    }

    /// The error for a call that had `until` as its own deadline, when that or the one in force
    /// around it has passed.
    fn timed_out(self, until: Nanos) -> WaitError {
        let own = until <= self.task.deadline();
        let outer = !own && (until != NEVER || self.task.deadline_is_outer.get());
        WaitError::TimedOut(TimedOut { outer })
    }
}

impl WaitingFor {
    /// What it is, in words that complete "it waits for".
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Timer => "a timer",
            Self::Fds => "one of several fds",
            Self::Cond => "a Cond",
            Self::Mutex => "a Mutex",
            Self::RwLock => "an RwLock",
            Self::Semaphore => "a Semaphore",
            Self::Event => "an Event",
            Self::WaitGroup => "a WaitGroup",
            Self::Send => "room in a channel",
            Self::Receive => "a message",
            Self::Duplex => "a duplex stream",
            Self::Join(_) => "a coroutine to end",
            Self::JoinElsewhere => "a coroutine of another runtime to end",
            Self::Scope => "its scope's coroutines to end",
            Self::Permit => "unpark",
            Self::Pool => "the pool",
            Self::Resolve => "a name to be resolved",
            Self::ProcessSignal => "a signal of the process",
            Self::Select => "one of several events",
            Self::Fd(_, Direction::Read) => "a descriptor to be readable",
            Self::Fd(_, Direction::Write) => "a descriptor to be writable",
        }
    }
}
