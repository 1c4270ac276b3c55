//! One job and what becomes of its result: what the caller and the thread of the pool share.
//!
//! The thread leaves the result in a [`Packet`] and rings; the caller takes it from there. When the
//! caller has left before, the thread drops the result instead.
#![expect(
    clippy::disallowed_types,
    reason = "the packet is locked to move a result in or out, on either side"
)]

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pool::{Place, Pool, Ticket, Work};
use super::{BlockingError, report};
use crate::bell::{Bell, Hear, Ringer};
use crate::clock::NEVER;
use crate::error::WaitError;
use crate::join::Panic;
use crate::wait::{Here, WaitQueue, WaitingFor};

/// Where the result of a job is left.
pub(crate) struct Packet<T> {
    stage: Mutex<Stage<T>>,
    ringer: Ringer,
}

enum Stage<T> {
    /// The job waits or runs; its end makes it `Done`.
    Open,
    /// The job has ended, and its caller may take the result.
    Done(Result<T, Panic>),
    /// The caller has left or has taken the result.
    Closed,
}

/// A job, seen by the coroutine that it is done for. Dropping it gives the job up: one that no
/// thread has taken yet is never run, and of one that runs the result is dropped by its thread.
pub(crate) struct Job<T> {
    packet: Arc<Packet<T>>,
    ticket: Ticket,
    ended: Rc<WaitQueue>,
    /// Hung for `ended`.
    _bell: Bell,
}

impl<T: Send + 'static> Packet<T> {
    pub(crate) fn new(ringer: Ringer) -> Arc<Self> {
        Arc::new(Self { stage: Mutex::new(Stage::Open), ringer })
    }

    /// `f`, with the packet for its result.
    pub(crate) fn work<F>(self: &Arc<Self>, f: F) -> Work
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let packet = Arc::clone(self);
        Box::new(move || {
            let result = report(|| catch_unwind(AssertUnwindSafe(f)).map_err(Panic::caught));
            packet.finish(result);
        })
    }

    fn finish(&self, result: Result<T, Panic>) {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Open) {
            *stage = Stage::Done(result);
            drop(stage);
            self.ringer.ring();
        } else {
            // Dropping the result may run any code.
            drop(stage);
            drop(result);
        }
    }

    /// Takes the result, if the job has ended.
    pub(crate) fn take(&self) -> Option<Result<T, Panic>> {
        let mut stage = self.lock();
        match mem::replace(&mut *stage, Stage::Closed) {
            Stage::Done(result) => Some(result),
            other => {
                *stage = other;
                None
            }
        }
    }
}

impl<T> Packet<T> {
    fn is_open(&self) -> bool {
        matches!(*self.lock(), Stage::Open)
    }

    /// Has the thread drop a result that is still to come.
    fn close(&self) -> Stage<T> {
        mem::replace(&mut *self.lock(), Stage::Closed)
    }

    fn lock(&self) -> MutexGuard<'_, Stage<T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Job<T> {
    /// Waits for a place in front of `pool` and puts `f` there.
    pub(crate) fn submit<F>(here: Here, pool: &Pool, f: F) -> Result<Self, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let place = pool.admit(here)?;
        Self::start(here, place, f)
    }

    /// Puts `f` in front of the pool.
    pub(crate) fn start<F>(here: Here, place: Place, f: F) -> Result<Self, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let ended = Rc::new(WaitQueue::new());
        let hearer: Rc<dyn Hear> = Rc::<WaitQueue>::clone(&ended);
        let bell = here.scheduler.bells.hang(Rc::downgrade(&hearer));
        let packet = Packet::new(bell.ringer());
        let ticket = place.push(packet.work(f)).map_err(BlockingError::NoThread)?;
        Ok(Self { packet, ticket, ended, _bell: bell })
    }

    /// Waits until the job has ended.
    pub(crate) fn wait(&self, here: Here) -> Result<(), WaitError> {
        let _waiting = self.ticket.wait();
        while self.packet.is_open() {
            let result = here.wait_in(&self.ended, WaitingFor::Pool, NEVER);
            // What is there by now is given, whatever else ended the wait.
            if result.is_err() && self.packet.is_open() {
                return result;
            }
        }
        Ok(())
    }

    /// Takes what [`Job::wait`] waited for.
    pub(crate) fn take(&self) -> Result<T, BlockingError> {
        let result = self.packet.take().expect("the job has ended, and is taken once");
        result.map_err(BlockingError::Panicked)
    }

    /// Takes the job back if no thread has taken it yet.
    pub(crate) fn withdraw(&self) -> bool {
        self.packet.is_open() && self.ticket.withdraw()
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        // The job's own drop, for one that never runs, comes after it: it may run any code.
        let remains = self.packet.close();
        if matches!(remains, Stage::Open) {
            self.ticket.withdraw();
        }
        drop(remains);
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("ended", &!self.packet.is_open()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Packet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet").field("open", &self.is_open()).finish_non_exhaustive()
    }
}
