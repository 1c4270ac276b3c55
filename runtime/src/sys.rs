//! System calls that nix lacks or cannot express without a copy, behind safe signatures.
//!
//! # Safety
//!
//! No function keeps a pointer after it returns, so every buffer passed to the kernel is a live
//! borrow for as long as the kernel may use it.
#![expect(unsafe_code, reason = "calls libc where nix has no safe form")]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{SockAddr, SockAddrStorage};

/// Kernels before 5.11, and valgrind 3.19, have no `epoll_pwait2`.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// One readiness report, laid out as the kernel writes it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Event(libc::epoll_event);

impl Event {
    pub(crate) const fn empty() -> Self {
        Self(libc::epoll_event { events: 0, u64: 0 })
    }

    pub(crate) const fn events(&self) -> u32 {
        self.0.events
    }

    pub(crate) const fn data(&self) -> u64 {
        self.0.u64
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event({:#x}, {:#x})", self.events(), self.data())
    }
}

/// Waits until an event is there or `timeout` is over; `None` waits for ever. A signal ends the
/// wait with no events.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [Event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let capacity = i32::try_from(events.len()).expect("fewer than 2^31 events");
    let buffer = events.as_mut_ptr().cast::<libc::epoll_event>();
    let exact = timeout.is_some_and(|timeout| timeout.subsec_nanos() % 1_000_000 != 0);
    let count = if exact && !NO_PWAIT2.load(Ordering::Relaxed) {
        let timeout = timeout.unwrap_or_default();
        let timespec = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: `buffer` has room for `capacity` events of the kernel's layout, `timespec` lives
        // through the call, and a null signal mask means that none is applied.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                buffer,
                capacity,
                &raw const timespec,
                ptr::null::<libc::sigset_t>(),
                8_usize,
            )
        };
        if count < 0 && Errno::last() == Errno::ENOSYS {
            NO_PWAIT2.store(true, Ordering::Relaxed);
            return epoll_wait(epoll, events, Some(timeout));
        }
        count
    } else {
        let millis = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `buffer` has room for `capacity` events of the kernel's layout.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), buffer, capacity, millis) };
        count.into()
    };
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) if Errno::last() == Errno::EINTR => Ok(0),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Accepts a connection as a non-blocking descriptor that is closed on exec, with its peer.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let accept = |storage: *mut SockAddrStorage, len: *mut libc::socklen_t| {
        retry(|| {
            // SAFETY: `try_init` gives room for an address and its length, which live through the
            // call.
            unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), len, flags) }
        })
    };
    // SAFETY: `try_init` asks for an address and its length: accept4 writes just that.
    let (fd, peer) = unsafe { SockAddr::try_init(accept) }?;
    // SAFETY: accept4 succeeded, so `fd` is open and nobody else knows it.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, peer))
}

/// Receives one datagram and its sender.
pub(crate) fn recv_from(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, SockAddr)> {
    let (data, size, flags) = (buf.as_mut_ptr(), buf.len(), libc::MSG_DONTWAIT);
    let receive = |storage: *mut SockAddrStorage, len: *mut libc::socklen_t| {
        retry_len(|| {
            // SAFETY: `data` points to `size` bytes that are borrowed through the call, and
            // `try_init` gives room for an address and its length, which live as long.
            unsafe { libc::recvfrom(fd.as_raw_fd(), data.cast(), size, flags, storage.cast(), len) }
        })
    };
    // SAFETY: `try_init` asks for an address and its length: recvfrom writes just that.
    unsafe { SockAddr::try_init(receive) }
}

/// Sends one datagram to `to`.
pub(crate) fn send_to(fd: BorrowedFd<'_>, buf: &[u8], to: SocketAddr) -> io::Result<usize> {
    let to = SockAddr::from(to);
    retry_len(|| {
        // SAFETY: `buf` and the address have the lengths given and live through the call.
        unsafe {
            libc::sendto(
                fd.as_raw_fd(),
                buf.as_ptr().cast(),
                buf.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                to.as_ptr().cast(),
                to.len(),
            )
        }
    })
}

/// `recv(2)`; on a stream, fewer bytes than asked for mean that no more are there.
#[inline]
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    retry_len(|| {
        // SAFETY: `buf` has the length given and lives through the call.
        unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) }
    })
}

/// `send(2)` without `SIGPIPE`.
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    retry_len(|| {
        // SAFETY: `buf` has the length given and lives through the call.
        unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), libc::MSG_NOSIGNAL) }
    })
}

/// Gathers `bufs`, [`IOV_MAX`] at most, into one `sendmsg(2)` without `SIGPIPE`.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all zeros is a valid msghdr: no name, no buffers, no control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // IoSlice is ABI-compatible with iovec (std's documentation); the kernel only reads them.
    message.msg_iov = bufs.as_ptr().cast_mut().cast();
    message.msg_iovlen = bufs.len();
    retry_len(|| {
        // SAFETY: `message` names no address and no control data, and `bufs.len()` buffers that
        // live through the call.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
    })
}

/// Has `in_child` called in the child of every fork, on the thread that forked.
pub(crate) fn on_fork(in_child: unsafe extern "C" fn()) -> io::Result<()> {
    // SAFETY: `in_child` is a function of this program, which is never unloaded.
    match unsafe { libc::pthread_atfork(None, None, Some(in_child)) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The most buffers that one call takes.
pub(crate) const IOV_MAX: usize = 1024;

#[inline]
fn retry(mut call: impl FnMut() -> RawFd) -> io::Result<RawFd> {
    loop {
        match call() {
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(io::Error::last_os_error()),
            result => return Ok(result),
        }
    }
}

#[inline]
fn retry_len(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(len) => return Ok(len),
            Err(_) if Errno::last() == Errno::EINTR => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}
