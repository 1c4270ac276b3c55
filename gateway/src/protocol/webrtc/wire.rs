//! What waits to leave by one connection of TCP: packets in the frames of RFC 4571, never more than there is room for.
//!
//! The peer puts packets in and never waits; the connection's coroutine takes out what is there and writes it. A link that
//! is slower than the stream loses packets here, as it would lose datagrams.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, WaitError, sync::Cond};

/// The queue of one connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Whole frames.
    queue: RefCell<Vec<u8>>,
    /// Since when the link has not taken what there was for it: when the write that is under way began, or, without one, when
    /// the first frame came.
    since: Cell<Option<Instant>>,
    more: Cond,
    is_closed: Cell<bool>,
}

/// So much may wait: a large picture.
const QUEUE_BYTES: usize = 512 << 10;

/// So long may the link take for what it was given at once. What comes after that is lost rather than late.
const LATE: Duration = Duration::from_millis(500);

/// So much of the memory for it is kept.
const KEPT_BYTES: usize = 16 << 10;

impl Wire {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Adds a packet; `false` when there is no room, or the link takes too long.
    pub(super) fn push(&self, packet: &[u8], now: Instant) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else { return false };
        let mut queue = self.queue.borrow_mut();
        let is_late = self.since.get().is_some_and(|since| now >= since + LATE);
        if self.is_closed.get() || is_late || queue.len() + 2 + packet.len() > QUEUE_BYTES {
            return false;
        }
        self.since.set(self.since.get().or(Some(now)));
        // RFC 4571 §2.
        queue.extend(len.to_be_bytes());
        queue.extend_from_slice(packet);
        drop(queue);
        self.more.signal();
        true
    }

    /// Whether it is time to let the connection write.
    pub(super) fn is_half_full(&self) -> bool {
        self.queue.borrow().len() >= QUEUE_BYTES / 2
    }

    /// Takes all that waits, in the place of what `bytes` had, which has been written; `false` when it is closed and nothing
    /// is left.
    ///
    /// # Suspends
    ///
    /// Until there is something.
    ///
    /// # Errors
    ///
    /// When the wait was cancelled.
    pub(super) fn take(&self, bytes: &mut Vec<u8>) -> Result<bool, WaitError> {
        bytes.clear();
        // What a burst took is given back.
        bytes.shrink_to(KEPT_BYTES);
        self.since.set(None);
        while self.queue.borrow().is_empty() {
            if self.is_closed.get() {
                return Ok(false);
            }
            self.more.wait()?;
        }
        self.since.set(Some(rt::now()));
        std::mem::swap(bytes, &mut *self.queue.borrow_mut());
        Ok(true)
    }

    /// Whether nothing can be added any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Nothing is added any more; what waits still leaves.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.more.broadcast();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn packets_leave_in_frames_and_what_there_is_no_room_for_is_lost() {
        rt::run(|| -> io::Result<()> {
            let (wire, now) = (Wire::new(), rt::now());
            assert!(wire.push(b"abc", now) && wire.push(b"d", now));
            let mut bytes = b"old".to_vec();
            assert!(wire.take(&mut bytes)?);
            assert_eq!(bytes, b"\0\x03abc\0\x01d");
            let packet = vec![7; 1_200];
            let taken = (0..1_000).filter(|_| wire.push(&packet, now)).count();
            assert_eq!(taken, QUEUE_BYTES / 1_202);
            assert!(wire.is_half_full());
            assert!(wire.take(&mut bytes)?);
            assert!(!wire.is_half_full() && wire.push(&packet, now));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn nothing_is_added_behind_what_the_link_takes_too_long_for() {
        rt::run(|| -> io::Result<()> {
            let (wire, now) = (Wire::new(), rt::now());
            assert!(wire.push(b"first", now) && wire.push(b"second", now + LATE / 2));
            assert!(!wire.push(b"third", now + LATE));
            let mut bytes = Vec::new();
            assert!(wire.take(&mut bytes)?);
            // The write of these two is under way.
            let now = rt::now();
            assert!(wire.push(b"fourth", now) && !wire.push(b"fifth", now + LATE));
            assert!(wire.take(&mut bytes)?);
            assert_eq!(bytes, b"\0\x06fourth");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_waits_when_it_is_closed_still_leaves_and_nothing_more() {
        rt::run(|| -> io::Result<()> {
            let wire = Wire::new();
            wire.push(b"goodbye", rt::now());
            wire.close();
            assert!(!wire.push(b"more", rt::now()));
            let mut bytes = Vec::new();
            assert!(wire.take(&mut bytes)?);
            assert_eq!(bytes.len(), 9);
            assert!(!wire.take(&mut bytes)?);
            Ok(())
        })
        .unwrap();
    }
}
