//! Debian's State Threads library (libst 1.9) behind safe types.
//!
//! Only what the `state-threads` contender uses. libst keeps all its state in globals of the
//! process, so [`StateThreads`] is a token that exists at most once and stays on the OS thread that
//! made it.
//!
//!
//! # Safety
//!
//! Every function but `st_set_eventsys` needs `st_init` to have succeeded, and all calls to come
//! from one OS thread: both hold because every safe entry takes the `!Send` token or a `!Send`
//! value made through it. Handles are owned, never copied, and freed at most once.

#![expect(unsafe_code, reason = "hand-written bindings of a C library")]

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Proof that libst was initialised on this OS thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateThreads {
    not_send: PhantomData<*mut ()>,
}

impl StateThreads {
    /// Initialises libst with the event system it has by default, which is `select` in Debian's
    /// build.
    ///
    ///
    /// # Errors
    ///
    /// When it was initialised before, or libst cannot.
    pub(crate) fn init() -> io::Result<Self> {
        Self::init_with(ST_EVENTSYS_DEFAULT)
    }

    /// Initialises libst with `poll`, since `select` ends at 1024 descriptors. Debian's build has
    /// no epoll (asking for it silently gives `select`).
    ///
    ///
    /// # Errors
    ///
    /// When it was initialised before, or libst cannot.
    pub(crate) fn init_with_poll() -> io::Result<Self> {
        Self::init_with(ST_EVENTSYS_POLL)
    }

    fn init_with(event_system: c_int) -> io::Result<Self> {
        if INITIALISED.swap(true, Ordering::Relaxed) {
            return Err(io::Error::other("libst is initialised already"));
        }
        // SAFETY: must come before `st_init`, which the flag above ensures.
        check(unsafe { st_set_eventsys(event_system) })?;
        // SAFETY: must be called once and before any other function; the flag above ensures both.
        check(unsafe { st_init() })?;
        Ok(Self { not_send: PhantomData })
    }

    /// Runs `f` on a thread of libst's and returns what it returned.
    pub(crate) fn block_on<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> io::Result<T> {
        let slot = Rc::new(RefCell::new(None));
        let result = Rc::clone(&slot);
        self.spawn(move || *result.borrow_mut() = Some(f()))?.join()?;
        let value = slot.borrow_mut().take();
        value.ok_or_else(|| io::Error::other("the thread left no value"))
    }

    /// Starts a thread with libst's default stack size. A closure without captures costs no
    /// allocation.
    pub(crate) fn spawn<F: FnOnce() + 'static>(self, f: F) -> io::Result<Thread> {
        let arg = Box::into_raw(Box::new(f));
        // SAFETY: libst is initialised (`self`); `entry::<F>` runs once, with the box given here.
        let raw = unsafe { st_thread_create(entry::<F>, arg.cast(), 1, 0) };
        let raw = NonNull::new(raw).ok_or_else(io::Error::last_os_error)?;
        Ok(Thread { raw })
    }

    /// Parks the calling thread. libst has no `st_thread_yield` in 1.9: zero is the way to yield.
    #[inline]
    pub(crate) fn sleep(self, duration: Duration) {
        // SAFETY: libst is initialised (`self`).
        unsafe { st_usleep(micros(duration)) };
    }

    pub(crate) fn cond(self) -> io::Result<Cond> {
        // SAFETY: libst is initialised (`self`).
        let raw = unsafe { st_cond_new() };
        let raw = NonNull::new(raw).ok_or_else(io::Error::last_os_error)?;
        Ok(Cond { raw })
    }

    /// Takes a socket over; libst makes it non-blocking.
    pub(crate) fn socket(self, fd: OwnedFd) -> io::Result<NetFd> {
        // SAFETY: libst is initialised (`self`), and takes ownership of the descriptor given up
        // here.
        let raw = unsafe { st_netfd_open_socket(fd.into_raw_fd()) };
        let raw = NonNull::new(raw).ok_or_else(io::Error::last_os_error)?;
        Ok(NetFd { raw })
    }
}

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// A joinable thread; leaked as a zombie when not joined.
#[derive(Debug)]
pub(crate) struct Thread {
    raw: NonNull<RawThread>,
}

impl Thread {
    pub(crate) fn join(self) -> io::Result<()> {
        // SAFETY: the thread was created joinable and is joined once, as `self` is consumed; a null
        // pointer for the value is allowed.
        check(unsafe { st_thread_join(self.raw.as_ptr(), ptr::null_mut()) })
    }
}

/// A condition variable.
#[derive(Debug)]
pub(crate) struct Cond {
    raw: NonNull<RawCond>,
}

impl Cond {
    #[inline]
    pub(crate) fn wait(&self) {
        // SAFETY: the condition lives as long as `self`, which the caller's stack keeps borrowed.
        unsafe { st_cond_wait(self.raw.as_ptr()) };
    }

    #[inline]
    pub(crate) fn wait_for(&self, limit: Duration) {
        // SAFETY: as for `wait`.
        unsafe { st_cond_timedwait(self.raw.as_ptr(), micros(limit)) };
    }

    #[inline]
    pub(crate) fn signal(&self) {
        // SAFETY: the condition lives as long as `self`.
        unsafe { st_cond_signal(self.raw.as_ptr()) };
    }
}

impl Drop for Cond {
    fn drop(&mut self) {
        // SAFETY: owned and not used after; nobody waits, since a waiter borrows `self`.
        unsafe { st_cond_destroy(self.raw.as_ptr()) };
    }
}

/// A socket.
#[derive(Debug)]
pub(crate) struct NetFd {
    raw: NonNull<RawNetFd>,
}

impl NetFd {
    pub(crate) fn accept(&self) -> io::Result<Self> {
        let fd = self.raw.as_ptr();
        // SAFETY: the descriptor lives as long as `self`; null means that no address is wanted.
        let raw = unsafe { st_accept(fd, ptr::null_mut(), ptr::null_mut(), NO_TIMEOUT) };
        let raw = NonNull::new(raw).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { raw })
    }

    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        // SAFETY: the descriptor lives as long as `self`.
        let fd = unsafe { st_netfd_fileno(self.raw.as_ptr()) };
        let on: c_int = 1;
        let len = libc::socklen_t::from(4_u8);
        let value = (&raw const on).cast();
        // SAFETY: `value` points to a live int, whose size is given.
        check(unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, value, len) })
    }

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let (fd, start, len) = (self.raw.as_ptr(), buf.as_mut_ptr(), buf.len());
        // SAFETY: pointer and length are those of a live, writable slice.
        let count = unsafe { st_read(fd, start.cast(), len, NO_TIMEOUT) };
        usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
    }

    /// Writes all of `buf` (libst's `st_write` loops by itself).
    pub(crate) fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        let (fd, start, len) = (self.raw.as_ptr(), buf.as_ptr(), buf.len());
        // SAFETY: pointer and length are those of a live slice.
        let count = unsafe { st_write(fd, start.cast(), len, NO_TIMEOUT) };
        if usize::try_from(count) == Ok(len) { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for NetFd {
    fn drop(&mut self) {
        // SAFETY: owned and not used after.
        unsafe { st_netfd_close(self.raw.as_ptr()) };
    }
}

extern "C" fn entry<F: FnOnce()>(arg: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` made the pointer from a `Box<F>` and hands it to one thread, which starts
    // once.
    let f = unsafe { Box::from_raw(arg.cast::<F>()) };
    f();
    ptr::null_mut()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NO_TIMEOUT)
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const ST_EVENTSYS_DEFAULT: c_int = 0;
const ST_EVENTSYS_POLL: c_int = 2;
const NO_TIMEOUT: u64 = u64::MAX;

#[repr(C)]
struct RawThread {
    opaque: [u8; 0],
}

#[repr(C)]
struct RawCond {
    opaque: [u8; 0],
}

#[repr(C)]
struct RawNetFd {
    opaque: [u8; 0],
}

#[link(name = "st")]
unsafe extern "C" {
    fn st_set_eventsys(eventsys: c_int) -> c_int;
    fn st_init() -> c_int;
    fn st_thread_create(
        start: extern "C" fn(*mut c_void) -> *mut c_void,
        arg: *mut c_void,
        joinable: c_int,
        stack_size: c_int,
    ) -> *mut RawThread;
    fn st_thread_join(thread: *mut RawThread, value: *mut *mut c_void) -> c_int;
    fn st_usleep(microseconds: u64) -> c_int;
    fn st_cond_new() -> *mut RawCond;
    fn st_cond_destroy(cond: *mut RawCond) -> c_int;
    fn st_cond_wait(cond: *mut RawCond) -> c_int;
    fn st_cond_timedwait(cond: *mut RawCond, timeout: u64) -> c_int;
    fn st_cond_signal(cond: *mut RawCond) -> c_int;
    fn st_netfd_open_socket(fd: c_int) -> *mut RawNetFd;
    fn st_netfd_close(fd: *mut RawNetFd) -> c_int;
    fn st_netfd_fileno(fd: *mut RawNetFd) -> c_int;
    fn st_accept(
        fd: *mut RawNetFd,
        addr: *mut libc::sockaddr,
        addr_len: *mut c_int,
        timeout: u64,
    ) -> *mut RawNetFd;
    fn st_read(fd: *mut RawNetFd, buf: *mut c_void, len: usize, timeout: u64) -> isize;
    fn st_write(fd: *mut RawNetFd, buf: *const c_void, len: usize, timeout: u64) -> isize;
}
