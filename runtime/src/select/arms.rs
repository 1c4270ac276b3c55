//! The arms of a select, a list that the macro makes, and the wait for the first of them.

use std::convert::Infallible;

use super::{Registration, Select, Waiter};
use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::wait::{self, Here, WaitingFor, Wake};

/// One arm of a select and those after it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Arm<S, R> {
    source: S,
    waiter: Option<Waiter>,
    rest: R,
}

/// No more arms.
#[doc(hidden)]
#[derive(Debug)]
pub struct End;

/// What an arm gave, or one of those after it.
#[doc(hidden)]
#[derive(Debug)]
pub enum Choice<A, B> {
    This(A),
    Other(B),
}

/// A list of arms.
#[doc(hidden)]
pub trait Arms {
    type Output;
    /// Polls the arms in order.
    fn poll(&mut self) -> Option<Self::Output>;
    /// Registers every arm.
    fn register(&mut self, plan: &mut Plan);
    /// Unregisters every arm.
    fn unregister(&mut self) -> Option<Self::Output>;
    fn takes_cancellation(&self) -> bool;
}

/// How a select is going to wait, collected from its arms.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plan {
    here: Here,
    registration: Registration,
    until: Nanos,
    waiting_for: WaitingFor,
}

impl<S, R> Arm<S, R> {
    #[doc(hidden)]
    pub const fn new(source: S, rest: R) -> Self {
        Self { source, waiter: None, rest }
    }
}

impl<S: Select, R: Arms> Arms for Arm<S, R> {
    type Output = Choice<S::Output, R::Output>;

    #[inline]
    fn poll(&mut self) -> Option<Self::Output> {
        match self.source.poll() {
            Some(output) => Some(Choice::This(output)),
            None => self.rest.poll().map(Choice::Other),
        }
    }

    fn register(&mut self, plan: &mut Plan) {
        let waiter = self.waiter.get_or_insert_with(|| Waiter::new(plan.here));
        if self.source.register(waiter) == Registration::Ready {
            plan.registration = Registration::Ready;
        }
        plan.until = plan.until.min(waiter.due.get());
        if waiter.takes_permit.get() {
            // Only a coroutine that waits for it is woken by its permit.
            plan.waiting_for = WaitingFor::Permit;
        }
        self.rest.register(plan);
    }

    fn unregister(&mut self) -> Option<Self::Output> {
        let this = self.waiter.as_ref().and_then(|waiter| self.source.unregister(waiter));
        let other = self.rest.unregister();
        this.map(Choice::This).or_else(|| other.map(Choice::Other))
    }

    fn takes_cancellation(&self) -> bool {
        self.source.takes_cancellation() || self.rest.takes_cancellation()
    }
}

impl Arms for End {
    type Output = Infallible;

    fn poll(&mut self) -> Option<Infallible> {
        None
    }

    fn register(&mut self, _: &mut Plan) {}

    fn unregister(&mut self) -> Option<Infallible> {
        None
    }

    fn takes_cancellation(&self) -> bool {
        false
    }
}

/// Waits until one of `arms` is ready; what [`select!`](crate::select!) without `default` calls.
#[cfg_attr(debug_assertions, track_caller)]
#[doc(hidden)]
pub fn wait<A: Arms>(mut arms: A) -> Result<A::Output, WaitError> {
    let takes_cancellation = arms.takes_cancellation();
    let here = enter(takes_cancellation)?;
    loop {
        let reports = here.task.ignored.get();
        if let Some(chosen) = arms.poll() {
            if here.task.ignored.get() > reports.max(1) {
                // The cancellation was taken before: others run first, as after an error.
                here.reschedule();
            }
            return Ok(chosen);
        }
        let (wake, until) = park(here, &mut arms);
        if let Some(chosen) = arms.unregister() {
            return Ok(chosen);
        }
        let has_arm = match wake {
            Wake::Signal => {
                // What it was may be gone, and a cancellation may have come since.
                enter(takes_cancellation)?;
                true
            }
            Wake::Timer => until <= here.scheduler.clock.now(),
            Wake::Cancel => takes_cancellation,
        };
        if !has_arm {
            return Err(here.failure(wake, NEVER));
        }
    }
}

#[cfg_attr(debug_assertions, track_caller)]
fn enter(takes_cancellation: bool) -> Result<Here, WaitError> {
    if takes_cancellation { wait::enter_when_cancelled() } else { wait::enter() }
}

/// Polls `arms` once; what [`select!`](crate::select!) with `default` calls.
#[doc(hidden)]
pub fn poll<A: Arms>(mut arms: A) -> Option<A::Output> {
    arms.poll()
}

/// Registers with every source and waits, if all do; the result is why it ended, and when the
/// first source wanted to be polled.
fn park(here: Here, arms: &mut impl Arms) -> (Wake, Nanos) {
    let mut plan = Plan {
        here,
        registration: Registration::Waiting,
        until: NEVER,
        waiting_for: WaitingFor::Select,
    };
    arms.register(&mut plan);
    if plan.registration == Registration::Ready {
        return (Wake::Signal, plan.until);
    }
    let wake = here.park(plan.waiting_for, plan.until.min(here.task.deadline()));
    (wake, plan.until)
}
