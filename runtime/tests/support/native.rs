//! What tests need that has no safe form.
//!
//! # Safety
//!
//! Each function stands alone; none keeps a pointer. Those that end the process are for children.
#![expect(unsafe_code, reason = "forks, faults and calls C on purpose")]

use std::ffi::{CString, c_void};
use std::fs;
use std::hint::black_box;
use std::mem;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork as fork_process};

/// Forks and runs `child` in the child, which ends with its result as the exit code (101 if it
/// panics); waits for that and returns the code, or the negative signal number.
pub(crate) fn fork(child: impl FnOnce() -> u8) -> i32 {
    match fork_here() {
        Some(forked) => forked.wait(),
        None => exit(catch_unwind(AssertUnwindSafe(child)).unwrap_or(101)),
    }
}

/// Forks; both processes go on from here, the child with `None`. It must end by [`exit`].
pub(crate) fn fork_here() -> Option<Forked> {
    // SAFETY: the child has this thread only. It allocates, which glibc allows after a fork, and
    // touches no lock that another thread may have held: those of tests run one at a time.
    match unsafe { fork_process() }.expect("there is room for a process") {
        ForkResult::Child => None,
        ForkResult::Parent { child } => Some(Forked(child)),
    }
}

/// Ends the process without anything that std or the test harness do at an exit.
pub(crate) fn exit(code: u8) -> ! {
    // SAFETY: `_exit` may be called at any time.
    unsafe { libc::_exit(code.into()) }
}

/// A child process, as its parent sees it.
#[derive(Debug)]
pub(crate) struct Forked(Pid);

impl Forked {
    pub(crate) fn wait(self) -> i32 {
        match waitpid(self.0, None).expect("it is our child") {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => -(signal as i32),
            status => panic!("{status:?}"),
        }
    }
}

/// Reads from address 0.
pub(crate) fn read_null() {
    let nowhere = black_box(ptr::null::<u8>());
    // SAFETY: none; the caller is a child process that is to die of this.
    black_box(unsafe { nowhere.read_volatile() });
}

/// Runs `f` on a thread that std did not make, so that it has no stack for signal handlers.
pub(crate) fn on_foreign_thread(f: fn()) {
    extern "C" fn entry(f: *mut c_void) -> *mut c_void {
        // SAFETY: `on_foreign_thread` passes a function of this type.
        let f = unsafe { mem::transmute::<*mut c_void, fn()>(f) };
        f();
        ptr::null_mut()
    }
    // SAFETY: all zeros is a valid pthread_t to be overwritten.
    let mut thread: libc::pthread_t = unsafe { mem::zeroed() };
    // SAFETY: `thread` is valid to write, null attributes are the defaults, and `entry` gets the
    // function that it expects.
    let code =
        unsafe { libc::pthread_create(&raw mut thread, ptr::null(), entry, f as *mut c_void) };
    assert_eq!(code, 0);
    // SAFETY: the thread was made above and is joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

/// A C function with a frame of 32 KiB that is touched at its far end first, as code without stack
/// probes does: a guard of one page would be stepped over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeFrame(extern "C" fn());

impl LargeFrame {
    /// Compiles the function.
    #[expect(clippy::disallowed_methods, reason = "no coroutine runs while the compiler does")]
    pub(crate) fn compile(folder: &str) -> Self {
        const SOURCE: &str = "void large_frame(void) { volatile char f[32 * 1024]; f[0] = 1; }";
        let source = format!("{folder}/large_frame.{}.c", std::process::id());
        let object = format!("{folder}/large_frame.{}.so", std::process::id());
        fs::write(&source, SOURCE).expect("the folder can be written to");
        let status = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-fno-stack-protector"])
            .args(["-fno-stack-clash-protection", "-o", &object, &source])
            .status()
            .expect("there is a C compiler");
        assert!(status.success());
        let path = CString::new(object).expect("no byte is zero");
        // SAFETY: the path is a C string; the library has no initialisers.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null());
        // SAFETY: the library was opened above, and the name is a C string.
        let symbol = unsafe { libc::dlsym(library, c"large_frame".as_ptr()) };
        assert!(!symbol.is_null());
        // SAFETY: the symbol is a function of this type, and the library is never closed.
        Self(unsafe { mem::transmute::<*mut c_void, extern "C" fn()>(symbol) })
    }

    pub(crate) fn call(self) {
        (self.0)();
    }
}

/// Who a thread is, for [`strike`]: found out beforehand, as that costs stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim {
    process: libc::pid_t,
    thread: libc::pid_t,
}

impl Victim {
    pub(crate) fn here() -> Self {
        Self { process: Pid::this().as_raw(), thread: nix::unistd::gettid().as_raw() }
    }
}

/// Sends the calling thread, which `victim` is, a signal while `errno` has the value given. Needs
/// next to nothing of the stack. The result is what `errno` is when the handler has returned.
#[inline(never)]
pub(crate) fn strike(victim: Victim, signal: libc::c_int, errno: i32) -> i32 {
    // SAFETY: `errno` is a plain number of this thread.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid as long as the thread lives.
    unsafe { place.write(errno) };
    // SAFETY: `tgkill` takes three numbers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, victim.process, victim.thread, signal) };
    // SAFETY: as above.
    let errno = unsafe { place.read_volatile() };
    assert_eq!(sent, 0);
    errno
}

/// Makes the counter of an eventfd as large as it can be, so that writes to it fail.
pub(crate) fn fill_eventfd(fd: RawFd) {
    let most = (u64::MAX - 1).to_ne_bytes();
    // SAFETY: `most` has the length given and lives through the call.
    let written = unsafe { libc::write(fd, most.as_ptr().cast(), most.len()) };
    assert_eq!(written, 8);
}

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Has `signal` counted, and interrupt the system calls that it finds waiting: there is no
/// `SA_RESTART`.
pub(crate) fn count_signals(signal: Signal) {
    extern "C" fn count(_: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(count), SaFlags::SA_ONSTACK, SigSet::all());
    // SAFETY: the handler only adds to an atomic, which is allowed at any time.
    unsafe { sigaction(signal, &action) }.expect("the signal can be caught");
}

/// How many there were.
pub(crate) fn signals() -> usize {
    SIGNALS.load(Ordering::Relaxed)
}
