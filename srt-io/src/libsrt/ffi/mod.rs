//! libsrt behind safe signatures: every call returns a `Result`, whose error was read before anything else
//! ran on the thread.
//!
//! The rooms: `library` starts it and asks what it can do, `option` moves the values of socket options,
//! `socket` owns a socket, `epoll` an event set, `hook` is called back when somebody connects, `address`
//! translates addresses, `log` takes what libsrt has to say. Policy is elsewhere: nothing here waits,
//! retries or knows a coroutine. Function names and contracts are those of `docs/API/API-functions.md` of
//! libsrt 1.5.1; facts that are not in there come from its source and were measured on that version.
//!
//! # Safety
//!
//! A socket is a number to libsrt: one that is stale or invented makes a call fail, with
//! `SRT_EINVSOCK`, and has no other effect. So no call needs to prove that its socket lives. What remains to be
//! kept is the memory lent to a call: each is lent for the call only, with its true size. What libsrt
//! calls by itself (`hook`, `log`, `library`'s exit handler) is handed no pointer into Rust memory.
//! The library is started before any other call: `RawSocket` and `Epoll` are made by [`startup`]'s
//! callers only, and every other function fails by itself where it was not.
#![expect(unsafe_code, reason = "calls libsrt")]

mod address;
mod epoll;
mod hook;
mod library;
mod log;
mod option;
mod socket;

use libsrt_sys as sys;

pub(crate) use crate::error::SrtError;
pub(crate) use epoll::{Epoll, EventRoom, Flags};
pub(crate) use hook::{Gate, Hook, Verdict};
pub(crate) use library::{
    at_exit, cleanup, has_groups, knows_option, now_us, startup, version, with_signals_blocked,
};
pub(crate) use log::take_log;
pub(crate) use option::{
    option_bool, option_int, option_linger, option_long, option_text, set_option,
};
pub(crate) use socket::{MessageOptions, RawSocket};

type Result<T, E = SrtError> = std::result::Result<T, E>;

/// What a call returned, or why it failed. To be called directly after the call: the error belongs to the
/// thread, and the next call may replace it. Success does not clear it, so it is not asked for then.
fn check(returned: libc::c_int) -> Result<libc::c_int> {
    if returned == sys::SRT_ERROR { Err(last_error()) } else { Ok(returned) }
}

fn last_error() -> SrtError {
    let mut errno = 0;
    // SAFETY: `errno` lives, and is written, for the time of the call.
    let code = unsafe { sys::srt_getlasterror(&raw mut errno) };
    SrtError::new(code, errno)
}

/// The size of something lent to libsrt, which counts in `int`.
fn length(bytes: usize) -> libc::c_int {
    libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX)
}
