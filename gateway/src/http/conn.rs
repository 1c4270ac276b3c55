//! The server's side of a connection: bytes that were read and not used yet, and counts of what went by.

use std::io::{self, IoSlice, Read, Write};
use std::time::Duration;

use thalweg_runtime as rt;

use super::stream::Stream;

/// A connection with what was read ahead.
pub(super) struct Conn<'s> {
    stream: &'s mut dyn Stream,
    /// Read and not used yet: `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
    received: u64,
    sent: u64,
    /// How long the peer may take for each [`PROGRESS`] bytes of an answer.
    pub(super) write_timeout: Duration,
}

/// How much is read at once.
const CHUNK: usize = 2048;

/// How much of an answer a peer has to take within one write timeout.
const PROGRESS: usize = 64 << 10;

impl<'s> Conn<'s> {
    pub(super) fn new(stream: &'s mut dyn Stream, write_timeout: Duration) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, received: 0, sent: 0, write_timeout }
    }

    /// What was read and not used yet.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Takes the first `len` bytes of [`Self::unread`] away.
    pub(super) fn consume(&mut self, len: usize) {
        self.start = self.buffer.len().min(self.start.saturating_add(len));
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads more behind what is there; 0 at the end of the stream. The caller bounds how much it lets pile up.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let len = self.buffer.len();
        self.buffer.resize(len + CHUNK, 0);
        let result = self.stream.read(self.buffer.get_mut(len..).unwrap_or_default());
        let count = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(len + count);
        self.received += count as u64;
        result
    }

    /// Gives back the memory for reading, when nothing is in it.
    pub(super) fn release(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    /// Writes all of `parts`, within a time that grows with their size.
    pub(super) fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let steps = u32::try_from(len / PROGRESS).unwrap_or(u32::MAX).saturating_add(1);
        rt::timeout(self.write_timeout.saturating_mul(steps), || self.send_within(parts))
    }

    fn send_within(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut slices = &mut slices[..];
        // Drops empty parts, which a write would take for the end.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.write_vectored(slices)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut slices, count),
            }
        }
        self.stream.flush()
    }

    /// Ends the connection so that the peer can still read the last answer: a socket that is closed with bytes unread
    /// resets the connection, and the answer is lost (RFC 9112 §9.6).
    pub(super) fn linger(&mut self, limit: Duration) {
        if self.stream.finish().is_err() {
            return;
        }
        self.buffer = Vec::new();
        self.start = 0;
        let end = rt::now() + limit;
        let mut left = PROGRESS;
        // Whatever ends this, the connection ends with it.
        while let Ok(count @ 1..) = rt::deadline(end, || self.fill()) {
            self.consume(count);
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    }

    pub(super) fn stream(&self) -> &dyn Stream {
        self.stream
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

/// First what was read ahead.
impl Read for Conn<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut unread = self.unread();
        if unread.is_empty() {
            let count = self.stream.read(buf)?;
            self.received += count as u64;
            return Ok(count);
        }
        let count = unread.read(buf)?;
        self.consume(count);
        Ok(count)
    }
}

impl Write for Conn<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(buf)?;
        self.sent += count as u64;
        Ok(count)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = self.stream.write_vectored(bufs)?;
        self.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
