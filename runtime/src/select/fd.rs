//! Descriptors as sources of a select.

use std::io;

use super::{Registration, Select, Waiter};
use crate::fd::{Interest, NetFd, Ready};
use crate::wait::Direction;

impl NetFd {
    /// A source that is ready when reading would not block, for [`select!`](crate::select!).
    ///
    /// It gives `Closed` when the descriptor is closed, and `Unsupported` on another runtime.
    /// Others may have read what was there before the arm's body runs: the read may wait then.
    pub const fn becoming_readable(&self) -> Becoming<'_> {
        Becoming { fd: self, direction: Direction::Read, error: None, waits: false }
    }

    /// A source that is ready when writing would not block, for [`select!`](crate::select!); see
    /// [`NetFd::becoming_readable`].
    pub const fn becoming_writable(&self) -> Becoming<'_> {
        Becoming { fd: self, direction: Direction::Write, error: None, waits: false }
    }
}

/// Made by [`NetFd::becoming_readable`] and [`NetFd::becoming_writable`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct Becoming<'a> {
    fd: &'a NetFd,
    direction: Direction,
    /// Why it cannot wait, to be told by the next poll.
    error: Option<io::Error>,
    waits: bool,
}

impl Becoming<'_> {
    const fn interest(&self) -> Interest {
        match self.direction {
            Direction::Read => Interest::Readable,
            Direction::Write => Interest::Writable,
        }
    }
}

impl Select for Becoming<'_> {
    type Output = io::Result<()>;

    fn poll(&mut self) -> Option<Self::Output> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        match self.fd.ready_now(self.interest()) {
            Ok(ready) if ready == Ready::default() => None,
            ready => Some(ready.map(drop)),
        }
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        if let Err(error) = self.fd.register() {
            self.error = Some(error);
            return Registration::Ready;
        }
        if self.fd.begin_wait(waiter.here(), self.direction, waiter.node()) {
            self.waits = true;
            Registration::Waiting
        } else {
            Registration::Ready
        }
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        if !std::mem::take(&mut self.waits) {
            return None;
        }
        self.fd.end_wait(waiter.here(), self.direction, waiter.node());
        waiter.fired().then(|| self.fd.ready_now(self.interest()).map(drop))
    }
}
