//! The task block of a coroutine, where blocks live, and the switch to and from its stack.
//!
//! A block sits outside the stack, so that a parked coroutine is looked at without touching its
//! stack. Blocks come from an [`Arena`] in chunks that stay where they are; a reference to one is
//! a plain `&'static Task` that is copied freely within the thread, and the block is used again
//! when its coroutine has ended and no handle counts it in [`Task::handles`] any more.
//!
//! # Safety
//!
//! The file keeps these:
//!
//! * Blocks are freed only by [`Arena::free`], when no coroutine of the runtime is left and no
//!   handle counts one. Nothing else keeps a `TaskRef` longer than its coroutine.
//! * `Task` is neither `Send` nor `Sync`, so every use is on the runtime's thread.
//! * [`Task::resume`] is called by the scheduler, for coroutines that are runnable, and by
//!   [`Task::trace`], for one that is parked, so a coroutine is never resumed while it runs;
//!   [`Task::suspend`] is called by the running coroutine only.
#![expect(unsafe_code, reason = "switches stacks and gives task blocks their lifetime")]

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr;
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::clock::{NEVER, Nanos};
use crate::join::Panic;
use crate::local::{self, Locals};
use crate::run_queue::{Prefetch, prefetch};
use crate::scheduler::Scheduler;
use crate::stack::{GUARD, Span, Stack};
use crate::wait::{Node, WaitQueue, WaitingFor, Wake};

/// A task block; valid as long as its coroutine lives or a handle counts it.
pub(crate) type TaskRef = &'static Task;

thread_local! {
    /// The backtrace that a coroutine has just recorded.
    static TRACE: Cell<Option<Backtrace>> = const { Cell::new(None) };
}

type Switch = Coroutine<(), (), (), Stack>;

/// What a coroutine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In the run queue, or running.
    Runnable,
    /// Waits to be woken; what for is in [`Task::waiting_for`].
    Parked,
    /// Its function returned or panicked; the outcome waits to be taken.
    Ended,
    /// Given up at the end of the runtime: never resumed, its stack never unmapped.
    Leaked,
}

/// What an ended coroutine left for whoever joins it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Value(Box<dyn Any>),
    Panic(Panic),
}

/// The record of one coroutine. A yield touches the first cache line only, a park and a wake the
/// first two.
#[repr(C, align(64))]
pub(crate) struct Task {
    /// The stack and where on it the coroutine left off.
    switch: UnsafeCell<Option<Switch>>,
    /// The way back to the scheduler: a word near the top of the stack.
    yielder: Cell<*const Yielder<(), ()>>,
    /// When the present wait ends; `NEVER` while it has no end or there is none.
    pub(crate) due: Cell<Nanos>,
    /// About how deep the stack was at the last suspend, in 16 bytes, for prefetching.
    depth: Cell<u16>,
    /// Whether the coroutine is resumed only to record its backtrace.
    reports: Cell<bool>,
    /// The base-two logarithm of the stack's size, to which it is aligned.
    stack_class: Cell<u8>,
    pub(crate) state: Cell<State>,
    /// What woke the coroutine last.
    pub(crate) wake: Cell<Wake>,
    /// Why a call that suspends has to look closer on entry: the bits `CANCELLED` and so on.
    alerts: Cell<u8>,

    /// The coroutine's place in the one queue it waits in, as nearly all waits do.
    pub(crate) node: Node,
    /// When the coroutine's earliest entry among the timers comes up; `NEVER` without one.
    pub(crate) entry: Cell<Nanos>,
    /// The runtime it belongs to; none once that has ended.
    pub(crate) scheduler: Cell<Option<&'static Scheduler>>,
    pub(crate) waiting_for: Cell<WaitingFor>,
    /// When it parked last, in ticks of 2^20 ns that wrap after 52 days.
    pub(crate) parked_at: Cell<u32>,
    /// The block's number in its arena, by which timers and other threads name it.
    pub(crate) slot: Cell<u32>,

    deadline: Cell<Nanos>,
    /// Coroutines that wait for this one to end.
    pub(crate) joiners: WaitQueue,
    pub(crate) outcome: Cell<Option<Outcome>>,
    pub(crate) id: Cell<u64>,
    /// How many handles refer to the block.
    pub(crate) handles: Cell<u32>,
    /// How often in a row a call reported a cancellation or deadline instead of suspending.
    pub(crate) ignored: Cell<u32>,

    pub(crate) spawned_at: Cell<Option<&'static Location<'static>>>,
    pub(crate) name: RefCell<Option<Rc<str>>>,
    /// The values of the coroutine's locals; none before the first.
    pub(crate) locals: Cell<Option<Box<Locals>>>,
    /// How long the coroutine has run, if the runtime counts that.
    pub(crate) cpu_time: Cell<Nanos>,
    /// Counts the coroutines that used this block, so that a late message finds out.
    pub(crate) generation: Cell<u32>,
    /// How many `shield`s are in force.
    pub(crate) shields: Cell<u16>,
    pub(crate) cancelled: Cell<bool>,
    /// The token that [`Unparker`](crate::Unparker)s set.
    pub(crate) permit: Cell<bool>,
    /// Whether the deadline in force was set by an enclosing scope; see `TimedOut::is_outer`.
    pub(crate) deadline_is_outer: Cell<bool>,
}

// The doc comment above promises it, and a million blocks weigh 64 MB a line.
const _: () = assert!(size_of::<Task>() == 4 * 64);

/// Bits of [`Task::alerts`]: the coroutine is cancelled and not shielded,
const CANCELLED: u8 = 1;
/// or a deadline is in force,
const DEADLINE: u8 = 2;
/// or it leaves or enters its spans, around a switch.
const SWITCHING: u8 = 4;

impl Task {
    fn new() -> Self {
        Self {
            switch: UnsafeCell::new(None),
            yielder: Cell::new(ptr::null()),
            due: Cell::new(NEVER),
            depth: Cell::new(0),
            reports: Cell::new(false),
            stack_class: Cell::new(0),
            state: Cell::new(State::Ended),
            wake: Cell::new(Wake::Signal),
            alerts: Cell::new(0),
            node: Node::new(),
            entry: Cell::new(NEVER),
            scheduler: Cell::new(None),
            waiting_for: Cell::new(WaitingFor::Nothing),
            parked_at: Cell::new(0),
            slot: Cell::new(0),
            deadline: Cell::new(NEVER),
            joiners: WaitQueue::new(),
            outcome: Cell::new(None),
            id: Cell::new(0),
            handles: Cell::new(0),
            ignored: Cell::new(0),
            spawned_at: Cell::new(None),
            name: RefCell::new(None),
            locals: Cell::new(None),
            cpu_time: Cell::new(0),
            generation: Cell::new(0),
            shields: Cell::new(0),
            cancelled: Cell::new(false),
            permit: Cell::new(false),
            deadline_is_outer: Cell::new(false),
        }
    }

    /// The earliest deadline in force.
    #[inline(always)]
    pub(crate) fn deadline(&self) -> Nanos {
        if self.alerts.get() & DEADLINE == 0 { NEVER } else { self.deadline.get() }
    }

    pub(crate) fn set_deadline(&self, at: Nanos, is_outer: bool) {
        self.deadline.set(at);
        self.deadline_is_outer.set(is_outer);
        let others = self.alerts.get() & !DEADLINE;
        self.alerts.set(if at == NEVER { others } else { others | DEADLINE });
    }

    /// Whether the coroutine is neither cancelled nor under a deadline, as is usual.
    #[inline(always)]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.alerts.get() == 0
    }

    /// Whether a cancellation is to be reported: there is one, and no shield.
    #[inline(always)]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.alerts.get() & CANCELLED != 0
    }

    /// Whether the caller is a subscriber that is told of the spans left or entered by a switch.
    pub(crate) fn is_switching(&self) -> bool {
        self.alerts.get() & SWITCHING != 0
    }

    pub(crate) fn set_switching(&self, switching: bool) {
        let others = self.alerts.get() & !SWITCHING;
        self.alerts.set(if switching { others | SWITCHING } else { others });
    }

    /// To be called when `cancelled` or `shields` has changed.
    pub(crate) fn update_alerts(&self) {
        let others = self.alerts.get() & !CANCELLED;
        let cancelled = self.cancelled.get() && self.shields.get() == 0;
        self.alerts.set(if cancelled { others | CANCELLED } else { others });
    }

    /// Whether a panic ended it, of which nobody has been told yet.
    pub(crate) fn has_panicked(&self) -> bool {
        let outcome = self.outcome.take();
        let has_panicked = matches!(outcome, Some(Outcome::Panic(_)));
        self.outcome.set(outcome);
        has_panicked
    }

    /// Makes the coroutine that will run `f` on `stack`. `f`'s value goes to the outcome, if a
    /// handle is left to take it.
    ///
    /// # Safety
    ///
    /// What `f` and its value borrow lives until the coroutine has ended.
    pub(crate) unsafe fn begin<F, T>(&'static self, stack: Stack, f: F)
    where
        F: FnOnce() -> T,
        T: 'static,
    {
        /// A function is put on the new stack from outside, where no guard can catch what does not
        /// fit; what is larger than this goes there by way of the heap. corosensei panics at more than
        /// 1024 bytes, those besides `f` included.
        const SMALL: usize = 960;
        if size_of::<F>() > SMALL {
            let boxed = Box::new(f);
            // SAFETY: as for this call: `boxed` borrows what `f` does.
            unsafe { self.begin_small(stack, boxed) };
        } else {
            // SAFETY: as for this call.
            unsafe { self.begin_small(stack, f) };
        }
    }

    /// [`Task::begin`] for a function that surely fits on the stack.
    ///
    /// # Safety
    ///
    /// What `f` and its value borrow lives until the coroutine has ended.
    unsafe fn begin_small<F, T>(&'static self, stack: Stack, f: F)
    where
        F: FnOnce() -> T,
        T: 'static,
    {
        let entry = move |yielder: &Yielder<(), ()>, (): ()| {
            self.yielder.set(yielder);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let value = f();
                // Without a handle the value is dropped here, where its destructor may suspend.
                (self.handles.get() > 0).then(|| Outcome::Value(Box::new(value)))
            }));
            self.outcome.set(match local::end(self, outcome.map_err(Panic::caught)) {
                Ok(outcome) => outcome,
                Err(panic) => Some(Outcome::Panic(panic)),
            });
        };
        self.stack_class.set(stack.class());
        // Where the yielder will be, about; the coroutine tells exactly when it starts.
        self.yielder.set(ptr::without_provenance(stack.top() - 16));
        // SAFETY: `with_stack_unchecked` asks that what `entry` borrows lives until the coroutine
        // is finished or, if it is forgotten, for good: the caller promises the first, and a
        // forgotten coroutine is never resumed.
        let switch = unsafe { Switch::with_stack_unchecked(stack, entry) };
        assert_eq!(self.state.get(), State::Ended, "a block carries one coroutine at a time");
        // SAFETY: the block's last coroutine has ended, so nothing borrows the cell.
        unsafe { *self.switch.get() = Some(switch) };
    }

    /// Runs the coroutine until it suspends (`None`) or ends (its stack).
    #[inline(always)]
    pub(crate) fn resume(&self) -> Option<Stack> {
        // SAFETY: only a coroutine that is not running is resumed, so this is the only borrow. It
        // lasts while the coroutine runs, which never touches `switch` itself.
        let switch = unsafe { &mut *self.switch.get() };
        let running = switch.as_mut().expect("a runnable coroutine has a switch");
        match running.resume(()) {
            CoroutineResult::Yield(()) => None,
            CoroutineResult::Return(()) => {
                let ended = switch.take().expect("it was resumed just now");
                Some(ended.into_stack())
            }
        }
    }

    /// Leaves the coroutine, which is the running one, until the scheduler resumes it.
    #[inline(always)]
    pub(crate) fn suspend(&self) {
        let depth = self.yielder.get().addr().wrapping_sub(stack_pointer());
        // A depth beyond 1 MiB is cut: it is a hint.
        self.depth.set((depth >> 4) as u16);
        // SAFETY: `begin` stored the yielder when the coroutine started; it is a word on the
        // coroutine's stack, which lives while the coroutine runs. `wait::enter` has checked that
        // this is the running coroutine and that it runs on that stack.
        let yielder = unsafe { &*self.yielder.get() };
        yielder.suspend(());
        if self.reports.get() {
            self.report();
        }
    }

    /// Records backtraces of the coroutine, which is parked, until it is resumed for good.
    #[cold]
    #[inline(never)]
    fn report(&self) {
        // SAFETY: as in `suspend`, which calls this.
        let yielder = unsafe { &*self.yielder.get() };
        while self.reports.replace(false) {
            TRACE.set(Some(Backtrace::force_capture()));
            yielder.suspend(());
        }
    }

    /// Has a parked coroutine record where it is. Its wait is unchanged. It needs `stack_left`.
    pub(crate) fn trace(&self) -> Backtrace {
        assert_eq!(self.state.get(), State::Parked, "only a parked coroutine can report");
        self.reports.set(true);
        let ended = self.resume();
        assert!(ended.is_none(), "a coroutine that reports parks again");
        TRACE.take().expect("it recorded its backtrace")
    }

    /// The bytes between where a parked coroutine's stack ends now and its guard.
    pub(crate) fn stack_left(&self) -> usize {
        /// What the switch itself put on the stack, and more.
        const FRAME: usize = 512;
        let deepest = self.yielder.get().addr() - usize::from(self.depth.get()) * 16 - FRAME;
        deepest.saturating_sub(self.span().limit + GUARD)
    }

    /// Whether the caller runs on this coroutine's own stack.
    #[inline(always)]
    pub(crate) fn is_on_own_stack(&self) -> bool {
        // The yielder is a word on the stack. Stacks are aligned to their size, so addresses on
        // the same one differ only in the low bits.
        let differing = self.yielder.get().addr() ^ stack_pointer();
        differing >> self.stack_class.get() == 0
    }

    /// Where the stack of a coroutine that has not ended is.
    pub(crate) fn span(&self) -> Span {
        Span::around(self.yielder.get().addr(), self.stack_class.get())
    }

    /// Gives back the memory of the running coroutine's stack that lies deeper than the caller.
    pub(crate) fn trim_stack(&self) -> std::io::Result<()> {
        /// Covers the frames of this function and of what it calls.
        const CLEARANCE: usize = 16 * 1024;
        let end = stack_pointer() - CLEARANCE;
        // SAFETY: `wait::enter` has checked that this is the running coroutine and that it runs on
        // this stack. Stacks grow down, so nothing below the present frames is used; `CLEARANCE`
        // keeps away from the frames of the call itself.
        unsafe { self.span().discard_below(end) }
    }

    /// Gives the coroutine up: it is never resumed, and what is on its stack stays there.
    pub(crate) fn leak(&self) {
        self.state.set(State::Leaked);
        self.due.set(NEVER);
        // SAFETY: called by the scheduler while no coroutine runs, so nothing borrows the cell.
        let switch = unsafe { (*self.switch.get()).take() };
        #[expect(clippy::mem_forget, reason = "unwinding it could break what borrows from it")]
        mem::forget(switch);
    }
}

/// Makes the coroutine of `task`, a block fresh from the arena, that will run `f` on `stack`.
pub(crate) fn begin<F, T>(task: TaskRef, stack: Stack, f: F)
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    // SAFETY: `f` and its value borrow nothing that ever dies.
    unsafe { task.begin(stack, f) };
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coroutine {}", self.id.get())?;
        match &*self.name.borrow() {
            Some(name) => write!(f, " {name:?}"),
            None => Ok(()),
        }
    }
}

impl Prefetch for TaskRef {
    #[inline(always)]
    fn prefetch_far(self) {
        let block = ptr::from_ref(self).cast::<u8>();
        prefetch(block);
        prefetch(block.wrapping_add(64));
    }

    #[inline(always)]
    fn prefetch_near(self) {
        let top = self.yielder.get().cast::<u8>();
        // The registers that the switch saved are just below where the stack ended, and the frame
        // that goes on is above.
        let end = top.wrapping_sub(usize::from(self.depth.get()) * 16);
        prefetch(end.wrapping_sub(24));
        prefetch(end.wrapping_add(64));
        prefetch(top);
    }
}

/// Where the caller's stack ends, about. Unlike the address of a local variable it costs no memory
/// access, which would be one more cache line in each switch.
#[inline(always)]
fn stack_pointer() -> usize {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let address: usize;
        // SAFETY: copying the stack pointer to a register has no effect on anything else, which
        // is what the options say.
        unsafe {
            std::arch::asm!(
                "mov {}, rsp",
                out(reg) address,
                options(nomem, nostack, preserves_flags, pure)
            );
        }
        address
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    {
        let here = 0_u8;
        ptr::from_ref(&here).addr()
    }
}

/// The task blocks of one runtime.
#[derive(Debug)]
pub(crate) struct Arena {
    chunks: RefCell<Vec<&'static [Task]>>,
    free: RefCell<Vec<TaskRef>>,
}

/// Blocks a chunk: 64 KiB at a time.
const CHUNK: usize = 256;

/// How far ahead of its use a free block is fetched: far enough for a burst of spawns.
const AHEAD: usize = 4;

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { chunks: RefCell::new(Vec::new()), free: RefCell::new(Vec::new()) }
    }

    /// A block that nobody uses.
    #[inline]
    pub(crate) fn take(&self) -> TaskRef {
        let mut free = self.free.borrow_mut();
        if let Some(soon) = free.iter().nth_back(AHEAD) {
            soon.prefetch_far();
        }
        free.pop().unwrap_or_else(|| {
            drop(free);
            self.grow()
        })
    }

    /// Takes back a block whose coroutine ended and that no handle counts.
    #[inline]
    pub(crate) fn give_back(&self, task: TaskRef) {
        debug_assert_eq!((task.state.get(), task.handles.get()), (State::Ended, 0));
        self.free.borrow_mut().push(task);
    }

    /// The block of a number that some block of this arena has.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> TaskRef {
        let slot = slot as usize;
        &self.chunks.borrow()[slot / CHUNK][slot % CHUNK]
    }

    /// How many blocks there are, used or not; their numbers are the smaller ones.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.chunks.borrow().len() * CHUNK).expect("fewer than 2^32 coroutines")
    }

    /// Every block, used or not, in the order of their numbers.
    pub(crate) fn tasks(&self) -> Vec<TaskRef> {
        self.chunks.borrow().iter().flat_map(|chunk| chunk.iter()).collect()
    }

    /// Frees the chunks in which no block is used or counted by a handle; the others stay for the
    /// rest of the process.
    pub(crate) fn free(&self) {
        self.free.borrow_mut().clear();
        for chunk in self.chunks.borrow_mut().drain(..) {
            let idle = |task: &Task| task.state.get() == State::Ended && task.handles.get() == 0;
            if chunk.iter().all(idle) {
                let chunk = ptr::from_ref(chunk).cast_mut();
                // SAFETY: the chunk came from `Box::leak` in `grow`. No handle counts one of its
                // blocks and no coroutine is left in it, so nobody has a reference any more.
                drop(unsafe { Box::from_raw(chunk) });
            }
        }
    }

    #[cold]
    fn grow(&self) -> TaskRef {
        let chunk: Box<[Task]> = (0..CHUNK).map(|_| Task::new()).collect();
        let chunk: &'static [Task] = Box::leak(chunk);
        let first = self.chunks.borrow().len() * CHUNK;
        for (offset, task) in chunk.iter().enumerate() {
            task.slot.set(u32::try_from(first + offset).expect("fewer than 2^32 coroutines"));
            task.node.task.set(Some(task));
        }
        self.chunks.borrow_mut().push(chunk);
        self.free.borrow_mut().extend(chunk.iter().skip(1).rev());
        &chunk[0]
    }
}
