//! The sending end of a channel.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::shared::Shared;
use crate::clock::{NEVER, Nanos};
use crate::error::WaitError;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, WaitingFor};

/// The sending end of a channel. Clones send into the same channel.
pub struct Sender<T> {
    shared: Rc<Shared<T>>,
}

/// Why a message was not sent, and the message.
#[non_exhaustive]
pub enum SendError<T> {
    /// The channel is closed: nobody will receive the message.
    Closed(T),
    /// The wait for room ended before there was any.
    Wait(T, WaitError),
}

/// Why a message was not sent at once, and the message.
#[non_exhaustive]
pub enum TrySendError<T> {
    /// There is no room now, and in a channel without capacity no receiver waits.
    Full(T),
    /// The channel is closed: nobody will receive the message.
    Closed(T),
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Rc<Shared<T>>) -> Self {
        shared.add_sender();
        Self { shared }
    }

    /// Sends `value`.
    ///
    /// # Suspends
    ///
    /// While the channel is full, until there is room for the message and for those of senders
    /// that came before, the channel closes, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] and [`SendError::Wait`]; both give `value` back, and nobody received
    /// it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        match wait::enter() {
            Ok(here) => self.send_by(here, value, NEVER),
            Err(error) => Err(SendError::Wait(value, error)),
        }
    }

    /// Sends `value`, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send_until(&self, value: T, deadline: Instant) -> Result<(), SendError<T>> {
        match wait::enter_until(deadline) {
            Ok((here, until)) => self.send_by(here, value, until),
            Err(error) => Err(SendError::Wait(value, error)),
        }
    }

    /// Sends `value` if that is possible at once. Also works outside a coroutine.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] and [`TrySendError::Closed`]; both give `value` back.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.shared.offer(value)
    }

    /// Sending `value`, as a source of [`select!`](crate::select!).
    pub const fn sending(&self, value: T) -> Sending<'_, T> {
        Sending { sender: self, value: Some(value) }
    }

    /// Closes the channel for all its ends: nothing is sent any more, those who wait to send get
    /// their messages back, and what is in the channel can still be received.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Whether the channel is closed.
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
    fn send_by(&self, here: Here, value: T, until: Nanos) -> Result<(), SendError<T>> {
        match self.shared.offer(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError::Closed(value)),
            Err(TrySendError::Full(value)) => self.wait(here, value, until),
        }
    }

    #[cold]
    fn wait(&self, here: Here, value: T, until: Nanos) -> Result<(), SendError<T>> {
        let node = &here.task.node;
        self.shared.deposit(value, node);
        let result = here.wait_in(&self.shared.sending, WaitingFor::Send, until);
        match (self.shared.withdraw(node), result) {
            (None, _) => Ok(()),
            (Some(value), Ok(())) => Err(SendError::Closed(value)),
            (Some(value), Err(error)) => Err(SendError::Wait(value, error)),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self::new(Rc::clone(&self.shared))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared).finish()
    }
}

/// Made by [`Sender::sending`]. When its arm does not win the message goes with it; select on
/// `&mut` of it to keep the message.
#[must_use = "a source does nothing outside select!"]
pub struct Sending<'a, T> {
    sender: &'a Sender<T>,
    /// The message, unless it was sent or waits in a slot.
    value: Option<T>,
}

impl<T> Sending<'_, T> {
    /// The message; `None` when it was sent or given back.
    pub fn into_inner(self) -> Option<T> {
        self.value
    }
}

impl<T> Select for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// Never ready again once the message was sent or given back.
    fn poll(&mut self) -> Option<Self::Output> {
        match self.sender.shared.offer(self.value.take()?) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Closed(value)) => Some(Err(SendError::Closed(value))),
            Err(TrySendError::Full(value)) => {
                self.value = Some(value);
                None
            }
        }
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        let Some(value) = self.value.take() else { return Registration::Waiting };
        self.sender.shared.deposit(value, waiter.node());
        waiter.wait_in(&self.sender.shared.sending)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        if !waiter.is_registered() {
            return None;
        }
        waiter.leave(&self.sender.shared.sending);
        self.value = self.sender.shared.withdraw(waiter.node());
        // With the message back here the channel was closed, which polling finds, or nothing was.
        self.value.is_none().then_some(Ok(()))
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("sender", self.sender).finish_non_exhaustive()
    }
}

impl<T> SendError<T> {
    /// The message that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Closed(value) | Self::Wait(value, _) => value,
        }
    }
}

impl<T> TrySendError<T> {
    /// The message that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Wait(_, error) => write!(f, "Wait(.., {error:?})"),
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the channel is closed"),
            Self::Wait(_, error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full",
            Self::Closed(_) => "the channel is closed",
        })
    }
}

impl<T> std::error::Error for SendError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed(_) => None,
            Self::Wait(_, error) => Some(error),
        }
    }
}

impl<T> std::error::Error for TrySendError<T> {}

impl<T> From<SendError<T>> for io::Error {
    /// Drops the message.
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Closed(_) => Self::new(io::ErrorKind::BrokenPipe, "the channel is closed"),
            SendError::Wait(_, error) => error.into(),
        }
    }
}

impl<T> From<TrySendError<T>> for io::Error {
    /// Drops the message.
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::new(io::ErrorKind::WouldBlock, "the channel is full"),
            TrySendError::Closed(_) => {
                Self::new(io::ErrorKind::BrokenPipe, "the channel is closed")
            }
        }
    }
}
