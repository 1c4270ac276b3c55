//! What other threads may ask of a runtime: a queue of messages and an eventfd that tells of them.
//!
//! The eventfd is written only when the queue goes from quiet to not, so a burst of messages costs
//! one system call and one wake-up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
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
    /// Tell whoever hung the bell in `slot`, if it still is the one of `generation`.
    Ring { slot: u32, generation: u32 },
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
    /// How many [`WayIn`]s there are.
    ways_in: AtomicUsize,
}

/// What another thread holds that may wake a coroutine of the runtime later. While one exists, the
/// runtime does not take its coroutines for deadlocked, and a virtual clock stands still.
#[derive(Debug)]
pub(crate) struct WayIn(Arc<Remote>);

impl Remote {
    pub(crate) fn new() -> io::Result<(Self, Receiver<Message>)> {
        let (sender, receiver) = mpsc::channel();
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let notified = AtomicBool::new(false);
        Ok((Self { sender, notified, event, ways_in: AtomicUsize::new(0) }, receiver))
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

    /// How many [`WayIn`]s there are.
    pub(crate) fn ways_in(&self) -> usize {
        self.ways_in.load(Ordering::SeqCst)
    }
}

impl WayIn {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        remote.ways_in.fetch_add(1, Ordering::SeqCst);
        Self(remote)
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.0
    }
}

impl Clone for WayIn {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for WayIn {
    fn drop(&mut self) {
        if self.0.ways_in.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Without one the coroutines may be deadlocked, or a virtual clock may move on.
            self.0.send(Message::Look);
        }
    }
}

impl AsFd for Remote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
