//! A connection that never leaves memory: what a protocol is tested over, under the virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;

use crate::clock::NEVER;
use crate::wait::{self, WaitQueue, WaitingFor};

/// Makes the two ends of a byte stream in memory, which holds at most `capacity` bytes in either
/// direction.
///
/// Memory is taken as bytes come, so a huge capacity costs nothing.
///
/// # Panics
///
/// When `capacity` is 0: nothing could ever be written.
///
/// # Examples
///
/// ```
/// # use std::io::{Read, Write};
/// # use thalweg_runtime::{self as rt, sync::duplex};
/// # rt::run(|| -> std::io::Result<()> {
/// let (mut client, mut server) = duplex(4096);
/// rt::spawn(move || -> std::io::Result<()> {
///     let mut request = [0; 4];
///     server.read_exact(&mut request)?;
///     server.write_all(b"pong")
/// });
/// client.write_all(b"ping")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?; // ends when the server is dropped
/// assert_eq!(answer, "pong");
/// # Ok(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn duplex(capacity: usize) -> (DuplexStream, DuplexStream) {
    assert!(capacity > 0, "a duplex stream needs room for at least one byte");
    let (one, other) = (Rc::new(Pipe::new(capacity)), Rc::new(Pipe::new(capacity)));
    (
        DuplexStream { incoming: Rc::clone(&one), outgoing: Rc::clone(&other) },
        DuplexStream { incoming: other, outgoing: one },
    )
}

/// One end of a byte stream in memory; see [`duplex`].
///
/// Reading and writing suspend the calling coroutine only, until there is a byte or room for one, a
/// deadline passes or the coroutine is cancelled; the error is then the one that sockets give, and
/// no byte was moved. Two coroutines may use one end at a time through `&DuplexStream`, to read and
/// to write.
///
/// When the other end was dropped, what it wrote can still be read, then reading finds the end of
/// the stream, and writing fails with `BrokenPipe`.
#[derive(Debug)]
pub struct DuplexStream {
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: RefCell<VecDeque<u8>>,
    capacity: usize,
    /// No more is written: the end of the stream comes after `bytes`.
    ended: Cell<bool>,
    /// Nobody reads any more.
    abandoned: Cell<bool>,
    readers: WaitQueue,
    writers: WaitQueue,
}

impl DuplexStream {
    /// Ends the outgoing direction: the other end finds the end of the stream after what was
    /// written so far, and writing here fails with `BrokenPipe`.
    pub fn shutdown_write(&self) {
        self.outgoing.end();
    }

    /// How many bytes can be read without waiting.
    #[must_use]
    pub fn readable_len(&self) -> usize {
        self.incoming.bytes.borrow().len()
    }

    /// How many bytes can be written without waiting.
    #[must_use]
    pub fn writable_len(&self) -> usize {
        self.outgoing.room()
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.abandon();
    }
}

impl Read for &DuplexStream {
    #[cfg_attr(debug_assertions, track_caller)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        self.incoming.transfer(&self.incoming.readers, || self.incoming.try_read(buf))
    }
}

impl Write for &DuplexStream {
    #[cfg_attr(debug_assertions, track_caller)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.outgoing.transfer(&self.outgoing.writers, || self.outgoing.try_write(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for DuplexStream {
    #[cfg_attr(debug_assertions, track_caller)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for DuplexStream {
    #[cfg_attr(debug_assertions, track_caller)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: RefCell::new(VecDeque::new()),
            capacity,
            ended: Cell::new(false),
            abandoned: Cell::new(false),
            readers: WaitQueue::new(),
            writers: WaitQueue::new(),
        }
    }

    fn room(&self) -> usize {
        self.capacity - self.bytes.borrow().len()
    }

    fn end(&self) {
        self.ended.set(true);
        self.readers.wake_all();
        self.writers.wake_all();
    }

    fn abandon(&self) {
        self.abandoned.set(true);
        self.bytes.borrow_mut().clear();
        self.writers.wake_all();
    }

    /// Tries until there is a result, waiting in `queue` in between.
    #[cfg_attr(debug_assertions, track_caller)]
    fn transfer(
        &self,
        queue: &WaitQueue,
        mut attempt: impl FnMut() -> Option<io::Result<usize>>,
    ) -> io::Result<usize> {
        let mut here = wait::enter()?;
        let mut result = attempt();
        while result.is_none() {
            here.wait_in(queue, WaitingFor::Duplex, NEVER)?;
            result = attempt();
            if result.is_none() {
                // Somebody else was faster. A cancellation may have come since the wake-up.
                here = wait::enter()?;
            }
        }
        self.pass_on();
        result.unwrap_or(Ok(0))
    }

    fn try_read(&self, mut buf: &mut [u8]) -> Option<io::Result<usize>> {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.is_empty() {
            return self.ended.get().then_some(Ok(0));
        }
        let count = buf.len().min(bytes.len());
        let (front, back) = bytes.as_slices();
        for part in [front, back] {
            let (now, rest) = buf.split_at_mut(part.len().min(buf.len()));
            now.copy_from_slice(&part[..now.len()]);
            buf = rest;
        }
        bytes.drain(..count);
        Some(Ok(count))
    }

    fn try_write(&self, bufs: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        if self.ended.get() || self.abandoned.get() {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.room();
        let mut left = room;
        for buf in bufs {
            let now = &buf[..left.min(buf.len())];
            self.bytes.borrow_mut().extend(now);
            left -= now.len();
        }
        (left < room).then(|| Ok(room - left))
    }

    /// Wakes who can go on now, including one that waits for the same as the caller did: its
    /// signal may have been spent on the caller.
    fn pass_on(&self) {
        if self.ended.get() || !self.bytes.borrow().is_empty() {
            self.readers.wake_one();
        }
        if self.abandoned.get() || self.room() > 0 {
            self.writers.wake_one();
        }
    }
}
