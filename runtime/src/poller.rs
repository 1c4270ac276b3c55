//! epoll, and what is known of each descriptor: which way it is ready and who waits for it.
//!
//! A descriptor is registered once, on its first wait, edge-triggered and for both directions.
//! From then on its readiness is remembered: an operation that would block, or a short read or
//! write on a stream, clears it, and an event sets it again. An event finds its descriptor by a
//! key of slot and generation, so one that comes late cannot reach a slot's next user.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use slab::Slab;

use crate::clock::{NEVER, Nanos};
use crate::sys::{self, Event};
use crate::wait::{Direction, NodeRef, WaitQueue};

/// Events taken per call: 12 KiB.
const BATCH: usize = 1024;

/// The key of the runtime's own eventfd, which no slot has.
const NOTIFIER: u64 = u64::MAX;

const READ_EVENTS: u32 =
    (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
const WRITE_EVENTS: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// After these a short read may leave something: the end of the stream, an error, or what comes
/// after urgent data, at which the kernel stops a read.
const SHORT_EVENTS: u32 =
    (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI) as u32;

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: Epoll,
    slots: RefCell<Slab<Slot>>,
    next_generation: Cell<u32>,
    events: RefCell<Vec<Event>>,
    registered: Cell<usize>,
    waiting: Cell<usize>,
}

/// What is known of one descriptor.
#[derive(Debug)]
struct Slot {
    generation: u32,
    registration: Registration,
    readable: bool,
    writable: bool,
    /// Whether a short read or write means that the next would block.
    short_tells: bool,
    closed: bool,
    /// Counts events, so that an operation can tell whether one came while it ran.
    ticks: u32,
    readers: WaitQueue,
    writers: WaitQueue,
    read_timeout: Nanos,
    write_timeout: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registration {
    /// Nobody has waited yet.
    None,
    Epoll,
    /// epoll refuses the descriptor, a regular file for instance: it is always ready.
    AlwaysReady,
}

/// Whether an operation may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Try; the count tells whether an event came since.
    Maybe(u32),
    /// It would block.
    No,
    /// The descriptor was closed.
    Closed,
}

impl Poller {
    pub(crate) fn new(notifier: BorrowedFd<'_>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edge = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(notifier, EpollEvent::new(edge, NOTIFIER))?;
        Ok(Self {
            epoll,
            slots: RefCell::new(Slab::new()),
            next_generation: Cell::new(0),
            events: RefCell::new(vec![Event::empty(); BATCH]),
            registered: Cell::new(0),
            waiting: Cell::new(0),
        })
    }

    /// Makes a slot for a descriptor, which is taken for ready until it proves not to be.
    pub(crate) fn insert(&self) -> u32 {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let slot = self.slots.borrow_mut().insert(Slot {
            generation,
            registration: Registration::None,
            readable: true,
            writable: true,
            short_tells: true,
            closed: false,
            ticks: 0,
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
            read_timeout: NEVER,
            write_timeout: NEVER,
        });
        u32::try_from(slot).expect("fewer than 2^32 descriptors")
    }

    /// Forgets the slot. The registration is taken away even though the caller closes the
    /// descriptor: a duplicate of it would keep it alive.
    pub(crate) fn remove(&self, slot: u32, fd: BorrowedFd<'_>) {
        let Some(removed) = self.slots.borrow_mut().try_remove(slot as usize) else { return };
        if removed.registration == Registration::Epoll {
            self.registered.set(self.registered.get() - 1);
            // It fails only for a descriptor that is not registered, and then all is well.
            let _gone = self.epoll.delete(fd);
        }
    }

    #[inline]
    pub(crate) fn readiness(&self, slot: u32, direction: Direction) -> Readiness {
        let slots = self.slots.borrow();
        let slot = &slots[slot as usize];
        let ready = match direction {
            Direction::Read => slot.readable,
            Direction::Write => slot.writable,
        };
        if slot.closed {
            Readiness::Closed
        } else if ready {
            Readiness::Maybe(slot.ticks)
        } else {
            Readiness::No
        }
    }

    /// Notes that the descriptor would block, unless an event came since `ticks`.
    #[inline]
    pub(crate) fn would_block(&self, slot: u32, direction: Direction, ticks: u32) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot as usize];
        if slot.ticks != ticks || slot.registration == Registration::AlwaysReady {
            return;
        }
        match direction {
            Direction::Read => slot.readable = false,
            Direction::Write => slot.writable = false,
        }
    }

    /// Notes that a stream took or gave less than was asked for, so that the next try would block.
    #[inline]
    pub(crate) fn short(&self, slot: u32, direction: Direction, ticks: u32) {
        let tells = self.slots.borrow()[slot as usize].short_tells;
        if tells {
            self.would_block(slot, direction, ticks);
        }
    }

    /// Has a short read or write of this descriptor never mean that the next would block.
    pub(crate) fn distrust_short(&self, slot: u32) {
        self.slots.borrow_mut()[slot as usize].short_tells = false;
    }

    /// Notes what `poll(2)` found, which may be ahead of the events.
    pub(crate) fn found(&self, slot: u32, readable: bool, writable: bool) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot as usize];
        slot.readable |= readable;
        slot.writable |= writable;
    }

    /// Has events of the descriptor reported from now on, also that it is ready already.
    pub(crate) fn register(&self, slot: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut slots = self.slots.borrow_mut();
        let entry = &mut slots[slot as usize];
        if entry.registration != Registration::None {
            return Ok(());
        }
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLET;
        let key = u64::from(entry.generation) << 32 | u64::from(slot);
        match self.epoll.add(fd, EpollEvent::new(flags, key)) {
            Ok(()) => {
                entry.registration = Registration::Epoll;
                self.registered.set(self.registered.get() + 1);
            }
            Err(Errno::EPERM) => entry.registration = Registration::AlwaysReady,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Links `node` to wait for the descriptor, registering it on the first call.
    pub(crate) fn wait(
        &self,
        slot: u32,
        fd: BorrowedFd<'_>,
        direction: Direction,
        node: NodeRef,
    ) -> io::Result<Waits> {
        self.register(slot, fd)?;
        let mut slots = self.slots.borrow_mut();
        let entry = &mut slots[slot as usize];
        if entry.registration == Registration::AlwaysReady {
            (entry.readable, entry.writable) = (true, true);
            return Ok(Waits::No);
        }
        entry.queue(direction).push(node);
        self.waiting.set(self.waiting.get() + 1);
        Ok(Waits::Yes)
    }

    /// Ends a wait that [`Poller::wait`] began.
    pub(crate) fn end_wait(&self, slot: u32, direction: Direction, node: NodeRef) {
        self.waiting.set(self.waiting.get() - 1);
        if let Some(slot) = self.slots.borrow_mut().get_mut(slot as usize) {
            slot.queue(direction).remove(node);
        }
    }

    /// Makes every later operation fail and wakes those that wait.
    pub(crate) fn close(&self, slot: u32) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[slot as usize];
        slot.closed = true;
        slot.readers.wake_all();
        slot.writers.wake_all();
    }

    pub(crate) fn timeout(&self, slot: u32, direction: Direction) -> Nanos {
        let slots = self.slots.borrow();
        match direction {
            Direction::Read => slots[slot as usize].read_timeout,
            Direction::Write => slots[slot as usize].write_timeout,
        }
    }

    pub(crate) fn set_timeout(&self, slot: u32, direction: Direction, timeout: Nanos) {
        let mut slots = self.slots.borrow_mut();
        match direction {
            Direction::Read => slots[slot as usize].read_timeout = timeout,
            Direction::Write => slots[slot as usize].write_timeout = timeout,
        }
    }

    /// How many coroutines wait for descriptors.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get()
    }

    /// Whether any descriptor can report an event.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.registered.get() == 0
    }

    /// Waits for events at most `timeout` (`None`: for ever) and wakes who waited for them.
    pub(crate) fn poll(&self, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = self.events.borrow_mut();
        let count = sys::epoll_wait(self.epoll.0.as_fd(), &mut events, timeout)?;
        let mut slots = self.slots.borrow_mut();
        for event in &events[..count] {
            let key = event.data();
            // The low half of the key is the slot.
            let slot = slots.get_mut((key & u64::from(u32::MAX)) as usize);
            if let Some(slot) = slot.filter(|slot| u64::from(slot.generation) == key >> 32) {
                slot.report(event.events());
            }
        }
        Ok(())
    }
}

/// Whether a wait has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Yes,
    /// The descriptor is always ready.
    No,
}

impl Slot {
    fn queue(&self, direction: Direction) -> &WaitQueue {
        match direction {
            Direction::Read => &self.readers,
            Direction::Write => &self.writers,
        }
    }

    fn report(&mut self, events: u32) {
        self.ticks = self.ticks.wrapping_add(1);
        self.short_tells &= events & SHORT_EVENTS == 0;
        if events & READ_EVENTS != 0 {
            self.readable = true;
            self.readers.wake_all();
        }
        if events & WRITE_EVENTS != 0 {
            self.writable = true;
            self.writers.wake_all();
        }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
