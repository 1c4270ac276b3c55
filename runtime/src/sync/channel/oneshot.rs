//! A channel for one message: an answer.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use super::receiver::settled;
use super::{RecvError, TryRecvError};
use crate::clock::{NEVER, Nanos};
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, WaitQueue, WaitingFor};

/// A channel for one message.
///
/// ```
/// # use thalweg_runtime::{self as rt, sync::channel};
/// # rt::run(|| -> std::io::Result<()> {
/// let (tx, rx) = channel::oneshot();
/// rt::spawn(move || tx.send("answer"));
/// assert_eq!(rx.recv()?, "answer");
/// # Ok(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let shared = Rc::new(Shared {
        value: Cell::new(None),
        has_sender: Cell::new(true),
        has_receiver: Cell::new(true),
        receiving: WaitQueue::new(),
    });
    (OneshotSender { shared: Rc::clone(&shared) }, OneshotReceiver { shared })
}

/// The sending end of a [`oneshot`] channel.
pub struct OneshotSender<T> {
    shared: Rc<Shared<T>>,
}

/// The receiving end of a [`oneshot`] channel.
pub struct OneshotReceiver<T> {
    shared: Rc<Shared<T>>,
}

struct Shared<T> {
    value: Cell<Option<T>>,
    has_sender: Cell<bool>,
    has_receiver: Cell<bool>,
    receiving: WaitQueue,
}

impl<T> OneshotSender<T> {
    /// Sends the message. It never waits, and works outside a coroutine.
    ///
    /// # Errors
    ///
    /// The message, when the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.shared.value.set(Some(value));
        Ok(())
    }

    /// Whether the receiver is gone, so that nobody waits for the message any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.shared.has_receiver.get()
    }
}

impl<T> Drop for OneshotSender<T> {
    /// Wakes the receiver, with or without a message.
    fn drop(&mut self) {
        self.shared.has_sender.set(false);
        self.shared.receiving.wake_all();
    }
}

impl<T> OneshotReceiver<T> {
    /// Receives the message.
    ///
    /// # Suspends
    ///
    /// Until the message is sent, the sender is dropped without sending one, a deadline passes or
    /// the caller is cancelled.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when there will be no message, or it was received before, and
    /// [`RecvError::Wait`]; a later call gets the message then.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(wait::enter()?, NEVER)
    }

    /// Receives the message, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`OneshotReceiver::recv`].
    ///
    /// # Errors
    ///
    /// As [`OneshotReceiver::recv`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_until(&self, deadline: Instant) -> Result<T, RecvError> {
        let (here, until) = wait::enter_until(deadline)?;
        self.recv_by(here, until)
    }

    /// Receives the message if it is there. Also works outside a coroutine.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`], and [`TryRecvError::Closed`] when there will be no message or it
    /// was received before.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.shared.value.take() {
            Some(value) => Ok(value),
            None if self.shared.has_sender.get() => Err(TryRecvError::Empty),
            None => Err(TryRecvError::Closed),
        }
    }

    /// The message, as a source of [`select!`](crate::select!), which never gives
    /// [`RecvError::Wait`].
    pub const fn receiving(&self) -> ReceivingOne<'_, T> {
        ReceivingOne { receiver: self }
    }

    fn recv_by(&self, here: Here, until: Nanos) -> Result<T, RecvError> {
        if let Some(result) = self.poll() {
            return result;
        }
        here.wait_in(&self.shared.receiving, WaitingFor::Receive, until)?;
        self.poll().unwrap_or(Err(RecvError::Closed))
    }

    fn poll(&self) -> Option<Result<T, RecvError>> {
        settled(self.try_recv())
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        self.shared.has_receiver.set(false);
    }
}

impl<T> fmt::Debug for OneshotSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneshotSender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for OneshotReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_sender = self.shared.has_sender.get();
        f.debug_struct("OneshotReceiver").field("has_sender", &has_sender).finish_non_exhaustive()
    }
}

/// Made by [`OneshotReceiver::receiving`].
#[derive(Debug)]
#[must_use = "a source does nothing outside select!"]
pub struct ReceivingOne<'a, T> {
    receiver: &'a OneshotReceiver<T>,
}

impl<T> Select for ReceivingOne<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(&mut self) -> Option<Self::Output> {
        self.receiver.poll()
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        waiter.wait_in(&self.receiver.shared.receiving)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        let signalled = waiter.leave(&self.receiver.shared.receiving);
        signalled.then(|| self.receiver.poll().unwrap_or(Err(RecvError::Closed)))
    }
}
