//! Being asked about each connection before it is made.
//!
//! libsrt asks on the thread that receives for the listener's port, with locks held: an answer that
//! takes long delays every stream of the port. So a [`Gate`] only looks things up.
//!
//! # Safety
//!
//! libsrt is given no pointer but a number, under which the gate is found: a call that comes after the
//! listener is gone finds none. No panic leaves the callback.
#![expect(unsafe_code, reason = "is called by libsrt")]
#![expect(clippy::disallowed_types, reason = "shared with libsrt's threads")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsrt_sys as sys;

use super::address;
use super::{RawSocket, Result, check, set_option};
use crate::libsrt::apply::RawOption;

/// Who decides about connections. Called on a thread of libsrt: it must be quick, and may neither wait
/// nor touch a runtime.
pub(crate) trait Gate: Send + Sync {
    /// What becomes of a connection from `peer`. `stream_id` is what the peer wrote there.
    fn judge(&self, peer: SocketAddr, stream_id: &[u8]) -> Verdict;

    /// libsrt refused what was to be admitted, for the reason with this code.
    fn refused(&self, peer: SocketAddr, stream_id: &[u8], code: i32);
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is made.
    Admit {
        /// The passphrase to be used instead of the listener's; empty for none.
        passphrase: Option<Arc<str>>,
        /// The latency of both directions to be used instead of the listener's.
        latency_ms: Option<i32>,
    },
    /// The peer is sent this code.
    Reject(i32),
}

/// A gate in force, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hook {
    key: usize,
}

/// An attempt that was admitted, which libsrt may still refuse.
struct Attempt {
    socket: sys::SRTSOCKET,
    key: usize,
    peer: SocketAddr,
    stream_id: Vec<u8>,
}

thread_local! {
    /// The last one of this thread of libsrt.
    static ATTEMPT: RefCell<Option<Attempt>> = const { RefCell::new(None) };
}

type Gates = HashMap<usize, Arc<dyn Gate>>;

static GATES: Mutex<Option<Gates>> = Mutex::new(None);

impl Hook {
    /// Has `gate` asked about whoever connects to `listener`, which does not listen yet.
    pub(crate) fn new(listener: &RawSocket, gate: Arc<dyn Gate>) -> Result<Self> {
        static NEXT_KEY: AtomicUsize = AtomicUsize::new(1);
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        gates().get_or_insert_default().insert(key, gate);
        let hook = Self { key };
        let opaque = ptr::without_provenance_mut(key);
        // SAFETY: the function has the type that libsrt calls, and takes `opaque` for a number.
        check(unsafe { sys::srt_listen_callback(listener.id(), Some(on_connection), opaque) })?;
        Ok(hook)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        let gate = gates().as_mut().and_then(|gates| gates.remove(&self.key));
        // Outside of the lock.
        drop(gate);
    }
}

fn gates() -> MutexGuard<'static, Option<Gates>> {
    // No code that could panic runs under the lock.
    GATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called by libsrt: 0 admits, -1 rejects.
unsafe extern "C" fn on_connection(
    opaque: *mut libc::c_void,
    socket: sys::SRTSOCKET,
    _handshake_version: libc::c_int,
    peer: *const libc::sockaddr,
    stream_id: *const libc::c_char,
) -> libc::c_int {
    // SAFETY: libsrt gives the whole address of the peer.
    let peer = unsafe { address::read(peer) };
    let stream_id = if stream_id.is_null() {
        &[]
    } else {
        // SAFETY: libsrt gives a text of 512 bytes at most with a NUL behind it, which lives for the call.
        unsafe { CStr::from_ptr(stream_id) }.to_bytes()
    };
    let admitted = catch_unwind(AssertUnwindSafe(|| admit(opaque.addr(), socket, peer, stream_id)));
    let Err(code) = admitted.unwrap_or(Err(sys::SRT_REJX_ISE.cast_signed())) else { return 0 };
    // SAFETY: takes numbers.
    let _unknown_code = unsafe { sys::srt_setrejectreason(socket, code) };
    -1
}

/// Asks the gate and prepares the socket, or tells why not.
fn admit(
    key: usize,
    socket: sys::SRTSOCKET,
    peer: Option<SocketAddr>,
    stream_id: &[u8],
) -> Result<(), i32> {
    let (Some(gate), Some(peer)) = (find(key), peer) else {
        return Err(sys::SRT_REJX_DOWN.cast_signed());
    };
    match gate.judge(peer, stream_id) {
        Verdict::Admit { passphrase, latency_ms } => {
            let prepared = prepare(socket, passphrase.as_deref(), latency_ms);
            prepared.map_err(|_| sys::SRT_REJX_ISE.cast_signed())?;
        }
        Verdict::Reject(code) => return Err(code),
    }
    ATTEMPT.set(Some(Attempt { socket, key, peer, stream_id: stream_id.to_vec() }));
    Ok(())
}

fn find(key: usize) -> Option<Arc<dyn Gate>> {
    gates().as_ref()?.get(&key).cloned()
}

/// Notes that libsrt refused `socket` after all, which it says on the thread that the hook ran on.
pub(super) fn refused(socket: sys::SRTSOCKET, code: i32) {
    let attempt = ATTEMPT.take().filter(|attempt| attempt.socket == socket);
    if let Some(attempt) = attempt
        && let Some(gate) = find(attempt.key)
    {
        gate.refused(attempt.peer, &attempt.stream_id, code);
    }
}

/// Sets what this connection has of its own.
fn prepare(
    socket: sys::SRTSOCKET,
    passphrase: Option<&str>,
    latency_ms: Option<i32>,
) -> Result<()> {
    if let Some(passphrase) = passphrase {
        set_option(socket, sys::SRTO_PASSPHRASE, RawOption::Text(passphrase.as_bytes()))?;
    }
    if let Some(latency_ms) = latency_ms {
        set_option(socket, sys::SRTO_LATENCY, RawOption::Int(latency_ms))?;
    }
    Ok(())
}
