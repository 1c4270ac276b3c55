//! Values of socket options, as the C types that libsrt has for them.
//!
//! # Safety
//!
//! libsrt reads and writes as much as the length says that comes with the pointer, and refuses a length
//! that is not the option's.
#![expect(unsafe_code, reason = "lends values to libsrt")]

use std::ptr;

use libsrt_sys as sys;

use super::{Result, check, length};
use crate::libsrt::apply::RawOption;

/// The longest text that an option holds: a stream id of 512 bytes (`CSrtConfig::MAX_SID_LENGTH`).
const LONGEST_TEXT: usize = 512;

/// Sets an option.
pub(crate) fn set_option(
    socket: sys::SRTSOCKET,
    symbol: sys::SRT_SOCKOPT,
    value: RawOption<'_>,
) -> Result<()> {
    match value {
        RawOption::Bool(value) => set(socket, symbol, &value),
        RawOption::Int(value) => set(socket, symbol, &value),
        RawOption::Long(value) => set(socket, symbol, &value),
        RawOption::Linger(seconds) => set(socket, symbol, &linger(seconds)),
        RawOption::Text(text) => set_bytes(socket, symbol, text.as_ptr().cast(), text.len()),
    }
}

/// Reads a flag.
pub(crate) fn option_bool(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT) -> Result<bool> {
    // An `int` is asked for where the option is one inside; `false` is all zeros in either.
    let mut value = [0_u8; 4];
    read(socket, symbol, &mut value)?;
    Ok(value != [0; 4])
}

/// Reads an `int32_t`.
pub(crate) fn option_int(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT) -> Result<i32> {
    let mut value = [0; 4];
    read(socket, symbol, &mut value)?;
    Ok(i32::from_ne_bytes(value))
}

/// Reads an `int64_t`.
pub(crate) fn option_long(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT) -> Result<i64> {
    let mut value = [0; 8];
    read(socket, symbol, &mut value)?;
    Ok(i64::from_ne_bytes(value))
}

/// Reads a `struct linger`; `None` is off.
pub(crate) fn option_linger(
    socket: sys::SRTSOCKET,
    symbol: sys::SRT_SOCKOPT,
) -> Result<Option<i32>> {
    let mut value = linger(None);
    let mut bytes = length(size_of::<libc::linger>());
    let place = (&raw mut value).cast();
    // SAFETY: `place` has room for the struct whose size is given.
    check(unsafe { sys::srt_getsockflag(socket, symbol, place, &raw mut bytes) })?;
    Ok((value.l_onoff != 0).then_some(value.l_linger))
}

/// Reads a text.
pub(crate) fn option_text(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT) -> Result<Vec<u8>> {
    // libsrt may put a NUL behind.
    let mut text = vec![0; LONGEST_TEXT + 1];
    let bytes = read(socket, symbol, &mut text)?;
    text.truncate(bytes);
    Ok(text)
}

/// Reads an option into `value`; the result is how many bytes it has.
fn read(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT, value: &mut [u8]) -> Result<usize> {
    let mut bytes = length(value.len());
    let place = value.as_mut_ptr().cast();
    // SAFETY: `place` has room for as many bytes as are given.
    check(unsafe { sys::srt_getsockflag(socket, symbol, place, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0).min(value.len()))
}

fn set<T>(socket: sys::SRTSOCKET, symbol: sys::SRT_SOCKOPT, value: &T) -> Result<()> {
    set_bytes(socket, symbol, ptr::from_ref(value).cast(), size_of::<T>())
}

/// `value` has to point to `bytes` bytes; both callers take them from one reference.
fn set_bytes(
    socket: sys::SRTSOCKET,
    symbol: sys::SRT_SOCKOPT,
    value: *const libc::c_void,
    bytes: usize,
) -> Result<()> {
    // SAFETY: `value` points to so many bytes, which libsrt copies in the call.
    check(unsafe { sys::srt_setsockflag(socket, symbol, value, length(bytes)) }).map(drop)
}

fn linger(seconds: Option<i32>) -> libc::linger {
    libc::linger { l_onoff: i32::from(seconds.is_some()), l_linger: seconds.unwrap_or(0) }
}
