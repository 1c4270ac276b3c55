//! Unix stream sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::fd::{Interest, NetFd};
use crate::net::accept::{self, ListenOptions, named};
use crate::net::stream::{impl_stream, take_error};
use crate::wait::Direction;

/// A connection between two processes, or within one.
#[derive(Clone, Debug)]
pub struct UnixStream {
    fd: NetFd,
}

/// A Unix socket that accepts connections.
#[derive(Clone, Debug)]
pub struct UnixListener {
    fd: NetFd,
}

impl UnixListener {
    /// Makes the socket `path`, which must not exist, and listens on it. The path stays when the
    /// listener is dropped.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside a runtime, and what the system reports, with the path named.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let listen = || {
            let socket = accept::socket(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            ListenOptions::new().listen_on(socket)
        };
        let fd = listen().map_err(|error| named(&error, "listen on", path.display()))?;
        Ok(Self { fd })
    }

    /// Waits for the next connection; like [`TcpListener::accept`](crate::net::TcpListener::accept)
    /// it goes on when descriptors are short.
    ///
    /// # Suspends
    ///
    /// Until a connection is there, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
    /// [`Closed`](crate::net::Closed); `Unsupported` on another thread or runtime.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn accept(&self) -> io::Result<UnixStream> {
        let (fd, _unnamed) = accept::accept(&self.fd)?;
        UnixStream::new(fd)
    }

    /// Stops listening: see [`NetFd::close`].
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread or runtime other than the listener's own.
    pub fn close(&self) -> io::Result<()> {
        self.fd.close()
    }

    /// The descriptor, for waiting on it.
    #[must_use]
    pub const fn net_fd(&self) -> &NetFd {
        &self.fd
    }
}

impl UnixStream {
    /// Connects to the socket `path`.
    ///
    /// # Suspends
    ///
    /// While the listener's backlog is full, until a deadline passes or the coroutine is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
    /// `Unsupported` outside a runtime; and what the system reports, with the path named.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let failed = |error: io::Error| named(&error, "connect to", path.display());
        let address = SockAddr::unix(path).map_err(failed)?;
        loop {
            let here = crate::wait::enter()?;
            here.scheduler.count_io(here);
            let socket = accept::socket(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
            let stream = Self::new(socket.into())?;
            match SockRef::from(&stream.fd.as_fd()).connect(&address) {
                Ok(()) => return Ok(stream),
                Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => {
                    stream.fd.poll(Interest::Writable, None)?;
                    return match take_error(&stream.fd)? {
                        Some(error) => Err(failed(error)),
                        None => Ok(stream),
                    };
                }
                // The backlog is full (connect(2)), and nothing tells when it is not any more.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    crate::time::sleep(Duration::from_millis(5))?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Two ends of a new connection.
    ///
    /// # Errors
    ///
    /// `Unsupported` outside a runtime, and what `socketpair(2)` reports.
    pub fn pair() -> io::Result<(Self, Self)> {
        let ty = Type::STREAM.nonblocking().cloexec();
        let (a, b) = Socket::pair(Domain::UNIX, ty, None)?;
        Ok((Self::new(a.into())?, Self::new(b.into())?))
    }

    /// A read stops after a message that carries descriptors (unix(7)), so that a short one does
    /// not mean that there is no more.
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let fd = NetFd::from_nonblocking(socket)?;
        fd.distrust_short()?;
        Ok(Self { fd })
    }
}

impl_stream!(UnixStream);

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
