//! What every coroutine is doing: as values for programs, as text for people.
//!
//! A dump is taken in slices, so that other coroutines run while one of a hundred thousand is
//! taken; each coroutine is shown as it was when its slice was. First those that are there are
//! listed, then they are looked at in the order of their numbers, so that nothing is left to sort
//! or to move at the end, which no slice would have time for. A backtrace is taken by the parked
//! coroutine itself: it is resumed, records where it is, and parks again, its wait unchanged.

use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::panic::Location;
use std::time::Duration;

use crate::blocking;
use crate::clock::{Clock, Nanos};
use crate::coroutine::{State, TaskRef};
use crate::error::WaitError;
use crate::join::JoinHandle;
use crate::scheduler::Scheduler;
use crate::signal::{Signal, Signals};
use crate::spawn::Builder;
use crate::stack::GUARD;
use crate::wait::{self, Direction, Here, WaitingFor};

/// How long a slice takes at most, about.
const SLICE: Nanos = 500_000;
/// What a slice may spend, whatever the clock says. A unit is 0.1 µs, about.
const BUDGET: u32 = 4096;
/// Listing one block,
const LIST_COST: u32 = 1;
/// looking at one coroutine: 1 to 2 µs,
const LOOK_COST: u32 = 16;
/// and its backtrace: 5 to 20 µs, more when it is deep.
const TRACE_COST: u32 = 64;
/// What is spent before the first look at the clock, so that a dump of a few coroutines is taken in
/// one slice however slow the machine is, and between two looks after that.
const BEFORE_CLOCK: u32 = 1024;
const PER_CLOCK: u32 = 64;
/// What recording a backtrace needs of the stack.
const BACKTRACE_NEEDS: usize = 24 * 1024;

/// Every coroutine of a runtime, as [`dump`] found them.
///
/// The text that [`fmt::Display`] makes has a line for each. With backtraces it looks up symbols,
/// which reads the debugging information of the program and blocks the thread for as long: a dump
/// is `Send`, so make the text elsewhere while media flows. Dropping a hundred thousand backtraces
/// takes tens of milliseconds; drop them there, too.
#[derive(Debug)]
pub struct Dump {
    /// In the order they were spawned.
    pub coroutines: Vec<CoroutineInfo>,
}

/// One coroutine in a [`Dump`].
#[derive(Debug)]
#[non_exhaustive]
pub struct CoroutineInfo {
    /// Its number, which no other coroutine of its runtime ever has.
    pub id: u64,
    /// The name it was given.
    pub name: Option<String>,
    /// What it is doing.
    pub state: CoroutineState,
    /// For how long it has been parked, to a millisecond; zero while it is not.
    pub parked_for: Duration,
    /// How long until its present wait times out, if it has a deadline.
    pub times_out_in: Option<Duration>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// The bytes of address space that its stack has, the guard of 64 KiB included.
    pub stack_size: usize,
    /// How many bytes of memory its stack holds: the deepest it was used since the stack was made
    /// or trimmed, in whole pages.
    pub stack_high_water: usize,
    /// Where it was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// How long it has run, if the runtime was told to count that
    /// ([`RuntimeBuilder::cpu_accounting`](crate::RuntimeBuilder::cpu_accounting)).
    pub cpu_time: Option<Duration>,
    /// Where it is parked, if that was asked for.
    pub backtrace: Option<Trace>,
}

/// What a coroutine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoroutineState {
    /// It runs: it takes the dump.
    Running,
    /// It will run when its turn comes.
    Runnable,
    /// It waits.
    Parked(WaitsFor),
}

/// What a parked coroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The descriptor to become readable.
    Readable(RawFd),
    /// The descriptor to become writable.
    Writable(RawFd),
    /// The coroutine of this number to end.
    Join(u64),
    /// Anything else, in words.
    Other(&'static str),
}

/// Where a coroutine is parked.
#[derive(Debug)]
pub enum Trace {
    /// The way there.
    Taken(Backtrace),
    /// It has less than 24 KiB of its stack left, too little to find out.
    StackTooFull,
}

/// Lists every coroutine of the runtime that the caller runs on, except those that start or end
/// meanwhile.
///
/// # Suspends
///
/// Between slices of half a millisecond; with few coroutines not at all.
///
/// # Errors
///
/// [`WaitError::Cancelled`], [`WaitError::TimedOut`] and [`WaitError::Refused`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn dump() -> Result<Dump, WaitError> {
    Dump::take(false)
}

/// Lists every coroutine like [`dump`], with the backtrace of each that is parked.
///
/// # Suspends
///
/// Between slices of half a millisecond; with few coroutines not at all.
///
/// # Errors
///
/// As [`dump`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn dump_with_backtraces() -> Result<Dump, WaitError> {
    Dump::take(true)
}

/// Has a dump with backtraces written to standard error whenever the process receives `signal`, by
/// custom [`Signal::Quit`] (Ctrl-\ on a terminal), which does not end the process any more then.
///
/// A coroutine named `dump` does it until it is cancelled by the handle, or the runtime ends;
/// symbols are looked up and the text is written on a thread of its own, so that it is written even
/// when all those for blocking work hang. While it waits, the runtime is never deadlocked: the
/// signal may come.
///
/// # Errors
///
/// As [`Signals::new`] and [`Builder::spawn`].
pub fn install_dump_on(signal: Signal) -> io::Result<JoinHandle<()>> {
    let signals = Signals::new([signal])?;
    Builder::new().name("dump").spawn(move || {
        while let Ok(signal) = signals.recv() {
            let Ok(dump) = dump_with_backtraces() else { return };
            // Without standard error there is nobody left to tell.
            let write = move || drop(write!(io::stderr().lock(), "dump on {signal}: {dump}"));
            let Ok(here) = wait::enter() else { return };
            if let Err(error) = blocking::run_on(here, &here.scheduler.pools.dumps, write) {
                tracing::warn!(%error, "the dump on {signal} is not written");
            }
        }
    })
}

impl Dump {
    #[cfg_attr(debug_assertions, track_caller)]
    fn take(backtraces: bool) -> Result<Self, WaitError> {
        let here = wait::enter()?;
        let mut taking = Taking::begin(here, backtraces);
        while !taking.slice(here) {
            // The rest of the turn is timers' and descriptors', not the next slice's.
            here.scheduler.end_run();
            match wait::enter() {
                Ok(here) => here.reschedule(),
                Err(error) => {
                    // Dropping it takes longer than a slice.
                    here.scheduler.pools.dumps.discard(taking);
                    return Err(error);
                }
            }
        }
        Ok(Self { coroutines: taking.coroutines })
    }

    /// Lists the coroutines of a runtime that is not in a turn.
    pub(crate) fn of(scheduler: &Scheduler) -> Self {
        let info = |task| CoroutineInfo::new(scheduler, task, None, false);
        let mut coroutines: Vec<CoroutineInfo> = scheduler.tasks().map(info).collect();
        coroutines.sort_unstable_by_key(|coroutine| coroutine.id);
        Self { coroutines }
    }

    /// The text, with only the first hundred coroutines one by one.
    pub(crate) fn brief(&self) -> String {
        const SHOWN: usize = 100;
        let shown = self.coroutines.iter().take(SHOWN);
        let mut lines: Vec<String> = shown.map(|coroutine| format!("  {coroutine}\n")).collect();
        let mut rest = BTreeMap::<String, usize>::new();
        for coroutine in self.coroutines.iter().skip(SHOWN) {
            *rest.entry(coroutine.state.to_string()).or_default() += 1;
        }
        lines.extend(rest.iter().map(|(state, count)| format!("  {count} more: {state}\n")));
        lines.concat()
    }
}

/// A dump that is being taken.
struct Taking {
    backtraces: bool,
    /// The blocks that there were when it began, and the one to list next.
    blocks: u32,
    next: u32,
    /// The coroutines that were listed and not looked at yet, by their numbers, and their blocks.
    listed: BTreeMap<u64, u32>,
    coroutines: Vec<CoroutineInfo>,
}

impl Taking {
    fn begin(here: Here, backtraces: bool) -> Self {
        let blocks = here.scheduler.arena.len();
        Self { backtraces, blocks, next: 0, listed: BTreeMap::new(), coroutines: Vec::new() }
    }

    /// Goes on for one slice; `true` when all is done.
    fn slice(&mut self, here: Here) -> bool {
        let mut slice = Slice::begin(&here.scheduler.clock);
        // Blocks are never taken away, and one that changes hands is shown as it is then.
        while self.next < self.blocks {
            if slice.is_over() {
                return false;
            }
            self.list(here.scheduler.arena.at(self.next));
            self.next += 1;
            slice.spend(LIST_COST);
            if self.next == self.blocks {
                // Growing later would move all that is there in one go.
                self.coroutines.reserve_exact(self.listed.len());
            }
        }
        while let Some((&id, &slot)) = self.listed.first_key_value() {
            if slice.is_over() {
                return false;
            }
            self.listed.pop_first();
            slice.spend(self.look(here, id, slot));
        }
        true
    }

    fn list(&mut self, task: TaskRef) {
        if matches!(task.state.get(), State::Runnable | State::Parked) {
            self.listed.insert(task.id.get(), task.slot.get());
        }
    }

    /// Looks at a coroutine, unless it has ended meanwhile; the result is what that costs.
    fn look(&mut self, here: Here, id: u64, slot: u32) -> u32 {
        let task = here.scheduler.arena.at(slot);
        let is_there = matches!(task.state.get(), State::Runnable | State::Parked);
        if !is_there || task.id.get() != id {
            return LIST_COST;
        }
        let info = CoroutineInfo::new(here.scheduler, task, Some(here), self.backtraces);
        let cost = if info.backtrace.is_some() { LOOK_COST + TRACE_COST } else { LOOK_COST };
        self.coroutines.push(info);
        cost
    }
}

/// What a slice has left to spend.
struct Slice<'a> {
    clock: &'a Clock,
    end: Nanos,
    left: u32,
    /// What may be spent before the clock is looked at.
    unclocked: u32,
}

impl<'a> Slice<'a> {
    fn begin(clock: &'a Clock) -> Self {
        let end = clock.refresh().saturating_add(SLICE);
        Self { clock, end, left: BUDGET, unclocked: BEFORE_CLOCK }
    }

    const fn spend(&mut self, cost: u32) {
        self.left = self.left.saturating_sub(cost);
        self.unclocked = self.unclocked.saturating_sub(cost);
    }

    fn is_over(&mut self) -> bool {
        if self.unclocked == 0 {
            self.unclocked = PER_CLOCK;
            return self.left == 0 || self.clock.refresh() >= self.end;
        }
        self.left == 0
    }
}

impl CoroutineInfo {
    fn new(scheduler: &Scheduler, task: TaskRef, taker: Option<Here>, backtrace: bool) -> Self {
        let taker = taker.is_some_and(|here| std::ptr::eq(here.task, task));
        let parked = task.state.get() == State::Parked;
        let state = match task.waiting_for.get() {
            _ if taker => CoroutineState::Running,
            waiting_for if parked => CoroutineState::Parked(WaitsFor::new(waiting_for, scheduler)),
            _ => CoroutineState::Runnable,
        };
        let ticks = scheduler.clock.tick().wrapping_sub(task.parked_at.get());
        let now = scheduler.clock.now();
        let until_due = Duration::from_nanos(task.due.get().saturating_sub(now));
        let span = task.span();
        Self {
            id: task.id.get(),
            name: task.name.borrow().as_deref().map(str::to_owned),
            state,
            parked_for: if parked {
                Duration::from_nanos(u64::from(ticks) << 20)
            } else {
                Duration::ZERO
            },
            times_out_in: (parked && task.due.get() != Nanos::MAX).then_some(until_due),
            cancelled: task.cancelled.get(),
            stack_size: span.size(),
            // Of a stack that is mapped it cannot fail.
            stack_high_water: span.resident().unwrap_or(0),
            spawned_at: task.spawned_at.get(),
            cpu_time: scheduler.cpu_accounting.then(|| Duration::from_nanos(task.cpu_time.get())),
            backtrace: (backtrace && parked).then(|| Trace::of(task)),
        }
    }
}

impl Trace {
    fn of(task: TaskRef) -> Self {
        if task.stack_left() < BACKTRACE_NEEDS {
            return Self::StackTooFull;
        }
        Self::Taken(task.trace())
    }
}

impl WaitsFor {
    fn new(waiting_for: WaitingFor, scheduler: &Scheduler) -> Self {
        match waiting_for {
            WaitingFor::Fd(fd, Direction::Read) => Self::Readable(fd),
            WaitingFor::Fd(fd, Direction::Write) => Self::Writable(fd),
            WaitingFor::Join(slot) => Self::Join(scheduler.arena.at(slot).id.get()),
            other => Self::Other(other.words()),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} coroutines", self.coroutines.len())?;
        self.coroutines.iter().try_for_each(|coroutine| writeln!(f, "  {coroutine}"))
    }
}

impl fmt::Display for CoroutineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coroutine {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, " {}", self.state)?;
        if matches!(self.state, CoroutineState::Parked(_)) {
            write!(f, " since {:.1?}", self.parked_for)?;
        }
        if let Some(left) = self.times_out_in {
            write!(f, ", times out in {left:.1?}")?;
        }
        if self.cancelled {
            f.write_str(", cancelled")?;
        }
        let usable = self.stack_size.saturating_sub(GUARD) >> 10;
        write!(f, ", stack {} of {usable} KiB", self.stack_high_water >> 10)?;
        if let Some(cpu_time) = self.cpu_time {
            write!(f, ", ran {cpu_time:.1?}")?;
        }
        if let Some(place) = self.spawned_at {
            write!(f, ", spawned at {place}")?;
        }
        match &self.backtrace {
            Some(trace) => write!(f, "\n{trace}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for CoroutineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("is running"),
            Self::Runnable => f.write_str("is runnable"),
            Self::Parked(waits_for) => write!(f, "waits for {waits_for}"),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable(fd) => write!(f, "fd {fd} to be readable"),
            Self::Writable(fd) => write!(f, "fd {fd} to be writable"),
            Self::Join(id) => write!(f, "coroutine {id} to end"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Taken(backtrace) = self else {
            return f.write_str("    (less than 24 KiB of its stack are left: no backtrace)");
        };
        // Below the coroutine's root are the frames of whoever took the dump.
        let text = backtrace.to_string();
        let root = |line: &&str| !line.contains("corosensei::coroutine::");
        text.lines().take_while(root).try_for_each(|line| writeln!(f, "    {line}"))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::runtime::Runtime;
    use crate::sync::Cond;
    use crate::{ClockKind, spawn, yield_now};

    /// Goal: no slice does more than it may, nor anything that depends on how many coroutines there
    /// are. Method: on a clock that stands still only the budget ends a slice, and each is counted.
    #[test]
    fn no_slice_of_a_dump_does_more_than_its_share() {
        const COUNT: usize = 3000;
        let runtime = Runtime::builder().clock(ClockKind::Virtual).build().expect("it can be had");
        let result = runtime.block_on(|| {
            let cond = Rc::new(Cond::new());
            let wait = || {
                let cond = Rc::clone(&cond);
                spawn(move || cond.wait())
            };
            let mut handles: Vec<_> = (0..COUNT).map(|_| wait()).collect();
            yield_now()?;
            // Blocks change hands, so that their order is not that of the numbers.
            let ending: Vec<_> = handles.drain(..COUNT / 2).rev().collect();
            ending.iter().for_each(JoinHandle::cancel);
            yield_now()?;
            drop(ending);
            handles.extend((0..COUNT / 2).map(|_| wait()));
            yield_now()?;
            for (backtraces, most) in [(false, BUDGET / LOOK_COST), (true, BUDGET / TRACE_COST)] {
                count_slices(backtraces, most as usize + 1, COUNT);
            }
            cond.broadcast();
            Ok::<_, WaitError>(())
        });
        result.expect("it runs to its end").expect("nobody cancels it");
    }

    fn count_slices(backtraces: bool, most: usize, count: usize) {
        let here = wait::enter().expect("nobody cancels it");
        let mut taking = Taking::begin(here, backtraces);
        let mut room = 0;
        let mut done = false;
        while !done {
            let (listed, taken) = (taking.next, taking.coroutines.len());
            done = taking.slice(here);
            assert!(taking.next - listed <= BUDGET);
            assert!(taking.coroutines.len() - taken <= most);
            assert!(taken == 0 || taking.coroutines.capacity() == room, "nothing was moved");
            room = taking.coroutines.capacity();
        }
        // The caller is one of them.
        assert_eq!(taking.coroutines.len(), count + 1);
        assert!(taking.coroutines.is_sorted_by_key(|coroutine| coroutine.id), "nothing to sort");
    }
}
