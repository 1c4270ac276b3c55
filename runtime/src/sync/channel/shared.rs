//! What the two ends of a channel share: the messages, and who waits on either side.
//!
//! A message for a receiver that waits goes into the queue and is *promised*: counted, so that
//! nobody else takes it before that receiver runs. A sender that waits leaves its message in a
//! slot; who makes room moves it on from there, so the order is kept and a sender that runs again
//! finds an empty slot if its message was taken, whatever else happened.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::rc::Rc;

use slab::Slab;

use super::{Receiver, Sender, TryRecvError, TrySendError};
use crate::wait::{NodeRef, WaitQueue};

pub(super) struct Shared<T> {
    /// The messages that were sent and not received, in order.
    queue: RefCell<VecDeque<T>>,
    /// How many of them are for receivers that were woken and have not run since. These do not
    /// count against the capacity.
    promised: Cell<usize>,
    capacity: usize,
    closed: Cell<bool>,
    senders: Cell<usize>,
    receivers: Cell<usize>,
    /// The messages of senders that wait; `None` when it was taken.
    slots: RefCell<Slab<Option<T>>>,
    /// The note of a node is the number of its slot.
    pub(super) sending: WaitQueue,
    /// The note of a node is `PROMISED` when a message is promised to it.
    pub(super) receiving: WaitQueue,
}

/// Notes of receiving nodes.
pub(super) const NOTHING: u32 = 0;
const PROMISED: u32 = 1;

impl<T> Shared<T> {
    /// The two ends of a new channel; `usize::MAX` stands for no bound.
    pub(super) fn ends(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let shared = Rc::new(Self {
            queue: RefCell::new(VecDeque::new()),
            promised: Cell::new(0),
            capacity,
            closed: Cell::new(false),
            senders: Cell::new(0),
            receivers: Cell::new(0),
            slots: RefCell::new(Slab::new()),
            sending: WaitQueue::new(),
            receiving: WaitQueue::new(),
        });
        (Sender::new(Rc::clone(&shared)), Receiver::new(shared))
    }

    /// Messages that whoever comes first may take.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len() - self.promised.get()
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != usize::MAX).then_some(self.capacity)
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Wakes everybody: senders find their messages where they left them, receivers nothing.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.sending.wake_all();
        self.receiving.wake_all();
    }

    // Sending.

    /// Sends `value` without waiting: to the receiver that has waited longest, or to the queue.
    #[inline]
    pub(super) fn offer(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.closed.get() {
            return Err(TrySendError::Closed(value));
        }
        if let Some(receiver) = self.receiving.first() {
            self.queue.borrow_mut().push_back(value);
            self.promised.set(self.promised.get() + 1);
            receiver.note.set(PROMISED);
            let woken = self.receiving.wake(receiver);
            debug_assert!(woken, "the first of a queue waits");
            return Ok(());
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() - self.promised.get() >= self.capacity {
            return Err(TrySendError::Full(value));
        }
        queue.push_back(value);
        Ok(())
    }

    /// Leaves `value` in a slot, for `node` to wait with.
    pub(super) fn deposit(&self, value: T, node: NodeRef) {
        let slot = self.slots.borrow_mut().insert(Some(value));
        node.note.set(u32::try_from(slot).expect("fewer than 2^32 senders wait"));
    }

    /// Ends a wait that `deposit` prepared: the message, unless somebody has taken it.
    pub(super) fn withdraw(&self, node: NodeRef) -> Option<T> {
        self.slots.borrow_mut().remove(node.note.get() as usize)
    }

    /// Takes the message of the sender that has waited longest, whose call succeeds by that.
    fn relieve_sender(&self) -> Option<T> {
        let sender = self.sending.first()?;
        let value = self.slots.borrow_mut()[sender.note.get() as usize].take();
        let woken = self.sending.wake(sender);
        debug_assert!(woken && value.is_some(), "the first of a queue waits with its message");
        value
    }

    // Receiving.

    /// Takes the first message that is promised to nobody.
    #[inline]
    pub(super) fn take(&self) -> Result<T, TryRecvError> {
        let mut queue = self.queue.borrow_mut();
        if queue.len() > self.promised.get()
            && let Some(value) = queue.pop_front()
        {
            drop(queue);
            self.refill();
            return Ok(value);
        }
        drop(queue);
        self.take_from_hand()
    }

    /// Takes the message of a sender that waits although the queue is empty: of a channel without
    /// capacity.
    #[cold]
    fn take_from_hand(&self) -> Result<T, TryRecvError> {
        let nothing = || if self.closed.get() { TryRecvError::Closed } else { TryRecvError::Empty };
        self.relieve_sender().ok_or_else(nothing)
    }

    /// Ends a wait of `node` that a signal ended: the promised message, or none when the channel
    /// was closed.
    #[inline]
    pub(super) fn claim(&self, node: NodeRef) -> Option<T> {
        if node.note.get() != PROMISED {
            return None;
        }
        self.promised.set(self.promised.get() - 1);
        self.queue.borrow_mut().pop_front()
    }

    /// Moves messages of senders that wait into the room that has come free.
    #[inline]
    fn refill(&self) {
        while !self.sending.is_empty() && self.len() < self.capacity {
            let Some(value) = self.relieve_sender() else { return };
            self.queue.borrow_mut().push_back(value);
        }
    }

    // The ends.

    pub(super) fn add_sender(&self) {
        self.senders.set(self.senders.get() + 1);
    }

    pub(super) fn add_receiver(&self) {
        self.receivers.set(self.receivers.get() + 1);
    }

    pub(super) fn remove_sender(&self) {
        self.senders.set(self.senders.get() - 1);
        if self.senders.get() == 0 {
            self.close();
        }
    }

    /// The last receiver takes what nobody can receive any more along.
    pub(super) fn remove_receiver(&self) {
        self.receivers.set(self.receivers.get() - 1);
        if self.receivers.get() == 0 {
            self.close();
            // Dropping messages may run any code, so it comes after the borrow.
            let messages = mem::take(&mut *self.queue.borrow_mut());
            self.promised.set(0);
            drop(messages);
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("closed", &self.closed.get())
            .field("senders", &self.senders.get())
            .field("receivers", &self.receivers.get())
            .finish_non_exhaustive()
    }
}
