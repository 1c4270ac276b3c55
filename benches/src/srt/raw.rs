//! libsrt behind safe types, as thin as can be: for the contenders that do without `srt-io`, and for
//! the other end of every case.
//!
//! IPv4 on loopback only, live mode only, and no more calls than the benches make.
//!
//! # Safety
//!
//! libsrt checks its socket and epoll numbers, so a stale one is an error and never a fault; it may be
//! called from any thread. Every pointer handed to it comes from a live Rust value, and the length that
//! goes with it is that value's.

#![expect(unsafe_code, reason = "calls libsrt")]

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::ptr;

use libsrt_sys::{
    CBytePerfMon, SRT_EASYNCRCV, SRT_EPOLL_ERR, SRT_EPOLL_EVENT, SRT_EPOLL_IN, SRT_ERRNO,
    SRT_MSGCTRL, SRTO_LATENCY, SRTO_RCVSYN, SRTO_STREAMID, SRTSOCKET, srt_accept, srt_bind,
    srt_bstats, srt_close, srt_connect, srt_create_socket, srt_epoll_add_usock, srt_epoll_create,
    srt_epoll_uwait, srt_getlasterror, srt_getlasterror_str, srt_getsockname, srt_listen,
    srt_msgctrl_init, srt_recvmsg2, srt_sendmsg2, srt_setsockflag, srt_startup, srt_time_now,
};

/// A socket; closed when dropped.
#[derive(Debug)]
pub(crate) struct Socket(SRTSOCKET);

impl Socket {
    /// A blocking socket in live mode.
    pub(crate) fn new(latency_ms: i32) -> io::Result<Self> {
        // SAFETY: no arguments; may be called again.
        check(unsafe { srt_startup() }, "startup")?;
        // SAFETY: no arguments.
        let socket = Self(check(unsafe { srt_create_socket() }, "create")?);
        socket.set(SRTO_LATENCY, latency_ms)?;
        Ok(socket)
    }

    /// A socket that listens on a free port.
    pub(crate) fn listen(latency_ms: i32, backlog: usize) -> io::Result<Self> {
        let socket = Self::new(latency_ms)?;
        socket.bind(0)?;
        let backlog = i32::try_from(backlog).map_err(io::Error::other)?;
        // SAFETY: integers only.
        check(unsafe { srt_listen(socket.0, backlog) }, "listen")?;
        Ok(socket)
    }

    /// Binds to a port of loopback, which sockets may share; 0 is any.
    pub(crate) fn bind(&self, port: u16) -> io::Result<()> {
        let address = loopback(port);
        // SAFETY: the address is live and of the length given.
        let result = unsafe { srt_bind(self.0, (&raw const address).cast(), ADDRESS_BYTES) };
        check(result, "bind").map(drop)
    }

    pub(crate) fn port(&self) -> io::Result<u16> {
        let mut address = loopback(0);
        let mut len = ADDRESS_BYTES;
        // SAFETY: the address is live, writable and of the length given; so is the length itself.
        let result = unsafe { srt_getsockname(self.0, (&raw mut address).cast(), &raw mut len) };
        check(result, "name")?;
        Ok(u16::from_be(address.sin_port))
    }

    /// Blocks until a caller has come.
    pub(crate) fn accept(&self) -> io::Result<Self> {
        // SAFETY: null says that the caller's address is not wanted.
        let socket = unsafe { srt_accept(self.0, ptr::null_mut(), ptr::null_mut()) };
        check(socket, "accept").map(Self)
    }

    /// Blocks until it is connected.
    pub(crate) fn connect(&self, port: u16) -> io::Result<()> {
        let address = loopback(port);
        // SAFETY: the address is live and of the length given.
        let result = unsafe { srt_connect(self.0, (&raw const address).cast(), ADDRESS_BYTES) };
        check(result, "connect").map(drop)
    }

    /// Makes [`recv`](Self::recv) return at once.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.set(SRTO_RCVSYN, 0)
    }

    /// Says what it wants of the listener. Before it is connected.
    pub(crate) fn set_stream_id(&self, id: &str) -> io::Result<()> {
        let len = i32::try_from(id.len()).map_err(io::Error::other)?;
        // SAFETY: the pointer and length are those of a live string.
        let result = unsafe { srt_setsockflag(self.0, SRTO_STREAMID, id.as_ptr().cast(), len) };
        check(result, "stream id").map(drop)
    }

    /// Receives the next message that is due, and returns when it was (draft-sharabayko-srt-01 §4.5), on
    /// the clock of [`now_us`]; `None` when there is none and the socket does not block.
    #[inline]
    pub(crate) fn recv(&self, buf: &mut [u8]) -> io::Result<Option<i64>> {
        let capacity = i32::try_from(buf.len()).unwrap_or(i32::MAX);
        let mut control = control();
        // SAFETY: the pointer and length are those of a live, writable slice; the control is live.
        let len =
            unsafe { srt_recvmsg2(self.0, buf.as_mut_ptr().cast(), capacity, &raw mut control) };
        if len >= 0 {
            Ok(Some(control.srctime))
        } else if last_error() == SRT_EASYNCRCV {
            Ok(None)
        } else {
            Err(failure("receive"))
        }
    }

    /// Receives the next message, and returns its length and when it was due.
    pub(crate) fn recv_message(&self, buf: &mut [u8]) -> io::Result<(usize, i64)> {
        let capacity = i32::try_from(buf.len()).unwrap_or(i32::MAX);
        let mut control = control();
        // SAFETY: the pointer and length are those of a live, writable slice; the control is live.
        let len =
            unsafe { srt_recvmsg2(self.0, buf.as_mut_ptr().cast(), capacity, &raw mut control) };
        Ok((check(len, "receive")?.unsigned_abs() as usize, control.srctime))
    }

    #[inline]
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        let len = i32::try_from(message.len()).map_err(io::Error::other)?;
        let mut control = control();
        // SAFETY: the pointer and length are those of a live slice; the control is live.
        let sent = unsafe { srt_sendmsg2(self.0, message.as_ptr().cast(), len, &raw mut control) };
        check(sent, "send").map(drop)
    }

    /// All counters of the connection.
    pub(crate) fn stats(&self) -> io::Result<CBytePerfMon> {
        let mut stats = MaybeUninit::zeroed();
        // SAFETY: the structure is live and writable, and 0 clears nothing.
        check(unsafe { srt_bstats(self.0, stats.as_mut_ptr(), 0) }, "stats")?;
        // SAFETY: all zeroes is a value of this structure of plain numbers, and libsrt filled it in.
        Ok(unsafe { stats.assume_init() })
    }

    fn set(&self, option: libsrt_sys::SRT_SOCKOPT, value: i32) -> io::Result<()> {
        let len = size_of_val(&value).try_into().map_err(io::Error::other)?;
        // SAFETY: the value is live and of the length given. The flags among the options may be an int.
        let result = unsafe { srt_setsockflag(self.0, option, (&raw const value).cast(), len) };
        check(result, "option").map(drop)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: integers only. Fails only for a socket that is closed already.
        unsafe { srt_close(self.0) };
    }
}

/// A set of sockets that are asked which of them can be read.
#[derive(Debug)]
pub(crate) struct Poll {
    id: i32,
    /// One more than is asked for, since 1.5.1 may say that there are so many.
    events: Vec<SRT_EPOLL_EVENT>,
    members: Vec<SRTSOCKET>,
}

impl Poll {
    pub(crate) fn new(sockets: &[Socket]) -> io::Result<Self> {
        // SAFETY: no arguments.
        let id = check(unsafe { srt_epoll_create() }, "epoll")?;
        let events = (SRT_EPOLL_IN | SRT_EPOLL_ERR).cast_signed();
        for socket in sockets {
            // SAFETY: the events are live for the call.
            let added = unsafe { srt_epoll_add_usock(id, socket.0, &raw const events) };
            check(added, "epoll add")?;
        }
        let members = sockets.iter().map(|socket| socket.0).collect();
        Ok(Self {
            id,
            events: vec![SRT_EPOLL_EVENT { fd: 0, events: 0 }; sockets.len() + 1],
            members,
        })
    }

    /// Returns the indices of the sockets that can be read; waits `timeout_ms` for the first.
    pub(crate) fn readable(&mut self, timeout_ms: i64) -> io::Result<impl Iterator<Item = usize>> {
        let room = self.events.len() - 1;
        let capacity = i32::try_from(room).map_err(io::Error::other)?;
        // SAFETY: libsrt writes at most `capacity` events, one less than the vector holds.
        let count =
            unsafe { srt_epoll_uwait(self.id, self.events.as_mut_ptr(), capacity, timeout_ms) };
        let count = check(count, "epoll wait")?.unsigned_abs() as usize;
        let ready = &self.events[..count.min(room)];
        let members = &self.members;
        Ok(ready.iter().filter_map(|event| members.iter().position(|&member| member == event.fd)))
    }
}

/// Returns the time on libsrt's clock, in microseconds.
#[inline]
pub(crate) fn now_us() -> i64 {
    // SAFETY: no arguments.
    unsafe { srt_time_now() }
}

fn control() -> SRT_MSGCTRL {
    let mut control = MaybeUninit::zeroed();
    // SAFETY: the structure is live and writable.
    unsafe { srt_msgctrl_init(control.as_mut_ptr()) };
    // SAFETY: it is plain integers and a pointer, zeroed, then filled in by libsrt.
    unsafe { control.assume_init() }
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: FAMILY,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    }
}

fn check(result: i32, what: &str) -> io::Result<i32> {
    if result < 0 { Err(failure(what)) } else { Ok(result) }
}

fn last_error() -> SRT_ERRNO {
    // SAFETY: null says that the system's error number is not wanted.
    unsafe { srt_getlasterror(ptr::null_mut()) }
}

fn failure(what: &str) -> io::Error {
    // SAFETY: no arguments.
    let text = unsafe { srt_getlasterror_str() };
    // SAFETY: libsrt returns a string that lives until this thread's next error.
    let text = unsafe { CStr::from_ptr(text) };
    io::Error::other(format!("srt {what}: {}", text.to_string_lossy()))
}

const FAMILY: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
const ADDRESS_BYTES: i32 = size_of::<libc::sockaddr_in>() as i32;
