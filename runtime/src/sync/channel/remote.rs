//! A channel into the runtime from any thread.
//!
//! The messages lie under a lock that both sides hold for one push or one pop. A sender rings for
//! the receiver only when that has found nothing and waits, so a burst of messages costs the
//! runtime's thread one wake-up. A message for a coroutine that waits is *promised* in the turn in
//! which the ring is heard: counted, so that nobody else takes it before that coroutine runs.
#![expect(
    clippy::disallowed_types,
    reason = "shared with threads that may wait; the runtime's holds the lock for one push or pop"
)]

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::receiver::settled;
use super::{RecvError, SendError, TryRecvError, TrySendError};
use crate::bell::{Bell, Hear, Ringer};
use crate::clock::{Clock, NEVER, Nanos};
use crate::error::{Refused, WaitError};
use crate::remote::WayIn;
use crate::scheduler::Scheduler;
use crate::select::{Registration, Select, Waiter};
use crate::wait::{self, Here, NodeRef, WaitQueue, WaitingFor};

/// A channel from any thread into the calling runtime, which holds at most `capacity` messages.
///
/// While a sender exists, the runtime does not take its coroutines for deadlocked, and a virtual
/// clock stands still.
///
/// ```
/// # use thalweg_runtime::{self as rt, sync::channel};
/// # rt::run(|| -> std::io::Result<()> {
/// let (tx, rx) = channel::remote(16);
/// let thread = std::thread::spawn(move || (1..=100).try_for_each(|n| tx.send(n)));
/// let mut sum = 0;
/// while let Ok(n) = rx.recv() {
///     sum += n; // ends when the sender is gone
/// }
/// assert_eq!(sum, 5050);
/// # drop(thread);
/// # Ok(())
/// # }).unwrap();
/// ```
///
/// # Panics
///
/// Outside a runtime, and with a capacity of 0: there is no handing over between threads.
#[must_use]
#[track_caller]
pub fn remote<T: Send + 'static>(capacity: usize) -> (RemoteSender<T>, RemoteReceiver<T>) {
    assert!(capacity > 0, "a channel from other threads has a capacity of at least 1");
    let Some(scheduler) = Scheduler::current() else {
        panic!("a channel from other threads is made on the runtime that receives")
    };
    let way_in = WayIn::new(Arc::clone(&scheduler.remote));
    let inbox = Rc::new_cyclic(|inbox: &Weak<Inbox<T>>| {
        let bell = scheduler.bells.hang(inbox.clone());
        let state = State {
            queue: VecDeque::new(),
            promised: 0,
            awaited: false,
            closed: false,
            senders: 1,
            way_in: Some(way_in),
        };
        let shared = Shared {
            state: Mutex::new(state),
            room: Condvar::new(),
            capacity,
            ringer: bell.ringer(),
        };
        Inbox { shared: Arc::new(shared), receiving: WaitQueue::new(), _bell: bell }
    });
    let sender = RemoteSender { shared: Arc::clone(&inbox.shared) };
    (sender, RemoteReceiver { inbox })
}

/// The sending end of a [`remote`] channel, for any thread. Clones send into the same channel.
pub struct RemoteSender<T> {
    shared: Arc<Shared<T>>,
}

/// The receiving end of a [`remote`] channel, for coroutines of the runtime that it was made on.
pub struct RemoteReceiver<T> {
    inbox: Rc<Inbox<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Threads that wait to send.
    room: Condvar,
    capacity: usize,
    ringer: Ringer,
}

struct State<T> {
    queue: VecDeque<T>,
    /// How many of them are for coroutines that were woken and have not run since.
    promised: usize,
    /// Whether a coroutine waits for a message, and was not rung for since.
    awaited: bool,
    /// By the receiver, or by the end of its runtime.
    closed: bool,
    senders: usize,
    /// Held as long as there is a sender.
    way_in: Option<WayIn>,
}

/// The receiver's side, where coroutines wait.
struct Inbox<T> {
    shared: Arc<Shared<T>>,
    /// The note of a node is `PROMISED` when a message is promised to it.
    receiving: WaitQueue,
    _bell: Bell,
}

const NOTHING: u32 = 0;
const PROMISED: u32 = 1;

impl<T> RemoteSender<T> {
    /// Sends `value` if that is possible at once. It never waits, and works on every thread.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] and [`TrySendError::Closed`]; both give `value` back.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let state = self.shared.lock();
        if state.closed {
            return Err(TrySendError::Closed(value));
        }
        if !self.shared.has_room(&state) {
            return Err(TrySendError::Full(value));
        }
        self.shared.push(state, value);
        Ok(())
    }

    /// Sends `value`, and blocks the calling thread while the channel is full. For threads that run
    /// no coroutines.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`] when the receiver or its runtime is gone, and [`SendError::Wait`] with
    /// [`Refused::BlocksRuntime`] on a thread that runs coroutines, whether the channel is full or
    /// not. Both give `value` back.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if Scheduler::current().is_some() {
            return Err(SendError::Wait(value, WaitError::Refused(Refused::BlocksRuntime)));
        }
        let mut state = self.shared.lock();
        while !state.closed && !self.shared.has_room(&state) {
            state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(SendError::Closed(value));
        }
        self.shared.push(state, value);
        Ok(())
    }

    /// Whether the receiver or its runtime is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }
}

impl<T> Clone for RemoteSender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for RemoteSender<T> {
    /// The last one closes the channel.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        if state.senders > 0 {
            return;
        }
        let is_awaited = mem::take(&mut state.awaited);
        let way_in = state.way_in.take();
        drop(state);
        if is_awaited {
            self.shared.ringer.ring();
        }
        // After the ring, so that somebody is expected until it is under way.
        drop(way_in);
    }
}

impl<T> RemoteReceiver<T> {
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
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(wait::enter()?, NEVER)
    }

    /// Receives the next message, but does not wait longer than until `deadline`.
    ///
    /// # Suspends
    ///
    /// As [`RemoteReceiver::recv`].
    ///
    /// # Errors
    ///
    /// As [`RemoteReceiver::recv`].
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
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.inbox.take()
    }

    /// The next message, as a source of [`select!`](crate::select!), which never gives
    /// [`RecvError::Wait`].
    pub const fn receiving(&self) -> RemoteReceiving<'_, T> {
        RemoteReceiving { receiver: self }
    }

    /// Closes the channel: nothing is sent any more, threads that wait to send get their messages
    /// back, and what is in the channel can still be received.
    pub fn close(&self) {
        self.inbox.close();
    }

    /// Whether nothing is sent any more; there may still be messages in the channel.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let state = self.inbox.shared.lock();
        state.closed || state.senders == 0
    }

    /// How many messages are in the channel for whoever receives next.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inbox.shared.lock().available()
    }

    /// Whether no message is in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn recv_by(&self, here: Here, until: Nanos) -> Result<T, RecvError> {
        loop {
            if let Some(result) = settled(self.inbox.take()) {
                return result;
            }
            if self.inbox.shared.await_message() {
                break;
            }
        }
        let node = &here.task.node;
        node.note.set(NOTHING);
        here.wait_in(&self.inbox.receiving, WaitingFor::Receive, until)?;
        self.inbox.claim(node).ok_or(RecvError::Closed)
    }
}

impl<T> Drop for RemoteReceiver<T> {
    /// Takes what nobody can receive any more along.
    fn drop(&mut self) {
        self.inbox.close();
        let mut state = self.inbox.shared.lock();
        state.promised = 0;
        let messages = mem::take(&mut state.queue);
        drop(state);
        // Dropping messages may run any code.
        drop(messages);
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State<T>) -> bool {
        state.queue.len() < self.capacity
    }

    fn push(&self, mut state: MutexGuard<'_, State<T>>, value: T) {
        state.queue.push_back(value);
        let is_awaited = mem::take(&mut state.awaited);
        drop(state);
        if is_awaited {
            self.ringer.ring();
        }
    }

    /// Takes the first message that is promised to nobody.
    fn take(&self) -> Result<T, TryRecvError> {
        let mut state = self.lock();
        if state.available() > 0
            && let Some(value) = state.queue.pop_front()
        {
            drop(state);
            self.room.notify_one();
            return Ok(value);
        }
        Err(if state.is_over() { TryRecvError::Closed } else { TryRecvError::Empty })
    }

    /// Has the next message or the end rung for; `false` if that is there already.
    fn await_message(&self) -> bool {
        let mut state = self.lock();
        state.awaited = state.available() == 0 && !state.is_over();
        state.awaited
    }
}

impl<T> State<T> {
    /// Messages that whoever comes first may take.
    fn available(&self) -> usize {
        self.queue.len() - self.promised
    }

    /// Whether there will be no more messages.
    fn is_over(&self) -> bool {
        self.closed || self.senders == 0
    }
}

impl<T> Inbox<T> {
    /// Takes a message that is there, after those who wait have got theirs.
    fn take(&self) -> Result<T, TryRecvError> {
        if !self.receiving.is_empty() {
            self.deal();
        }
        self.shared.take()
    }

    /// Gives messages to those who wait or, when there will be no more, tells them.
    fn deal(&self) {
        while let Some(first) = self.receiving.first() {
            let mut state = self.shared.lock();
            let has_message = state.available() > 0;
            if !has_message && !state.is_over() {
                state.awaited = true;
                return;
            }
            state.promised += usize::from(has_message);
            drop(state);
            first.note.set(if has_message { PROMISED } else { NOTHING });
            let woken = self.receiving.wake(first);
            debug_assert!(woken, "the first of a queue waits");
        }
    }

    /// Ends a wait of `node` that a signal ended: the promised message, or none when the channel
    /// was closed.
    fn claim(&self, node: NodeRef) -> Option<T> {
        if node.note.get() != PROMISED {
            return None;
        }
        let mut state = self.shared.lock();
        state.promised -= 1;
        let value = state.queue.pop_front();
        drop(state);
        self.shared.room.notify_one();
        value
    }

    fn close(&self) {
        self.shut();
        self.deal();
    }

    fn shut(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let way_in = state.way_in.take();
        drop(state);
        drop(way_in);
        self.shared.room.notify_all();
    }
}

impl<T> Hear for Inbox<T> {
    fn hear(&self, _: &Clock) {
        self.deal();
    }

    fn end(&self) {
        self.shut();
    }
}

/// Made by [`RemoteReceiver::receiving`].
#[must_use = "a source does nothing outside select!"]
pub struct RemoteReceiving<'a, T> {
    receiver: &'a RemoteReceiver<T>,
}

impl<T> Select for RemoteReceiving<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(&mut self) -> Option<Self::Output> {
        settled(self.receiver.try_recv())
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        if !self.receiver.inbox.shared.await_message() {
            // It has come since the poll.
            return Registration::Ready;
        }
        waiter.node().note.set(NOTHING);
        waiter.wait_in(&self.receiver.inbox.receiving)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<Self::Output> {
        if !waiter.is_registered() {
            return None;
        }
        let inbox = &self.receiver.inbox;
        let signalled = waiter.leave(&inbox.receiving);
        signalled.then(|| inbox.claim(waiter.node()).ok_or(RecvError::Closed))
    }
}

impl<T> fmt::Debug for RemoteSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteSender").field(&self.shared).finish()
    }
}

impl<T> fmt::Debug for RemoteReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteReceiver").field(&self.inbox.shared).finish()
    }
}

impl<T> fmt::Debug for RemoteReceiving<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteReceiving").field("receiver", self.receiver).finish()
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Channel")
            .field("len", &state.available())
            .field("capacity", &self.capacity)
            .field("closed", &state.closed)
            .field("senders", &state.senders)
            .finish_non_exhaustive()
    }
}
