//! Reading and writing a byte stream, alike for TCP and Unix sockets.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use crate::fd::{NetFd, Progress, check};
use crate::sys;
use crate::wait::Direction;

/// A full read or write that ended early.
#[derive(Debug)]
pub struct Incomplete {
    /// How many bytes were transferred before it ended.
    pub done: usize,
    /// Why it ended; `UnexpectedEof` when the stream did.
    pub error: io::Error,
}

#[cfg_attr(debug_assertions, track_caller)]
#[inline]
pub(crate) fn read(fd: &NetFd, buf: &mut [u8]) -> io::Result<usize> {
    let wanted = buf.len();
    fd.perform(Direction::Read, None, |fd| Ok(progress(sys::recv(fd, buf, 0)?, wanted)))
}

#[cfg_attr(debug_assertions, track_caller)]
#[inline]
pub(crate) fn write(fd: &NetFd, buf: &[u8]) -> io::Result<usize> {
    fd.perform(Direction::Write, None, |fd| Ok(progress(sys::send(fd, buf)?, buf.len())))
}

#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn peek(fd: &NetFd, buf: &mut [u8]) -> io::Result<usize> {
    // What is peeked stays, so a short peek does not mean that the next would block.
    fd.perform(Direction::Read, None, |fd| sys::recv(fd, buf, libc::MSG_PEEK).map(Progress::Full))
}

#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn read_vectored(fd: &NetFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let count = bufs.len().min(sys::IOV_MAX);
    let bufs = &mut bufs[..count];
    let wanted = bufs.iter().map(|buf| buf.len()).sum();
    fd.perform(Direction::Read, None, |fd| {
        loop {
            match nix::sys::uio::readv(fd, bufs) {
                Err(nix::errno::Errno::EINTR) => {}
                result => return Ok(progress(result?, wanted)),
            }
        }
    })
}

#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn write_vectored(fd: &NetFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[..bufs.len().min(sys::IOV_MAX)];
    let wanted = bufs.iter().map(|buf| buf.len()).sum();
    fd.perform(Direction::Write, None, |fd| Ok(progress(sys::send_vectored(fd, bufs)?, wanted)))
}

/// Fills `buf`. The descriptor's timeout counts once, over the whole.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn read_full(fd: &NetFd, buf: &mut [u8]) -> Result<(), Incomplete> {
    let mut done = 0;
    let incomplete = |done, error| Incomplete { done, error };
    let here = fd.home().map_err(|error| incomplete(0, error))?;
    let until = fd.until(here, Direction::Read);
    while done < buf.len() {
        check(here, until).map_err(|error| incomplete(done, error))?;
        let rest = &mut buf[done..];
        let wanted = rest.len();
        let read = fd.perform(Direction::Read, Some(until), |fd| {
            Ok(progress(sys::recv(fd, rest, 0)?, wanted))
        });
        match read {
            Ok(0) => return Err(incomplete(done, io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => done += count,
            Err(error) => return Err(incomplete(done, error)),
        }
    }
    Ok(())
}

/// Writes all of `buf`. The descriptor's timeout counts once, over the whole.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn write_full(fd: &NetFd, buf: &[u8]) -> Result<(), Incomplete> {
    let mut done = 0;
    let incomplete = |done, error| Incomplete { done, error };
    let here = fd.home().map_err(|error| incomplete(0, error))?;
    let until = fd.until(here, Direction::Write);
    while done < buf.len() {
        check(here, until).map_err(|error| incomplete(done, error))?;
        let rest = &buf[done..];
        let written = fd.perform(Direction::Write, Some(until), |fd| {
            Ok(progress(sys::send(fd, rest)?, rest.len()))
        });
        match written {
            Ok(0) => return Err(incomplete(done, io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) => return Err(incomplete(done, error)),
        }
    }
    Ok(())
}

fn progress(done: usize, wanted: usize) -> Progress<usize> {
    if done < wanted { Progress::Short(done) } else { Progress::Full(done) }
}

/// The error that is pending on a socket.
pub(crate) fn take_error(fd: &NetFd) -> io::Result<Option<io::Error>> {
    socket2::SockRef::from(&fd.as_fd()).take_error()
}

/// What a stream socket does through its `fd` field, the same for every kind.
macro_rules! impl_stream {
    ($stream:ident) => {
        impl $stream {
            /// Fills `buf`, however many reads that takes.
            ///
            /// A deadline or the read timeout counts over the whole.
            ///
            /// # Suspends
            ///
            /// Until all bytes are there, a deadline passes or the coroutine is cancelled.
            ///
            /// # Errors
            ///
            /// The cause and how many bytes were read before it; they are in `buf`.
            #[cfg_attr(debug_assertions, track_caller)]
            pub fn read_full(&self, buf: &mut [u8]) -> Result<(), crate::net::Incomplete> {
                crate::net::stream::read_full(&self.fd, buf)
            }

            /// Writes all of `buf`, however many writes that takes.
            ///
            /// A deadline or the write timeout counts over the whole.
            ///
            /// # Suspends
            ///
            /// Until the kernel took all bytes, a deadline passes or the coroutine is cancelled.
            ///
            /// # Errors
            ///
            /// The cause and how many bytes the kernel took before it.
            #[cfg_attr(debug_assertions, track_caller)]
            pub fn write_full(&self, buf: &[u8]) -> Result<(), crate::net::Incomplete> {
                crate::net::stream::write_full(&self.fd, buf)
            }

            /// Reads without taking the bytes out of the stream.
            ///
            /// # Suspends
            ///
            /// Until a byte is there, a deadline passes or the coroutine is cancelled.
            ///
            /// # Errors
            ///
            /// As reading.
            #[cfg_attr(debug_assertions, track_caller)]
            pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                crate::net::stream::peek(&self.fd, buf)
            }

            /// Shuts down one or both directions of the connection.
            ///
            /// # Errors
            ///
            /// `NotConnected`.
            pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
                socket2::SockRef::from(&self.fd.as_fd()).shutdown(how)
            }

            /// Ends the connection for every handle: see [`NetFd::close`](crate::net::NetFd::close).
            ///
            /// # Errors
            ///
            /// `Unsupported` on a thread or runtime other than the socket's own.
            pub fn close(&self) -> io::Result<()> {
                self.fd.close()
            }

            /// Limits how long each read may take; `None` takes the limit away.
            ///
            /// # Errors
            ///
            /// `InvalidInput` for a timeout of zero; `Unsupported` on another thread or runtime.
            pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.fd.set_timeout(Direction::Read, timeout)
            }

            /// Limits how long each write may take; `None` takes the limit away.
            ///
            /// # Errors
            ///
            /// As [`Self::set_read_timeout`].
            pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.fd.set_timeout(Direction::Write, timeout)
            }

            /// The limit set by [`Self::set_read_timeout`].
            ///
            /// # Errors
            ///
            /// `Unsupported` on another thread or runtime.
            pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
                self.fd.timeout(Direction::Read)
            }

            /// The limit set by [`Self::set_write_timeout`].
            ///
            /// # Errors
            ///
            /// `Unsupported` on another thread or runtime.
            pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
                self.fd.timeout(Direction::Write)
            }

            /// Another handle to the same connection.
            ///
            /// # Errors
            ///
            /// None; the signature is std's.
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok(self.clone())
            }

            /// The error that is pending on the socket, which this clears.
            ///
            /// # Errors
            ///
            /// What `getsockopt(2)` reports.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                crate::net::stream::take_error(&self.fd)
            }

            /// The descriptor, for waiting on it.
            #[must_use]
            pub const fn net_fd(&self) -> &NetFd {
                &self.fd
            }
        }

        /// # Suspends
        ///
        /// Until a byte is there, a deadline passes or the coroutine is cancelled.
        impl io::Read for &$stream {
            #[cfg_attr(debug_assertions, track_caller)]
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                crate::net::stream::read(&self.fd, buf)
            }

            #[cfg_attr(debug_assertions, track_caller)]
            fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                crate::net::stream::read_vectored(&self.fd, bufs)
            }
        }

        /// # Suspends
        ///
        /// Until the kernel takes a byte, a deadline passes or the coroutine is cancelled.
        impl io::Write for &$stream {
            #[cfg_attr(debug_assertions, track_caller)]
            #[inline]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                crate::net::stream::write(&self.fd, buf)
            }

            #[cfg_attr(debug_assertions, track_caller)]
            fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                crate::net::stream::write_vectored(&self.fd, bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        /// # Suspends
        ///
        /// Until a byte is there, a deadline passes or the coroutine is cancelled.
        impl io::Read for $stream {
            #[cfg_attr(debug_assertions, track_caller)]
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buf)
            }

            #[cfg_attr(debug_assertions, track_caller)]
            fn read_vectored(&mut self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        /// # Suspends
        ///
        /// Until the kernel takes a byte, a deadline passes or the coroutine is cancelled.
        impl io::Write for $stream {
            #[cfg_attr(debug_assertions, track_caller)]
            #[inline]
            fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                (&*self).write(buf)
            }

            #[cfg_attr(debug_assertions, track_caller)]
            fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl AsFd for $stream {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.fd.as_fd()
            }
        }
    };
}

pub(crate) use impl_stream;

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended after {} bytes: {}", self.done, self.error)
    }
}

impl std::error::Error for Incomplete {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Incomplete> for io::Error {
    fn from(incomplete: Incomplete) -> Self {
        incomplete.error
    }
}
