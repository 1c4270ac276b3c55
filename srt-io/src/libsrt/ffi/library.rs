//! The library as a whole: starting it, asking what it is, ending it.
//!
//! # Safety
//!
//! The exit handler is a function without arguments that the process calls once.
#![expect(unsafe_code, reason = "calls libsrt and atexit")]

use std::sync::OnceLock;

use libsrt_sys as sys;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::{Result, check, log};

/// Starts the library, once a process; later calls tell what came of it.
pub(crate) fn startup() -> Result<()> {
    static STARTED: OnceLock<Result<()>> = OnceLock::new();
    let start = || {
        log::install();
        // SAFETY: takes nothing.
        check(with_signals_blocked(|| unsafe { sys::srt_startup() })).map(drop)
    };
    *STARTED.get_or_init(start)
}

/// Runs `f` with all signals blocked on this thread. Threads that start meanwhile keep them blocked, so
/// that a signal of the process reaches only threads that expect it.
pub(crate) fn with_signals_blocked<T>(f: impl FnOnce() -> T) -> T {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = f();
    if let Ok(mask) = mask {
        mask.thread_set_mask().expect("a mask that was in force can be set");
    }
    result
}

/// Ends every connection and thread of the library, for good. Takes up to seconds.
pub(crate) fn cleanup() {
    // SAFETY: takes nothing.
    let _always_zero = unsafe { sys::srt_cleanup() };
}

/// Has `f` called when the process exits, before the library's own destructors run.
pub(crate) fn at_exit(f: extern "C" fn()) {
    // SAFETY: `f` is a function for as long as the process lives: this crate is not unloaded.
    let _no_memory = unsafe { libc::atexit(f) };
}

/// The time on the library's clock, in microseconds.
pub(crate) fn now_us() -> i64 {
    // SAFETY: takes nothing.
    unsafe { sys::srt_time_now() }
}

/// The version as `0x00XXYYZZ`.
pub(crate) fn version() -> u32 {
    // SAFETY: takes nothing.
    unsafe { sys::srt_getversion() }
}

/// Whether sockets can be bonded into groups.
pub(crate) fn has_groups() -> bool {
    // SAFETY: takes a number.
    let group = check(unsafe { sys::srt_create_group(sys::SRT_GTYPE_BROADCAST) });
    if let Ok(group) = group {
        // SAFETY: takes a number.
        let _closed = unsafe { sys::srt_close(group) };
    }
    group.is_ok()
}

/// Whether `socket` has the option.
pub(crate) fn knows_option(socket: &super::RawSocket, symbol: sys::SRT_SOCKOPT) -> bool {
    // All options that may be lacking are numbers of this size or smaller.
    super::option_long(socket.id(), symbol).is_ok()
}
