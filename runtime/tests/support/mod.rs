//! What the runtime's test programs share: captured logs, child processes, and what needs `unsafe`.
#![expect(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod child;
pub(crate) mod logs;
pub(crate) mod native;
pub(crate) mod net;

use std::cell::Cell;
use std::rc::Rc;

use thalweg_runtime::{ClockKind, Runtime};

/// A number that shows when it was dropped, and how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Rc<Cell<u32>>);

/// Counts its own drop.
#[derive(Debug)]
pub(crate) struct CountsDrop(Drops);

impl Drops {
    pub(crate) fn guard(&self) -> CountsDrop {
        CountsDrop(self.clone())
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.get()
    }
}

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}

/// A runtime on the virtual clock, first come first served.
pub(crate) fn virtual_runtime() -> Runtime {
    Runtime::builder().clock(ClockKind::Virtual).build().expect("a runtime can be built")
}

/// `natively`, or the smaller `under_valgrind` there, where everything takes far longer.
pub(crate) fn scaled(natively: usize, under_valgrind: usize) -> usize {
    if is_under_valgrind() { under_valgrind } else { natively }
}

pub(crate) fn is_under_valgrind() -> bool {
    std::env::var_os("THALWEG_VALGRIND").is_some()
}
