//! The receiving end of a channel.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::shared::{NOTHING, Shared};
use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, WaitingFor};

/// The receiving end of a channel. Clones take from the same channel; each message goes to one of
/// them.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// The channel is closed and empty: there will be no more messages.
    Closed,
    /// The wait ended before there was a message.
    Wait(WaitError),
}

/// Why no message was received at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is no message now.
    Empty,
    /// The channel is closed and empty: there will be no more messages.
    Closed,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Rc<Shared<T>>) -> Self {
        shared.add_receiver();
        Self { shared }
    }

    /// Receives the next message.
    ///
    /// # Suspends
    ///
    /// While the channel is empty, until a message is handed to the caller, the channel closes, a
    /// deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] and [`RecvError::Wait`]; no message is taken then.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(wait::enter()?, NEVER)
    }

    /// Receives the next message, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.recv_by(here, until)
    }

    /// Receives the next message if it is there. Also works outside a coroutine.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] and [`TryRecvError::Closed`].
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.shared.take()
    }

    /// The next message, as a source of [`select!`](crate::select!), which never gives
    /// [`RecvError::Wait`].
    pub const fn receiving(&self) -> Receiving<'_, T> {
        Receiving { receiver: self }
    }

    /// Receives messages until there will be no more, or the wait for one fails: a cancellation
    /// or a deadline ends it too.
    ///
    /// # Suspends
    ///
    /// This call never; the iterator does as [`Receiver::recv`].
    pub const fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// Closes the channel for all its ends: nothing is sent any more, those who wait to send get
    /// their messages back, and what is in the channel can still be received.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether the channel is closed; there may still be messages in it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// How many messages are in the channel for whoever receives next.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no message is in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages the channel holds at most; `None` when it has no bound.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.capacity()
    }

    #[inline]
    fn recv_by(&self, here: Here, until: Nanos) -> Result<T, RecvError> {
        match self.shared.take() {
            Ok(value) => Ok(value),
            Err(TryRecvError::Closed) => Err(RecvError::Closed),
            Err(TryRecvError::Empty) => self.wait(here, until),
        }
    }

    fn wait(&self, here: Here, until: Nanos) -> Result<T, RecvError> {
        let node = &here.task.node;
        node.note.set(NOTHING);
        here.wait_in(&self.shared.receiving, WaitingFor::Receive, until)?;
        self.shared.claim(node).ok_or(RecvError::Closed)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self::new(Rc::clone(&self.shared))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.remove_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared).finish()
    }
}

/// Made by [`Receiver::receiving`].
#[must_use = "a source does nothing outside select!"]
pub struct Receiving<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Select for Receiving<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(&mut self) -> Option<Self::Output> {
        settled(self.receiver.try_recv())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.node().note.set(NOTHING);
        waiter.wait_in(&self.receiver.shared.receiving)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        let shared = &self.receiver.shared;
        let signalled = waiter.leave(&shared.receiving);
        signalled.then(|| shared.claim(waiter.node()).ok_or(RecvError::Closed))
    }
}

impl<T> fmt::Debug for Receiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving").field("receiver", self.receiver).finish()
    }
}

/// Made by [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// The messages of a receiver that was given away; see [`Receiver::iter`].
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    #[cfg_attr(debug_assertions, track_caller)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    #[cfg_attr(debug_assertions, track_caller)]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

/// What is there for one who waits: a message, or the end; `None` when neither is there yet.
#[inline]
pub(super) fn settled<T>(received: Result<T, TryRecvError>) -> Option<Result<T, RecvError>> {
    match received {
        Ok(value) => Some(Ok(value)),
        Err(TryRecvError::Closed) => Some(Err(RecvError::Closed)),
        Err(TryRecvError::Empty) => None,
    }
}

impl From<WaitError> for RecvError {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the channel is closed"),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty",
            Self::Closed => "the channel is closed",
        })
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Wait(error) => Some(error),
        }
    }
}

impl std::error::Error for TryRecvError {}

impl From<RecvError> for io::Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::new(io::ErrorKind::BrokenPipe, "the channel is closed"),
            RecvError::Wait(error) => error.into(),
        }
    }
}

impl From<TryRecvError> for io::Error {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::new(io::ErrorKind::WouldBlock, "the channel is empty"),
            TryRecvError::Closed => Self::new(io::ErrorKind::BrokenPipe, "the channel is closed"),
        }
    }
}
