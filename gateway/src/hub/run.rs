//! What readers take out of a feed at once, shared by those that take the same.
//!
//! A hundred players of one stream are mostly at the same place. To each of them a batch would be many small pieces, whose
//! addresses the kernel is told again and again; so what several take is copied into one piece, once for all of them. It
//! goes when the next batch comes.

use super::ring::Ring;
use crate::container::Chunk;
use bytes::{Bytes, BytesMut};
use std::{
    cell::{OnceCell, RefCell},
    ops::{Deref, Range},
    rc::Rc,
};

/// Chunks of a feed, in order; they can be iterated over as a slice can.
#[derive(Clone, Debug, Default)]
pub struct Chunks(Option<Rc<Run>>);

/// Chunks that follow one another.
#[derive(Debug)]
struct Run {
    /// Their sequence numbers.
    range: Range<u64>,
    chunks: Vec<Rc<Chunk>>,
    /// Others may take the same, so that it is worth it to copy them together.
    is_shared: bool,
    joined: OnceCell<Bytes>,
}

/// The newest chunks, as the last reader took them.
#[derive(Debug, Default)]
pub(super) struct Newest(RefCell<Chunks>);

/// The most that one batch holds, so that a write stays a bounded piece of work.
const BATCH_CHUNKS: usize = 256;
/// As [`BATCH_CHUNKS`], in bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// The most that is copied together, in bytes. Who takes more has to catch up, and does so alone.
const JOINED_BYTES: usize = 64 * 1024;

impl Newest {
    /// What `ring` holds from the chunk numbered `next` on, up to a bound. `is_shared`: it has several readers.
    pub(super) fn take(&self, ring: &Ring<Chunk>, next: u64, is_shared: bool) -> Chunks {
        let mut newest = self.0.borrow_mut();
        let known = newest.0.as_ref().map(|run| &run.range);
        if known.is_some_and(|known| *known == (next..ring.end())) {
            return newest.clone();
        }
        let is_newer = known.is_none_or(|known| known.end < ring.end());
        let (run, bytes) = Run::of(ring, next);
        let is_shared =
            is_shared && is_newer && bytes <= JOINED_BYTES && run.range.end == ring.end();
        let chunks = Chunks(Some(Rc::new(Run { is_shared, ..run })));
        if is_shared {
            *newest = chunks.clone();
        }
        chunks
    }
}

impl Chunks {
    /// All their bytes in one piece, where that is worth it.
    pub fn joined(&self) -> Option<&Bytes> {
        let run = self.0.as_ref().filter(|run| run.is_shared)?;
        Some(run.joined.get_or_init(|| run.join()))
    }
}

impl Deref for Chunks {
    type Target = [Rc<Chunk>];

    fn deref(&self) -> &[Rc<Chunk>] {
        self.0.as_ref().map_or(&[], |run| &run.chunks)
    }
}

impl<'a> IntoIterator for &'a Chunks {
    type Item = &'a Rc<Chunk>;
    type IntoIter = std::slice::Iter<'a, Rc<Chunk>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Run {
    /// From the chunk numbered `first` on, up to a bound; and how many bytes they have.
    fn of(ring: &Ring<Chunk>, first: u64) -> (Self, usize) {
        let (mut chunks, mut bytes, mut next) = (Vec::new(), 0, first);
        while let Some(chunk) = ring.item(next) {
            chunks.push(Rc::clone(chunk));
            next += 1;
            bytes += chunk.len();
            if chunks.len() >= BATCH_CHUNKS || bytes >= BATCH_BYTES {
                break;
            }
        }
        (Self { range: first..next, chunks, is_shared: false, joined: OnceCell::new() }, bytes)
    }

    fn join(&self) -> Bytes {
        if let [chunk] = &self.chunks[..]
            && let [part] = &chunk.parts[..]
        {
            return part.clone();
        }
        let mut joined = BytesMut::with_capacity(self.chunks.iter().map(|chunk| chunk.len()).sum());
        let parts = self.chunks.iter().flat_map(|chunk| &chunk.parts);
        parts.for_each(|part| joined.extend_from_slice(part));
        joined.freeze()
    }
}
