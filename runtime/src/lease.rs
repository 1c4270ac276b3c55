//! Who owns a scheduler: it is a plain `&'static` everywhere else, and freed here.
//!
//! # Safety
//!
//! A [`Lease`] is the only owner. What else refers to the scheduler is the running thread's current
//! scheduler, which is set only while [`Lease::enter`]'s closure runs, the task blocks, which
//! `Scheduler::retire` makes forget it, and the stacks of coroutines that are never resumed.
#![expect(unsafe_code, reason = "gives the scheduler its lifetime")]

use std::ptr;

use crate::scheduler::Scheduler;

#[derive(Debug)]
pub(crate) struct Lease(&'static Scheduler);

impl Lease {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self(Box::leak(Box::new(scheduler)))
    }

    pub(crate) fn scheduler(&self) -> &'static Scheduler {
        self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.retire();
        let scheduler = ptr::from_ref(self.0).cast_mut();
        // SAFETY: the pointer came from `Box::leak` in `new`, and only this lease frees it. After
        // `retire` no block refers to the scheduler, none of its coroutines will run again, and it
        // is not the thread's current one: that is so only inside `Scheduler::enter`, whose caller
        // borrows the runtime that owns this lease.
        drop(unsafe { Box::from_raw(scheduler) });
    }
}
