//! UDP.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::fd::{NetFd, Progress};
use crate::net::accept::{self, named};
use crate::net::addr::ToAddr;
use crate::net::mmsg::{self, Features, RecvMeta, Scratch, Transmit};
use crate::net::tcp::local_addr;
use crate::sys;
use crate::wait::Direction;

thread_local! {
    /// One for all sockets of the thread: nothing suspends while it is used.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// A UDP socket.
#[derive(Clone, Debug)]
pub struct UdpSocket {
    fd: NetFd,
    /// Set when the kernel was asked to report addresses and marks.
    features: Arc<OnceLock<Features>>,
}

impl UdpSocket {
    /// The most datagrams that one call of [`UdpSocket::recv_many`] or [`UdpSocket::send_many`]
    /// moves.
    pub const BATCH: usize = mmsg::BATCH;

    /// Binds a socket to `address`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that is not one, `Unsupported` outside a runtime, and what
    /// the system reports, with the address named.
    pub fn bind(address: impl ToAddr) -> io::Result<Self> {
        let address = address.to_addr()?;
        let bind = || {
            let domain = Domain::for_address(address);
            let socket = accept::socket(domain, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&address.into())?;
            NetFd::from_nonblocking(socket.into())
        };
        let fd = bind().map_err(|error| named(&error, "bind", address))?;
        Ok(Self { fd, features: Arc::new(OnceLock::new()) })
    }

    /// Takes over a UDP socket, from a service manager or another library, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// As [`NetFd::from_fd`].
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: NetFd::from_fd(fd)?, features: Arc::new(OnceLock::new()) })
    }

    /// Sets the peer that `send` sends to and `recv` receives from.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that is not one, and what `connect(2)` reports.
    pub fn connect(&self, address: impl ToAddr) -> io::Result<()> {
        let address = address.to_addr()?;
        let socket = SockRef::from(&self.fd.as_fd()).connect(&address.into());
        socket.map_err(|error| named(&error, "connect to", address))
    }

    /// Receives one datagram and its sender; what does not fit into `buf` is lost.
    ///
    /// # Suspends
    ///
    /// Until a datagram is there, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`](crate::Cancelled) and [`TimedOut`](crate::TimedOut) inside the error;
    /// [`Closed`](crate::net::Closed); `Unsupported` on another thread or runtime; and what the
    /// system reports.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, peer) = self
            .fd
            .perform(Direction::Read, None, |fd| sys::recv_from(fd, buf).map(Progress::Full))?;
        Ok((len, peer.as_socket().ok_or(io::ErrorKind::InvalidData)?))
    }

    /// Sends `buf` as one datagram to `address`.
    ///
    /// # Suspends
    ///
    /// While the send buffer is full, until a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::recv_from`], and `InvalidInput` for an address that is not one.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send_to(&self, buf: &[u8], address: impl ToAddr) -> io::Result<usize> {
        let address = address.to_addr()?;
        self.fd.perform(Direction::Write, None, |fd| {
            sys::send_to(fd, buf, address).map(Progress::Full)
        })
    }

    /// Receives one datagram from the peer set by [`UdpSocket::connect`].
    ///
    /// # Suspends
    ///
    /// Until a datagram is there, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::recv_from`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.fd.perform(Direction::Read, None, |fd| sys::recv(fd, buf, 0).map(Progress::Full))
    }

    /// Sends `buf` as one datagram to the peer set by [`UdpSocket::connect`].
    ///
    /// # Suspends
    ///
    /// While the send buffer is full, until a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::recv_from`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.fd.perform(Direction::Write, None, |fd| sys::send(fd, buf).map(Progress::Full))
    }

    /// Receives up to [`UdpSocket::BATCH`] datagrams with one system call (`recvmmsg(2)`): one
    /// into each of `buffers`, described by `meta` in the same place. The result is how many.
    ///
    /// # Suspends
    ///
    /// Until a datagram is there, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::recv_from`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn recv_many(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        self.features()?;
        self.fd.perform(Direction::Read, None, |fd| {
            SCRATCH
                .with_borrow_mut(|scratch| mmsg::recv_many(fd, scratch, buffers, meta))
                .map(Progress::Full)
        })
    }

    /// Sends up to [`UdpSocket::BATCH`] datagrams with one system call (`sendmmsg(2)`). The result
    /// is how many of `transmits` the kernel took, from the first on: go on with the rest.
    ///
    /// # Suspends
    ///
    /// While the send buffer is full, until a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// Always about the first of `transmits`: as [`UdpSocket::recv_from`]; `InvalidInput` for one
    /// that cannot be sent as it is; `Unsupported` when the kernel or the device cannot cut a
    /// payload into segments.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn send_many(&self, transmits: &[Transmit<'_>]) -> io::Result<usize> {
        self.fd.perform(Direction::Write, None, |fd| {
            SCRATCH
                .with_borrow_mut(|scratch| mmsg::send_many(fd, scratch, transmits))
                .map(Progress::Full)
        })
    }

    /// Lets the kernel join datagrams of one sender and size into one buffer (`UDP_GRO`), for
    /// [`UdpSocket::recv_many`], whose buffers should then hold 65 535 bytes.
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports; the kernel has this since 5.0.
    pub fn enable_gro(&self) -> io::Result<()> {
        mmsg::enable_gro(self.fd.as_fd())
    }

    /// Whether the kernel can cut a large payload into datagrams (`UDP_SEGMENT`); see
    /// [`Transmit::segment_size`].
    ///
    /// # Errors
    ///
    /// What `setsockopt(2)` reports.
    pub fn has_segmentation(&self) -> io::Result<bool> {
        Ok(self.features()?.gso)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        local_addr(&self.fd)
    }

    /// Limits how long each receive may take; `None` takes the limit away.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero; `Unsupported` on another thread or runtime.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.fd.set_timeout(Direction::Read, timeout)
    }

    /// Limits how long each send may take; `None` takes the limit away.
    ///
    /// # Errors
    ///
    /// As [`UdpSocket::set_read_timeout`].
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.fd.set_timeout(Direction::Write, timeout)
    }

    /// Has every operation fail from now on: see [`NetFd::close`].
    ///
    /// # Errors
    ///
    /// `Unsupported` on a thread or runtime other than the socket's own.
    pub fn close(&self) -> io::Result<()> {
        self.fd.close()
    }

    /// The descriptor, for waiting on it.
    #[must_use]
    pub const fn net_fd(&self) -> &NetFd {
        &self.fd
    }

    fn features(&self) -> io::Result<Features> {
        if let Some(features) = self.features.get() {
            return Ok(*features);
        }
        let features = mmsg::enable(self.fd.as_fd())?;
        Ok(*self.features.get_or_init(|| features))
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
