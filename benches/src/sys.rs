//! Raw system calls behind safe functions: pinning, CPU clocks, epoll, counters, guarded stacks.
//!
//! The raw epoll contender must cost what a C loop costs, so its calls go straight to `libc` with
//! nothing in between. It deliberately offers only what the benches need.
//!
//! # Safety
//!
//! Every pointer handed to the kernel comes from a live Rust reference of the length that is passed
//! with it, and results are checked before they are used. A [`StackRegion`] is never unmapped, and
//! each [`StackSlot`] covers a range of it that no other slot covers.

#![expect(unsafe_code, reason = "system calls that std does not offer, and stacks for corosensei")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use corosensei::stack::{Stack, StackPointer};

/// Binds the calling process (which has one thread yet) to one core.
pub(crate) fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: `cpu_set_t` is a plain bit set for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: CPU_SET bounds `core` by the set's size (it indexes a fixed array with a check).
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the pointer and the size are those of the live local `set`; pid 0 is the caller.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// Raises the limit of open descriptors to the hard limit and returns it.
pub(crate) fn raise_fd_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live, writable `rlimit`.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live `rlimit`.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_max)
}

/// Ends this process by `SIGALRM` after `limit`, so that a contender that hangs ends its case only.
pub(crate) fn end_after(limit: Duration) {
    let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
    // SAFETY: `alarm` has no preconditions; the default action of SIGALRM ends the process.
    unsafe { libc::alarm(seconds) };
}

/// Ends this process now, without destructors.
pub(crate) fn end_at_once() -> ! {
    // SAFETY: `_exit` has no preconditions; what other threads do ends with them.
    unsafe { libc::_exit(0) }
}

/// Returns the CPU time this process has used, user and system, over all its threads.
pub(crate) fn process_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live, writable `timespec`, and the clock id exists since Linux
    // 2.6.12.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// An epoll instance used the way a C program would.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointer arguments.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call above has just returned this descriptor, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Registers `fd` for level-triggered reading; `token` comes back with its events.
    pub(crate) fn add_readable(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        let epoll = self.fd.as_raw_fd();
        // SAFETY: `event` is live for the call; the kernel checks both descriptors.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }

    /// Blocks until something is ready or `timeout_ms` is over (-1: for ever); returns the ready
    /// part of `events`.
    pub(crate) fn wait<'a>(
        &self,
        events: &'a mut [libc::epoll_event],
        timeout_ms: i32,
    ) -> io::Result<&'a [libc::epoll_event]> {
        let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
        let epoll = self.fd.as_raw_fd();
        // SAFETY: the kernel writes at most `capacity` events, the length of the slice.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), capacity, timeout_ms) };
        match check(ready) {
            Ok(count) => Ok(&events[..count.unsigned_abs() as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

/// Reads once from a descriptor.
#[inline]
pub(crate) fn read(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live, writable slice.
    let count = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

/// Writes once to a descriptor.
#[inline]
pub(crate) fn write(fd: RawFd, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live slice.
    let count = unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) };
    usize::try_from(count).map_err(|_negative| io::Error::last_os_error())
}

/// Counts the system calls of another process from the kernel's `raw_syscalls:sys_enter`
/// tracepoint.
///
/// `strace -c` would slow the server so much that speculative reads succeed and the count changes.
#[derive(Debug)]
pub(crate) struct SyscallCounter {
    file: File,
}

impl SyscallCounter {
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let id = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|root| {
                fs::read_to_string(format!("{root}/events/raw_syscalls/sys_enter/id")).ok()
            })
            .ok_or_else(|| {
                io::Error::other("no tracefs (mount -t tracefs nodev /sys/kernel/tracing)")
            })?;
        let id: u64 = id.trim().parse().map_err(io::Error::other)?;
        // perf_event_attr, first published size (64 bytes): type and size, config, then all zero
        // flags.
        let mut attr = [0_u64; 8];
        attr[0] = PERF_TYPE_TRACEPOINT | (64 << 32);
        attr[1] = id;
        let any_cpu = -1_i32;
        let no_group = -1_i32;
        let pid = pid.cast_signed();
        let flags = libc::c_ulong::from(8_u8); // PERF_FLAG_FD_CLOEXEC
        let attr_ptr = attr.as_ptr();
        // SAFETY: `attr` is live, and is as long as the size it states (64 bytes); the rest are
        // integers.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, attr_ptr, pid, any_cpu, no_group, flags)
        };
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        let fd = check(fd)?;
        // SAFETY: the call above has just returned this descriptor, and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file })
    }

    /// Returns the calls counted since the counter was opened.
    pub(crate) fn count(&mut self) -> io::Result<u64> {
        let mut count = [0; 8];
        self.file.read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

const PERF_TYPE_TRACEPOINT: u64 = 2;

/// One mapping cut into guarded stacks of equal size.
///
/// Guards are installed by `MADV_GUARD_INSTALL`, which costs no map entry, so 100 000 stacks fit
/// below `vm.max_map_count`; corosensei's `DefaultStack` fails at 32 751.
#[derive(Debug)]
pub(crate) struct StackRegion;

impl StackRegion {
    /// Maps `count` stacks; their tops are spread over 32 cache lines, which does them good.
    pub(crate) fn slots(count: usize) -> io::Result<Vec<StackSlot>> {
        let len = count * SLOT_BYTES;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        (0..count)
            .map(|index| {
                let limit = base.addr() + index * SLOT_BYTES;
                let guard = base.wrapping_byte_add(index * SLOT_BYTES);
                // SAFETY: the range lies inside the mapping just made, and nothing lives there yet.
                let result = unsafe { libc::madvise(guard, GUARD_BYTES, MADV_GUARD_INSTALL) };
                check(result).map_err(|error| {
                    io::Error::new(error.kind(), format!("guards need Linux 6.13: {error}"))
                })?;
                let top = limit + SLOT_BYTES - (index % 32) * 64;
                let base = NonZeroUsize::new(top).ok_or(io::ErrorKind::InvalidInput)?;
                let limit = NonZeroUsize::new(limit).ok_or(io::ErrorKind::InvalidInput)?;
                Ok(StackSlot { base, limit })
            })
            .collect()
    }
}

/// A stack of a [`StackRegion`].
#[derive(Debug)]
pub(crate) struct StackSlot {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: `base` and `limit` are 64-byte aligned ends of a range of a mapping that lives for ever
// and belongs to this slot alone; its lowest GUARD_BYTES fault, and far more than MIN_STACK_SIZE is
// usable.
unsafe impl Stack for StackSlot {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

const GUARD_BYTES: usize = 64 << 10;
const SLOT_BYTES: usize = GUARD_BYTES + (256 << 10);
/// Linux 6.13; not yet in `libc`.
const MADV_GUARD_INSTALL: i32 = 102;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
