//! What libsrt has to say.
//!
//! By itself it prints to the standard error stream, from its own threads. Here its warnings and errors
//! go to a short queue, which the bridge empties into `tracing` (target `srt`, level `DEBUG`: most are about what
//! peers do). A line that finds the queue full is counted, not kept, so a flood costs nothing
//! but the count, and no subscriber ever runs on a thread of libsrt, where it could hold up a stream.
//!
//! One message is more than a text: only there libsrt says for what reason it refused a connection that the
//! hook admitted, such as a wrong passphrase. Should its wording change, the reason is not known.
//!
//! # Safety
//!
//! libsrt gives texts with a NUL behind them, which live for the call.
#![expect(unsafe_code, reason = "is called by libsrt")]
#![expect(clippy::disallowed_types, reason = "shared with libsrt's threads")]

use std::ffi::CStr;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use libsrt_sys as sys;

use super::hook;
use crate::reject::RejectReason;

/// A message of libsrt.
#[derive(Debug)]
pub(crate) struct LogLine {
    /// What it is about, in libsrt's words.
    pub(crate) area: String,
    /// The message.
    pub(crate) text: String,
}

#[derive(Debug)]
struct Queue {
    lines: Vec<LogLine>,
    lost: usize,
}

/// Lines that wait to be taken at most, and bytes of each.
const LINES: usize = 64;
const LINE_BYTES: usize = 400;

/// `LOG_WARNING` of syslog(3), which libsrt's levels are.
const WARNING: libc::c_int = 4;

/// Codes of libsrt's own reasons are below.
const PREDEFINED: i32 = 18;

static QUEUE: Mutex<Queue> = Mutex::new(Queue { lines: Vec::new(), lost: 0 });

/// Has messages come here.
pub(super) fn install() {
    // SAFETY: takes a number.
    unsafe { sys::srt_setloglevel(WARNING) };
    let bare = sys::SRT_LOGF_DISABLE_TIME
        | sys::SRT_LOGF_DISABLE_THREADNAME
        | sys::SRT_LOGF_DISABLE_SEVERITY
        | sys::SRT_LOGF_DISABLE_EOL;
    // SAFETY: takes a number.
    unsafe { sys::srt_setlogflags(bare.cast_signed()) };
    // SAFETY: the function has the type that libsrt calls, and uses no pointer of ours.
    unsafe { sys::srt_setloghandler(ptr::null_mut(), Some(on_message)) };
}

/// Takes the lines that wait, and how many were lost meanwhile.
pub(crate) fn take_log() -> (Vec<LogLine>, usize) {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    (mem::take(&mut queue.lines), mem::take(&mut queue.lost))
}

unsafe extern "C" fn on_message(
    _opaque: *mut libc::c_void,
    _level: libc::c_int,
    _file: *const libc::c_char,
    _line: libc::c_int,
    area: *const libc::c_char,
    message: *const libc::c_char,
) {
    // SAFETY: a text or null, by libsrt's contract.
    let area = unsafe { text(area) };
    // SAFETY: a text or null, by libsrt's contract.
    let text = unsafe { text(message) };
    // What is left of the prefix that was switched off.
    let text = text.trim_start_matches([':', ' ']).to_owned();
    // A panic must not go through libsrt. What it would be about is lost.
    let _panic = catch_unwind(AssertUnwindSafe(|| take(LogLine { area, text })));
}

fn take(line: LogLine) {
    if line.area == "accept" {
        // Trying to accept where nobody waits is how a listener is found to have no more.
        return;
    }
    if let Some((socket, code)) = refusal(&line.text) {
        hook::refused(socket, code);
    }
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    if queue.lines.len() < LINES {
        queue.lines.push(line);
    } else {
        queue.lost = queue.lost.saturating_add(1);
    }
}

/// The socket that a message says was refused, and the code of the reason (`CUDTUnited::newConnection` and
/// `RequestTypeStr` of 1.5.1).
fn refusal(text: &str) -> Option<(i32, i32)> {
    let (socket, rest) = text.strip_prefix('@')?.split_once(':')?;
    let (_, due_to) = rest.split_once("newConnection: connection rejected due to:")?;
    let (_, reason) = due_to.rsplit_once("ERROR:")?;
    let symbol = format!("SRT_REJ_{}", reason.trim());
    let code =
        (1..PREDEFINED).find(|code| RejectReason::from_code(*code).symbol() == Some(&symbol))?;
    Some((socket.trim().parse().ok()?, code))
}

/// A copy of the beginning of a text of C.
///
/// # Safety
///
/// `start` is null or points to a text with a NUL behind it.
unsafe fn text(start: *const libc::c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: not null, so a text by this function's contract; it is copied before the caller returns.
    let bytes = unsafe { CStr::from_ptr(start) }.to_bytes();
    let bytes = bytes.get(..LINE_BYTES).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_other_messages() {
        let cases = [
            (
                "@7: newConnection: connection rejected due to: INTERNAL REJECTION - ERROR:BADSECRET",
                Some((7, 10)),
            ),
            (
                "@7:newConnection: connection rejected due to: INTERNAL REJECTION - ERROR:UNSECURE",
                Some((7, 11)),
            ),
            (
                "@7: newConnection: connection rejected due to: INTERNAL REJECTION - ERROR:1403",
                None,
            ),
            ("@x: newConnection: connection rejected due to: A - ERROR:BADSECRET", None),
            ("@7: connection rejected", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(refusal(text), expected, "{text}");
        }
    }
}
