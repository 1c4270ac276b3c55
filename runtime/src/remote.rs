//! What other threads may ask of a runtime: a queue of messages and an eventfd that tells of them.
//!
//! The eventfd is written only when the queue goes from quiet to not, so a burst of messages costs
//! one system call and one wake-up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A message to the runtime's thread.
#[derive(Debug)]
pub(crate) enum Message {
    /// Give coroutine `slot` its permit, if it still is the one of `generation`.
    Unpark { slot: u32, generation: u32 },
    /// A socket was dropped elsewhere: forget `slot` and close the descriptor.
    Close { slot: u32, fd: OwnedFd },
    /// Nothing; have another look at whether anything can still wake a coroutine.
    Look,
}

/// The part of a runtime that every thread may touch.
#[derive(Debug)]
pub(crate) struct Remote {
    sender: Sender<Message>,
    /// Whether the eventfd was written since the queue was last emptied.
    notified: AtomicBool,
    event: EventFd,
    /// Unparkers in existence: while there is one, a parked coroutine may be woken from outside.
    pub(crate) unparkers: AtomicUsize,
}

impl Remote {
    pub(crate) fn new() -> io::Result<(Self, Receiver<Message>)> {
        let (sender, receiver) = mpsc::channel();
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let notified = AtomicBool::new(false);
        Ok((Self { sender, notified, event, unparkers: AtomicUsize::new(0) }, receiver))
    }

    /// Queues `message`. A runtime that is gone drops it, which closes what it carries.
    pub(crate) fn send(&self, message: Message) {
        if self.sender.send(message).is_ok() {
            self.notify();
        }
    }

    /// Has the runtime end its wait for events.
    pub(crate) fn notify(&self) {
        if !self.notified.swap(true, Ordering::SeqCst) {
            // The descriptor is registered edge-triggered and never read: each write is an edge.
            // The counter would be full after 2^64 of them.
            let _written = self.event.write(1);
        }
    }

    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed)
    }

    /// To be called before the queue is emptied, so that a message sent after that notifies anew.
    pub(crate) fn clear(&self) {
        self.notified.swap(false, Ordering::SeqCst);
    }
}

impl AsFd for Remote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
