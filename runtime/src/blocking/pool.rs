//! The threads that jobs run on, and the queue in front of them.
//!
//! There are three pools of such threads, so that what hangs in one delays nothing in the others.
//! The threads start as jobs come, up to a number, and end when they have been idle for a while or
//! the runtime is over. Jobs that the threads have no hand free for wait in a queue; when that is
//! full, too, callers wait for a *place* in front of it, first come first served.
//!
//! Only the runtime's thread puts jobs in and takes jobs out unrun, so what it has found free stays
//! free until it has used it. The lock is held for the push or the removal of one job and nothing
//! else: jobs run, are dropped, and threads are started outside of it. So the runtime's thread
//! waits for it no longer than another thread needs to take one job out of a map.
#![expect(
    clippy::disallowed_types,
    reason = "the threads of the pool block by design; the runtime's holds the lock for one push"
)]

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::bell::{Bell, Bells, Hear, Ringer};
use crate::clock::{Clock, NEVER};
use crate::error::WaitError;
use crate::wait::{Here, WaitQueue, WaitingFor};

/// Something to be done on a thread of the pool.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// How a thread is started; replaced by tests.
pub(crate) type Spawner = fn(thread::Builder, Work) -> io::Result<()>;

/// What `RuntimeBuilder` collects for the pools.
#[derive(Clone, Debug)]
pub(crate) struct PoolSettings {
    pub(crate) threads: usize,
    /// How many threads look names up.
    pub(crate) resolver_threads: usize,
    pub(crate) queue: usize,
    pub(crate) idle: Duration,
    pub(crate) name: Option<String>,
    pub(crate) spawner: Spawner,
}

/// The pools of one runtime. What hangs in one of them, a disk or a resolver, delays nothing in the
/// others.
#[derive(Debug)]
pub(crate) struct Pools {
    /// Files, and what users have run.
    pub(crate) work: Pool,
    /// Lookups of names.
    pub(crate) names: Pool,
    /// The making of a dump's text, which is wanted most when all else hangs.
    pub(crate) dumps: Pool,
}

/// A pool; nothing is made before the first job.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: PoolSettings,
    /// What its threads are for, in their names.
    purpose: &'static str,
    bells: Rc<Bells>,
    desk: OnceCell<Rc<Desk>>,
}

/// The runtime's side of a started pool.
#[derive(Debug)]
struct Desk {
    settings: PoolSettings,
    purpose: &'static str,
    shared: Arc<Shared>,
    /// Coroutines that wait for a place.
    room: WaitQueue,
    /// How many wait for a place or for the end of a job.
    waiting: Cell<usize>,
    /// Places that were given away and are not used yet.
    promised: Cell<usize>,
    next_ticket: Cell<u64>,
    next_thread: Cell<u64>,
    /// Whether it was logged that a thread could not be started.
    warned: Cell<bool>,
    /// Rung when a place has come free that somebody waits for.
    _bell: Bell,
}

/// The side that the threads see.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told of each job, and of the end.
    work: Condvar,
    idle: Duration,
    ringer: Ringer,
}

#[derive(Default)]
struct State {
    /// The jobs that wait for a thread, by their tickets and so in order.
    queue: BTreeMap<u64, Work>,
    /// Threads that are there,
    threads: usize,
    /// that wait for a job,
    idle: usize,
    /// and that run one.
    running: usize,
    /// Whether a coroutine waits for a place.
    wanted: bool,
    stopped: bool,
}

/// The right to put one job into the queue.
#[derive(Debug)]
pub(crate) struct Place {
    desk: Rc<Desk>,
}

/// A job that was put into the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    desk: Rc<Desk>,
    number: u64,
}

/// Counts a coroutine as waiting for the pool.
pub(crate) struct Waiting<'a>(&'a Cell<usize>);

impl Pools {
    pub(crate) fn new(settings: &PoolSettings, bells: &Rc<Bells>) -> Self {
        let pool = |purpose, threads| Pool {
            settings: PoolSettings { threads, ..settings.clone() },
            purpose,
            bells: Rc::clone(bells),
            desk: OnceCell::new(),
        };
        Self {
            work: pool("pool", settings.threads),
            names: pool("names", settings.resolver_threads),
            dumps: pool("dump", 1),
        }
    }

    fn all(&self) -> [&Pool; 3] {
        [&self.work, &self.names, &self.dumps]
    }

    /// How many coroutines wait for a pool.
    pub(crate) fn waiting(&self) -> usize {
        self.all().iter().map(|pool| pool.waiting()).sum()
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.all().iter().map(|pool| pool.threads()).sum()
    }

    /// How many jobs wait or run.
    pub(crate) fn jobs(&self) -> usize {
        self.all().iter().map(|pool| pool.jobs()).sum()
    }

    /// Forgets the coroutines that wait: they were left behind and will never run.
    pub(crate) fn abandon(&self) {
        self.all().iter().for_each(|pool| pool.abandon());
    }

    /// Drops the jobs that wait and has each thread end after the one that it runs.
    pub(crate) fn stop(&self) {
        self.all().iter().for_each(|pool| pool.stop());
    }
}

impl Pool {
    /// Waits for a place in the queue.
    pub(crate) fn admit(&self, here: Here) -> Result<Place, WaitError> {
        let desk = self.desk();
        // Those who wait come first. There are some only while no place is free.
        if desk.room.first().is_some() || !desk.take_place() {
            let _waiting = desk.wait();
            here.wait_in(&desk.room, WaitingFor::Pool, NEVER)?;
        }
        Ok(Place { desk: Rc::clone(desk) })
    }

    /// Has a thread drop `value`, which may block; nobody waits for that. Without a thread it is
    /// dropped here.
    pub(crate) fn discard(&self, value: impl Send + 'static) {
        let desk = self.desk();
        desk.promised.set(desk.promised.get() + 1);
        let place = Place { desk: Rc::clone(desk) };
        // A failure drops the job, and the value with it.
        let _ticket_or_failure = place.push(Box::new(move || drop(value)));
    }

    fn waiting(&self) -> usize {
        self.desk.get().map_or(0, |desk| desk.waiting.get())
    }

    fn threads(&self) -> usize {
        self.desk.get().map_or(0, |desk| desk.shared.lock().threads)
    }

    fn jobs(&self) -> usize {
        self.desk.get().map_or(0, |desk| {
            let state = desk.shared.lock();
            state.queue.len() + state.running
        })
    }

    fn abandon(&self) {
        if let Some(desk) = self.desk.get() {
            desk.waiting.set(0);
            desk.promised.set(0);
        }
    }

    fn stop(&self) {
        let Some(desk) = self.desk.get() else { return };
        let mut state = desk.shared.lock();
        state.stopped = true;
        let queue = mem::take(&mut state.queue);
        drop(state);
        desk.shared.work.notify_all();
        drop(queue);
    }

    fn desk(&self) -> &Rc<Desk> {
        self.desk.get_or_init(|| {
            Rc::new_cyclic(|desk: &std::rc::Weak<Desk>| {
                let bell = self.bells.hang(desk.clone());
                Desk {
                    settings: self.settings.clone(),
                    purpose: self.purpose,
                    shared: Arc::new(Shared {
                        state: Mutex::default(),
                        work: Condvar::new(),
                        idle: self.settings.idle,
                        ringer: bell.ringer(),
                    }),
                    room: WaitQueue::new(),
                    waiting: Cell::new(0),
                    promised: Cell::new(0),
                    next_ticket: Cell::new(0),
                    next_thread: Cell::new(0),
                    warned: Cell::new(false),
                    _bell: bell,
                }
            })
        })
    }
}

impl Desk {
    fn wait(&self) -> Waiting<'_> {
        self.waiting.set(self.waiting.get() + 1);
        Waiting(&self.waiting)
    }

    /// Takes a place if one is free. If not, the next that comes free will be told of.
    fn take_place(&self) -> bool {
        let mut state = self.shared.lock();
        let is_free = self.is_free(&state);
        state.wanted |= !is_free;
        if is_free {
            self.promised.set(self.promised.get() + 1);
        }
        is_free
    }

    fn is_free(&self, state: &State) -> bool {
        let taken = state.queue.len() + state.running + self.promised.get();
        taken < self.settings.threads.saturating_add(self.settings.queue)
    }

    /// Gives the places that are free to those who wait.
    fn offer(&self) {
        while let Some(first) = self.room.first() {
            if !self.take_place() {
                return;
            }
            let woken = self.room.wake(first);
            debug_assert!(woken, "the first of a queue waits");
        }
    }

    fn push(&self, work: Work) -> io::Result<u64> {
        let number = self.next_ticket.get();
        self.next_ticket.set(number + 1);
        let mut state = self.shared.lock();
        state.queue.insert(number, work);
        if state.idle >= state.queue.len() {
            drop(state);
            self.shared.work.notify_one();
            return Ok(number);
        }
        let is_complete = state.threads >= self.settings.threads;
        state.threads += usize::from(!is_complete);
        drop(state);
        if is_complete { Ok(number) } else { self.start_thread(number) }
    }

    /// Starts a thread, which is counted already. Without it those who are there do its work; when
    /// there are none, the job of `ticket` is dropped.
    fn start_thread(&self, ticket: u64) -> io::Result<u64> {
        let name = self.settings.name.as_deref().unwrap_or("thalweg");
        let name = format!("{name}-{}-{}", self.purpose, self.next_thread.get());
        self.next_thread.set(self.next_thread.get() + 1);
        let shared = Arc::clone(&self.shared);
        let work = Box::new(move || shared.serve());
        let Err(error) = (self.settings.spawner)(thread::Builder::new().name(name), work) else {
            return Ok(ticket);
        };
        let mut state = self.shared.lock();
        state.threads -= 1;
        let (threads, job) = match state.threads {
            0 => (0, state.queue.remove(&ticket)),
            threads => (threads, None),
        };
        drop(state);
        if threads == 0 {
            drop(job);
            return Err(error);
        }
        if !self.warned.replace(true) {
            tracing::warn!(%error, threads, "cannot start another thread for blocking work");
        }
        Ok(ticket)
    }
}

impl Hear for Desk {
    fn hear(&self, _: &Clock) {
        self.offer();
    }
}

impl Place {
    /// Has `work` run on a thread. Without any thread it is dropped unrun.
    pub(crate) fn push(self, work: Work) -> io::Result<Ticket> {
        let number = self.desk.push(work)?;
        Ok(Ticket { desk: Rc::clone(&self.desk), number })
    }
}

impl Drop for Place {
    /// What was pushed is counted as such by now.
    fn drop(&mut self) {
        let promised = &self.desk.promised;
        promised.set(promised.get().saturating_sub(1));
        self.desk.offer();
    }
}

impl Ticket {
    /// Counts the caller as waiting, so that a virtual clock stands still and the runtime does not
    /// take itself for deadlocked, until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.desk.wait()
    }

    /// Takes the job back, which drops it; `false` if a thread has taken it already.
    pub(crate) fn withdraw(&self) -> bool {
        let job = self.desk.shared.lock().queue.remove(&self.number);
        let was_queued = job.is_some();
        drop(job);
        if was_queued {
            self.desk.offer();
        }
        was_queued
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread of the pool does.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some((_, work)) = state.queue.pop_first() {
                state.running += 1;
                drop(state);
                self.perform(work);
                state = self.lock();
                continue;
            }
            if state.stopped {
                break;
            }
            state.idle += 1;
            let wait = self.work.wait_timeout(state, self.idle);
            let (woken, wait) = wait.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }

    fn perform(&self, work: Work) {
        // What a job calls is caught in the job; what its remains do when dropped is not.
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            tracing::error!("what a blocking call left behind panicked when it was dropped");
        }
        let mut state = self.lock();
        state.running -= 1;
        let is_wanted = mem::take(&mut state.wanted);
        drop(state);
        if is_wanted {
            self.ringer.ring();
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("queue", &self.queue.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}
