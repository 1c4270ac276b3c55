//! The sources that belong to no other room: time, cancellation, permits, the ends of coroutines,
//! and sources that are made of others.

use std::time::{Duration, Instant};

use super::{Registration, Select, Waiter};
use crate::coroutine::State;
use crate::error::{Cancelled, WaitError};
use crate::join::{JoinError, JoinHandle};
use crate::scheduler::Scheduler;
use crate::scope::ScopedJoinHandle;
use crate::wait::Here;

impl<S: Select + ?Sized> Select for &mut S {
    type Output = S::Output;

    fn poll(&mut self) -> Option<S::Output> {
        (**self).poll()
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        (**self).register(waiter)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<S::Output> {
        (**self).unregister(waiter)
    }

    fn takes_cancellation(&self) -> bool {
        (**self).takes_cancellation()
    }
}

impl<S: Select> Select for Option<S> {
    type Output = S::Output;

    fn poll(&mut self) -> Option<S::Output> {
        self.as_mut()?.poll()
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        self.as_mut().map_or(Registration::Waiting, |source| source.register(waiter))
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<S::Output> {
        self.as_mut()?.unregister(waiter)
    }

    fn takes_cancellation(&self) -> bool {
        self.as_ref().is_some_and(Select::takes_cancellation)
    }
}

/// A source that is ready from `at` on.
pub const fn until(at: Instant) -> Until {
    Until { at }
}

/// A source that is ready when `duration` has passed, counted from this call.
#[expect(clippy::disallowed_methods, reason = "the clock of callers outside a runtime")]
pub fn after(duration: Duration) -> Until {
    /// Stands for durations that no clock reaches.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = Scheduler::current()
        .map_or_else(Instant::now, |home| home.clock.instant(home.clock.refresh()));
    Until { at: now.checked_add(duration).unwrap_or_else(|| now + CENTURY) }
}

/// Made by [`until`] and [`after`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Until {
    at: Instant,
}

impl Select for Until {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        (self.at <= crate::time::now()).then_some(())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.due.set(waiter.here.scheduler.clock.nanos(self.at));
        Registration::Waiting
    }

    fn unregister(&mut self, _: &Waiter) -> Option<()> {
        None
    }
}

/// A source that is ready when the calling coroutine is cancelled, as often as it is asked, except
/// inside [`shield`](crate::shield).
///
/// With it a select goes on to work in a cancelled coroutine: the arms before it are served while
/// they are ready. Every other wait of the coroutine still fails.
pub const fn cancellation() -> Cancellation {
    Cancellation(())
}

/// Made by [`cancellation`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Cancellation(());

impl Select for Cancellation {
    type Output = Cancelled;

    fn poll(&mut self) -> Option<Cancelled> {
        let here = Here::running().filter(|here| here.task.is_cancelled())?;
        here.count(WaitError::Cancelled);
        Some(Cancelled)
    }

    fn register(&mut self, _: &Waiter) -> Registration {
        Registration::Waiting
    }

    fn unregister(&mut self, _: &Waiter) -> Option<Cancelled> {
        None
    }

    fn takes_cancellation(&self) -> bool {
        true
    }
}

/// A source that takes the permit which an [`Unparker`](crate::Unparker) gives the calling
/// coroutine, as [`park`](crate::park) does.
pub const fn permit() -> TakingPermit {
    TakingPermit(())
}

/// Made by [`permit`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct TakingPermit(());

impl Select for TakingPermit {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        Here::running()?.task.permit.replace(false).then_some(())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.takes_permit.set(true);
        Registration::Waiting
    }

    fn unregister(&mut self, _: &Waiter) -> Option<()> {
        None
    }
}

impl<T: 'static> JoinHandle<T> {
    /// The end of the coroutine, as a source of [`select!`](crate::select!): it takes the value as
    /// [`JoinHandle::join`] does, and never gives [`JoinError::Wait`].
    pub const fn ending(&self) -> Ending<'_, T> {
        Ending { handle: self }
    }
}

impl<'scope, T> ScopedJoinHandle<'scope, T> {
    /// A source that is ready when the coroutine has ended, and gives what
    /// [`ScopedJoinHandle::join`] does.
    pub const fn ending(&self) -> ScopedEnding<'_, 'scope, T> {
        ScopedEnding { handle: self, inner: self.handle().ending() }
    }
}

/// Made by [`ScopedJoinHandle::ending`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct ScopedEnding<'a, 'scope, T> {
    handle: &'a ScopedJoinHandle<'scope, T>,
    inner: Ending<'a, ()>,
}

impl<T> ScopedEnding<'_, '_, T> {
    fn value(&self, ended: Result<(), JoinError>) -> Result<T, JoinError> {
        ended.and_then(|()| self.handle.take())
    }
}

impl<T> Select for ScopedEnding<'_, '_, T> {
    type Output = Result<T, JoinError>;

    fn poll(&mut self) -> Option<Self::Output> {
        let ended = self.inner.poll()?;
        Some(self.value(ended))
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        self.inner.register(waiter)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        let ended = self.inner.unregister(waiter)?;
        Some(self.value(ended))
    }
}

/// Made by [`JoinHandle::ending`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Ending<'a, T> {
    handle: &'a JoinHandle<T>,
}

impl<T: 'static> Select for Ending<'_, T> {
    type Output = Result<T, JoinError>;

    fn poll(&mut self) -> Option<Self::Output> {
        let task = self.handle.task();
        match task.state.get() {
            State::Ended => Some(self.handle.take()),
            State::Leaked => Some(Err(JoinError::LeftBehind)),
            _ if Here::running().is_some_and(|here| std::ptr::eq(here.task, task)) => {
                Some(Err(JoinError::Itself))
            }
            _ => None,
        }
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.wait_in(&self.handle.task().joiners)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        waiter.leave(&self.handle.task().joiners).then(|| self.handle.take())
    }
}
