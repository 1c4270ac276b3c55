//! TCP.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Type};

use crate::fd::{Interest, NetFd};
use crate::net::accept::{self, ListenOptions, named};
use crate::net::addr::{Target, ToAddr};
use crate::net::connect;
use crate::net::stream::impl_stream;
use crate::wait::{Direction, Here};

/// A TCP connection.
#[derive(Clone, Debug)]
pub struct TcpStream {
    fd: NetFd,
}

/// A TCP socket that accepts connections.
#[derive(Clone, Debug)]
pub struct TcpListener {
    fd: NetFd,
    options: ListenOptions,
}

impl TcpListener {
    pub(crate) const fn new(fd: NetFd, options: ListenOptions) -> Self {
        Self { fd, options }
    }

    /// Listens on `address` with default [`ListenOptions`].
    ///
    /// # Errors
    ///
    /// As [`ListenOptions::listen`].
    pub fn bind(address: impl ToAddr) -> io::Result<Self> {
        ListenOptions::new().listen(address)
    }

    /// Takes over a socket that listens already, from a service manager or another library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// As [`NetFd::from_fd`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: NetFd::from_fd(fd)?, options: ListenOptions::new() })
    }

    /// Waits for the next connection.
    ///
    /// Being out of descriptors or memory does not end it: it logs a warning and tries again, with
    /// pauses of 10 to 500 ms, until there are some; connections wait in the backlog meanwhile.
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
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, peer) = accept::accept(&self.fd)?;
        let stream = TcpStream { fd: NetFd::from_nonblocking(fd)? };
        if self.options.nodelay {
            stream.set_nodelay(true)?;
        }
        let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
        Ok((stream, peer))
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.fd)
    }

    /// Stops listening: see [`NetFd::close`].
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread or runtime other than the listener's own.
    pub fn close(&self) -> io::Result<()> {
        self.fd.close()
    }

    /// Limits how long each `accept` may take; `None` takes the limit away.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero; `Unsupported` on another thread or runtime.
    pub fn set_accept_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.fd.set_timeout(Direction::Read, timeout)
    }

    /// The descriptor, for waiting on it.
    #[must_use]
    pub const fn net_fd(&self) -> &NetFd {
        &self.fd
    }
}

impl TcpStream {
    /// Connects to `address`: an address, or a host and a port.
    ///
    /// Of a host that has several addresses those of both families are tried in turns, 250 ms after
    /// each other or as soon as one fails, and the first that answers is taken (RFC 8305); see
    /// [`resolve`](crate::net::resolve()) for how the name is looked up.
    ///
    /// # Suspends
    ///
    /// Until the name is resolved and the peer answers, a deadline passes or the coroutine is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for text that cannot be an address or a host;
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
    /// `Unsupported` outside a runtime; and what the resolver or the system reports, with the host
    /// and each address that was tried named.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn connect(address: impl ToAddr) -> io::Result<Self> {
        let address = match address.target()? {
            Target::Addr(address) => address,
            Target::Name { host, port } => return connect::connect(host, port),
        };
        let here = crate::wait::enter()?;
        let failed = |error: io::Error| named(&error, "connect to", address);
        let (stream, is_pending) = Self::begin(here, address).map_err(failed)?;
        if is_pending {
            stream.fd.poll(Interest::Writable, None)?;
            if let Some(error) = stream.take_error()? {
                return Err(failed(error));
            }
        }
        Ok(stream)
    }

    /// Begins to connect; the result also tells whether that is still under way.
    pub(super) fn begin(here: Here, address: SocketAddr) -> io::Result<(Self, bool)> {
        here.scheduler.count_io(here);
        let socket =
            accept::socket(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        let stream = Self { fd: NetFd::from_nonblocking(socket.into())? };
        let is_pending = match SockRef::from(&stream.fd.as_fd()).connect(&address.into()) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(Errno::EINPROGRESS as i32) => true,
            // Interrupted or not, the connection goes on being made (connect(2)).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
        Ok((stream, is_pending))
    }

    /// Takes over a connection, from a service manager or another library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// As [`NetFd::from_fd`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: NetFd::from_fd(fd)? })
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let peer = SockRef::from(&self.fd.as_fd()).peer_addr()?;
        peer.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.fd)
    }

    /// Turns Nagle's algorithm off (`TCP_NODELAY`), so that small writes leave at once.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(&self.fd.as_fd()).set_tcp_nodelay(nodelay)
    }

    /// Has a write wait while the kernel holds so many bytes that it has not sent yet (`TCP_NOTSENT_LOWAT`); those on
    /// their way do not count. What is written leaves soon then, however large the kernel's buffer is.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn set_unsent_limit(&self, bytes: u32) -> io::Result<()> {
        SockRef::from(&self.fd.as_fd()).set_tcp_notsent_lowat(bytes)
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    ///
    /// What `getsockopt(2)` reports.
    pub fn nodelay(&self) -> io::Result<bool> {
        SockRef::from(&self.fd.as_fd()).tcp_nodelay()
    }
}

pub(crate) fn local_addr(fd: &NetFd) -> io::Result<SocketAddr> {
    let local = SockRef::from(&fd.as_fd()).local_addr()?;
    local.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

impl_stream!(TcpStream);

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
