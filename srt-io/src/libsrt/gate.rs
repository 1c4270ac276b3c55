//! A listener's gate: the table in force, and the memory of who was refused.
#![expect(
    clippy::disallowed_types,
    reason = "shared with libsrt's threads; held for a look or a note"
)]

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::ffi::{self, Verdict};
use crate::admission::Admission;
use crate::reject::RejectReason;
use crate::stream_id::masked;

/// An attempt to connect that was refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// When.
    pub at: SystemTime,
    /// Who tried.
    pub peer: SocketAddr,
    /// The stream id, with what may be secret in it masked.
    pub stream_id: String,
    /// What the peer was told.
    pub reason: RejectReason,
}

/// Who was refused.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Refusals {
    /// How many attempts were refused for each reason.
    pub counts: BTreeMap<RejectReason, u64>,
    /// The last 64 of them, the latest last.
    pub last: Vec<Refusal>,
}

/// What the hook is asked, as the listener keeps it.
#[derive(Debug)]
pub(super) struct Gate {
    admission: Mutex<Arc<Admission>>,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    counts: BTreeMap<RejectReason, u64>,
    last: VecDeque<Refusal>,
}

/// Refusals that are kept.
const KEPT: usize = 64;

impl Gate {
    pub(super) fn new() -> Self {
        Self { admission: Mutex::default(), refused: Mutex::default() }
    }

    pub(super) fn set(&self, admission: Admission) {
        let admission = Arc::new(admission);
        let before = mem::replace(&mut *lock(&self.admission), admission);
        // Outside of the lock, for which libsrt waits.
        drop(before);
    }

    pub(super) fn refusals(&self) -> Refusals {
        let refused = lock(&self.refused);
        Refusals { counts: refused.counts.clone(), last: refused.last.iter().cloned().collect() }
    }

    fn refuse(&self, peer: SocketAddr, stream_id: &[u8], reason: RejectReason) {
        let stream_id = masked(&String::from_utf8_lossy(stream_id));
        // Nothing else tells of an attempt that never became a connection.
        tracing::info!(target: "srt", %peer, stream_id, %reason, "refused in the handshake");
        let refusal = Refusal { at: SystemTime::now(), peer, stream_id, reason };
        let mut refused = lock(&self.refused);
        // Reasons are those of the table and of libsrt, so they are few.
        *refused.counts.entry(reason).or_default() += 1;
        if refused.last.len() == KEPT {
            refused.last.pop_front();
        }
        refused.last.push_back(refusal);
    }
}

impl ffi::Gate for Gate {
    fn judge(&self, peer: SocketAddr, stream_id: &[u8]) -> Verdict {
        let admission = Arc::clone(&lock(&self.admission));
        match admission.decide(peer, stream_id) {
            Ok(terms) => Verdict::Admit {
                passphrase: terms.passphrase,
                latency_ms: terms.latency.map(|latency| {
                    i32::try_from(latency.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
                }),
            },
            Err(reason) => {
                self.refuse(peer, stream_id, reason);
                Verdict::Reject(reason.code())
            }
        }
    }

    fn refused(&self, peer: SocketAddr, stream_id: &[u8], code: i32) {
        self.refuse(peer, stream_id, RejectReason::from_code(code));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock leaves what it guards whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
