//! The scheduler: who runs next, and the turn that makes time and events wake others.
//!
//! A turn is [`Scheduler::turn`], in reading order: wait for events until the next deadline, wake who
//! waited for them, wake whose deadline passed, run what is runnable. Coroutines that an event
//! or a timer woke run before those that others made runnable, and the running part of both is
//! bounded, so neither a hot connection nor a busy queue starves timers or I/O.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::bell::Bells;
use crate::blocking::Pools;
use crate::clock::{Clock, ClockKind, NEVER, Nanos, nanos};
use crate::coroutine::{Arena, Outcome, State, TaskRef};
use crate::deadlines::Deadlines;
use crate::dump::Dump;
use crate::error::RunError;
use crate::net::Names;
use crate::poller::Poller;
use crate::remote::{Message, Remote};
use crate::run_queue::RunQueue;
use crate::runtime::Settings;
use crate::stack::{Stack, StackPool};
use crate::stats::{Counters, Stats};
use crate::trace;
use crate::wait::{Here, WaitingFor, Wake};

/// A turn's running part has so much to spend over each queue: 256 resumes, or 64 system calls for
/// I/O, or a mixture.
const SHARES: i32 = 4;
const SHARE: i32 = 64;
const RESUME_COST: i32 = 1;
const IO_COST: i32 = 4;
/// It also ends when the clock, read after each share, shows that it took so long.
const RUN_TIME: Nanos = 500_000;

/// What so many runnable coroutines need is taken for being in the cache, if they ran lately. Fetching
/// it again would cost 1.5 ns a switch.
const IN_CACHE: usize = 16;

/// Free stacks that an idle turn trims at most: about 200 µs.
const TRIM_SLICE: usize = 64;

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
    /// What is left of the present share of the running part; none ends it or begins the next.
    share_left: Cell<i32>,
    /// How many shares are left after that.
    shares_left: Cell<i32>,
    run_until: Cell<Nanos>,

    pub(crate) clock: Clock,
    deadlines: Deadlines,

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
    /// Whether to count how long each coroutine runs.
    pub(crate) cpu_accounting: bool,
    counters: Counters,
    /// Whether coroutines are being ended, so that new ones are cancelled from the start.
    ending: Cell<bool>,
    /// `FORKS` when the scheduler was made.
    forks: usize,
    /// Where the outermost `no_suspend` guard in force was taken, and how many there are.
    suspension_forbidden: Cell<Option<(&'static Location<'static>, u32)>>,

    pub(crate) bells: Rc<Bells>,
    pub(crate) pools: Box<Pools>,
    pub(crate) names: Box<Names>,
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
        let remote = Arc::new(remote);
        let bells = Bells::new(Arc::clone(&remote));
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            running: Cell::new(None),
            ready: RunQueue::new(IN_CACHE),
            urgent: RunQueue::new(0),
            reporting: Cell::new(false),
            share_left: Cell::new(0),
            shares_left: Cell::new(0),
            run_until: Cell::new(NEVER),
            clock: Clock::new(settings.clock),
            deadlines: Deadlines::new(settings.timer_slack),
            poller,
            remote,
            messages,
            arena: Arena::new(),
            stacks: RefCell::new(stacks),
            stack_size: settings.stack_size,
            live: Cell::new(0),
            next_id: Cell::new(1),
            random: Cell::new(settings.seed),
            shutdown_grace: settings.shutdown_grace,
            cpu_accounting: settings.cpu_accounting,
            counters: Counters::default(),
            ending: Cell::new(false),
            forks: FORKS.load(Ordering::Relaxed),
            suspension_forbidden: Cell::new(None),
            pools: Box::new(Pools::new(&settings.pool, &bells)),
            names: Box::new(Names::new(settings.names.clone())),
            bells,
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
        if self.ending.get() {
            self.cancel_late(task);
        }
    }

    /// Cancels a coroutine that was spawned after all others were cancelled, unless it was for work
    /// that has to be done even then.
    #[cold]
    fn cancel_late(&self, task: TaskRef) {
        let spawner = self.running.get();
        if spawner.is_none_or(|spawner| spawner.shields.get() == 0) {
            self.cancel(task);
        }
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

    /// Puts a runnable coroutine behind those that are there already.
    #[inline(always)]
    pub(crate) fn push(&self, task: TaskRef) {
        self.ready.push(task);
    }

    /// Makes a parked coroutine runnable; `false` if it is not parked.
    #[inline(always)]
    pub(crate) fn wake(&self, task: TaskRef, wake: Wake) -> bool {
        if task.state.get() != State::Parked {
            return false;
        }
        task.state.set(State::Runnable);
        task.wake.set(wake);
        self.counters.count_wakeup(wake, self.reporting.get());
        self.deadlines.disarm(task);
        if self.reporting.get() {
            self.urgent.push(task);
        } else {
            self.ready.push(task);
            if self.running.get().is_none() {
                // Woken from outside the turns of this runtime: end the wait for events.
                self.remote.notify();
            }
        }
        true
    }

    /// Has the running coroutine, which is about to park, woken at `due`.
    #[inline]
    pub(crate) fn arm(&self, task: TaskRef, due: Nanos) {
        self.deadlines.arm(task, due, &self.arena);
    }

    fn expire_deadlines(&self) {
        self.reporting.set(true);
        self.deadlines.expire(self.clock.now(), &self.arena, |task| {
            self.wake(task, Wake::Timer);
        });
        self.reporting.set(false);
    }

    /// When the next deadline of a parked coroutine is.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        self.deadlines.next(&self.arena)
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
        task.update_alerts();
        if task.is_cancelled() {
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
            let start = self.clock.refresh();
            self.expire_deadlines();
            self.run(&self.urgent);
            self.check_fork()?;
            self.run(&self.ready);
            self.counters.count_turn(self.clock.refresh() - start);
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
        let _outside = trace::outside_spans();
        CURRENT.set(Some(self));
        let _left = Left(self);
        f()
    }

    pub(crate) fn check_fork(&self) -> Result<(), RunError> {
        let same = self.forks == FORKS.load(Ordering::Relaxed);
        if same { Ok(()) } else { Err(RunError::Forked) }
    }

    /// The running part of a turn, over one queue.
    fn run(&self, queue: &RunQueue<TaskRef>) {
        self.shares_left.set(SHARES);
        self.share_left.set(0);
        self.run_until.set(self.clock.now().saturating_add(RUN_TIME));
        let resumed = if self.random.get().is_some() {
            self.run_each(|| self.pop_random(queue), |task| task.resume())
        } else if self.cpu_accounting {
            self.run_each(|| queue.pop(), |task| self.resume_timed(task))
        } else {
            self.run_each(|| queue.pop(), |task| task.resume())
        };
        self.running.set(None);
        self.counters.switches.set(self.counters.switches.get() + resumed);
    }

    /// Resumes one coroutine after the other; the result is how many.
    #[inline(always)]
    fn run_each(
        &self,
        next: impl Fn() -> Option<TaskRef>,
        resume: impl Fn(TaskRef) -> Option<Stack>,
    ) -> u64 {
        let mut resumed = 0;
        while self.share_left.get() > 0 || self.next_share() {
            let Some(task) = next() else { break };
            self.share_left.set(self.share_left.get() - RESUME_COST);
            self.running.set(Some(task));
            resumed += 1;
            if let Some(stack) = resume(task) {
                self.finish(task, stack);
            }
        }
        resumed
    }

    fn resume_timed(&self, task: TaskRef) -> Option<Stack> {
        let start = self.clock.refresh();
        let stack = task.resume();
        task.cpu_time.set(task.cpu_time.get() + (self.clock.refresh() - start));
        stack
    }

    /// Goes on to the next share of the running part, if there is one and time is left.
    #[cold]
    fn next_share(&self) -> bool {
        let left = self.shares_left.get();
        // The clock was just read when the first share begins.
        if left <= 0 || left < SHARES && self.clock.refresh() > self.run_until.get() {
            self.end_run();
            return false;
        }
        self.shares_left.set(left - 1);
        self.share_left.set(SHARE);
        true
    }

    /// Ends the running part of the turn with the present resume, which has taken long.
    pub(crate) fn end_run(&self) {
        self.shares_left.set(0);
        self.share_left.set(0);
    }

    #[cold]
    fn pop_random(&self, queue: &RunQueue<TaskRef>) -> Option<TaskRef> {
        self.shuffle(queue);
        queue.pop()
    }

    /// Brings a random coroutine to the front.
    fn shuffle(&self, queue: &RunQueue<TaskRef>) {
        let Some(seed) = self.random.get() else { return };
        if queue.len() > 1 {
            // Knuth's linear congruential generator (MMIX); the high half is the good one.
            let seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.random.set(Some(seed));
            queue.bring_forward((seed >> 33) as usize % queue.len());
        }
    }

    fn finish(&self, task: TaskRef, stack: Stack) {
        // Last, so that what is logged of its end is in its span.
        let _leave = trace::LeaveForGood;
        self.stacks.borrow_mut().give_back(stack);
        self.live.set(self.live.get() - 1);
        task.state.set(State::Ended);
        if task.has_panicked() {
            self.counters.panicked.set(self.counters.panicked.get() + 1);
        }
        // Still as the running coroutine, or each wake would seem to come from outside.
        task.joiners.wake_all();
        self.running.set(None);
        if cfg!(debug_assertions) {
            // A guard that was forgotten binds nobody else.
            self.suspension_forbidden.set(None);
        }
        if task.handles.get() == 0 {
            self.recycle(task);
        }
    }

    /// Readies the block of an ended coroutine, which no handle counts, for the next one.
    pub(crate) fn recycle(&self, task: TaskRef) {
        if let Some(Outcome::Panic(panic)) = task.outcome.take() {
            tracing::error!(coroutine = ?task, "a detached coroutine {panic}");
        }
        task.cancelled.set(false);
        task.shields.set(0);
        task.update_alerts();
        task.set_deadline(NEVER, false);
        task.ignored.set(0);
        task.cpu_time.set(0);
        task.permit.set(false);
        task.generation.set(task.generation.get().wrapping_add(1));
        if task.name.borrow().is_some() {
            *task.name.borrow_mut() = None;
        }
        self.arena.give_back(task);
    }

    /// Counts one I/O call of the running coroutine. When what the turn has to spend is spent, the
    /// coroutine waits its turn first, and the result is `true`: things may have changed.
    #[inline]
    pub(crate) fn count_io(&self, here: Here) -> bool {
        let left = self.share_left.get() - IO_COST;
        self.share_left.set(left);
        if left > 0 || self.next_share() {
            return false;
        }
        here.reschedule();
        true
    }

    fn poll(&self, max_wait: Option<Duration>) -> Result<(), RunError> {
        let wait = self.time_to_wait(max_wait);
        // A foreign loop waits on the epoll descriptor, so there the eventfd's event must be taken.
        if wait == Some(Duration::ZERO) && max_wait.is_none() && self.poller.is_idle() {
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
            (ClockKind::Virtual, Some(due)) if self.expected() == 0 => {
                let max = max_wait.map_or(NEVER, nanos);
                self.clock.jump(due.min(self.clock.now().saturating_add(max)));
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
                Message::Ring { slot, generation } => {
                    self.bells.ring(slot, generation, &self.clock);
                }
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

    /// How much can come from other threads: who may be woken by them, and who waits for a pool.
    fn expected(&self) -> usize {
        self.remote.ways_in() + self.pools.waiting()
    }

    // The life of the whole.

    /// Takes turns until `done`, or until nothing can wake anybody.
    pub(crate) fn run_until(&'static self, done: impl Fn() -> bool) -> Result<(), RunError> {
        while !done() {
            if self.stuck() == Stuck::Yes {
                return Err(RunError::Deadlock(Dump::of(self).brief()));
            }
            self.turn(None)?;
        }
        Ok(())
    }

    fn stuck(&self) -> Stuck {
        let wakeable = self.is_runnable()
            || !self.deadlines.is_empty()
            || self.poller.waiting() > 0
            || self.expected() > 0
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
        self.ending.set(true);
        let cancel_all = self.enter(|| {
            self.tasks().for_each(|task| self.cancel(task));
            Ok(())
        });
        let grace = nanos(self.shutdown_grace);
        let end = self.clock.refresh().saturating_add(grace);
        // A virtual clock may stand still, so it is not enough to look at that.
        let real_end = self.clock.real().saturating_add(grace);
        let mut going = cancel_all.is_ok();
        while going && self.live() > 0 && self.stuck() == Stuck::No {
            let left = end.saturating_sub(self.clock.now());
            let left = left.min(real_end.saturating_sub(self.clock.real()));
            going = left > 0 && self.turn(Some(Duration::from_nanos(left))).is_ok();
        }
        self.ending.set(false);
        if self.live() > 0 {
            let left_behind = Dump::of(self).brief();
            if self.check_fork().is_ok() {
                tracing::warn!(
                    "coroutines did not end when cancelled and are left behind:\n{left_behind}"
                );
            }
            self.abandon();
        }
    }

    fn abandon(&self) {
        let tasks: Vec<TaskRef> = self.tasks().collect();
        tasks.iter().for_each(|task| task.leak());
        // Who is left to wait for them is a coroutine of another runtime.
        for task in &tasks {
            task.joiners.wake_all();
        }
        while self.ready.pop().is_some() {}
        while self.urgent.pop().is_some() {}
        self.live.set(0);
        self.deadlines.clear();
        self.pools.abandon();
    }

    /// Makes every block forget this scheduler, which is about to be freed.
    pub(crate) fn retire(&self) {
        if self.check_fork().is_ok() {
            // In a forked child another thread's locks may stay locked for ever.
            self.bells.end();
            self.pools.stop();
        }
        self.arena.tasks().iter().for_each(|task| task.scheduler.set(None));
        self.arena.free();
    }

    // `no_suspend`.

    #[inline(always)]
    pub(crate) fn is_suspension_forbidden(&self) -> bool {
        cfg!(debug_assertions) && self.suspension_forbidden.get().is_some()
    }

    pub(crate) fn forbid_suspension(&self, at: &'static Location<'static>) {
        let (place, guards) = self.suspension_forbidden.get().unwrap_or((at, 0));
        self.suspension_forbidden.set(Some((place, guards + 1)));
    }

    pub(crate) fn allow_suspension(&self) {
        if let Some((place, guards)) = self.suspension_forbidden.get() {
            self.suspension_forbidden.set((guards > 1).then_some((place, guards - 1)));
        }
    }

    #[track_caller]
    pub(crate) fn assert_suspension_allowed(&self) {
        if let Some((place, _)) = self.suspension_forbidden.get() {
            let here = Location::caller();
            panic!("suspended at {here} while a no_suspend guard taken at {place} is held");
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        // Takes out the entries before the first that somebody waits for.
        self.deadlines.next(&self.arena);
        let stacks = self.stacks.borrow();
        let [by_fellows, by_events, by_timers, by_cancellation] =
            self.counters.wakeups.each_ref().map(Cell::get);
        Stats {
            turns: self.counters.turns.get(),
            switches: self.counters.switches.get(),
            wakeups_by_fellows: by_fellows,
            wakeups_by_events: by_events,
            wakeups_by_timers: by_timers,
            wakeups_by_cancellation: by_cancellation,
            spawned: self.next_id.get() - 1,
            panicked: self.counters.panicked.get(),
            live: self.live(),
            runnable: self.ready.len() + self.urgent.len(),
            timers: self.deadlines.entries(),
            stacks_in_use: stacks.in_use(),
            stacks_pooled: stacks.pooled(),
            pool_threads: self.pools.threads(),
            pool_jobs: self.pools.jobs(),
            bells: self.bells.count(),
            turn_times: self.counters.turn_times(),
        }
    }
}

/// Leaves the turn, also when what the scheduler calls, such as a program's logger, panics in it.
struct Left(&'static Scheduler);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.running.set(None);
        self.0.reporting.set(false);
        CURRENT.set(None);
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
        scheduler.end_run();
    }
}
