//! Channels: queues of messages between coroutines, any number on either side, one for a single
//! message, and one into the runtime from any thread.
//!
//! A message never gets lost on the way: sending that fails gives it back, receiving that fails
//! leaves it in the channel. Messages of one sender arrive in the order in which they were sent;
//! those who wait to send or to receive are served first come first served.
//!
//! A channel closes when all its senders or all its receivers are gone, or by `close`. Messages
//! that are in the channel then are still received.

mod oneshot;
mod receiver;
mod remote;
mod sender;
mod shared;

pub use oneshot::{OneshotReceiver, OneshotSender, ReceivingOne, oneshot};
pub use receiver::{IntoIter, Iter, Receiver, Receiving, RecvError, TryRecvError};
pub use remote::{RemoteReceiver, RemoteReceiving, RemoteSender, remote};
pub use sender::{SendError, Sender, Sending, TrySendError};

use shared::Shared;

/// A channel that holds at most `capacity` messages: sending waits while it is full.
///
/// With a capacity of 0 a message goes from hand to hand: sending waits until a receiver takes it.
/// Memory is taken as messages come, so a huge capacity costs nothing.
///
/// ```
/// # use thalweg_runtime::{self as rt, sync::channel};
/// # rt::run(|| -> std::io::Result<()> {
/// let (tx, rx) = channel::bounded(2);
/// let sender = rt::spawn(move || (1..=4).try_for_each(|n| tx.send(n)));
/// let received: Vec<i32> = rx.iter().collect(); // ends when the sender is gone
/// assert_eq!(received, [1, 2, 3, 4]);
/// # sender.join().unwrap().unwrap();
/// # Ok(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    Shared::ends(capacity)
}

/// A channel that holds any number of messages: sending never waits.
///
/// What bounds the memory it takes has to be elsewhere.
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    Shared::ends(usize::MAX)
}
