//! What travels: how a message is to be sent, and room for those that are received together.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How a message travels, in message mode. Live mode knows neither: there the latency says when a message is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) ttl: Option<Duration>,
    pub(crate) in_order: bool,
}

impl Message {
    /// A message that does not expire and keeps its place among the others.
    #[must_use]
    pub const fn new() -> Self {
        Self { ttl: None, in_order: true }
    }

    /// Has it dropped when it could not be sent within `ttl`, rounded up to milliseconds.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Whether the peer gets it in the order of sending (the default), or as soon as it is complete.
    #[must_use]
    pub const fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its length.
    pub bytes: usize,
    /// When it was due: when the peer sent it, plus the latency (draft-sharabayko-srt-01 §4.5). `None` where
    /// messages are not delivered by time.
    pub due: Option<Instant>,
}

/// Room for messages that are received together, allocated once.
///
/// ```
/// let batch = thalweg_srt_io::Batch::new(32, 1456);
/// assert_eq!(batch.iter().count(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each message ends; each begins at a multiple of `message_bytes`.
    lengths: Vec<usize>,
    messages: usize,
    message_bytes: usize,
}

impl Batch {
    /// Room for `messages` messages of at most `message_bytes` bytes each: 1456 in live mode.
    ///
    /// # Panics
    ///
    /// If either is 0, or the product does not fit the address space.
    #[must_use]
    pub fn new(messages: usize, message_bytes: usize) -> Self {
        assert!(
            messages > 0 && message_bytes > 0,
            "a batch has room for a message of a byte at least"
        );
        let bytes = messages.checked_mul(message_bytes).expect("a batch fits the address space");
        Self {
            bytes: vec![0; bytes],
            lengths: Vec::with_capacity(messages),
            messages,
            message_bytes,
        }
    }

    /// How many messages are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether no message is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The messages, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.bytes.chunks_exact(self.message_bytes);
        chunks.zip(&self.lengths).filter_map(|(chunk, &length)| chunk.get(..length))
    }

    /// Takes all messages out.
    pub fn clear(&mut self) {
        self.lengths.clear();
    }

    pub(crate) fn has_room(&self) -> bool {
        self.lengths.len() < self.messages
    }

    /// Hands the next free place to `receive`, which tells how much of it it used.
    pub(crate) fn fill_next<E>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let range = self.next_place();
        let Some(place) = self.bytes.get_mut(range) else { return Ok(()) };
        let length = receive(place)?;
        self.lengths.push(length);
        Ok(())
    }

    fn next_place(&self) -> Range<usize> {
        let start = self.lengths.len() * self.message_bytes;
        start..start + self.message_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_keeps_messages_apart_and_takes_no_more_than_it_has_room_for() {
        let mut batch = Batch::new(3, 4);
        for length in [4, 0, 2] {
            assert!(batch.has_room());
            let filled: Result<(), ()> = batch.fill_next(|place| {
                place[..length].fill(7);
                Ok(length)
            });
            assert_eq!(filled, Ok(()));
        }
        assert!(!batch.has_room());
        assert_eq!(batch.fill_next(|_| Ok::<_, ()>(4)), Ok(()));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&[7, 7, 7, 7][..], &[], &[7, 7]]);
        batch.clear();
        assert_eq!(batch.fill_next(|_| Err("none")), Err("none"));
        assert!(batch.is_empty());
    }
}
