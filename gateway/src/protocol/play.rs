//! From a subscription to a byte stream: the loop that every player of HTTP runs.

use crate::{
    container::{flv, ts::Entry},
    hub::{Batch, Chunks, Client, PlayEnd, Subscriber},
    media::Timestamp,
};
use bytes::Bytes;
use std::{
    borrow::Cow,
    fmt,
    io::{self, IoSlice, Write},
    time::Duration,
};
use thalweg_runtime as rt;

/// Why a player was served no longer.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlayError {
    /// The source ended, or the session was cancelled.
    End(PlayEnd),
    /// The player took nothing for so long.
    Stalled(Duration),
    /// The player left.
    Write(io::Error),
}

/// So many pieces are written in one call; a call of this size costs no more for each piece than a larger one.
const PIECES: usize = 128;

/// What a reader gets of a batch, piece by piece.
#[derive(Debug)]
pub enum Admit {
    /// All of it, as it is.
    All,
    /// Tags of FLV: all of them, but no second header of a file. Whether the first has been sent.
    Flv(bool),
    /// Packets of MPEG-TS, so that the first of each PID begin a unit and the tables are numbered right.
    Ts(Entry),
}

impl Admit {
    /// For a player of packets that has seen nothing yet.
    pub fn ts() -> Self {
        Self::Ts(Entry::join())
    }

    /// For a player of FLV that has seen nothing yet.
    pub const fn flv() -> Self {
        Self::Flv(false)
    }

    /// To be called with each batch, before its parts are asked for.
    pub fn begin(&mut self, batch: &Batch) {
        if let Self::Ts(entry) = self
            && batch.is_jump
            && batch.head.is_none()
        {
            *entry = Entry::skip();
        }
    }

    /// What the reader gets of a part that is due at `dts`.
    pub fn part<'a>(&mut self, part: &'a Bytes, dts: Timestamp) -> Cow<'a, Bytes> {
        match self {
            Self::Ts(entry) if !entry.is_over() => Cow::Owned(entry.admit(part, dts)),
            _ => Cow::Borrowed(part),
        }
    }

    /// What the reader gets of a batch's head.
    pub fn head<'a>(&mut self, batch: &'a Batch) -> &'a [Bytes] {
        let head = batch.head.as_deref().unwrap_or_default();
        let Self::Flv(has_begun) = self else { return head };
        if std::mem::replace(has_begun, true) { flv::after_skip(head) } else { head }
    }

    /// Whether every part of a chunk goes to the reader as it is.
    fn is_all(&self) -> bool {
        match self {
            Self::All | Self::Flv(_) => true,
            Self::Ts(entry) => entry.is_over(),
        }
    }

    /// Writes what the reader gets of a batch; the result is how many bytes that were.
    fn write(&mut self, batch: &Batch, out: &mut dyn Write) -> io::Result<usize> {
        self.begin(batch);
        let head = self.head(batch);
        if self.is_all() {
            return write_batch(out, head, &batch.chunks);
        }
        let (head, chunks) = (head.iter(), batch.chunks.iter());
        let first = batch.chunks.first().map_or(Timestamp::ZERO, |chunk| chunk.dts);
        let head = head.map(|part| (part, first));
        let parts = chunks.flat_map(|chunk| chunk.parts.iter().map(|part| (part, chunk.dts)));
        let admitted: Vec<_> = head.chain(parts).map(|(part, dts)| self.part(part, dts)).collect();
        write_parts(out, admitted.iter().map(|part| &**part))
    }
}

/// Writes what `subscriber` reads to `out` until either ends.
///
/// # Suspends
///
/// While there is nothing to send, and while the player takes nothing: at most `stall` for each write.
///
/// # Errors
///
/// There is no other end: [`PlayError`] tells which it was.
pub fn write_stream(
    subscriber: &mut Subscriber,
    mut admit: Admit,
    out: &mut dyn Write,
    client: &Client,
    stall: Duration,
) -> Result<(), PlayError> {
    let mut batch = Batch::default();
    loop {
        subscriber.recv(&mut batch).map_err(PlayError::End)?;
        client.skips.set(subscriber.skips());
        let written = rt::timeout(stall, || admit.write(&batch, out));
        client.add_sent(written.map_err(|error| match rt::timed_out(&error) {
            Some(_) => PlayError::Stalled(stall),
            None => PlayError::Write(error),
        })?);
    }
}

/// Writes `head` and all of `chunks`; the result is how many bytes that were.
///
/// # Suspends
///
/// As `out` does.
///
/// # Errors
///
/// What writing reports.
pub fn write_batch(out: &mut dyn Write, head: &[Bytes], chunks: &Chunks) -> io::Result<usize> {
    match chunks.joined() {
        Some(joined) if head.is_empty() => {
            out.write_all(joined)?;
            Ok(joined.len())
        }
        _ => write_parts(out, head.iter().chain(chunks.iter().flat_map(|chunk| &chunk.parts))),
    }
}

/// Writes all of `parts`, many in one call; the result is how many bytes that were.
///
/// # Suspends
///
/// As `out` does.
///
/// # Errors
///
/// What writing reports.
#[inline(never)] // What its pieces take of a stack is not touched by who writes one.
fn write_parts<'a>(
    out: &mut dyn Write,
    mut parts: impl Iterator<Item = &'a Bytes>,
) -> io::Result<usize> {
    let mut total = 0;
    loop {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (piece, part) in pieces.iter_mut().zip(&mut parts) {
            *piece = IoSlice::new(part);
            total += part.len();
            count += 1;
        }
        let pieces = pieces.get_mut(..count).unwrap_or_default();
        write_all_vectored(out, pieces)?;
        if count < PIECES {
            return Ok(total);
        }
    }
}

fn write_all_vectored(out: &mut dyn Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Pieces without bytes would make a write of nothing look like the end.
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match out.write_vectored(pieces)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut pieces, written),
        }
    }
    Ok(())
}

impl fmt::Display for PlayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(end) => end.fmt(f),
            Self::Stalled(limit) => write!(f, "the player took nothing for {limit:?}"),
            Self::Write(error) => write!(f, "cannot write to the player: {error}"),
        }
    }
}

impl std::error::Error for PlayError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, as a socket does whose buffer is nearly full.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(buf)])
        }

        fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
            self.calls += 1;
            let before = self.taken.len();
            for piece in pieces {
                let room = before + 7 - self.taken.len();
                self.taken.extend(piece.iter().take(room));
            }
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_byte_is_written_once_and_in_order_when_writes_are_short() {
        let parts: Vec<_> = (0..200_u8).map(|n| Bytes::from(vec![n; usize::from(n % 5)])).collect();
        let expected: Vec<u8> = parts.iter().flatten().copied().collect();
        let mut slow = Slow::default();
        assert_eq!(write_parts(&mut slow, parts.iter()).unwrap(), expected.len());
        assert_eq!(slow.taken, expected);
        assert!(slow.calls >= expected.len() / 7);
    }

    #[test]
    fn nothing_is_written_as_nothing() {
        let mut slow = Slow::default();
        assert_eq!(write_parts(&mut slow, [Bytes::new()].iter()).unwrap(), 0);
        assert_eq!(slow.calls, 0);
    }
}
