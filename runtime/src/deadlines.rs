//! Which parked coroutine is woken when: the timers, kept lazily.
//!
//! A wait that ends early leaves its entry among the timers, and the coroutine's next wait uses it
//! again: an entry that comes up before the wait is due is put in anew for later. So waiting with
//! a deadline that does not pass, by far the most common case, touches no timer at all.
//! [`Task::entry`](crate::coroutine::Task::entry) is when the coroutine's earliest entry comes up;
//! any other entry of it is passed over.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::clock::{NEVER, Nanos, nanos};
use crate::coroutine::{Arena, TaskRef};
use crate::run_queue::Prefetch as _;
use crate::timer::Timers;

#[derive(Debug)]
pub(crate) struct Deadlines {
    /// Entries by the slots of task blocks.
    timers: RefCell<Timers>,
    /// How many parked coroutines wait with a deadline.
    armed: Cell<usize>,
    /// How many coroutines have an entry; all entries beyond that are passed over.
    entered: Cell<usize>,
    /// Deadlines are rounded up to multiples of this.
    slack: Nanos,
}

/// The default slack, known to the compiler: dividing by it is multiplying.
const DEFAULT_SLACK: Nanos = 1_000_000;

/// Entries handled between two looks at the timers, which others may change meanwhile.
const BATCH: usize = 1024;

/// How far ahead of the entry at hand a task block is fetched.
const AHEAD: usize = 8;

impl Deadlines {
    pub(crate) fn new(slack: Duration) -> Self {
        Self {
            timers: RefCell::new(Timers::new()),
            armed: Cell::new(0),
            entered: Cell::new(0),
            slack: nanos(slack).max(1),
        }
    }

    /// Has `task`, which is about to park, woken at `due`.
    #[inline]
    pub(crate) fn arm(&self, task: TaskRef, due: Nanos, arena: &Arena) {
        let due = self.round_up(due);
        if due == NEVER {
            return;
        }
        task.due.set(due);
        self.armed.set(self.armed.get() + 1);
        if due < task.entry.get() {
            self.enter(task, due, arena);
        }
    }

    /// To be called when `task` is woken.
    #[inline(always)]
    pub(crate) fn disarm(&self, task: TaskRef) {
        if task.due.replace(NEVER) != NEVER {
            self.armed.set(self.armed.get() - 1);
        }
    }

    /// Whether any parked coroutine waits with a deadline.
    pub(crate) fn is_empty(&self) -> bool {
        self.armed.get() == 0
    }

    /// The earliest deadline of a parked coroutine.
    pub(crate) fn next(&self, arena: &Arena) -> Option<Nanos> {
        if self.is_empty() {
            return None;
        }
        loop {
            let (time, slot) = self.timers.borrow().first()?;
            let task = arena.at(slot);
            if task.entry.get() == time {
                if task.due.get() == time {
                    return Some(time);
                }
                self.leave(task);
            }
            self.timers.borrow_mut().remove_first();
            self.enter_again(task, arena);
        }
    }

    /// Hands every coroutine whose deadline is not after `now` to `wake`.
    pub(crate) fn expire(&self, now: Nanos, arena: &Arena, wake: impl Fn(TaskRef)) {
        loop {
            let taken = self.timers.borrow_mut().take_due(now, BATCH);
            let Some((time, slots)) = taken else { return };
            for (index, &slot) in slots.iter().enumerate() {
                if let Some(&ahead) = slots.get(index + AHEAD) {
                    arena.at(ahead).prefetch_far();
                }
                let task = arena.at(slot);
                if task.entry.get() != time {
                    continue;
                }
                self.leave(task);
                if task.due.get() <= now {
                    wake(task);
                } else {
                    self.enter_again(task, arena);
                }
            }
            self.timers.borrow_mut().recycle(slots);
        }
    }

    /// Forgets every entry; no coroutine is left that could wait.
    pub(crate) fn clear(&self) {
        self.timers.replace(Timers::new());
        self.armed.set(0);
        self.entered.set(0);
    }

    /// The entries among the timers, also those that nobody waits for any more.
    pub(crate) fn entries(&self) -> usize {
        self.timers.borrow().len()
    }

    fn enter(&self, task: TaskRef, due: Nanos, arena: &Arena) {
        if task.entry.replace(due) == NEVER {
            self.entered.set(self.entered.get() + 1);
        }
        let mut timers = self.timers.borrow_mut();
        timers.insert(due, task.slot.get());
        // Entries that are passed over may be as many as the others, not more.
        if timers.len() > 2 * self.entered.get() + BATCH {
            timers.retain(|time, slot| arena.at(slot).entry.get() == time);
        }
    }

    fn leave(&self, task: TaskRef) {
        task.entry.set(NEVER);
        self.entered.set(self.entered.get() - 1);
    }

    fn enter_again(&self, task: TaskRef, arena: &Arena) {
        if task.due.get() < task.entry.get() {
            self.enter(task, task.due.get(), arena);
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
}
