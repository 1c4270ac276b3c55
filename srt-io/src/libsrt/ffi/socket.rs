//! A socket of libsrt and what can be asked of it. Nothing here waits: sockets are non-blocking from the
//! moment they are made.
//!
//! # Safety
//!
//! Buffers are lent for the time of a call and with their true length; addresses are whole.
#![expect(unsafe_code, reason = "lends buffers and addresses to libsrt")]

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libsrt_sys as sys;
use nix::sys::socket::SockaddrLike;

use super::address;
use super::{Result, check, length, option_int, set_option, with_signals_blocked};
use crate::libsrt::apply::RawOption;

/// A socket of libsrt, closed with this value if it was not before.
#[derive(Debug)]
pub(crate) struct RawSocket {
    id: sys::SRTSOCKET,
    closed: AtomicBool,
}

/// How a message travels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageOptions {
    /// How long it is worth sending; `None` for ever.
    pub(crate) ttl: Option<Duration>,
    /// Whether it may not overtake others.
    pub(crate) in_order: bool,
}

impl RawSocket {
    /// A fresh socket.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: takes nothing.
        let id = check(unsafe { sys::srt_create_socket() })?;
        let socket = Self { id, closed: AtomicBool::new(false) };
        socket.unblock()?;
        Ok(socket)
    }

    /// Has every call return at once.
    fn unblock(&self) -> Result<()> {
        set_option(self.id, sys::SRTO_RCVSYN, RawOption::Bool(false))?;
        set_option(self.id, sys::SRTO_SNDSYN, RawOption::Bool(false))
    }

    /// Its number.
    pub(crate) const fn id(&self) -> sys::SRTSOCKET {
        self.id
    }

    /// Gives it a local address. Starts two threads, unless the port has them already.
    pub(crate) fn bind(&self, local: SocketAddr) -> Result<()> {
        let (local, bytes) = address::to_system(local);
        // SAFETY: the address is whole and lives for the call.
        check(with_signals_blocked(|| unsafe { sys::srt_bind(self.id, local.as_ptr(), bytes) }))
            .map(drop)
    }

    /// Has it take connections, of which `backlog` may wait.
    pub(crate) fn listen(&self, backlog: usize) -> Result<()> {
        // SAFETY: takes numbers.
        check(unsafe { sys::srt_listen(self.id, length(backlog)) }).map(drop)
    }

    /// The next connection, with the address of the peer.
    pub(crate) fn accept(&self) -> Result<(Self, SocketAddr)> {
        let mut accepted = sys::SRT_INVALID_SOCK;
        let peer = address::ask(|address, bytes| {
            // SAFETY: `address` has room for as many bytes as are given.
            accepted = unsafe { sys::srt_accept(self.id, address, bytes) };
            accepted
        });
        // Owned before anything can fail.
        let accepted = (accepted != sys::SRT_INVALID_SOCK)
            .then(|| Self { id: accepted, closed: AtomicBool::new(false) });
        let peer = peer?;
        // It does not block, as the listener does not.
        Ok((accepted.ok_or(crate::error::SrtError::UNKNOWN)?, peer))
    }

    /// Begins to connect. Starts two threads, unless the socket is bound to a port that has them.
    pub(crate) fn connect(&self, peer: SocketAddr) -> Result<()> {
        let (peer, bytes) = address::to_system(peer);
        // SAFETY: the address is whole and lives for the call.
        check(with_signals_blocked(|| unsafe { sys::srt_connect(self.id, peer.as_ptr(), bytes) }))
            .map(drop)
    }

    /// Begins to meet `peer`, which does the same towards `local`.
    pub(crate) fn rendezvous(&self, local: SocketAddr, peer: SocketAddr) -> Result<()> {
        let (local, local_bytes) = address::to_system(local);
        let (peer, peer_bytes) = address::to_system(peer);
        let (local, peer) = (local.as_ptr(), peer.as_ptr());
        let begin = || {
            // SAFETY: both addresses are whole and live for the call.
            unsafe { sys::srt_rendezvous(self.id, local, local_bytes, peer, peer_bytes) }
        };
        check(with_signals_blocked(begin)).map(drop)
    }

    /// Receives a message, or the next bytes of a stream, of which `Ok(0)` is the end; and when the
    /// message was due, in microseconds on the library's clock.
    pub(crate) fn recv(&self, buf: &mut [u8]) -> Result<(usize, i64)> {
        let place = buf.as_mut_ptr().cast();
        let mut details = MaybeUninit::<sys::SRT_MSGCTRL>::zeroed();
        // SAFETY: `place` has room for as many bytes as are given, and the details for themselves; all
        // zeroes are plain numbers and a null pointer, as the call expects.
        let received = check(unsafe {
            sys::srt_recvmsg2(self.id, place, length(buf.len()), details.as_mut_ptr())
        })?;
        // SAFETY: zeroed above, and written by the call since.
        let details = unsafe { details.assume_init() };
        Ok((usize::try_from(received).unwrap_or(0), details.srctime))
    }

    /// Sends a message, or as many bytes of a stream as there is room for.
    pub(crate) fn send(&self, buf: &[u8], options: MessageOptions) -> Result<usize> {
        let ttl_ms = options.ttl.map_or(sys::SRT_MSGTTL_INF, |ttl| {
            libc::c_int::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        });
        let (place, in_order) = (buf.as_ptr().cast(), libc::c_int::from(options.in_order));
        // SAFETY: `place` has as many bytes as are given.
        let sent = check(unsafe {
            sys::srt_sendmsg(self.id, place, length(buf.len()), ttl_ms, in_order)
        })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }

    /// Whether a message is due now, or the connection broke (`SRTO_EVENT`). Fifty times cheaper than a
    /// call that has nothing to give, which is an exception in C++.
    pub(crate) fn is_due(&self) -> bool {
        const DUE: sys::SRT_EPOLL_OPT = sys::SRT_EPOLL_IN | sys::SRT_EPOLL_ERR;
        // Where even asking fails, a call says why.
        option_int(self.id, sys::SRTO_EVENT).map_or(true, |event| event.cast_unsigned() & DUE != 0)
    }

    /// Packets that were sent and not acknowledged yet, or not sent yet.
    pub(crate) fn unsent_packets(&self) -> Result<usize> {
        option_int(self.id, sys::SRTO_SNDDATA).map(|packets| usize::try_from(packets).unwrap_or(0))
    }

    /// Packets in the receive buffer, due or not.
    pub(crate) fn unread_packets(&self) -> Result<usize> {
        option_int(self.id, sys::SRTO_RCVDATA).map(|packets| usize::try_from(packets).unwrap_or(0))
    }

    /// Where it is in its life.
    pub(crate) fn state(&self) -> sys::SRT_SOCKSTATUS {
        // SAFETY: takes a number.
        unsafe { sys::srt_getsockstate(self.id) }
    }

    /// Why a connection was not made: a code of `SRT_REJ_*` or `SRT_REJX_*`.
    pub(crate) fn reject_reason(&self) -> i32 {
        // SAFETY: takes a number.
        unsafe { sys::srt_getrejectreason(self.id) }
    }

    /// The other end.
    pub(crate) fn peer_addr(&self) -> Result<SocketAddr> {
        // SAFETY: `address` has room for as many bytes as are given.
        address::ask(|address, bytes| unsafe { sys::srt_getpeername(self.id, address, bytes) })
    }

    /// This end.
    pub(crate) fn local_addr(&self) -> Result<SocketAddr> {
        // SAFETY: `address` has room for as many bytes as are given.
        address::ask(|address, bytes| unsafe { sys::srt_getsockname(self.id, address, bytes) })
    }

    /// What was counted; `clear` begins the next interval, and `instantaneous` asks for the sizes of
    /// buffers now instead of their averages.
    pub(crate) fn stats(&self, clear: bool, instantaneous: bool) -> Result<sys::CBytePerfMon> {
        let (clear, now) = (libc::c_int::from(clear), libc::c_int::from(instantaneous));
        // SAFETY: all fields are numbers, for which zero is a value.
        let mut stats: sys::CBytePerfMon = unsafe { std::mem::zeroed() };
        // SAFETY: `stats` lives for the call.
        check(unsafe { sys::srt_bistats(self.id, &raw mut stats, clear, now) })?;
        Ok(stats)
    }

    /// Closes it, once. What is buffered is not waited for: with `SNDSYN` set, it would be, for as long
    /// as the linger.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // A socket that libsrt has collected already has nothing to be set, and is closed.
        let _collected = set_option(self.id, sys::SRTO_SNDSYN, RawOption::Bool(false));
        // SAFETY: takes a number.
        let _collected = unsafe { sys::srt_close(self.id) };
    }
}

impl Drop for RawSocket {
    fn drop(&mut self) {
        self.close();
    }
}
