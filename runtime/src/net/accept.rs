//! Listening and accepting, alike for TCP and Unix sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::cancel;
use crate::clock::NEVER;
use crate::fd::{NetFd, Progress, check};
use crate::net::addr::ToAddr;
use crate::net::tcp::TcpListener;
use crate::sys;
use crate::time;
use crate::wait::Direction;

/// How a listener is set up.
#[derive(Clone, Copy, Debug)]
#[must_use = "options listen to nothing until `listen`"]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: Option<bool>,
    pub(crate) nodelay: bool,
}

impl ListenOptions {
    /// A backlog of 1024, the address not shared, Nagle's algorithm on.
    pub const fn new() -> Self {
        Self { backlog: 1024, reuse_port: false, only_v6: None, nodelay: false }
    }

    /// How many connections the kernel completes ahead of `accept`; it cuts this to
    /// `net.core.somaxconn`.
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Lets several listeners share the address, as those of several runtimes do: the kernel
    /// spreads connections over them (`SO_REUSEPORT`).
    pub const fn reuse_port(mut self, share: bool) -> Self {
        self.reuse_port = share;
        self
    }

    /// Whether an IPv6 listener takes no IPv4 connections (`IPV6_V6ONLY`); by default the system
    /// decides.
    pub const fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    /// Sets `TCP_NODELAY` on each accepted connection.
    pub const fn nodelay(mut self, nodelay: bool) -> Self {
        self.nodelay = nodelay;
        self
    }

    /// Listens for TCP connections.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that is not one, `Unsupported` outside a runtime, and what
    /// the system reports, with the address named.
    pub fn listen(self, address: impl ToAddr) -> io::Result<TcpListener> {
        let address = address.to_addr()?;
        let listen = || {
            let socket = socket(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            if self.reuse_port {
                socket.set_reuse_port(true)?;
            }
            if let Some(only) = self.only_v6.filter(|_| address.is_ipv6()) {
                socket.set_only_v6(only)?;
            }
            socket.bind(&address.into())?;
            self.listen_on(socket)
        };
        let fd = listen().map_err(|error| named(&error, "listen on", address))?;
        Ok(TcpListener::new(fd, self))
    }

    pub(crate) fn listen_on(self, socket: Socket) -> io::Result<NetFd> {
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        NetFd::from_nonblocking(socket.into())
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A non-blocking socket that is closed on exec.
pub(crate) fn socket(domain: Domain, ty: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    Socket::new(domain, ty.nonblocking().cloexec(), protocol)
}

/// `error`, with what was being done to what.
pub(crate) fn named(error: &io::Error, verb: &str, object: impl std::fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {verb} {object}: {error}"))
}

/// Accepts the next connection.
///
/// When the process or the system is out of descriptors or memory, the connection stays in the
/// backlog, and accepting goes on after a pause: neither an error that ends the server, nor a loop
/// that spins.
#[cfg_attr(debug_assertions, track_caller)]
pub(crate) fn accept(listener: &NetFd) -> io::Result<(OwnedFd, SockAddr)> {
    let here = listener.home()?;
    let until = listener.until(here, Direction::Read);
    let mut pause = Duration::from_millis(10);
    let mut warned = false;
    loop {
        check(here, until)?;
        let result = listener
            .perform(Direction::Read, Some(until), |fd| sys::accept(fd).map(Progress::Full));
        let Err(error) = result else { return result };
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                if !warned {
                    tracing::warn!(?listener, %error, "cannot accept; trying again until it works");
                    warned = true;
                }
                match until {
                    NEVER => time::sleep(pause)?,
                    until => {
                        let at = here.scheduler.clock.instant(until);
                        cancel::deadline(at, || time::sleep(pause))?;
                    }
                }
                pause = (pause * 2).min(Duration::from_millis(500));
            }
            // The connection failed before it was accepted (accept(2), "Error handling").
            Some(
                Errno::ECONNABORTED
                | Errno::EPERM
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH,
            ) => {}
            _ => return Err(error),
        }
    }
}
