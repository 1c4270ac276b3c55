//! The scheduler: who runs next, and the turn that makes time and events wake others.
//!
//! A turn is [`Scheduler::turn`], in reading order: wait for events until the next deadline, wake who
//! waited for them, wake whose deadline passed, run what is runnable. Coroutines that an event
//! or a timer woke run before those that others made runnable, and the running part of both is
//! bounded, so neither a hot connection nor a busy queue starves timers or I/O.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::clock::{Clock, ClockKind, NEVER, Nanos, nanos};
use crate::coroutine::{Arena, Outcome, State, TaskRef};
use crate::error::RunError;
use crate::poller::Poller;
use crate::remote::{Message, Remote};
use crate::run_queue::RunQueue;
use crate::runtime::Settings;
use crate::stack::{Stack, StackPool};
use crate::timer::{NOWHERE, Place, TimerHeap};
use crate::wait::{Here, WaitingFor, Wake};

/// A turn's running part resumes at most so many coroutines,
const RESUMES: u32 = 256;
/// makes at most so many system calls for I/O,
const IO_CALLS: u32 = 64;
/// and ends when the clock, read every so many resumes
const RESUMES_PER_CLOCK: u32 = 64;
/// and every so many I/O calls (a power of two),
const IO_CALLS_PER_CLOCK: u32 = 16;
/// shows that it took so long.
const RUN_TIME: Nanos = 500_000;

/// Free stacks that an idle turn trims at most: about 200 µs.
const TRIM_SLICE: usize = 64;

/// What deadlines are rounded up to by default.
const DEFAULT_SLACK: Nanos = 1_000_000;

thread_local! {
    static CURRENT: Cell<Option<&'static Scheduler>> = const { Cell::new(None) };
    /// Whether this thread forked while it ran coroutines, and is in the child now.
    static FORKED: Cell<bool> = const { Cell::new(false) };
}

/// How many forks lie between the first process and this one.
static FORKS: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub(crate) struct Scheduler {
    /// Told apart from every other scheduler of the process.
    id: u64,
    /// The coroutine that runs now; none while the scheduler itself does.
    pub(crate) running: Cell<Option<TaskRef>>,
    /// Runnable coroutines that were made so by others or by themselves.
    ready: RunQueue<TaskRef>,
    /// Runnable coroutines that were woken by an event or a timer.
    urgent: RunQueue<TaskRef>,
    /// Whether wake-ups come from events and timers now.
    reporting: Cell<bool>,
    /// I/O calls left to this turn; 0 ends its running part.
    io_left: Cell<u32>,
    run_until: Cell<Nanos>,

    pub(crate) clock: Clock,
    timers: RefCell<TimerHeap<TaskRef>>,
    /// How many parked coroutines have a deadline.
    armed: Cell<usize>,
    slack: Nanos,

    pub(crate) poller: Poller,
    pub(crate) remote: Arc<Remote>,
    messages: Receiver<Message>,

    pub(crate) arena: Arena,
    stacks: RefCell<StackPool>,
    stack_size: usize,
    live: Cell<usize>,
    next_id: Cell<u64>,
    /// The state of the generator that picks who runs next; none for first come first served.
    random: Cell<Option<u64>>,
    shutdown_grace: Duration,
    /// `FORKS` when the scheduler was made.
    forks: usize,
    /// Where the innermost `no_suspend` guard in force was taken.
    suspension_forbidden: Cell<Option<&'static Location<'static>>>,
}

/// Why a running loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    No,
    /// No event, deadline or thread can make any coroutine runnable.
    Yes,
}

impl Scheduler {
    pub(crate) fn new(settings: &Settings) -> io::Result<Self> {
        watch_forks()?;
        let (remote, messages) = Remote::new()?;
        let poller = Poller::new(remote.as_fd())?;
        let mut stacks = StackPool::new(settings.guard, settings.stack_retain);
        stacks.check(settings.stack_size)?;
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            running: Cell::new(None),
            ready: RunQueue::new(),
            urgent: RunQueue::new(),
            reporting: Cell::new(false),
            io_left: Cell::new(IO_CALLS),
            run_until: Cell::new(NEVER),
            clock: Clock::new(settings.clock),
            timers: RefCell::new(TimerHeap::new()),
            armed: Cell::new(0),
            slack: nanos(settings.timer_slack).max(1),
            poller,
            remote: Arc::new(remote),
            messages,
            arena: Arena::new(),
            stacks: RefCell::new(stacks),
            stack_size: settings.stack_size,
            live: Cell::new(0),
            next_id: Cell::new(1),
            random: Cell::new(settings.seed),
            shutdown_grace: settings.shutdown_grace,
            forks: FORKS.load(Ordering::Relaxed),
            suspension_forbidden: Cell::new(None),
        })
    }

    /// The scheduler whose turn this thread is in.
    #[inline(always)]
    pub(crate) fn current() -> Option<&'static Self> {
        CURRENT.get()
    }

    /// Whether the caller runs in a coroutine that a fork copied.
    pub(crate) fn was_forked() -> bool {
        FORKED.get()
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    // Making coroutines.

    /// Takes a block and a stack for a new coroutine, which the caller begins.
    pub(crate) fn prepare(
        &'static self,
        stack_size: Option<usize>,
        spawned_at: &'static Location<'static>,
    ) -> io::Result<(TaskRef, Stack)> {
        let stack = self.stacks.borrow_mut().take(stack_size.unwrap_or(self.stack_size))?;
        let task = self.arena.take();
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        task.id.set(id);
        task.spawned_at.set(Some(spawned_at));
        task.scheduler.set(Some(self));
        Ok((task, stack))
    }

    /// Makes a begun coroutine runnable.
    #[inline]
    pub(crate) fn launch(&self, task: TaskRef) {
        task.state.set(State::Runnable);
        self.live.set(self.live.get() + 1);
        self.push(task);
    }

    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    /// Every coroutine that has not ended, in no order.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskRef> {
        let lives = |task: &TaskRef| matches!(task.state.get(), State::Runnable | State::Parked);
        self.arena.tasks().into_iter().filter(lives)
    }

    // Waking.

    #[inline]
    pub(crate) fn push(&self, task: TaskRef) {
        if self.reporting.get() { self.urgent.push(task) } else { self.ready.push(task) }
    }

    /// Makes a parked coroutine runnable; `false` if it is not parked.
    #[inline]
    pub(crate) fn wake(&self, task: TaskRef, wake: Wake) -> bool {
        if task.state.get() != State::Parked {
            return false;
        }
        task.state.set(State::Runnable);
        task.wake.set(wake);
        if task.due.replace(NEVER) != NEVER {
            // The heap keeps its node, which is put right when it surfaces.
            self.armed.set(self.armed.get() - 1);
        }
        self.push(task);
        if Self::current().is_none_or(|current| !std::ptr::eq(current, self)) {
            // Woken from outside the turns of this runtime: end the wait for events.
            self.remote.notify();
        }
        true
    }

    /// Has the running coroutine, which is about to park, woken at `due`.
    #[inline]
    pub(crate) fn arm(&self, task: TaskRef, due: Nanos) {
        let due = self.round_up(due);
        if due == NEVER {
            return;
        }
        task.due.set(due);
        self.armed.set(self.armed.get() + 1);
        let mut timers = self.timers.borrow_mut();
        if task.place().get() == NOWHERE {
            timers.insert(due, task);
        } else if due < timers.due(&task) {
            timers.advance(due, task);
        }
    }

    #[inline]
    fn round_up(&self, due: Nanos) -> Nanos {
        if self.slack == DEFAULT_SLACK {
            due.checked_next_multiple_of(DEFAULT_SLACK).unwrap_or(NEVER)
        } else {
            due.checked_next_multiple_of(self.slack).unwrap_or(NEVER)
        }
    }

    /// Corrects the first node of the heap until it is one that somebody waits for.
    fn settle_timers(&self) -> Option<Nanos> {
        let mut timers = self.timers.borrow_mut();
        while let Some((due, task)) = timers.peek() {
            let actual = task.due.get();
            if actual == due {
                return Some(due);
            }
            if actual == NEVER {
                timers.pop();
            } else {
                timers.postpone_first(actual);
            }
        }
        None
    }

    fn expire_timers(&self) {
        let now = self.clock.now();
        self.reporting.set(true);
        while let Some(due) = self.settle_timers() {
            if due > now {
                break;
            }
            let expired = self.timers.borrow_mut().pop();
            let (_, task) = expired.expect("settle_timers saw it");
            self.wake(task, Wake::Timer);
        }
        self.reporting.set(false);
    }

    /// When the next deadline of a parked coroutine is.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        if self.armed.get() == 0 { None } else { self.settle_timers() }
    }

    pub(crate) fn is_runnable(&self) -> bool {
        !self.ready.is_empty() || !self.urgent.is_empty() || self.remote.is_notified()
    }

    // Cancellation.

    /// Makes every later wait of `task` fail, the present one included.
    pub(crate) fn cancel(&self, task: TaskRef) {
        if matches!(task.state.get(), State::Ended | State::Leaked) {
            return;
        }
        task.cancelled.set(true);
        if task.shields.get() == 0 {
            task.attention.set(true);
            self.wake(task, Wake::Cancel);
        }
    }

    // The turn.

    /// Waits for events at most `max_wait` (`None`: as long as it takes), or not at all while a
    /// coroutine is runnable, then runs what is runnable, within the turn's bounds.
    pub(crate) fn turn(&'static self, max_wait: Option<Duration>) -> Result<(), RunError> {
        self.enter(|| {
            self.poll(max_wait)?;
            self.take_messages();
            self.clock.refresh();
            self.expire_timers();
            self.run(&self.urgent);
            self.check_fork()?;
            self.run(&self.ready);
            self.check_fork()
        })
    }

    /// Makes this scheduler the thread's current one while `f` runs.
    fn enter<R>(&'static self, f: impl FnOnce() -> Result<R, RunError>) -> Result<R, RunError> {
        if CURRENT.get().is_some() {
            return Err(RunError::Nested);
        }
        if std::thread::panicking() {
            return Err(RunError::Unwinding);
        }
        self.check_fork()?;
        CURRENT.set(Some(self));
        let result = f();
        CURRENT.set(None);
        result
    }

    fn check_fork(&self) -> Result<(), RunError> {
        let same = self.forks == FORKS.load(Ordering::Relaxed);
        if same { Ok(()) } else { Err(RunError::Forked) }
    }

    /// The running part of a turn, over one queue.
    fn run(&self, queue: &RunQueue<TaskRef>) {
        self.io_left.set(IO_CALLS - 1);
        self.run_until.set(self.clock.now().saturating_add(RUN_TIME));
        let mut resumes = RESUMES;
        while let Some(task) = self.next(queue) {
            self.resume(task);
            resumes -= 1;
            if resumes == 0 || self.io_left.get() == 0 {
                break;
            }
            if resumes % RESUMES_PER_CLOCK == 0 && self.clock.refresh() > self.run_until.get() {
                break;
            }
        }
    }

    #[inline(always)]
    fn next(&self, queue: &RunQueue<TaskRef>) -> Option<TaskRef> {
        if self.random.get().is_some() {
            self.shuffle(queue);
        }
        queue.pop()
    }

    /// Brings a random coroutine to the front.
    #[cold]
    fn shuffle(&self, queue: &RunQueue<TaskRef>) {
        let Some(seed) = self.random.get() else { return };
        if queue.len() > 1 {
            // Knuth's linear congruential generator (MMIX); the high half is the good one.
            let seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.random.set(Some(seed));
            queue.bring_forward((seed >> 33) as usize % queue.len());
        }
    }

    #[inline(always)]
    fn resume(&self, task: TaskRef) {
        self.running.set(Some(task));
        let ended = task.resume();
        self.running.set(None);
        if let Some(stack) = ended {
            self.finish(task, stack);
        }
    }

    fn finish(&self, task: TaskRef, stack: Stack) {
        self.stacks.borrow_mut().give_back(stack);
        self.live.set(self.live.get() - 1);
        task.state.set(State::Ended);
        task.joiners.wake_all();
        if task.handles.get() == 0 {
            self.recycle(task);
        }
    }

    /// Readies the block of an ended coroutine, which no handle counts, for the next one.
    pub(crate) fn recycle(&self, task: TaskRef) {
        if let Some(Outcome::Panic(panic)) = task.outcome.take() {
            tracing::error!(coroutine = ?task, "a detached coroutine {panic}");
        }
        task.attention.set(false);
        task.cancelled.set(false);
        task.shields.set(0);
        task.reports.set(0);
        task.deadline.set(NEVER);
        task.deadline_is_outer.set(false);
        task.permit.set(false);
        task.generation.set(task.generation.get().wrapping_add(1));
        if task.name.borrow().is_some() {
            *task.name.borrow_mut() = None;
        }
        self.arena.give_back(task);
    }

    /// Counts one I/O call of the running coroutine, which has to wait its turn when the turn's
    /// share is used up.
    #[inline]
    pub(crate) fn count_io(&self, here: Here) {
        let left = self.io_left.get();
        if left % IO_CALLS_PER_CLOCK == 0 { self.check_io_time(here, left) } else { self.io_left.set(left - 1) }
    }

    #[cold]
    fn check_io_time(&self, here: Here, left: u32) {
        if left > 0 && self.clock.refresh() <= self.run_until.get() {
            self.io_left.set(left - 1);
            return;
        }
        self.io_left.set(0);
        here.reschedule();
    }

    fn poll(&self, max_wait: Option<Duration>) -> Result<(), RunError> {
        let wait = self.time_to_wait(max_wait);
        if wait == Some(Duration::ZERO) && self.poller.is_idle() {
            return Ok(());
        }
        self.reporting.set(true);
        let result = self.poller.poll(wait);
        self.reporting.set(false);
        result.map_err(RunError::Io)
    }

    /// How long to wait for events. A virtual clock is moved instead, where only time is waited
    /// for; other threads hold it still.
    fn time_to_wait(&self, max_wait: Option<Duration>) -> Option<Duration> {
        if self.is_runnable() {
            return Some(Duration::ZERO);
        }
        if max_wait != Some(Duration::ZERO) && self.stacks.borrow_mut().trim(TRIM_SLICE) {
            return Some(Duration::ZERO);
        }
        let until_due = match (self.clock.kind, self.next_due()) {
            (_, None) => None,
            (ClockKind::Virtual, Some(due)) if self.unparkers() == 0 => {
                self.clock.jump(due);
                return Some(Duration::ZERO);
            }
            (ClockKind::Virtual, Some(_)) => None,
            (ClockKind::Real, Some(due)) => {
                Some(Duration::from_nanos(due.saturating_sub(self.clock.refresh())))
            }
        };
        match (until_due, max_wait) {
            (Some(due), Some(max)) => Some(due.min(max)),
            (due, max) => due.or(max),
        }
    }

    fn take_messages(&self) {
        if !self.remote.is_notified() {
            return;
        }
        self.remote.clear();
        self.reporting.set(true);
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Unpark { slot, generation } => self.unpark(slot, generation),
                Message::Close { slot, fd } => self.poller.remove(slot, fd.as_fd()),
                Message::Look => {}
            }
        }
        self.reporting.set(false);
    }

    fn unpark(&self, slot: u32, generation: u32) {
        let task = self.arena.at(slot);
        if task.generation.get() != generation {
            return;
        }
        task.permit.set(true);
        if task.waiting_for.get() == WaitingFor::Permit {
            self.wake(task, Wake::Signal);
        }
    }

    fn unparkers(&self) -> usize {
        self.remote.unparkers.load(Ordering::SeqCst)
    }

    // The life of the whole.

    /// Takes turns until `done`, or until nothing can wake anybody.
    pub(crate) fn run_until(&'static self, done: impl Fn() -> bool) -> Result<(), RunError> {
        while !done() {
            if self.stuck() == Stuck::Yes {
                return Err(RunError::Deadlock(self.describe()));
            }
            self.turn(None)?;
        }
        Ok(())
    }

    fn stuck(&self) -> Stuck {
        let wakeable = self.is_runnable()
            || self.armed.get() > 0
            || self.poller.waiting() > 0
            || self.unparkers() > 0
            // A last unparker may have been used just before it was dropped.
            || self.is_runnable();
        if wakeable { Stuck::No } else { Stuck::Yes }
    }

    /// Cancels every coroutine, takes turns until all have ended or the grace is over, and gives
    /// up the rest.
    pub(crate) fn shut_down(&'static self) {
        if self.live() == 0 {
            return;
        }
        let cancel_all = self.enter(|| {
            self.tasks().for_each(|task| self.cancel(task));
            Ok(())
        });
        let end = self.clock.refresh().saturating_add(nanos(self.shutdown_grace));
        let mut going = cancel_all.is_ok();
        while going && self.live() > 0 && self.clock.now() < end && self.stuck() == Stuck::No {
            let left = match self.clock.kind {
                ClockKind::Real => Some(Duration::from_nanos(end - self.clock.now())),
                ClockKind::Virtual => None,
            };
            going = self.turn(left).is_ok();
        }
        if self.live() > 0 {
            let left_behind = self.describe();
            if self.check_fork().is_ok() {
                tracing::warn!("coroutines did not end when cancelled and are left behind:\n{left_behind}");
            }
            self.abandon();
        }
    }

    fn abandon(&self) {
        self.tasks().for_each(crate::coroutine::Task::leak);
        while self.ready.pop().is_some() {}
        while self.urgent.pop().is_some() {}
        self.live.set(0);
        self.armed.set(0);
        while self.timers.borrow_mut().pop().is_some() {}
    }

    /// Makes every block forget this scheduler, which is about to be freed.
    pub(crate) fn retire(&self) {
        self.arena.tasks().iter().for_each(|task| task.scheduler.set(None));
        self.arena.free();
    }

    /// Every coroutine that has not ended, a line each.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 100;
        let mut text = String::new();
        let mut tasks: Vec<TaskRef> = self.tasks().collect();
        tasks.sort_unstable_by_key(|task| task.id.get());
        for task in tasks.iter().take(SHOWN) {
            let state = match task.state.get() {
                State::Parked => format!("waits for {}", task.waiting_for.get()),
                _ => "is runnable".to_owned(),
            };
            let place = task.spawned_at.get().map(|place| format!(", spawned at {place}"));
            let _infallible = writeln!(text, "  {task:?} {state}{}", place.unwrap_or_default());
        }
        if tasks.len() > SHOWN {
            let mut rest = HashMap::<String, usize>::new();
            for task in &tasks[SHOWN..] {
                *rest.entry(task.waiting_for.get().to_string()).or_default() += 1;
            }
            for (waiting_for, count) in rest {
                let _infallible = writeln!(text, "  and {count} more that wait for {waiting_for}");
            }
        }
        text
    }

    // `no_suspend`.

    #[inline(always)]
    pub(crate) fn is_suspension_forbidden(&self) -> bool {
        cfg!(debug_assertions) && self.suspension_forbidden.get().is_some()
    }

    pub(crate) fn forbid_suspension(
        &self,
        at: Option<&'static Location<'static>>,
    ) -> Option<&'static Location<'static>> {
        self.suspension_forbidden.replace(at)
    }

    pub(crate) fn assert_suspension_allowed(&self) {
        if let Some(place) = self.suspension_forbidden.get() {
            panic!("suspended while a no_suspend guard taken at {place} is held");
        }
    }

    /// The stacks that coroutines have, and those that wait to be used again.
    pub(crate) fn stack_counts(&self) -> (usize, usize) {
        let stacks = self.stacks.borrow();
        (stacks.in_use(), stacks.pooled())
    }

    pub(crate) fn timer_nodes(&self) -> usize {
        self.timers.borrow().len()
    }
}

/// Has every scheduler notice that it lives in a forked child.
fn watch_forks() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| result = crate::sys::on_fork(in_child));
    result
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    if let Some(scheduler) = CURRENT.take() {
        FORKED.set(true);
        scheduler.io_left.set(0);
    }
}
