//! Bells: how something that happens on another thread gets done on the runtime's own.
//!
//! Whoever is to hear of it hangs a [`Bell`] in its runtime and gives away [`Ringer`]s, which any
//! thread may ring. A ring travels as a message, and [`Hear::hear`] is called in the next turn,
//! outside of every coroutine. A ring carries nothing: what happened lies where both sides look,
//! under a lock. So a coroutine that looks there before it parks misses nothing, since no ring is
//! heard between the look and the park.
//!
//! A bell keeps nobody from being taken for deadlocked; a [`WayIn`](crate::remote::WayIn) does.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use slab::Slab;

use crate::clock::Clock;
use crate::remote::{Message, Remote};
use crate::wait::WaitQueue;

/// A place in a runtime's [`Bells`], given up when it is dropped.
pub(crate) struct Bell {
    bells: Rc<Bells>,
    slot: u32,
    generation: u32,
}

/// What other threads ring a bell with. One whose bell is gone does nothing.
#[derive(Clone, Debug)]
pub(crate) struct Ringer {
    remote: Arc<Remote>,
    slot: u32,
    generation: u32,
}

/// Who hears a bell. Neither call may suspend or run code of a user.
pub(crate) trait Hear {
    /// The bell was rung, once or more often.
    fn hear(&self, clock: &Clock);

    /// The runtime is over: the bell will not be heard any more.
    fn end(&self) {}
}

/// The bells of one runtime.
pub(crate) struct Bells {
    remote: Arc<Remote>,
    hung: RefCell<Slab<(u32, Weak<dyn Hear>)>>,
    /// Tells users of one slot apart, so that a late ring finds out.
    next_generation: Cell<u32>,
}

impl Bells {
    pub(crate) fn new(remote: Arc<Remote>) -> Rc<Self> {
        let hung = RefCell::new(Slab::new());
        Rc::new(Self { remote, hung, next_generation: Cell::new(0) })
    }

    /// Hangs a bell for `hearer`.
    pub(crate) fn hang(self: &Rc<Self>, hearer: Weak<dyn Hear>) -> Bell {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let slot = self.hung.borrow_mut().insert((generation, hearer));
        let slot = u32::try_from(slot).expect("fewer than 2^32 bells");
        Bell { bells: Rc::clone(self), slot, generation }
    }

    pub(crate) fn ring(&self, slot: u32, generation: u32, clock: &Clock) {
        let hearer = match self.hung.borrow().get(slot as usize) {
            Some((hung, hearer)) if *hung == generation => hearer.upgrade(),
            _ => None,
        };
        if let Some(hearer) = hearer {
            hearer.hear(clock);
        }
    }

    /// Tells everybody that no bell will be heard any more.
    pub(crate) fn end(&self) {
        let hearers: Vec<_> =
            self.hung.borrow().iter().filter_map(|(_, (_, hearer))| hearer.upgrade()).collect();
        hearers.iter().for_each(|hearer| hearer.end());
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.hung.borrow().len()
    }
}

impl Bell {
    pub(crate) fn ringer(&self) -> Ringer {
        let remote = Arc::clone(&self.bells.remote);
        Ringer { remote, slot: self.slot, generation: self.generation }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let removed = self.bells.hung.borrow_mut().try_remove(self.slot as usize);
        debug_assert_eq!(removed.map(|(generation, _)| generation), Some(self.generation));
    }
}

impl Ringer {
    /// Has the bell heard in the next turn of its runtime.
    pub(crate) fn ring(&self) {
        self.remote.send(Message::Ring { slot: self.slot, generation: self.generation });
    }
}

/// Everybody who waits has a look.
impl Hear for WaitQueue {
    fn hear(&self, _: &Clock) {
        self.wake_all();
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bell({})", self.slot)
    }
}

impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bells({})", self.count())
    }
}
