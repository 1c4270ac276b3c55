//! What the peers of a port have to send, put together.
//!
//! A picture wakes all viewers of a source in a row. Each leaves its packets here and sleeps again; when all have, the
//! packets leave in few calls. That keeps what the processor runs in its caches: peers one after the other, then the
//! kernel's part for all of them.

use super::port::Run;
use std::{
    cell::{Cell, RefCell},
    mem,
};
use thalweg_runtime::{
    WaitError,
    sync::{Cond, Mutex},
};

/// Runs that wait to be sent, in order, and the memory of those that were.
#[derive(Debug)]
pub(super) struct Tray {
    runs: RefCell<Vec<Run>>,
    bytes: Cell<usize>,
    has_some: Cond,
    /// Whose turn it is to send.
    pub(super) turn: Mutex<()>,
    spare: RefCell<Vec<Vec<u8>>>,
}

/// With so much in it, it is full: more would leave the caches before it is sent.
const FULL_BYTES: usize = 128 << 10;

/// Memory of runs that is kept: as many as are in a full tray, when each is a picture.
const SPARE_MAX: usize = 32;

/// As long as most pictures are.
const SPARE_BYTES: usize = 16 << 10;

impl Tray {
    pub(super) fn new() -> Self {
        let (runs, bytes, spare) = Default::default();
        Self { runs, bytes, has_some: Cond::new(), turn: Mutex::new(()), spare }
    }

    /// Adds runs; whether it is full now.
    pub(super) fn put(&self, runs: impl Iterator<Item = Run>) -> bool {
        let mut waiting = self.runs.borrow_mut();
        let before = waiting.len();
        waiting.extend(runs);
        let added = waiting.iter().skip(before).map(|run| run.bytes.len()).sum::<usize>();
        self.bytes.set(self.bytes.get() + added);
        self.has_some.signal();
        self.bytes.get() >= FULL_BYTES
    }

    /// Waits until there is something in it.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub(super) fn wait(&self) -> Result<(), WaitError> {
        while self.runs.borrow().is_empty() {
            self.has_some.wait()?;
        }
        Ok(())
    }

    /// Takes all that is in it.
    pub(super) fn take(&self) -> Vec<Run> {
        self.bytes.set(0);
        mem::take(&mut *self.runs.borrow_mut())
    }

    /// Empty memory for a run.
    pub(super) fn memory(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SPARE_BYTES))
    }

    /// Takes back what is not used any more.
    pub(super) fn give_back(&self, runs: impl Iterator<Item = Run>) {
        let mut spare = self.spare.borrow_mut();
        for Run { bytes: mut memory, .. } in runs {
            if spare.len() < SPARE_MAX && memory.capacity() <= 4 * SPARE_BYTES {
                memory.clear();
                spare.push(memory);
            }
        }
    }
}
